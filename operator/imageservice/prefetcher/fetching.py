"""Fetch an image into the cache: from one of its places, checked while it comes, published when it is right."""

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from . import reasons
from .cache_directory import CacheDirectory
from .failures import Failure, of_locations, of_worker
from .glance_setup import Glance, Image
from .part_file import PartFile
from .transfer import PIECE_BYTES, Watch, pass_on

BUSY_SECONDS = 5.0
"""How long to wait for a client's download that is being cached: most are over by then."""
BUSY_LOOK_SECONDS = 0.2
OF_A_PLACE = (reasons.STORE_UNREACHABLE, reasons.DATA_MISSING, reasons.SIZE_MISMATCH, reasons.HASH_MISMATCH)
"""Reasons after which the next place of the image may do better."""

Tell = Callable[[int, "int | None"], None]
"""Told how many bytes there are by now, and of how many."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a fetch may take; no rate lets it be as fast as it can."""

    bytes_per_second: int | None
    timeout_seconds: float
    stall_seconds: float
    room_bytes: int


class Fetcher:
    """Fetches images, one at a time."""

    def __init__(self, glance: Glance, directory: CacheDirectory) -> None:
        self._glance, self._directory = glance, directory

    def fetch(self, image_id: str, limits: Limits, tell: Tell) -> Mapping[str, Any]:
        """Return how the fetch ended, in the words of the protocol."""
        image = self._glance.image(image_id)
        if image is None:
            return {"failed": reasons.IMAGE_NOT_FOUND, "message": "Glance has no image of this id.", "size": None}
        try:
            outcome = self._fetch(image, limits, tell)
            return {"done": outcome, "size": self._directory.size(image_id)}
        except Exception as error:  # noqa: BLE001 - becomes an answer
            failure = of_worker(error)
            return {"failed": failure.reason, "message": failure.message, "size": image.expected.size}

    def _fetch(self, image: Image, limits: Limits, tell: Tell) -> str:
        if image.status != "active":
            raise Failure(reasons.IMAGE_NOT_ACTIVE, f"The image is {image.status}.")
        watch = Watch(lambda done: self._tell(image, done, tell), limits.timeout_seconds, limits.bytes_per_second)
        self._directory.make()
        if self._is_cached(image) or self.adopt(image, watch):
            return "already"
        self._check(image, limits)
        with self._claimed(image, limits) as part:
            if part is None:
                return "already"
            self._publish(image, lambda: self._copy(image, part, watch))
        return "fetched"

    def _tell(self, image: Image, done: int, tell: Tell) -> None:
        tell(done, image.expected.size)
        # Glance removes incomplete files that are old.
        with contextlib.suppress(FileNotFoundError):
            os.utime(self._directory.claim(image.id))

    def _check(self, image: Image, limits: Limits) -> None:
        """Raise a Failure where it is known before the first byte that the image cannot be fetched."""
        if not image.locations:
            raise Failure(reasons.NO_LOCATIONS, "Glance knows no place of the image's data.")
        size = image.expected.size or 0
        if size > limits.room_bytes:
            room = limits.room_bytes
            raise Failure(reasons.TOO_LARGE, f"The image has {size} bytes; the cache may use {room} for it.")
        self._directory.check_room(size, self._directory.headroom_bytes())

    # -------------------------------------------------------------------------------------------- what is there by now

    def _is_cached(self, image: Image) -> bool:
        """Tell whether file and row are there. A row without the whole file, and a file of another size, are removed.

        Glance would publish over a stale row and then fail.
        """
        has_row = image.id in self._glance.rows()
        size = self._directory.size(image.id)
        is_whole = image.expected.has_size(size)
        if (has_row or size is not None) and not is_whole:
            self._glance.driver.delete_cached_image(image.id)
        return has_row and is_whole

    def adopt(self, image: Image, watch: Watch) -> bool:
        """Give a file without a row its row, if it holds what Glance says; else remove it."""
        path = self._directory.image(image.id)
        digest = image.expected.new_digest()
        try:
            with path.open("rb") as file:
                blocks = iter(lambda: file.read(PIECE_BYTES), b"")
                size = pass_on(blocks, watch, *([digest.update] if digest else []))
            image.expected.check("the file in the cache", size, digest)
        except FileNotFoundError:
            return False
        except Failure as failure:
            if failure.reason not in OF_A_PLACE:
                raise
            path.unlink(missing_ok=True)
            return False
        self._publish(image, lambda: path)
        return True

    # ------------------------------------------------------------------------------------------------ claim and publish

    @contextlib.contextmanager
    def _claimed(self, image: Image, limits: Limits) -> Iterator[PartFile | None]:
        """Yield a file to write to, once nobody else caches the image; None where somebody else has.

        The file is there before the claim and after it: so what a worker that is killed leaves can be told from what
        belongs to somebody else.
        """
        path = self._directory.part(image.id)
        with path.open("wb") as file:
            try:
                is_ours = self._claim(image, limits.stall_seconds)
                yield PartFile(file, self._directory, limits.room_bytes) if is_ours else None
            finally:
                path.unlink(missing_ok=True)

    def _claim(self, image: Image, stall_seconds: float) -> bool:
        """Return True with the image claimed, False where it is cached by now."""
        deadline = time.monotonic() + BUSY_SECONDS
        while not self._is_cached(image):
            self._directory.remove_dead_claim(image.id, stall_seconds)
            if self._directory.make_claim(image.id):
                # Between the look and the claim, somebody else's may have become the image.
                if self._directory.size(image.id) is None:
                    return True
                self._directory.claim(image.id).unlink(missing_ok=True)
            if time.monotonic() > deadline:
                raise Failure(reasons.BUSY, "A client's download of the image is being cached.")
            time.sleep(BUSY_LOOK_SECONDS)
        return False

    def _copy(self, image: Image, part: PartFile, watch: Watch) -> Path:
        """Write the image from the first place that has it, and return the file."""
        failures: list[Failure] = []
        for location in image.locations:
            part.restart()
            digest = image.expected.new_digest()
            blocks = self._glance.read(location, image.expected)
            try:
                size = pass_on(blocks, watch, part.write, *([digest.update] if digest else []))
                image.expected.check(location.name, size, digest)
            except Failure as failure:
                if failure.reason not in OF_A_PLACE:
                    raise
                failures.append(failure)
            else:
                part.sync()
                return self._directory.part(image.id)
        raise of_locations(failures)

    def _publish(self, image: Image, complete: Callable[[], Path]) -> None:
        """Let Glance's driver publish the file that `complete` returns, or undo what it has begun."""
        first: Exception | None = None
        inode = None
        try:
            with self._glance.driver.open_for_write(image.id):
                try:
                    path = complete()
                    inode = path.stat().st_ino
                    path.replace(self._directory.claim(image.id))
                except Exception as error:
                    first = error
                    raise
        except Exception:
            # The driver asks the database to undo, which may fail too, and to publish, which fails where an API that
            # had not seen the claim was faster. Then our file took the place of its file.
            if first is not None:
                raise first from None
            if not self._is_published(image, inode):
                raise
        finally:
            self._directory.failed(image.id).unlink(missing_ok=True)

    def _is_published(self, image: Image, inode: int | None) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return self._directory.image(image.id).stat().st_ino == inode and image.id in self._glance.rows()
        return False
