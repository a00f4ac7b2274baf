"""The one place that talks to the API server: plain dictionaries in and out, server-side apply, one error type."""

import asyncio
import builtins
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from imageservice.manifest import Manifest
from imageservice.runtime import apply as applying
from imageservice.runtime.connection import Connection
from imageservice.runtime.failures import (
    ApiError,
    Conflict,
    Forbidden,
    Invalid,
    NamespaceEnds,
    NotFound,
    NotLeading,
    Throttled,
    Unreachable,
)
from imageservice.runtime.kinds import Kind
from imageservice.runtime.limits import TokenBucket
from imageservice.runtime.metrics import Metrics
from imageservice.runtime.objects import version_of
from imageservice.runtime.own_writes import OwnWrites
from imageservice.runtime.transport import APPLY, JSON, Call, Transport

__all__ = [
    "FIELD_MANAGER",
    "FINALIZER_MANAGER",
    "ApiError",
    "Conflict",
    "Forbidden",
    "Invalid",
    "KubeApi",
    "NamespaceEnds",
    "NotFound",
    "NotLeading",
    "Throttled",
    "Unreachable",
]

FIELD_MANAGER = "image-service-operator"
"""Owner of every field of the children and of `status`."""
FINALIZER_MANAGER = "image-service-operator-finalizer"
"""Owner of our finalizer, apart from the above, so that adding and removing it touches no other field."""

ROOM_MANAGER = "image-service-operator-repair"
"""Owner of fields for the moment between a replacement and the apply that follows it."""
MERGE_PATCH = "application/merge-patch+json"

TRIES = 5
"""How often to look again at an object that others change between our look and our write."""
CONFLICT_SECONDS = 0.03
"""Pause before the third try, and longer before each further one: a controller may be answering our own write."""
PAGE_SIZE = 500
REQUEST_SECONDS = 20.0
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
"""Forms in which the API server leaves out all but type and metadata (Kubernetes: "Resource representations")."""


@dataclass(frozen=True)
class Snapshot:
    """A complete list and the resourceVersion that it shows."""

    items: list[Manifest]
    version: int


