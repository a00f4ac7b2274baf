"""The files of the cache directory: whose they are, how much they take, and what is left of writers that died.

Glance keeps a cached image as `<id>`, one that is being written as `incomplete/<id>`, one whose writing failed as
`invalid/<id>`, and the wish for one as `queue/<id>`. Its API takes `incomplete/<id>` for a claim: while the file is
there, it serves the image and does not cache it. The worker claims an image so, but writes to `incomplete/<id>.part`,
which no API knows: what two would write at once would be published though each found its own data right.
"""

import contextlib
import errno
import fcntl
import os
import time
from pathlib import Path

from . import reasons
from .failures import Failure
from .refusal import LOCKED_STATUS, Refusal
from .scan import files_in

LOCK_NAME = "prefetcher.lock.db"
"""Held by the worker. Glance takes no file whose name ends so for a cached image."""
LOCK_SECONDS = 5.0
"""How long to wait for a worker that was killed and is not gone yet."""
LEAST_HEADROOM_BYTES = 64 * 2**20
HEADROOM_PERCENT = 2
"""What stays free of a volume at least: the larger of both."""
PART_SUFFIX = ".part"
DEAD_SECONDS = 3600.0
"""After how long without a write an incomplete file is taken for left behind, where a file system has no leases."""
SETTLED_SECONDS = 10.0
"""How old a file without a row has to be: Glance names a file before it writes the row."""


class CacheDirectory:
    """The directory `image_cache_dir`."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.incomplete, self.invalid, self.queue = (self.path / name for name in ("incomplete", "invalid", "queue"))

    def make(self) -> None:
        """Make the directory, as Glance does, where it is new or was wiped."""
        for path in (self.path, self.incomplete, self.invalid, self.queue):
            path.mkdir(parents=True, exist_ok=True)

    def lock(self) -> int:
        """Keep other workers out until this process ends; return the file that is to stay open.

        Raises Refusal.
        """
        lock = os.open(self.path / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    os.close(lock)
                    raise Refusal("Another worker works on the cache directory.", LOCKED_STATUS) from None
                time.sleep(0.1)
            else:
                return lock

    # ------------------------------------------------------------------------------------------------- what is where

    def image(self, image_id: str) -> Path:
        """Return where the data of a cached image is."""
        return self.path / image_id

    def claim(self, image_id: str) -> Path:
        """Return the file that tells everybody that somebody caches this image."""
        return self.incomplete / image_id

    def part(self, image_id: str) -> Path:
        """Return the file that the worker writes an image to."""
        return self.incomplete / f"{image_id}{PART_SUFFIX}"

    def failed(self, image_id: str) -> Path:
        """Return where Glance puts an incomplete file whose writing failed."""
        return self.invalid / image_id

    def size(self, image_id: str) -> int | None:
        """Return how large the data of a cached image is, None where there is none."""
        with contextlib.suppress(FileNotFoundError):
            return self.image(image_id).stat().st_size
        return None

    def images(self) -> dict[str, os.stat_result]:
        """Return the files of cached images, or what else lies among them, by name."""
        return dict(files_in(self.path))

    def used_bytes(self) -> int:
        """Return what all files take, incomplete and failed ones too."""
        places = (self.path, self.incomplete, self.invalid, self.queue)
        return sum(status.st_size for place in places for _, status in files_in(place))

    # ---------------------------------------------------------------------------------------------------------- room

    def free_bytes(self) -> int:
        """Return how much can be written to the volume."""
        volume = os.statvfs(self.path)
        return volume.f_bavail * volume.f_frsize

    def headroom_bytes(self) -> int:
        """Return how much of the volume is to stay free."""
        volume = os.statvfs(self.path)
        return max(LEAST_HEADROOM_BYTES, volume.f_blocks * volume.f_frsize * HEADROOM_PERCENT // 100)

    def check_room(self, wanted_bytes: int, headroom_bytes: int) -> None:
        """Raise a Failure where so much more would leave less than the headroom."""
        free = self.free_bytes()
        if free - wanted_bytes < headroom_bytes:
            raise Failure(
                reasons.NO_SPACE,
                f"{wanted_bytes} bytes are to be written; the volume has {free} left, and keeps {headroom_bytes} free.",
            )

    # --------------------------------------------------------------------------------------------- claims, leftovers

    def make_claim(self, image_id: str) -> bool:
        """Claim an image; return False where somebody has."""
        try:
            self.claim(image_id).open("xb").close()
        except FileExistsError:
            return False
        return True

    def remove_dead_claim(self, image_id: str, dead_seconds: float) -> None:
        """Remove the incomplete file of an image where whoever wrote it is gone."""
        if _is_dead(self.claim(image_id), dead_seconds):
            self.claim(image_id).unlink(missing_ok=True)

    def remove_leftovers(self) -> int:
        """Remove what dead writers, and writes that failed, left behind; return how many files. For a locked one."""
        incomplete = dict(files_in(self.incomplete))
        left = [self.invalid / name for name, _ in files_in(self.invalid)]
        for name, status in incomplete.items():
            # An empty claim beside a part was the dead worker's.
            is_own = name.endswith(PART_SUFFIX) or (status.st_size == 0 and f"{name}{PART_SUFFIX}" in incomplete)
            if _is_dead(path := self.incomplete / name, 0 if is_own else DEAD_SECONDS):
                left.append(path)
        for path in left:
            path.unlink(missing_ok=True)
        return len(left)


def is_settled(status: os.stat_result) -> bool:
    """Tell whether a file has had its name for so long that its row is there, if it ever will be."""
    return time.time() - status.st_ctime > SETTLED_SECONDS


def _is_dead(path: Path, dead_seconds: float) -> bool:
    """Tell whether nobody writes to a file any more.

    The kernel knows, across containers too: it grants a lease for reading only where no process has the file open for
    writing. Where the file system has no leases, a file is dead that was not written to for `dead_seconds`.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        if error.errno == errno.EAGAIN:
            return False
        return time.time() - os.fstat(file).st_mtime > dead_seconds
    else:
        return True
    finally:
        os.close(file)
