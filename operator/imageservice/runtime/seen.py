"""From what happens in the cluster to which objects to reconcile, and how urgently. No input or output in here.

An event is only a hint: a reconcile reads what it needs. So little is kept of an object, just enough to tell whether it
changed in a way that matters, whom it belongs to, and, when a list comes without it, that it is gone: the event engine
says nothing of deletions that happened while a watch was broken.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from imageservice.api.vocabulary import GROUP
from imageservice.manifest import Manifest
from imageservice.runtime.interests import Interests
from imageservice.runtime.kinds import (
    CACHE_POLICY,
    CONFIG_MAP,
    DAEMON_SET,
    DEPLOYMENT,
    IMAGE_PRECACHE,
    IMAGE_SERVICE,
    IMAGE_STORE,
    JOB,
    PERSISTENT_VOLUME_CLAIM,
    POD_DISRUPTION_BUDGET,
    SECRET,
    SERVICE,
    Key,
    Kind,
)
from imageservice.runtime.objects import version_of
from imageservice.runtime.queue import Urgency
from imageservice.status import conditions

EventType = Literal["ADDED", "MODIFIED", "DELETED"] | None
"""What a watch says of an object; None: it was in a list."""

OWN_KINDS = (IMAGE_SERVICE, IMAGE_STORE, CACHE_POLICY, IMAGE_PRECACHE)
METADATA_KINDS = (SECRET, CONFIG_MAP, PERSISTENT_VOLUME_CLAIM)
"""Kinds that users own too: all of them are watched, but only that they change, not what is in them."""
WATCHED_KINDS = (*OWN_KINDS, DEPLOYMENT, DAEMON_SET, JOB, SERVICE, POD_DISRUPTION_BUDGET, *METADATA_KINDS)
_OWN_BY_NAME = {kind.kind: kind for kind in OWN_KINDS}

_ALWAYS_THERE = (DEPLOYMENT, SERVICE, SECRET)
"""Kinds of which every settled ImageService has a child: where one lacks, it is served before the others at a start."""

SETTLE_SECONDS = 0.05
"""Changes of a child come in bursts (a roll-out, several controllers): one look this much later sees them all."""

HEAD_START_SECONDS = 0.5
"""By how much the objects that lack a child at a start come before those that are only to be confirmed."""

_Add = Callable[[Key, Urgency, float], None]


@dataclass(frozen=True)
class Seen:
    """What is kept of an object.

    `asked` changes with what only users write, `identity` with all but its status, `links` with what concerns its
    relatives; None stands for what they may have read and no event has told yet. `service` is the ImageService that an
    ImageStore refers to. `settled` tells whether its status is up to date and good.
    """

    key: Key
    uid: str
    resource_version: str
    owner: Key | None = None
    service: Key | None = None
    asked: int = 0
    identity: int = 0
    links: int | None = 0
    settled: bool = False


@dataclass
class SeenObjects:
    """All objects of the watched kinds, and what follows from a change of one.

    `add` puts a key in the queue. Until `start` nothing is put there: the lists are awaited first, so that what is
    missing can be told from what is only to be confirmed. `interests` knows which own objects read one of a user's.
    """

    add: _Add
    interests: Interests = field(default_factory=Interests)
    started: bool = False
    _by_uid: dict[Kind, dict[str, Seen]] = field(default_factory=lambda: defaultdict(dict))
    _named: Counter[Key] = field(default_factory=Counter)
    _stores: dict[Key, set[Key]] = field(default_factory=lambda: defaultdict(set))

    def exists(self, key: Key) -> bool:
        """Tell whether there is an object of this kind and name, as far as has been seen."""
        return self._named[key] > 0

    def saw(self, kind: Kind, event: EventType, manifest: Manifest, *, echo: bool = False, news: bool = True) -> None:
        """Take note of an event. `echo`: it shows what we wrote ourselves, so its writer need not look.

        `news` is False for a state of the object that was known.
        """
        now = look(kind, manifest)
        before = self._by_uid[kind].get(now.uid)
        if before is None and now.owner is None and kind in METADATA_KINDS:
            if news:
                self.wake_readers(now.key)
            return
        if event == "DELETED":
            self._gone(now if before is None else before)
            return
        if before is not None and before.resource_version == now.resource_version:
            return
        self._keep(now, before)
        if not self.started:
            return
        if kind in OWN_KINDS:
            self._own_changed(now, before, echo=echo)
        elif not echo:
            self._child_changed(now, before)

    def shown(self, kind: Kind, manifest: Manifest) -> None:
        """Take note of an answer of the API server that relatives may read before the watch tells of it.

        The watch may pass over that state, and tell of a later one alone, which is like the one before: so its next
        event wakes the relatives whatever it says.
        """
        if kind not in OWN_KINDS:
            return
        now = look(kind, manifest)
        before = self._by_uid[kind].get(now.uid)
        if before is not None and before.resource_version != now.resource_version and before.links != now.links:
            self._by_uid[kind][now.uid] = replace(before, links=None)

    def listed(self, kind: Kind, namespace: str | None, uids: Collection[str], version: int) -> None:
        """Take note of a complete list as of `version` (`namespace` None: of the whole cluster).

        What is not in it is gone, unless it is newer than the list.
        """
        for seen in list(self._by_uid[kind].values()):
            older = version_of({"resourceVersion": seen.resource_version}) <= version
            if older and seen.uid not in uids and namespace in (None, seen.key.namespace):
                self._gone(seen)

    def wake_readers(self, key: Key) -> None:
        """Have those look again who read this object of a user."""
        if self.started:
            self._wake(self.interests.readers(key), Urgency.PROGRESS, SETTLE_SECONDS)

    def start(self) -> set[Key]:
        """Put all own objects in the queue, each with the urgency it deserves, and return their keys."""
        self.started = True
        have: dict[Key, set[Kind]] = defaultdict(set)
        for kind, objects in self._by_uid.items():
            for seen in objects.values():
                if seen.owner is not None:
                    have[seen.owner].add(kind)
        own = [seen for kind in OWN_KINDS for seen in self._by_uid[kind].values()]
        found = {seen.key: _first_urgency(seen, have.get(seen.key, set())) for seen in own}
        later = HEAD_START_SECONDS if Urgency.MISSING in found.values() else 0.0
        for key, urgency in found.items():
            self.add(key, urgency, later if urgency is Urgency.CONFIRM else 0.0)
        return set(found)

    def _keep(self, now: Seen, before: Seen | None) -> None:
        self._by_uid[now.key.kind][now.uid] = now
        if before is None:
            self._named[now.key] += 1
        if now.service is not None:
            self._stores[now.service].add(now.key)

    def _own_changed(self, now: Seen, before: Seen | None, *, echo: bool) -> None:
        if before is None or before.identity != now.identity:
            # Our write may show a change by others that came just before it, and whose own event is outdated now.
            if not echo or before is None or before.asked != now.asked:
                self.add(now.key, Urgency.CHANGE, 0.0)
        elif not echo:  # somebody else wrote the status
            self.add(now.key, Urgency.CONFIRM, SETTLE_SECONDS)
        if before is None or before.links != now.links:
            self._wake_relatives(now)

    def _wake_relatives(self, own: Seen) -> None:
        """Wake the ImageService of a store, the stores of an ImageService, and whoever else read this object."""
        relatives = self._stores.get(own.key, set()) if own.service is None else {own.service}
        relatives = relatives | self.interests.readers(own.key)
        for key in relatives:
            self.add(key, Urgency.PROGRESS, 0.0)

    def _child_changed(self, now: Seen, before: Seen | None) -> None:
        owners = {now.owner, before.owner if before is not None else None}
        self._wake(owners, Urgency.PROGRESS, SETTLE_SECONDS)

    def _gone(self, seen: Seen) -> None:
        if self._by_uid[seen.key.kind].pop(seen.uid, None) is not None:
            self._forget(seen)
        if not self.started:
            return
        if seen.key.kind in OWN_KINDS:
            self.add(seen.key, Urgency.CHANGE, 0.0)
            self._wake_relatives(seen)
        elif seen.owner is not None:
            self.add(seen.owner, Urgency.MISSING, 0.0)

    def _forget(self, seen: Seen) -> None:
        """Take an object out of the indexes, unless its successor of the same name has been seen already."""
        self._named[seen.key] -= 1
        if self._named[seen.key] > 0:
            return
        del self._named[seen.key]
        if seen.service is not None:
            self._stores[seen.service].discard(seen.key)
            if not self._stores[seen.service]:
                del self._stores[seen.service]

    def _wake(self, keys: Iterable[Key | None], urgency: Urgency, after: float) -> None:
        for key in keys:
            if key is not None:
                self.add(key, urgency, after)


def look(kind: Kind, manifest: Manifest) -> Seen:
    """Return what is to be kept of an object."""
    metadata = manifest["metadata"]
    key = Key(kind, metadata.get("namespace", ""), metadata["name"])
    version = metadata.get("resourceVersion", "")
    if kind not in OWN_KINDS:
        return Seen(key, metadata["uid"], version, owner=_owner(key, metadata))
    spec, status = manifest.get("spec") or {}, manifest.get("status") or {}
    generation, deletion = metadata.get("generation"), metadata.get("deletionTimestamp")
    asked = (generation, deletion, metadata.get("labels"), metadata.get("annotations"))
    return Seen(
        key,
        metadata["uid"],
        version,
        service=_service(key, spec) if kind == IMAGE_STORE else None,
        asked=_fingerprint(asked),
        identity=_fingerprint((*asked, metadata.get("finalizers"))),
        links=_fingerprint(_told_to_relatives(kind, generation, deletion, status)),
        settled=_is_settled(generation, deletion, status),
    )


def _told_to_relatives(kind: Kind, generation: object, deletion: object, status: dict[str, Any]) -> tuple[object, ...]:
    """Return what of an object those read that depend on it: its spec, whether it ends, and parts of its status."""
    if kind == IMAGE_PRECACHE:
        # Nodes hear of it from its own passes, but for its end, which those of the CachePolicies tell them.
        return (deletion,)
    return generation, deletion, *_told_by_status(kind, status)


def _told_by_status(kind: Kind, status: dict[str, Any]) -> tuple[object, ...]:
    if kind == IMAGE_SERVICE:
        schema = (status.get("release"), conditions.told(status, "DatabaseReady").get("status"))
        # Caches wait until what is said of the schema is said of the newest spec.
        return *_told_to_stores(status), *schema, status.get("observedGeneration")
    if kind == CACHE_POLICY:
        nodes = status.get("nodes") or {}
        return status.get("imageServiceName"), nodes.get("desired"), nodes.get("ready")
    return _told_to_service(status)


def _told_to_stores(status: dict[str, Any]) -> tuple[object, ...]:
    """Return what of an ImageService's status its stores read."""
    stores = [(row.get("name"), row.get("attached")) for row in status.get("stores") or []]
    edges = [row for row in status.get("sites") or [] if row.get("edge")]
    return stores, edges, conditions.told(status, "Stalled").get("reason")


