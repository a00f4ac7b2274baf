"""What the watches saw of every object, and what our own writes were answered: reads that cost no request.

Of each object the newest state that anybody told us is kept, whoever told it first: a list, an event, the answer to a
write or to a read. Which of two is newer follows from their resourceVersions (Kubernetes: "Resource versions are
comparable"), deletions included. So late, repeated and reordered news do no harm. An object that leaves the label
selector of a watch is told as deleted too, and may come back with a newer version.

Presence may be believed, absence may not: whoever is about to make an object asks the API server first, for an object
of that name may be there that no watch of ours shows. Manifests are kept as compressed JSON, a fortieth of the size of
dictionaries: the Secrets of one ImageService alone hold 60 kB of programs.
"""

import json
import zlib
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from imageservice.manifest import Manifest
from imageservice.runtime.kinds import Key, Kind

_REMEMBERED_DELETIONS = 8192
_FASTEST = 1
"""Level of the compression: higher ones take several times as long for little."""


class Sight(Enum):
    """What an event or a list tells us about an object."""

    OUTDATED = auto()
    """Something older than what is known: to be ignored."""
    KNOWN = auto()
    """Just the state that is known."""
    NEWS = auto()
    """A newer state, or an object that is not kept."""


@dataclass(frozen=True, slots=True)
class _Stored:
    uid: str
    version: int
    content: bytes
    whole: bool


