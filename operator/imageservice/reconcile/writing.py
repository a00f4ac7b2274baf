"""Write a status and tell its changes as Events; write and tell nothing where nothing changed."""

import time
from collections.abc import Callable

from imageservice.manifest import Manifest
from imageservice.runtime.cached import CachedKube
from imageservice.runtime.events import EventRecorder
from imageservice.runtime.kinds import Kind
from imageservice.runtime.kube import Conflict, NotFound
from imageservice.status.conditions import OPTIONAL_TYPES
from imageservice.status.events import transitions

PACE_SECONDS = 1.0
"""Counts and words that move during a roll-out are written once in so long; what a condition says, at once."""
_REMEMBERED = 10_000


class StatusWriter:
    """Writes the status of objects of one kind. `clock` counts seconds and never goes back."""

    def __init__(
        self, kube: CachedKube, recorder: EventRecorder, kind: Kind, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._kube = kube
        self._recorder = recorder
        self._kind = kind
        self._clock = clock
        self._written_at: dict[str, float] = {}

    async def write(self, live: Manifest, status: Manifest) -> float | None:
        """Apply `status` to the object `live`, if it differs from the one that it has and the object still is there.

        Return after how many seconds to come again, where it was too early to write.
        """
        before, uid = live.get("status", {}), live["metadata"]["uid"]
        if is_written(status, before):
            return None
        wait = self._written_at.get(uid, float("-inf")) + PACE_SECONDS - self._clock()
        if wait > 0 and _says(before) == _says(status):
            return wait
        try:
            await self._kube.apply_status(self._kind, _with_status(self._kind, live, status))
        except (NotFound, Conflict):  # deleted since it was read, or another has its name: the watch tells of it
            return None
        self._note(uid)
        for event in transitions(before.get("conditions", []), status["conditions"]):
            await self._recorder.emit(live, event.type, event.reason, event.message)
        return None

    def _note(self, uid: str) -> None:
        if len(self._written_at) >= _REMEMBERED:
            self._written_at.clear()
        self._written_at[uid] = self._clock()


def _with_status(kind: Kind, live: Manifest, status: Manifest) -> Manifest:
    identity = {name: live["metadata"][name] for name in ("name", "namespace", "uid")}
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": identity, "status": status}


def _says(status: Manifest) -> set[tuple[object, ...]]:
    """Return what the conditions say, without their words, and what spec they speak of."""
    found = status.get("conditions", [])
    said = {(c.get("type"), c.get("status"), c.get("reason"), c.get("observedGeneration")) for c in found}
    return said | {(status.get("observedGeneration"),)}


def is_written(status: Manifest, live: Manifest) -> bool:
    """Tell whether the status `live` is as wanted. Conditions that others added to it are theirs, and stay."""
    ours = {condition["type"] for condition in status["conditions"]} | OPTIONAL_TYPES
    found = [condition for condition in live.get("conditions", []) if condition.get("type") in ours]
    return _in_order(live | {"conditions": found}) == _in_order(status)


def _in_order(status: Manifest) -> Manifest:
    return status | {"conditions": sorted(status["conditions"], key=lambda condition: str(condition.get("type")))}
