"""A small synchronous client of the API server for tests: plain dictionaries, one kept-alive connection a thread.

It is independent of the operator's own client and takes a millisecond where kubectl takes fifty. Kinds are named as in
manifests (`Deployment`); where they are served is asked of the API server itself, so it knows every kind there is.
"""

import base64
import builtins
import contextlib
import http.client
import json
import ssl
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import yaml

Manifest = dict[str, Any]

JSON = "application/json"
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"
TIMEOUT_SECONDS = 30.0


class Refused(Exception):  # noqa: N818 - what the API server did
    """The API server refused a request: the HTTP status, and the `Status` object that says why."""

    def __init__(self, request: str, status: int, answer: Manifest) -> None:
        super().__init__(f"{request}: {status} {answer.get('reason', '')}: {answer.get('message', '')}")
        self.status = status
        self.reason = str(answer.get("reason", ""))
        self.message = str(answer.get("message", ""))
        self.causes: tuple[Manifest, ...] = tuple((answer.get("details") or {}).get("causes") or ())


@dataclass(frozen=True)
class Resource:
    """Where a kind is served: `root` is `/api/v1` or `/apis/<group>/<version>`."""

    root: str
    api_version: str
    kind: str
    plural: str
    namespaced: bool
    verbs: frozenset[str]

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        home = ["namespaces", namespace] if self.namespaced and namespace else []
        segments = [*home, self.plural, *(part for part in (name, subresource) if part)]
        return f"{self.root}/" + "/".join(quote(segment, safe=":") for segment in segments)