class ObjectCache:
    """Objects by kind and name. `keeps` tells which objects are worth their memory: those that the watches follow."""

    def __init__(self, keeps: Callable[[Kind, Manifest], bool]) -> None:
        self._keeps = keeps
        self._objects: dict[Kind, dict[tuple[str, str], _Stored]] = defaultdict(dict)
        self._deleted: OrderedDict[str, int] = OrderedDict()
        self._vacated: OrderedDict[tuple[Kind, tuple[str, str]], None] = OrderedDict()
        self._doubted: set[tuple[Kind, tuple[str, str]]] = set()
        self._listed: set[tuple[Kind, str | None]] = set()

    def synced(self, kind: Kind, namespace: str) -> bool:
        """Tell whether the kind was listed once, in that namespace or everywhere; before, nothing is known of it."""
        return (kind, None) in self._listed or (kind, namespace) in self._listed

    def get(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        """Return the whole object; None where it is not known, or not wholly, or is doubted."""
        stored = self._objects[kind].get((namespace, name))
        doubted = (kind, (namespace, name)) in self._doubted
        return None if stored is None or not stored.whole or doubted else _load(stored)

    def has(self, kind: Kind, namespace: str, name: str) -> bool:
        """Tell whether the object is known, be it only by its metadata."""
        return (namespace, name) in self._objects[kind]

    def was_there(self, kind: Kind, namespace: str, name: str) -> bool:
        """Tell whether an object of this name was known and is gone: somebody may have put another in its place."""
        return (kind, (namespace, name)) in self._vacated

    def all(self, kind: Kind, namespace: str | None) -> list[Manifest]:
        """Return all known objects, of those whose content is not watched only type and metadata."""
        found = self._objects[kind].items()
        return [_load(stored) for (home, _), stored in found if namespace in (None, home)]

    def saw(self, kind: Kind, manifest: Manifest, *, deleted: bool = False, whole: bool = True) -> Sight:
        """Take note of an object in a list or an event. `whole`: it came with its content, not its metadata alone."""
        metadata = manifest["metadata"]
        uid, version, name = metadata["uid"], version_of(metadata), _name(metadata)
        before = self._objects[kind].get(name)
        if deleted:
            if before is not None and before.uid == uid and version < before.version:
                return Sight.OUTDATED
            known = self._is_gone(uid, version)
            self._forget(kind, name, uid, version)
            return Sight.KNOWN if known and before is None else Sight.NEWS
        if self._is_gone(uid, version) or (before is not None and version < before.version):
            return Sight.OUTDATED
        if before is not None and (before.uid, before.version) == (uid, version):
            return Sight.KNOWN
        self._keep(kind, manifest, whole=whole)
        return Sight.NEWS

    def read(self, kind: Kind, manifest: Manifest) -> bool:
        """Take note of an object that the API server answered a read or a write with; tell whether it is the newest."""
        metadata = manifest["metadata"]
        before, version = self._objects[kind].get(_name(metadata)), version_of(metadata)
        if self._is_gone(metadata["uid"], version) or (before is not None and before.version > version):
            return False
        self._keep(kind, manifest, whole=True)
        return True

    def deleted(self, kind: Kind, manifest: Manifest) -> None:
        """Take note of an object that we deleted: from now on it is not believed to be there."""
        metadata = manifest["metadata"]
        self._forget(kind, _name(metadata), metadata["uid"], version_of(metadata))

    def doubt(self, kind: Kind, namespace: str, name: str) -> None:
        """Have the next read of an object ask the API server. Among others it is still seen as it was."""
        if (namespace, name) in self._objects[kind]:
            self._doubted.add((kind, (namespace, name)))

    def absent(self, kind: Kind, namespace: str, name: str) -> None:
        """Take note that the API server was asked for an object and has none of this name: a doubted one is gone."""
        if (kind, (namespace, name)) in self._doubted:
            self._drop(kind, (namespace, name))

    def listed(self, kind: Kind, namespace: str | None, uids: Collection[str], version: int) -> list[Key]:
        """Take note of a complete list as of `version`, and return what is gone: known, older, and not in it.

        The objects in the list are told by `saw` before.
        """
        self._listed.add((kind, namespace))
        gone = [
            (name, stored.uid)
            for name, stored in self._objects[kind].items()
            if namespace in (None, name[0]) and stored.uid not in uids and stored.version <= version
        ]
        for name, uid in gone:
            self._forget(kind, name, uid, version)
        return [Key(kind, *name) for name, _ in gone]

    def __len__(self) -> int:
        """Return how many objects are kept."""
        return sum(map(len, self._objects.values()))

    def _keep(self, kind: Kind, manifest: Manifest, *, whole: bool) -> None:
        metadata = manifest["metadata"]
        self._doubted.discard((kind, _name(metadata)))
        if not self._keeps(kind, manifest):
            self._drop(kind, _name(metadata))
            return
        content = {**kind.complete(manifest), "metadata": {**metadata, "managedFields": None}}
        del content["metadata"]["managedFields"]
        packed = zlib.compress(json.dumps(content, separators=(",", ":")).encode(), _FASTEST)
        self._objects[kind][_name(metadata)] = _Stored(metadata["uid"], version_of(metadata), packed, whole)

    def _is_gone(self, uid: str, version: int) -> bool:
        """Tell whether the object was deleted after it had this version."""
        return version <= self._deleted.get(uid, -1)

    def _forget(self, kind: Kind, name: tuple[str, str], uid: str, version: int) -> None:
        self._deleted[uid] = max(version, self._deleted.get(uid, -1))
        while len(self._deleted) > _REMEMBERED_DELETIONS:
            self._deleted.popitem(last=False)
        stored = self._objects[kind].get(name)
        if stored is not None and stored.uid == uid:
            self._drop(kind, name)
            self._vacated[kind, name] = None
            while len(self._vacated) > _REMEMBERED_DELETIONS:
                self._vacated.popitem(last=False)

    def _drop(self, kind: Kind, name: tuple[str, str]) -> None:
        self._objects[kind].pop(name, None)
        self._doubted.discard((kind, name))


def version_of(metadata: dict[str, Any]) -> int:
    """Return a resourceVersion as a number; 0 where it is none, so that it counts as neither newer nor older."""
    text = str(metadata.get("resourceVersion") or "")
    return int(text) if text.isdecimal() else 0


def _name(metadata: dict[str, Any]) -> tuple[str, str]:
    return metadata.get("namespace", ""), metadata["name"]


def _load(stored: _Stored) -> Manifest:
    manifest: Manifest = json.loads(zlib.decompress(stored.content))
    return manifest
