"""An asynchronous client of the API server, as its administrator, with few words and kept connections."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from tests.cluster.certificates import Certificates

Manifest = dict[str, Any]

_REQUEST_SECONDS = 60
_LINE_LIMIT_BYTES = 4 * 1024 * 1024
_FIELD_MANAGER = "bench"
_DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_ONLY_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_AT_ONCE = 16


class ApiError(Exception):
    """The API server refused."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"HTTP {status}: {message}")
        self.status = status


@dataclass(frozen=True)
class Resource:
    """A kind as the API server serves it."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool
    verbs: frozenset[str]

    def path(self, namespace: str | None = None, name: str | None = None) -> str:
        """Return the path of an object, or of all of them in one namespace or everywhere."""
        root = f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{root}{scope}/{self.plural}" + (f"/{name}" if name else "")


class Api:
    """An API server. Obtain it from `connect`; what is refused raises ApiError."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._resources: dict[tuple[str, str], Resource] = {}

    async def send(self, method: str, path: str, body: Any = None, **headers: str) -> Manifest:
        """Make one request and return the JSON of the answer."""
        data = None if body is None else json.dumps(body)
        sent = {"Content-Type": "application/json", "Accept": "application/json"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        async with self._session.request(method, path, data=data, headers=sent) as answer:
            text = await answer.read()
            if answer.status >= 400:
                raise ApiError(answer.status, text.decode(errors="replace")[:2000])
            return dict(json.loads(text))

    async def discover(self) -> None:
        """Learn what kinds are served; to be repeated when there are new ones."""
        for root in ("/api", "/apis"):
            found = await self.send("GET", root, Accept=_DISCOVERY)
            for group in found["items"]:
                prefix = f"{group['metadata']['name']}/" if group["metadata"].get("name") else ""
                for version in group["versions"]:
                    for resource in version["resources"]:
                        self._learn(prefix + version["version"], resource)

    def _learn(self, api_version: str, found: Manifest) -> None:
        kind = found["responseKind"]["kind"]
        namespaced = found["scope"] == "Namespaced"
        verbs = frozenset(found["verbs"])
        self._resources[(api_version, kind)] = Resource(api_version, kind, found["resource"], namespaced, verbs)

    def resource(self, api_version: str, kind: str) -> Resource:
        """Return how a kind is served. Raise ApiError where it is not."""
        try:
            return self._resources[(api_version, kind)]
        except KeyError:
            raise ApiError(404, f"{kind} of {api_version} is not served") from None

    async def serves(self, kinds: Iterable[tuple[str, str]]) -> bool:
        """Whether all of these kinds, each an `apiVersion` and a `kind`, are served by now and can be listed."""
        wanted = set(kinds)
        if not self._resources.keys() >= wanted:
            await self.discover()
        try:
            for api_version, kind in wanted:
                await self.list(self.resource(api_version, kind).path())
        except ApiError:
            return False
        return True

    def path(self, manifest: Manifest) -> str:
        """Return the path of the object that a manifest is of."""
        metadata = manifest["metadata"]
        resource = self.resource(manifest["apiVersion"], manifest["kind"])
        return resource.path(metadata.get("namespace"), metadata["name"])

    async def create(self, manifest: Manifest) -> Manifest:
        """Create an object."""
        path = self.path(manifest).rpartition("/")[0]
        return await self.send("POST", f"{path}?fieldManager={_FIELD_MANAGER}", manifest)

    async def apply(self, *manifests: Manifest) -> None:
        """Server-side apply some objects, in order."""
        for manifest in manifests:
            path = f"{self.path(manifest)}?fieldManager={_FIELD_MANAGER}&force=true"
            await self.send("PATCH", path, manifest, Content_Type="application/apply-patch+yaml")

    async def merge(self, path: str, patch: Manifest) -> Manifest:
        """Merge a patch into an object and return the object."""
        return await self.send("PATCH", path, patch, Content_Type="application/merge-patch+json")

    async def delete(self, path: str) -> None:
        """Delete an object as `kubectl delete` does (what it owns goes afterwards); one that is gone is fine."""
        try:
            await self.send("DELETE", path, {"propagationPolicy": "Background"})
        except ApiError as error:
            if error.status != 404:
                raise

    async def list(self, path: str) -> Manifest:
        """Return all objects at a path."""
        return await self.send("GET", path)

    async def versions(self, namespaces: Iterable[str], *, without: Iterable[str] = ()) -> dict[str, str]:
        """Return the resourceVersion of every object, of whatever kind, in the namespaces; but for kinds `without`."""
        wanted, left_out = set(namespaces), set(without)
        kinds = {
            resource.plural: resource
            for resource in self._resources.values()
            if resource.namespaced and {"list", "watch"} <= resource.verbs and resource.kind not in left_out
        }
        found: dict[str, str] = {}
        for resource in kinds.values():
            answer = await self.send("GET", resource.path(), Accept=_ONLY_METADATA)
            for item in answer["items"] or []:
                metadata = item["metadata"]
                if metadata["namespace"] in wanted:
                    key = f"{resource.kind} {metadata['namespace']}/{metadata['name']}"
                    found[key] = metadata["resourceVersion"]
        return found

    async def watch(self, path: str, version: str) -> AsyncIterator[tuple[str, Manifest]]:
        """Give what happens to the objects at a path after a resourceVersion: ADDED, MODIFIED, DELETED, BOOKMARK.

        It ends when the API server ends it; an ERROR raises ApiError.
        """
        query = f"{path}?watch=true&allowWatchBookmarks=true&resourceVersion={version}"
        limits = aiohttp.ClientTimeout(total=None, sock_read=None)
        async with self._session.get(query, timeout=limits) as answer:
            if answer.status >= 400:
                raise ApiError(answer.status, (await answer.text())[:2000])
            async for line in answer.content:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise ApiError(event["object"].get("code", 0), event["object"].get("message", ""))
                yield event["type"], event["object"]


@asynccontextmanager
async def connect(server: str, certificates: Certificates) -> AsyncIterator[Api]:
    """Give a client of the API server for as long as the block lasts."""
    context = ssl.create_default_context(cafile=str(certificates.certificate("ca")))
    context.load_cert_chain(certificates.certificate("admin"), certificates.key("admin"))
    connector = aiohttp.TCPConnector(ssl=context, limit=0)
    timeout = aiohttp.ClientTimeout(total=_REQUEST_SECONDS)
    async with aiohttp.ClientSession(
        server, connector=connector, timeout=timeout, read_bufsize=_LINE_LIMIT_BYTES
    ) as session:
        api = Api(session)
        await api.discover()
        yield api


async def each(tasks: Iterable[Any], at_once: int = _AT_ONCE) -> list[Any]:
    """Await some coroutines, a few at a time, and return their results in order."""
    turns = asyncio.Semaphore(at_once)

    async def take(task: Any) -> Any:
        async with turns:
            return await task

    return await asyncio.gather(*(take(task) for task in tasks))
