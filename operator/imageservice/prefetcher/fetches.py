"""A fetch that runs in the worker: how far it is, whether it still moves, and how it ends."""

import time
from collections.abc import Callable
from typing import Any

from . import reasons
from .wake import Wake
from .worker_process import Message, Worker, WorkFailed

LATE_SECONDS = 5.0
"""How long after its time a worker may still say itself that a fetch took too long."""


class Stopped(Exception):  # noqa: N818 - nothing went wrong
    """The fetch was ended by us: a reason of `reasons.py`, or `NotGranted`."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class Fetch:
    """One fetch. Times are monotonic."""

    def __init__(self, worker: Worker, image_id: str, size: int | None) -> None:
        self._worker = worker
        self.image_id, self.size = image_id, size
        self.done_bytes = 0
        self._began = self._moved_at = time.monotonic()
        self._end: Message | None = None

    def run(
        self, look: Callable[[], float], wake: Wake, *, timeout_seconds: float, stall_seconds: float, **limits: Any
    ) -> Message:
        """Begin, and return how the worker ended it.

        `look` is called when somebody wakes us, and when as many seconds have passed as it returned. What it raises
        ends this, as WorkFailed does, which is raised for a worker that ends or does not move. The worker is to be
        killed then.
        """
        self._worker.begin(
            "fetch", id=self.image_id, timeoutSeconds=timeout_seconds, stallSeconds=stall_seconds, **limits
        )
        look_at = self._began
        while self._end is None:
            now = time.monotonic()
            stalls_at, ends_at = self._moved_at + stall_seconds, self._began + timeout_seconds + LATE_SECONDS
            if now >= stalls_at:
                raise WorkFailed(reasons.STALLED, f"Nothing came for {stall_seconds:g} s.")
            if now >= ends_at:
                raise WorkFailed(reasons.TIMED_OUT, f"The fetch took longer than {timeout_seconds:g} s.")
            if wake.take() or now >= look_at:
                look_at = time.monotonic() + look()
                continue
            message = self._worker.receive(min(look_at, stalls_at, ends_at), wake)
            if message is not None and "tag" not in message:
                self.note(message)
        return self._end

    def note(self, message: Message) -> None:
        """Take in what the worker says of the fetch. Raises WorkFailed where that makes no sense."""
        if "done" in message or "failed" in message:
            self._end = message
            return
        done_bytes, size = message.get("progress"), message.get("size")
        if not isinstance(done_bytes, int) or not isinstance(size, int | None):
            raise WorkFailed(reasons.WORKER_FAILED, "The worker sends what nobody asked it for.")
        if done_bytes != self.done_bytes:
            self._moved_at = time.monotonic()
        self.done_bytes, self.size = done_bytes, size

    @property
    def seconds(self) -> float:
        """For how long it runs."""
        return time.monotonic() - self._began