@dataclass
class ApiClient:
    """Talks to the API server of a kubeconfig (its current context), with the identity in it. Threads may share it."""

    kubeconfig: Path
    _local: threading.local = field(init=False, default_factory=threading.local)
    _resources: dict[str, Resource] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        document = yaml.safe_load(self.kubeconfig.read_text())
        context = _named(document["contexts"], document["current-context"])["context"]
        cluster = _named(document["clusters"], context["cluster"])["cluster"]
        user = _named(document["users"], context["user"])["user"]
        self.server = str(cluster["server"]).rstrip("/")
        self.tls = _tls(cluster, user) if self.server.startswith("https:") else None
        self.headers = {"Accept": JSON} | ({"Authorization": f"Bearer {user['token']}"} if user.get("token") else {})

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = JSON,
        query: Mapping[str, str] | None = None,
    ) -> Manifest:
        """Send one request and return the object in the answer. Raise Refused for a status of 400 and above."""
        target = path + (f"?{urlencode(query)}" if query else "")
        content = None if body is None else json.dumps(body).encode()
        headers = self.headers | ({} if content is None else {"Content-Type": content_type})
        status, answer = self._send(method, target, content, headers)
        try:
            found: Manifest = json.loads(answer) if answer else {}
        except ValueError:
            found = {"message": answer.decode(errors="replace")}
        if status >= 400:
            raise Refused(f"{method} {path}", status, found)
        return found

    def _send(self, method: str, target: str, content: bytes | None, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Send it; on a new connection where the kept-alive one was closed meanwhile, which is before it was read."""
        reused = getattr(self._local, "connection", None) is not None
        try:
            return self._exchange(method, target, content, headers)
        except (http.client.RemoteDisconnected, ConnectionError, ssl.SSLEOFError):
            self.close()
            if not reused:
                raise
            return self._exchange(method, target, content, headers)
        except (http.client.HTTPException, OSError):
            self.close()
            raise

    def _exchange(
        self, method: str, target: str, content: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, bytes]:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            address = urlsplit(self.server).netloc
            connection = (
                http.client.HTTPSConnection(address, timeout=TIMEOUT_SECONDS, context=self.tls)
                if self.tls
                else http.client.HTTPConnection(address, timeout=TIMEOUT_SECONDS)
            )
            self._local.connection = connection
        connection.request(method, target, body=content, headers=dict(headers))
        response = connection.getresponse()
        return response.status, response.read()

    def close(self) -> None:
        """Close the connection of this thread; the next request opens another."""
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None

    def resources(self) -> list[Resource]:
        """Return every kind that is served, in its preferred version; the core group first. Asked anew each time."""
        found = self._discover("/api/v1", "v1")
        for group in self.request("GET", "/apis")["groups"]:
            version = group["preferredVersion"]["groupVersion"]
            found += self._discover(f"/apis/{version}", version)
        return found

    def _discover(self, root: str, api_version: str) -> list[Resource]:
        return [
            Resource(root, api_version, r["kind"], r["name"], r["namespaced"], frozenset(r["verbs"]))
            for r in self.request("GET", root)["resources"]
            if "/" not in r["name"]
        ]

    def resource(self, kind: str) -> Resource:
        """Return where a kind is served; of kinds of one name that of the core group, else the first."""
        if kind not in self._resources:
            for resource in reversed(self.resources()):
                self._resources[resource.kind] = resource
        return self._resources[kind]

    def path_of(self, manifest: Manifest, subresource: str | None = None) -> str:
        """Return the path of an object."""
        metadata = manifest["metadata"]
        return self.resource(manifest["kind"]).path(metadata.get("namespace"), metadata["name"], subresource)

    def get(self, kind: str, namespace: str | None, name: str) -> Manifest:
        """Return an object. Raise Refused (404) where there is none."""
        return self.request("GET", self.resource(kind).path(namespace, name))

    def find(self, kind: str, namespace: str | None, name: str) -> Manifest | None:
        """Return an object, or None where there is none."""
        with missing_is_fine():
            return self.get(kind, namespace, name)
        return None

    def list(self, kind: str, namespace: str | None = None, *, labels: str = "") -> list[Manifest]:
        """Return the objects of a namespace (None: of all) that match a label selector."""
        return self.list_of(self.resource(kind), namespace, labels=labels)

    def list_of(self, resource: Resource, namespace: str | None = None, *, labels: str = "") -> builtins.list[Manifest]:
        """Return the objects of a kind, each with the apiVersion and kind that a list leaves out of its items."""
        query = {"labelSelector": labels} if labels else {}
        items = self.request("GET", resource.path(namespace), query=query)["items"]
        return [{"apiVersion": resource.api_version, "kind": resource.kind} | item for item in items]

    def everything(self, namespace: str) -> builtins.list[Manifest]:
        """Return every object in a namespace, of whatever kind."""
        listable = [r for r in self.resources() if r.namespaced and "list" in r.verbs]
        return [item for resource in listable for item in self.list_of(resource, namespace)]

    def create(self, manifest: Manifest) -> Manifest:
        """Create an object. Raise Refused (409) where there is one of its name."""
        return self.request(
            "POST", self.resource(manifest["kind"]).path(manifest["metadata"].get("namespace")), manifest
        )

    def apply(
        self, manifest: Manifest, *, manager: str, force: bool = True, subresource: str | None = None
    ) -> Manifest:
        """Server-side apply an object."""
        query = {"fieldManager": manager, "force": str(force).lower()}
        return self.request("PATCH", self.path_of(manifest, subresource), manifest, content_type=APPLY, query=query)

    def merge(
        self, live: Manifest, patch: Manifest, *, manager: str = "test", subresource: str | None = None
    ) -> Manifest:
        """Merge a patch (RFC 7386) into an object: None takes a field out, a list is replaced as a whole."""
        path, query = self.path_of(live, subresource), {"fieldManager": manager}
        return self.request("PATCH", path, patch, content_type=MERGE, query=query)

    def patch(
        self, live: Manifest, steps: builtins.list[Manifest], *, manager: str = "test", subresource: str | None = None
    ) -> Manifest:
        """Change an object by a JSON patch (RFC 6902)."""
        path, query = self.path_of(live, subresource), {"fieldManager": manager}
        return self.request("PATCH", path, steps, content_type=JSON_PATCH, query=query)

    def delete(self, live: Manifest, *, propagation: str = "Background", grace_seconds: int | None = None) -> None:
        """Delete an object; one that is gone already is fine."""
        options: Manifest = {"propagationPolicy": propagation}
        options |= {} if grace_seconds is None else {"gracePeriodSeconds": grace_seconds}
        with missing_is_fine():
            self.request("DELETE", self.path_of(live), options)


@contextlib.contextmanager
def missing_is_fine() -> Iterator[None]:
    """Go on where the API server says that there is no such object."""
    try:
        yield
    except Refused as refusal:
        if refusal.status != 404:
            raise


def _named(entries: list[Manifest], name: str) -> Manifest:
    return next(entry for entry in entries if entry["name"] == name)


def _tls(cluster: Manifest, user: Manifest) -> ssl.SSLContext:
    """Return the TLS settings; a certificate in the kubeconfig itself goes through a file, as OpenSSL wants one."""
    with tempfile.TemporaryDirectory() as directory:

        def file(entry: Manifest, name: str) -> str | None:
            if f"{name}-data" not in entry:
                return entry.get(name)
            path = Path(directory) / name
            path.touch(mode=0o600)
            path.write_bytes(base64.b64decode(entry[f"{name}-data"]))
            return str(path)

        context = ssl.create_default_context(cafile=file(cluster, "certificate-authority"))
        certificate = file(user, "client-certificate")
        if certificate:
            context.load_cert_chain(certificate, file(user, "client-key"))
    return context
