"""What the agent says of itself and of the images that are wanted on its node. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .room import Limits, limit_bytes
from .scan import Scan
from .schedule import Known, wanted, why_not
from .state import Outcome

FREE_STEP_BYTES = 64 * 2**20
"""Free bytes are told in steps: on a volume that others write to, each answer would be a new one."""
STATES = ("Cached", "Fetching", "Waiting", "Failed")


@dataclass(frozen=True)
class Row:
    """What Glance's database says of a cached image."""

    size: int
    hits: int
    last_accessed: float

    def to_json(self, image_id: str) -> dict[str, Any]:
        """Return what clients get."""
        return {"id": image_id, "size": self.size, "hits": self.hits, "lastAccessed": self.last_accessed}


@dataclass(frozen=True)
class Current:
    """The fetch that runs."""

    image_id: str
    size: int | None
    done_bytes: int = 0


@dataclass(frozen=True)
class Whole:
    """All that is known at a moment. `trouble` is why no image can be fetched, None where they can."""

    known: Known
    seen: Scan
    rows: Mapping[str, Row]
    sizes: Mapping[str, int | None]
    current: Current | None
    trouble: Outcome | None

    @property
    def hits(self) -> int:
        """How often what is cached was served."""
        return sum(row.hits for image_id, row in self.rows.items() if image_id in self.known.cached)


def status(node: str, release: str, limits: Limits, whole: Whole) -> dict[str, Any]:
    """Return the status of the agent."""
    return {
        "node": node,
        "release": release,
        "cache": {
            "usedBytes": whole.seen.used_bytes,
            "maxBytes": limits.max_bytes,
            "limitBytes": _in_steps(limit_bytes(limits, whole.seen), limits.max_bytes),
            "freeBytes": _in_steps(whole.seen.free_bytes, 0),
            "images": len(whole.seen.images),
            "hits": whole.hits,
        },
        "sets": {one.uid: {"name": one.name, "revision": one.revision, "fetch": one.fetch} for one in whole.known.sets},
        "images": {image_id: image_status(image_id, whole) for image_id in wanted(whole.known.sets)},
    }


def _in_steps(size: int, exact: int) -> int:
    return size if size == exact else size - size % FREE_STEP_BYTES


def image_status(image_id: str, whole: Whole) -> dict[str, Any]:
    """Return the state of one image."""
    known = whole.known
    outcome = known.outcomes.get(image_id)
    size = known.cached.get(image_id) or whole.sizes.get(image_id) or (outcome.size if outcome else None)
    if image_id in known.cached:
        return _image("Cached", size, size or 0)
    if whole.current is not None and whole.current.image_id == image_id:
        return _image("Fetching", whole.current.size or size, whole.current.done_bytes, outcome)
    waits_for = None if image_id in known.queued else why_not(known.sets, image_id, known.now)
    if whole.trouble is not None and waits_for is None:
        outcome = whole.trouble
    if outcome is None:
        return _image("Waiting", size, 0, reason=waits_for or "")
    return _image("Failed", size, 0, outcome) | {"retryAt": outcome.retry_at}


def _image(
    state: str, size: int | None, done_bytes: int, failed: Outcome | None = None, *, reason: str = ""
) -> dict[str, Any]:
    """Return one image as it is told; `failed` is how the last attempt went wrong, also while the next one runs."""
    return {
        "state": state,
        "sizeBytes": size,
        "doneBytes": done_bytes,
        "reason": failed.reason if failed else reason,
        "message": failed.message if failed else "",
        "attempts": failed.attempts if failed else 0,
        "retryAt": None,
    }