def _told_to_service(status: dict[str, Any]) -> tuple[object, ...]:
    """Return what of an ImageStore's status its service reads."""
    ready = conditions.told(status, "Ready")
    return ready.get("status"), ready.get("reason")


def _owner(key: Key, metadata: dict[str, Any]) -> Key | None:
    """Return the own object that controls a child."""
    for reference in metadata.get("ownerReferences") or []:
        group, _, _ = reference.get("apiVersion", "").rpartition("/")
        kind = _OWN_BY_NAME.get(reference.get("kind", ""))
        if reference.get("controller") and group == GROUP and kind is not None:
            return Key(kind, key.namespace, reference.get("name", ""))
    return None


def _service(key: Key, spec: dict[str, Any]) -> Key | None:
    name = (spec.get("imageServiceRef") or {}).get("name")
    return Key(IMAGE_SERVICE, key.namespace, name) if isinstance(name, str) else None


def _is_settled(generation: object, deletion: object, status: dict[str, Any]) -> bool:
    ready = conditions.told(status, "Ready").get("status") == "True"
    return deletion is None and status.get("observedGeneration") == generation and ready


def _first_urgency(seen: Seen, children: set[Kind]) -> Urgency:
    """Return how urgent an own object is at the start of the process, from its status and the kinds of its children."""
    if seen.settled:
        lacking = seen.key.kind == IMAGE_SERVICE and not children.issuperset(_ALWAYS_THERE)
        return Urgency.MISSING if lacking else Urgency.CONFIRM
    return Urgency.PROGRESS if children else Urgency.CHANGE


def _fingerprint(values: object) -> int:
    return hash(json.dumps(values, sort_keys=True, default=str))
