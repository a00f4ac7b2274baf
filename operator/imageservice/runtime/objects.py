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
    """What is kept of an object: its type and metadata apart from the rest, for most of those who list look at no more.

    `content` is None where no more than the metadata is known.
    """

    uid: str
    version: int
    about: bytes
    content: bytes | None


class ObjectCache:
    """Objects by kind and name. `keeps` tells which objects are worth their memory: those that the watches follow."""

    def __init__(self, keeps: Callable[[Kind, Manifest], bool]) -> None:
        self._keeps = keeps
        self._objects: dict[Kind, dict[str, dict[str, _Stored]]] = defaultdict(dict)
        """By kind, namespace and name."""
        self._deleted: OrderedDict[str, int] = OrderedDict()
        self._vacated: OrderedDict[Key, None] = OrderedDict()
        self._doubted: set[Key] = set()
        self._listed: set[tuple[Kind, str | None]] = set()

    def synced(self, kind: Kind, namespace: str) -> bool:
        """Tell whether the kind was listed once, in that namespace or everywhere; before, nothing is known of it."""
        return (kind, None) in self._listed or (kind, namespace) in self._listed

    def get(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        """Return the whole object; None where it is not known, or not wholly."""
        stored = self._find(Key(kind, namespace, name))
        return None if stored is None or stored.content is None else _load(stored)

    def has(self, kind: Kind, namespace: str, name: str) -> bool:
        """Tell whether the object is known, be it only by its metadata."""
        return self._find(Key(kind, namespace, name)) is not None

    def was_there(self, kind: Kind, namespace: str, name: str) -> bool:
        """Tell whether an object of this name was known and is gone: somebody may have put another in its place."""
        return Key(kind, namespace, name) in self._vacated

    def all(self, kind: Kind, namespace: str) -> list[Manifest]:
        """Return all known objects of a namespace, of those whose content is not watched only type and metadata."""
        return [_load(stored) for stored in self._home(kind, namespace).values()]

    def all_metadata(self, kind: Kind, namespace: str) -> list[Manifest]:
        """Return type and metadata of all known objects of a namespace."""
        return [_unpack(stored.about) for stored in self._home(kind, namespace).values()]

    def saw(self, kind: Kind, manifest: Manifest, *, deleted: bool = False, whole: bool = True) -> Sight:
        """Take note of an object in a list or an event. `whole`: it came with its content, not its metadata alone."""
        metadata = manifest["metadata"]
        uid, version, key = metadata["uid"], version_of(metadata), _key(kind, metadata)
        before = self._find(key)
        if deleted:
            if before is not None and before.uid == uid and version < before.version:
                return Sight.OUTDATED
            known = self._is_gone(uid, version)
            self._forget(key, uid, version)
            return Sight.KNOWN if known and before is None else Sight.NEWS
        if self._is_gone(uid, version) or (before is not None and version < before.version):
            return Sight.OUTDATED
        if before is not None and (before.uid, before.version) == (uid, version):
            return Sight.KNOWN
        self._keep(key, manifest, whole=whole)
        return Sight.NEWS

    def read(self, kind: Kind, manifest: Manifest) -> bool:
        """Take note of an object that the API server answered a read or a write with; tell whether it is the newest."""
        metadata = manifest["metadata"]
        key, version = _key(kind, metadata), version_of(metadata)
        before = self._find(key)
        if self._is_gone(metadata["uid"], version) or (before is not None and before.version > version):
            return False
        self._keep(key, manifest, whole=True)
        return True

    def deleted(self, kind: Kind, manifest: Manifest) -> None:
        """Take note of an object that we deleted: from now on it is not believed to be there."""
        metadata = manifest["metadata"]
        self._forget(_key(kind, metadata), metadata["uid"], version_of(metadata))

    def is_doubted(self, kind: Kind, namespace: str, name: str) -> bool:
        """Tell whether an object was found to be no longer as it is known, and nothing newer was told since."""
        return Key(kind, namespace, name) in self._doubted

    def doubt(self, kind: Kind, namespace: str, name: str) -> None:
        """Note that an object is no longer as it is known: whoever is to act on it asks the API server before."""
        if self.has(kind, namespace, name):
            self._doubted.add(Key(kind, namespace, name))

    def absent(self, kind: Kind, namespace: str, name: str) -> None:
        """Take note that the API server was asked for an object and has none of this name: a doubted one is gone."""
        if self.is_doubted(kind, namespace, name):
            self._drop(Key(kind, namespace, name))

    def listed(self, kind: Kind, namespace: str | None, uids: Collection[str], version: int) -> list[Key]:
        """Take note of a complete list as of `version`, and return what is gone: known, older, and not in it.

        The objects in the list are told by `saw` before.
        """
        self._listed.add((kind, namespace))
        gone = [
            (Key(kind, home, name), stored.uid)
            for home in (self._objects[kind] if namespace is None else (namespace,))
            for name, stored in self._home(kind, home).items()
            if stored.uid not in uids and stored.version <= version
        ]
        for key, uid in gone:
            self._forget(key, uid, version)
        return [key for key, _ in gone]

    def __len__(self) -> int:
        """Return how many objects are kept."""
        return sum(len(home) for homes in self._objects.values() for home in homes.values())

    def _home(self, kind: Kind, namespace: str) -> dict[str, _Stored]:
        return self._objects[kind].get(namespace, {})

    def _find(self, key: Key) -> _Stored | None:
        return self._home(key.kind, key.namespace).get(key.name)

    def _keep(self, key: Key, manifest: Manifest, *, whole: bool) -> None:
        self._doubted.discard(key)
        if not self._keeps(key.kind, manifest):
            self._drop(key)
            return
        content = dict(key.kind.complete(manifest))
        about = {name: content.pop(name) for name in ("apiVersion", "kind", "metadata")}
        about["metadata"] = {name: value for name, value in about["metadata"].items() if name != "managedFields"}
        stored = _Stored(
            about["metadata"]["uid"], version_of(about["metadata"]), _pack(about), _pack(content) if whole else None
        )
        self._objects[key.kind].setdefault(key.namespace, {})[key.name] = stored

    def _is_gone(self, uid: str, version: int) -> bool:
        """Tell whether the object was deleted after it had this version."""
        return version <= self._deleted.get(uid, -1)

    def _forget(self, key: Key, uid: str, version: int) -> None:
        self._deleted[uid] = max(version, self._deleted.get(uid, -1))
        while len(self._deleted) > _REMEMBERED_DELETIONS:
            self._deleted.popitem(last=False)
        stored = self._find(key)
        if stored is not None and stored.uid == uid:
            self._drop(key)
            self._vacated[key] = None
            while len(self._vacated) > _REMEMBERED_DELETIONS:
                self._vacated.popitem(last=False)

    def _drop(self, key: Key) -> None:
        home = self._home(key.kind, key.namespace)
        home.pop(key.name, None)
        if not home:
            self._objects[key.kind].pop(key.namespace, None)
        self._doubted.discard(key)


def version_of(metadata: dict[str, Any]) -> int:
    """Return a resourceVersion as a number; 0 where it is none, so that it counts as neither newer nor older."""
    text = str(metadata.get("resourceVersion") or "")
    return int(text) if text.isdecimal() else 0


def _key(kind: Kind, metadata: dict[str, Any]) -> Key:
    return Key(kind, metadata.get("namespace", ""), metadata["name"])


def _pack(content: Manifest) -> bytes:
    return zlib.compress(json.dumps(content, separators=(",", ":")).encode(), _FASTEST)


def _unpack(packed: bytes) -> Manifest:
    manifest: Manifest = json.loads(zlib.decompress(packed))
    return manifest


def _load(stored: _Stored) -> Manifest:
    about = _unpack(stored.about)
    return about if stored.content is None else about | _unpack(stored.content)
