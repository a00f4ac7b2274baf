"""Pass data from where it is read to where it is written and hashed, each in a thread of its own, with little memory.

Reading, writing and hashing are done by C code that lets the other threads run meanwhile, so a fetch takes as long as
the slowest of the three, and not as long as all together. On most machines that is hashing.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from . import reasons
from .failures import Failure

PIECE_BYTES = 2**20
"""What is passed on at once. Less would be more steps of Python, more would be more memory."""
QUEUED_PIECES = 4
"""How many pieces may wait for a thread: a short stop of one does not stop the others."""
LEAST_PIECE_BYTES = 2**16
PROGRESS_SECONDS = 1.0


class Stage(threading.Thread):
    """A thread that does something with one piece after the other."""

    def __init__(self, name: str, consume: Callable[[Any], object]) -> None:
        super().__init__(name=name, daemon=True)
        self._consume = consume
        self._pieces: queue.Queue[Any] = queue.Queue(QUEUED_PIECES)
        self._error: Exception | None = None
        self.start()

    def run(self) -> None:
        """Consume until the end. After an error the rest is thrown away, so that nobody waits for this thread."""
        while (piece := self._pieces.get()) is not None:
            if self._error is None:
                try:
                    self._consume(piece)
                except Exception as error:  # noqa: BLE001 - raised where the pieces come from
                    self._error = error

    def put(self, piece: Any) -> None:
        """Hand over a piece, or raise what went wrong with an earlier one."""
        if self._error is not None:
            raise self._error
        self._pieces.put(piece)

    def end(self) -> None:
        """Let the thread finish what it has."""
        self._pieces.put(None)
        self.join()

    def check(self) -> None:
        """Raise what went wrong."""
        if self._error is not None:
            raise self._error


class Watch:
    """What a transfer may take, and what is told of it while it runs."""

    def __init__(
        self,
        tell: Callable[[int], None],
        timeout_seconds: float,
        bytes_per_second: int | None = None,
    ) -> None:
        self._tell, self._timeout_seconds, self._bytes_per_second = tell, timeout_seconds, bytes_per_second
        self._began = time.monotonic()
        self._moved = self._done = 0
        self._told = float("-inf")

    @property
    def piece_bytes(self) -> int:
        """How much to pass on at once: a slow transfer goes in small steps."""
        if self._bytes_per_second is None:
            return PIECE_BYTES
        return min(PIECE_BYTES, max(LEAST_PIECE_BYTES, self._bytes_per_second // 4))

    def begin(self) -> None:
        """Begin at the first byte, also where another place was tried before."""
        self._done = 0
        self._told = float("-inf")
        self._look()

    def move(self, size: int) -> None:
        """Note that so many more bytes were passed on, and wait where that was too fast."""
        self._moved += size
        self._done += size
        self._look()
        if self._bytes_per_second is not None:
            due = self._began + self._moved / self._bytes_per_second
            while (wait := due - time.monotonic()) > 0:
                time.sleep(min(wait, PROGRESS_SECONDS))
                self._look()

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._began > self._timeout_seconds:
            raise Failure(reasons.TIMED_OUT, f"The fetch took longer than {self._timeout_seconds:g} s.")
        if now - self._told >= PROGRESS_SECONDS:
            self._told = now
            self._tell(self._done)


def pass_on(source: Iterable[bytes], watch: Watch, *consumers: Callable[[Any], object]) -> int:
    """Give every piece of the source to every consumer, and return how many bytes there were.

    An error of the source comes before one of a consumer.
    """
    stages = [Stage(f"transfer-{number}", consume) for number, consume in enumerate(consumers)]
    size = 0
    try:
        watch.begin()
        for piece in pieces(source, watch.piece_bytes):
            for stage in stages:
                stage.put(piece)
            size += len(piece)
            watch.move(len(piece))
    finally:
        for stage in stages:
            stage.end()
    for stage in stages:
        stage.check()
    return size


def pieces(source: Iterable[bytes], piece_bytes: int) -> Iterator[bytes | memoryview]:
    """Cut what comes in blocks of any size into pieces of nearly one size."""
    small: list[bytes] = []
    waiting = 0
    for block in source:
        if len(block) < piece_bytes:
            small.append(block)
            waiting += len(block)
            if waiting < piece_bytes:
                continue
            block, small, waiting = b"".join(small), [], 0  # noqa: PLW2901 - it takes the place of all that waited
        elif small:
            yield b"".join(small)
            small, waiting = [], 0
        view = memoryview(block)
        for start in range(0, len(view), piece_bytes):
            yield view[start : start + piece_bytes]
    if small:
        yield b"".join(small)
