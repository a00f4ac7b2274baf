"""Write a status and tell its changes as Events; write and tell nothing where nothing changed."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from imageservice.api.v1alpha1 import READY
from imageservice.manifest import Manifest
from imageservice.runtime.cached import CachedKube
from imageservice.runtime.events import EventRecorder
from imageservice.runtime.kinds import Kind
from imageservice.runtime.kube import Conflict, NotFound
from imageservice.status.conditions import OPTIONAL_TYPES, told
from imageservice.status.events import transitions
from imageservice.status.reasons import Nature, nature

PACE_SECONDS = 1.0
"""What others changed in a status is put back once in so long, where it is not what a condition or a row says."""
COUNTS_SECONDS = 10.0
"""Counts and words that move during a roll-out are written once in so long; what a condition or a row says, at once."""
TOGETHER_SECONDS = 2.0
"""Objects that are applied together come within so long. Of one that is as young, nobody is told what it waits for."""
_REMEMBERED = 10_000


class StatusWriter:
    """Writes the status of objects of one kind. `clock` counts seconds, `now` is the time of day."""

    def __init__(
        self,
        kube: CachedKube,
        recorder: EventRecorder,
        kind: Kind,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._kube = kube
        self._recorder = recorder
        self._kind = kind
        self._clock = clock
        self._now = now
        self._written: dict[str, _Written] = {}

    async def write(self, live: Manifest, status: Manifest) -> float | None:
        """Apply `status` to the object `live`, if it differs from the one that it has and the object still is there.

        Return after how many seconds to come again, where it was too early to write.
        """
        before, uid = live.get("status", {}), live["metadata"]["uid"]
        if is_written(status, before):
            return None
        if "observedGeneration" not in before and _waits(status) and (rest := TOGETHER_SECONDS - self._age(live)) > 0:
            return rest
        wait = self._wait(uid, before)
        if wait > 0 and _says(before) == _says(status):
            return wait
        try:
            await self._kube.apply_status(self._kind, _with_status(self._kind, live, status))
        except NotFound:  # deleted since it was read: the watch tells of it
            return None
        except Conflict:  # another has its name now, or so many write to it that the API server gave up
            return PACE_SECONDS
        self._note(uid, status)
        for event in transitions(before.get("conditions", []), status["conditions"]):
            await self._recorder.emit(live, event.type, event.reason, event.message)
        return None

    def _wait(self, uid: str, before: Manifest) -> float:
        """Return how long to wait with what is not urgent. `before` is ours as long as nobody else has written."""
        last = self._written.get(uid)
        if last is None:
            return 0.0
        is_ours = last.content == _fingerprint(before)
        return last.at + (COUNTS_SECONDS if is_ours else PACE_SECONDS) - self._clock()

    def _age(self, live: Manifest) -> float:
        """Return the age of an object in seconds; where the clock of the API server is another, that of an old one."""
        age = (self._now() - datetime.fromisoformat(live["metadata"]["creationTimestamp"])).total_seconds()
        return age if age > -TOGETHER_SECONDS else TOGETHER_SECONDS

    def _note(self, uid: str, status: Manifest) -> None:
        if len(self._written) >= _REMEMBERED:
            self._written.clear()
        self._written[uid] = _Written(self._clock(), _fingerprint(status))


@dataclass(frozen=True, slots=True)
class _Written:
    """When a status was written last, and what it was, as a number."""

    at: float
    content: int


def _fingerprint(status: Manifest) -> int:
    return hash(json.dumps(_in_order({"conditions": [], **status}), sort_keys=True))


def _with_status(kind: Kind, live: Manifest, status: Manifest) -> Manifest:
    identity = {name: live["metadata"][name] for name in ("name", "namespace", "uid")}
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": identity, "status": status}


def _waits(status: Manifest) -> bool:
    """Tell whether all that is wrong is that something is not there yet."""
    ready = told(status, READY)
    return bool(ready) and nature(ready["reason"]) is Nature.WAITING


def _says(status: Manifest) -> set[tuple[object, ...]]:
    """Return what the conditions and the rows of stores and sites say, without words and counts, and of what spec."""
    found = status.get("conditions", [])
    said = {(c.get("type"), c.get("status"), c.get("reason"), c.get("observedGeneration")) for c in found}
    rows = {
        (row.get("name"), row.get("ready"), row.get("reason"), row.get(flag))
        for table, flag in _TABLES.items()
        for row in status.get(table, [])
    }
    return said | rows | {(status.get("observedGeneration"),)}


_TABLES = {"stores": "attached", "sites": "ready"}
"""Tables of the status whose rows say something -> the flag that others act upon."""


def is_written(status: Manifest, live: Manifest) -> bool:
    """Tell whether the status `live` is as wanted. Conditions that others added to it are theirs, and stay."""
    ours = {condition["type"] for condition in status["conditions"]} | OPTIONAL_TYPES
    found = [condition for condition in live.get("conditions", []) if condition.get("type") in ours]
    return _in_order(live | {"conditions": found}) == _in_order(status)


def _in_order(status: Manifest) -> Manifest:
    return status | {"conditions": sorted(status["conditions"], key=lambda condition: str(condition.get("type")))}
