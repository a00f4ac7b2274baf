"""The API server as the reconciles see it: reads come from what the watches saw, writes go out and are seen at once."""

import builtins
from collections.abc import Sequence

from imageservice.api.vocabulary import MANAGED_BY, MANAGED_BY_LABEL
from imageservice.manifest import Manifest
from imageservice.runtime.interests import Interests
from imageservice.runtime.kinds import NODE, Key, Kind
from imageservice.runtime.kube import Conflict, KubeApi, NotFound
from imageservice.runtime.objects import ObjectCache
from imageservice.runtime.seen import METADATA_KINDS, OWN_KINDS, WATCHED_KINDS, SeenObjects


class CachedKube:
    """The reads and writes of a reconcile, as `KubeApi` has them.

    An object that is known is returned as it was seen last. One that is not known is asked for, so a name is never
    taken for free that is not. A stale view costs a pass and no more: what is written is written to the version that
    was looked at (`KubeApi.apply`), and the event that was missing brings the object back.
    """

    def __init__(self, kube: KubeApi, objects: ObjectCache, interests: Interests, seen: SeenObjects) -> None:
        self._kube = kube
        self._objects = objects
        self._interests = interests
        self._seen = seen

    def synced(self, kind: Kind, namespace: str) -> bool:
        """Tell whether the kind is watched and was listed, so that what is not known most likely is not there."""
        return self._objects.synced(kind, namespace)

    def known(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        """Return the object as it was seen last, without a request; None where it is not known, or not wholly."""
        return self._objects.get(kind, namespace, name) if self.synced(kind, namespace) else None

    async def get(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        """Return the object, or None where the API server says that there is none."""
        if kind in METADATA_KINDS:
            self._interests.note(Key(kind, namespace, name))
        known = self.known(kind, namespace, name)
        if known is not None and not self._objects.is_doubted(kind, namespace, name):
            return known
        found = await self._kube.get(kind, namespace, name)
        if found is None:
            self._objects.absent(kind, namespace, name)
        elif kind in WATCHED_KINDS:
            self._answered(kind, found)
        return found

    async def follow(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        """Return an object of ours as `get` does, and have the reconcile that asks come back when it changes."""
        self._interests.note(Key(kind, namespace, name))
        return await self.get(kind, namespace, name)

    async def get_unique(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        """Return the object as `get` does, but without asking for one that no watch has shown.

        For names that nobody else can have hit upon, as they end in a hash with a uid in it; but one that was seen may
        have been taken over since.
        """
        if kind in METADATA_KINDS:
            self._interests.note(Key(kind, namespace, name))
        objects = self._objects
        if (
            self.synced(kind, namespace)
            and not objects.has(kind, namespace, name)
            and not objects.was_there(kind, namespace, name)
        ):
            return None
        return await self.get(kind, namespace, name)

    async def list(self, kind: Kind, namespace: str, *, labels: str | None = None) -> builtins.list[Manifest]:
        """Return the objects of a namespace that match labels like `a=b,c=d`."""
        if kind in METADATA_KINDS or kind not in WATCHED_KINDS or not self.synced(kind, namespace):
            return await self._kube.list(kind, namespace, labels=labels)
        return _matching(self._objects.all(kind, namespace), labels)

    async def list_metadata(self, kind: Kind, namespace: str, *, labels: str) -> builtins.list[Manifest]:
        """Return type and metadata of our children in a namespace that match the labels."""
        if not self.synced(kind, namespace):
            return await self._kube.list(kind, namespace, labels=labels)
        return _matching(self._objects.all_metadata(kind, namespace), labels)

    async def nodes(self, labels: str | None = None) -> builtins.list[Manifest]:
        """Return type and metadata of the nodes that match labels like `a=b,c=d`, asked for: they are not watched."""
        return (await self._kube.snapshot(NODE, None, labels=labels or None, metadata_only=True)).items

    async def apply(self, kind: Kind, manifest: Manifest, *, live: Manifest | None) -> Manifest:
        """See `KubeApi.apply`."""
        try:
            answer = await self._kube.apply(kind, manifest, live=live)
        except Conflict:
            self._objects.doubt(kind, manifest["metadata"]["namespace"], manifest["metadata"]["name"])
            raise
        if answer is not live:
            self._answered(kind, answer)
        return answer

    async def apply_status(self, kind: Kind, manifest: Manifest) -> Manifest:
        """See `KubeApi.apply_status`."""
        try:
            answer = await self._kube.apply_status(kind, manifest)
        except (NotFound, Conflict):
            self._objects.doubt(kind, manifest["metadata"]["namespace"], manifest["metadata"]["name"])
            raise
        self._answered(kind, answer)
        return answer

    async def apply_finalizers(self, kind: Kind, live: Manifest, finalizers: Sequence[str]) -> Manifest:
        """See `KubeApi.apply_finalizers`."""
        try:
            answer = await self._kube.apply_finalizers(kind, live, finalizers)
        except (NotFound, Conflict):
            self._objects.doubt(kind, live["metadata"]["namespace"], live["metadata"]["name"])
            raise
        self._answered(kind, answer)
        return answer

    async def delete(self, kind: Kind, live: Manifest) -> None:
        """See `KubeApi.delete`."""
        await self._kube.delete(kind, live)
        self._objects.deleted(kind, live)

    def _answered(self, kind: Kind, manifest: Manifest) -> None:
        """Take note of an object that the API server answered with: from now on others read it too."""
        if self._objects.read(kind, manifest):
            self._seen.shown(kind, manifest)


def worth_keeping(kind: Kind, manifest: Manifest, interests: Interests) -> bool:
    """Tell whether the watches follow an object closely enough for reads to rely on them: the rule of ObjectCache."""
    metadata = manifest["metadata"]
    if kind in OWN_KINDS or metadata.get("labels", {}).get(MANAGED_BY_LABEL) == MANAGED_BY:
        return True
    return kind in METADATA_KINDS and bool(
        interests.readers(Key(kind, metadata.get("namespace", ""), metadata["name"]))
    )


def _matching(found: builtins.list[Manifest], labels: str | None) -> builtins.list[Manifest]:
    wanted = dict(pair.split("=", 1) for pair in labels.split(",")) if labels else {}
    return [item for item in found if wanted.items() <= item["metadata"].get("labels", {}).items()]