class KubeApi:
    """Reads and writes objects of the kinds in `kinds.py`.

    Every method raises ApiError or a subclass. A write raises NotLeading, and sends nothing, once `may_write` says no:
    it is asked when the connection is there and before the first byte goes out. `rate` and `burst` bound the requests a
    second, `request_seconds` the time for one.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        metrics: Metrics | None = None,
        may_write: Callable[[], bool] = lambda: True,
        rate: float = 250.0,
        burst: int = 500,
        request_seconds: float = REQUEST_SECONDS,
    ) -> None:
        self._metrics = metrics or Metrics()
        self._may_write = may_write
        self._transport = Transport(
            connection,
            self._metrics,
            TokenBucket(rate, burst, time.monotonic),
            before_write=self._check_leadership,
            request_seconds=request_seconds,
        )
        self._applied = ApplyCache()

    @property
    def own_writes(self) -> OwnWrites:
        """The writes done lately, by which the watches know our own echo."""
        return self._transport.own_writes

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()

    async def get(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        """Return the object as it is now (not from a cache), or None where there is none."""
        try:
            return await self._transport.send(Call("get", "GET", kind, kind.path(namespace, name)))
        except NotFound:
            return None

    async def list(
        self, kind: Kind, namespace: str | None = None, *, labels: str | None = None
    ) -> builtins.list[Manifest]:
        """Return all objects of a namespace, or of all, that match the label selector; read in pages."""
        return (await self.snapshot(kind, namespace, labels=labels)).items

    async def snapshot(
        self, kind: Kind, namespace: str | None = None, *, labels: str | None = None, metadata_only: bool = False
    ) -> Snapshot:
        """Return all objects of a namespace, or of all, as they were at one resourceVersion; read in pages."""
        items: list[Manifest] = []
        token = ""
        accept = METADATA_LIST if metadata_only else JSON
        while True:
            query = {"limit": str(PAGE_SIZE)}
            query |= {"labelSelector": labels} if labels else {}
            query |= {"continue": token} if token else {}
            try:
                page = await self._transport.send(
                    Call("list", "GET", kind, kind.path(namespace), query=query, accept=accept)
                )
            except ApiError as error:
                if error.status == 410 and token:  # reading took longer than the API server keeps history: begin anew
                    items, token = [], ""
                    continue
                raise
            items += [kind.complete(item) for item in page.get("items") or []]
            token = page.get("metadata", {}).get("continue") or ""
            if not token:
                return Snapshot(items, version_of(page["metadata"]))

    async def apply(self, kind: Kind, manifest: Manifest, *, live: Manifest | None) -> Manifest:
        """Make the object be as `manifest` says by server-side apply, and return it as it is then.

        Nothing is sent where `live`, the object as just read, already is so. Fields of ours that others changed are
        taken back (`force`), fields of others are left alone. What is written is written to just the version that was
        looked at: where it has changed since, it is read and looked at again, so that a late write of a process that
        was held up never undoes a newer one. Where ours is refused beside what others put there, theirs goes. Raise
        Conflict where that happens over and over, or where the object was replaced by another of its name.
        """
        wanted = applying.with_digest(manifest)
        metadata = wanted["metadata"]
        path = kind.path(metadata["namespace"], metadata["name"])
        refused = False
        for tried in range(1, TRIES + 1):
            if live is not None and not refused:
                if applying.is_settled(manifest, live) or self._applied.knows(kind, wanted, live):
                    self._metrics.apply_cache_hits.labels(kind=kind.kind).inc()
                    return live
                self._metrics.apply_cache_misses.labels(kind=kind.kind).inc()
            try:
                if refused and live is not None:
                    live = await self._make_room(kind, wanted, live)
                answer = await self._apply("apply", kind, path, _at_version(wanted, live))
            except Conflict:
                if tried == TRIES or live is None:
                    raise
                await asyncio.sleep(CONFLICT_SECONDS * (tried - 1))
                live = await self._same(kind, live)
            except Invalid:
                if refused or live is None:
                    raise
                refused = True
            else:
                self._applied.remember(kind, wanted, answer)
                return answer
        raise AssertionError("the last try returns or raises")

    async def apply_status(self, kind: Kind, manifest: Manifest) -> Manifest:
        """Make the whole status be that of `manifest`, and return the object.

        `manifest` has apiVersion, kind, metadata with name and namespace (and uid, lest a successor of the object be
        written to), and status. Raise NotFound where the object is gone; it is never created.
        """
        metadata = manifest["metadata"]
        path = kind.path(metadata["namespace"], metadata["name"], "status")
        return await self._apply("apply_status", kind, path, manifest)

    async def apply_finalizers(self, kind: Kind, live: Manifest, finalizers: Sequence[str]) -> Manifest:
        """Make our finalizers on the object be these, and return it; finalizers of others stay.

        The uid of `live` goes with the request, so an object that is gone is not created, and one that was re-created
        under its name is not touched: both raise Conflict.
        """
        metadata = live["metadata"]
        identity = {key: metadata[key] for key in ("name", "namespace", "uid")}
        manifest = {
            "apiVersion": kind.api_version,
            "kind": kind.kind,
            "metadata": {**identity, "finalizers": list(finalizers)},
        }
        path = kind.path(metadata["namespace"], metadata["name"])
        return await self._apply("apply_finalizers", kind, path, manifest, manager=FINALIZER_MANAGER)

    async def create(self, kind: Kind, manifest: Manifest) -> Manifest:
        """Create the object and return it. Raise Conflict where there is one of its name."""
        metadata = manifest["metadata"]
        path, query = kind.path(metadata["namespace"]), {"fieldManager": FIELD_MANAGER}
        call = Call("create", "POST", kind, path, query=query, body=manifest, wrote=metadata["name"])
        return await self._transport.send(call)

    async def replace(self, kind: Kind, manifest: Manifest) -> Manifest:
        """Replace the object and return it. Raise Conflict where its resourceVersion is not that of `manifest`."""
        metadata = manifest["metadata"]
        path, query = kind.path(metadata["namespace"], metadata["name"]), {"fieldManager": FIELD_MANAGER}
        call = Call("replace", "PUT", kind, path, query=query, body=manifest, wrote=metadata["name"])
        return await self._transport.send(call)

    async def delete(self, kind: Kind, live: Manifest) -> None:
        """Delete just this object, its children after it; one that is gone or was re-created since is left alone."""
        metadata = live["metadata"]
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": metadata["uid"]},
        }
        path = kind.path(metadata["namespace"], metadata["name"])
        try:
            await self._transport.send(Call("delete", "DELETE", kind, path, body=options))
        except (NotFound, Conflict):
            return

    async def serves(self, kind: Kind) -> bool:
        """Tell whether the API server serves this kind (for one of a CRD: whether the CRD is installed)."""
        root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
        try:
            answer = await self._transport.send(Call("discover", "GET", kind, root))
        except NotFound:
            return False
        return any(resource.get("name") == kind.plural for resource in answer.get("resources", []))

    async def _apply(
        self, verb: str, kind: Kind, path: str, manifest: Manifest, *, manager: str = FIELD_MANAGER
    ) -> Manifest:
        query = {"fieldManager": manager, "force": "true"}
        name = manifest["metadata"]["name"]
        call = Call(verb, "PATCH", kind, path, query=query, body=manifest, content_type=APPLY, wrote=name)
        return await self._transport.send(call)

    async def _make_room(self, kind: Kind, wanted: Manifest, live: Manifest) -> Manifest:
        """Take out what others put beside our fields: together the API server refuses them, so ours cannot come back.

        An example is a port of another number under our port's name: a port's number is its key, so applying ours adds
        a second one; another is a member of a union beside ours. A merge patch makes the spec be ours; by that its
        fields come to belong to a manager of its own, which is dropped at once, so that they are ours alone. Return the
        object as it is then. Raises Invalid where our fields are refused even so.
        """
        content = {name: value for name, value in wanted.items() if name not in ("apiVersion", "kind", "metadata")}
        only_ours = {name: applying.replacement(value, live.get(name)) for name, value in content.items()}
        cleared = await self._merge(kind, live, only_ours)
        owners = [owner for owner in cleared["metadata"]["managedFields"] if owner.get("manager") != ROOM_MANAGER]
        return await self._merge(kind, cleared, {}, managedFields=owners)

    async def _merge(self, kind: Kind, live: Manifest, content: Manifest, **metadata: object) -> Manifest:
        """Merge-patch just this version of the object."""
        identity = {name: live["metadata"][name] for name in ("name", "namespace", "uid", "resourceVersion")}
        path, query = kind.path(identity["namespace"], identity["name"]), {"fieldManager": ROOM_MANAGER}
        body = {**content, "metadata": {**identity, **metadata}}
        call = Call("merge", "PATCH", kind, path, query, body, MERGE_PATCH, wrote=identity["name"])
        return await self._transport.send(call)

    async def _same(self, kind: Kind, before: Manifest) -> Manifest | None:
        """Read an object again. Raise Conflict where there is another of its name now."""
        metadata = before["metadata"]
        now = await self.get(kind, metadata["namespace"], metadata["name"])
        if now is not None and now["metadata"]["uid"] != metadata["uid"]:
            raise Conflict(409, "Conflict", f"{kind.kind} {metadata['name']} was replaced by another of its name")
        return now

    def _check_leadership(self) -> None:
        if not self._may_write():
            raise NotLeading


class ApplyCache:
    """Applies that are known to change nothing: this manifest on this very version of this object was done before.

    It only matters where `apply.is_settled` sees a difference that is none, because the API server stores a value in
    another form than it was sent. Bounded; the least recently used entry goes first.
    """

    def __init__(self, size: int = 8192) -> None:
        self._size = size
        self._intents: OrderedDict[tuple[Kind, str, str, str, str], str] = OrderedDict()

    def knows(self, kind: Kind, wanted: Manifest, live: Manifest) -> bool:
        """Tell whether applying `wanted` to `live` is known to change nothing."""
        identity = _identity(kind, live)
        if self._intents.get(identity) != applying.content_hash(wanted):
            return False
        self._intents.move_to_end(identity)
        return True

    def remember(self, kind: Kind, wanted: Manifest, answer: Manifest) -> None:
        """Note that `wanted` was applied, and that `answer` is what came of it."""
        self._intents[_identity(kind, answer)] = applying.content_hash(wanted)
        while len(self._intents) > self._size:
            self._intents.popitem(last=False)


def _at_version(wanted: Manifest, live: Manifest | None) -> Manifest:
    """Return the manifest with the condition that the object still is the version in `live`."""
    if live is None:
        return wanted
    return {**wanted, "metadata": {**wanted["metadata"], "resourceVersion": live["metadata"]["resourceVersion"]}}


def _identity(kind: Kind, live: Manifest) -> tuple[Kind, str, str, str, str]:
    metadata = live["metadata"]
    return kind, metadata["namespace"], metadata["name"], metadata["uid"], metadata["resourceVersion"]
