"""One run at a time, where two would make the same thing or disturb each other."""

import contextlib
import fcntl
import time
from collections.abc import Iterator
from pathlib import Path

from .errors import ClusterError
from .progress import say

_LOOK_SECONDS = 0.2


@contextlib.contextmanager
def only_one(lock_file: Path, what: str, *, seconds: float) -> Iterator[None]:
    """Hold the lock file for this block, and wait for it if another run has it.

    The kernel lets go of it when a process ends, however it ends. `what` is named while we wait; raises ClusterError
    after `seconds`.
    """
    lock_file.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + seconds
    told = False
    with lock_file.open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise ClusterError(f"{what}: another run has held {lock_file} for {seconds:.0f} s") from None
            if not told:
                say(f"{what}: another run is at it; waiting for that one")
                told = True
            time.sleep(_LOOK_SECONDS)
        yield
