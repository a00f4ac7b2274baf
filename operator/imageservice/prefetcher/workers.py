"""The one worker there is: started when there is work, ended when it idles, left alone for a while when it fails."""

import random
import time
from typing import Any

from .board import Board
from .events import tell
from .schedule import GLOBAL_TERMS, back_off
from .state import Outcome
from .worker_process import SHORT_SECONDS, Message, Worker, WorkFailed

IDLE_SECONDS = 60.0
"""How long a worker is kept after a fetch, or after what a client asked for: it takes 90 MiB, a new one a second."""


class Workers:
    """Starts and ends workers. `tried` are the images that the present one was asked to fetch."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._worker: Worker | None = None
        self._keep_until = self._rest_until = float("-inf")
        self.tried: set[str] = set()

    @property
    def pid(self) -> int | None:
        """The process of the present worker."""
        worker = self._worker
        return worker.pid if worker else None

    @property
    def cpu_seconds(self) -> float:
        """What the present worker has taken of a processor, from its start."""
        worker = self._worker
        return worker.cpu_seconds if worker else 0.0

    @property
    def rest_seconds(self) -> float:
        """For how long to leave workers alone, after failures that are no image's fault."""
        return max(0.0, self._rest_until - time.monotonic())

    def present(self) -> Worker:
        """Return a worker that can be talked to, a new one if need be. Raises WorkFailed."""
        if self._worker is None or not self._worker.is_usable:
            self.kill()
            self._worker = Worker()
            self._board.counts.worker_starts += 1
            self.tried = set()
        return self._worker

    def ask(self, do: str, *, seconds: float = SHORT_SECONDS, **more: Any) -> Message:
        """Have the worker do something. Raises WorkFailed."""
        answer = self.present().ask(do, seconds, **more)
        if self._board.trouble is not None:
            self._board.trouble = None
            tell("Recovered")
        return answer

    def note_failure(self, failure: WorkFailed) -> None:
        """Leave workers alone for a while, longer each time."""
        self.kill()
        attempts = (self._board.trouble.attempts if self._board.trouble else 0) + 1
        pause = back_off(attempts, GLOBAL_TERMS, random.random())  # noqa: S311 - no secret
        self._rest_until = time.monotonic() + pause
        self._board.trouble = Outcome(failure.reason, failure.message, attempts, time.time() + pause)
        tell("WorkFailed", reason=failure.reason, message=failure.message, attempts=attempts, pauseSeconds=round(pause))

    def keep(self) -> None:
        """There may soon be more to do."""
        self._keep_until = time.monotonic() + IDLE_SECONDS

    def end_idle(self) -> None:
        """End a worker that has nothing to do, unless it is to be kept."""
        if self._worker is not None and (time.monotonic() >= self._keep_until or not self._worker.is_usable):
            self.end()

    def end(self) -> None:
        """Let the present worker end."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.end()

    def kill(self) -> None:
        """Kill the present worker, whatever it does."""
        worker, self._worker = self._worker, None
        if worker is not None and not worker.kill():
            tell("WorkerNotGone", pid=worker.pid)
