"""What is remembered of images over restarts: what went wrong with each, when to try again, and what was cached.

An attempt is written down before it begins. So an image at which the agent ends, every time, counts as one that fails,
and cannot keep the others from their turn.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from . import durable, reasons
from .events import tell
from .sets import is_id

INTERRUPTED = "The agent ended while the image was fetched."


@dataclass(frozen=True)
class Outcome:
    """How the last attempt to fetch an image went wrong; `retry_at` is an epoch.

    `size` is that of the image in bytes, None where nobody knows. `planned` says that it was refused for want of room
    before it began: such an image may be tried as soon as there is room.
    """

    reason: str
    message: str
    attempts: int
    retry_at: float
    size: int | None = None
    planned: bool = False


def parse_outcome(content: Mapping[str, Any]) -> Outcome:
    """Return what was written by `asdict`; raise KeyError, TypeError or ValueError."""
    size = content["size"]
    return Outcome(
        reason=str(content["reason"]),
        message=str(content["message"]),
        attempts=int(content["attempts"]),
        retry_at=float(content["retry_at"]),
        size=None if size is None else int(size),
        planned=bool(content["planned"]),
    )


class Memory:
    """What is remembered. `outcomes` and `cached` never change in place; one thread alone calls what changes them."""

    def __init__(self, file: Path, pause: Callable[[int], float], clock: Callable[[], float] = time.time) -> None:
        """`pause` returns for how long to leave an image alone whose last so many attempts were interrupted."""
        self._file, self._clock = file, clock
        self._is_kept = True
        self._begun: str | None = None
        self.outcomes: Mapping[str, Outcome] = {}
        self.cached: Mapping[str, int] = {}
        self._read(pause)

    def begin(self, image_id: str) -> None:
        """An attempt begins."""
        self._begun = image_id
        self._write()

    def stop(self) -> None:
        """The attempt was ended by ourselves, and says nothing of the image."""
        self._begun = None
        self._write()

    def fail(self, image_id: str, outcome: Outcome) -> None:
        """The attempt failed."""
        self._begun = None
        self.outcomes = {**self.outcomes, image_id: outcome}
        self._write()

    def succeed(self, image_id: str, size: int) -> None:
        """The image is in the cache."""
        self._begun = None
        self.outcomes = {other: outcome for other, outcome in self.outcomes.items() if other != image_id}
        self.cached = {**self.cached, image_id: size}
        self._write()

    def attempts(self, image_id: str) -> int:
        """Return how many attempts in a row have failed."""
        outcome = self.outcomes.get(image_id)
        return outcome.attempts if outcome else 0

    def note_cached(self, cached: Mapping[str, int]) -> None:
        """Remember what is cached."""
        if cached != self.cached:
            self.cached = dict(cached)
            self._write()

    def keep_only(self, image_ids: Iterable[str]) -> None:
        """Forget the failures of all other images."""
        kept = frozenset(image_ids)
        if not self.outcomes.keys() <= kept:
            self.outcomes = {image_id: outcome for image_id, outcome in self.outcomes.items() if image_id in kept}
            self._write()

    def hurry(self, image_ids: Iterable[str]) -> None:
        """Let these images be tried again at once."""
        now = self._clock()
        hurried = {
            image_id: replace(self.outcomes[image_id], retry_at=now)
            for image_id in image_ids
            if image_id in self.outcomes and self.outcomes[image_id].retry_at > now
        }
        if hurried:
            self.outcomes = {**self.outcomes, **hurried}
            self._write()

    def _read(self, pause: Callable[[int], float]) -> None:
        content = durable.read(self._file)
        if content is None:
            return
        try:
            outcomes = {key: parse_outcome(value) for key, value in content["outcomes"].items() if is_id(key)}
            cached = {key: int(value) for key, value in content["cached"].items() if is_id(key)}
            begun = content["begun"]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            durable.set_aside(self._file, type(error).__name__)
            return
        self.outcomes, self.cached = outcomes, cached
        if is_id(begun):
            self._note_interrupted(begun, pause)

    def _note_interrupted(self, image_id: str, pause: Callable[[int], float]) -> None:
        attempts = self.attempts(image_id) + 1
        # Once may be a roll-out or a node that lost its power; it goes on at once, after images that never failed.
        retry_at = self._clock() + (pause(attempts - 1) if attempts > 1 else 0)
        self.fail(image_id, Outcome(reasons.WORKER_FAILED, INTERRUPTED, attempts, retry_at))

    def _write(self) -> None:
        """Keep it on disk. Where that fails the agent goes on without: its work is worth more than its memory."""
        outcomes = {image_id: asdict(outcome) for image_id, outcome in self.outcomes.items()}
        try:
            durable.write(self._file, {"outcomes": outcomes, "cached": self.cached, "begun": self._begun})
        except OSError as error:
            if self._is_kept:
                tell("StateNotKept", why=type(error).__name__)
            self._is_kept = False
        else:
            self._is_kept = True
