"""What the data of an image has to be: its size, and the digest of the best algorithm that Glance kept."""

import dataclasses
import hashlib
from typing import Any

from . import reasons
from .failures import Failure


@dataclasses.dataclass(frozen=True)
class Expected:
    """Size in bytes and digest in hexadecimal; None where Glance knows none, as of images added by location."""

    size: int | None
    algorithm: str | None
    digest: str | None

    def new_digest(self) -> Any:
        """Return a digest to feed; None where there is nothing to compare it with."""
        # For integrity alone; a host that forbids MD5 for security still has it for this.
        return hashlib.new(self.algorithm, usedforsecurity=False) if self.algorithm else None

    def check(self, place: str, size: int, digest: Any) -> None:
        """Raise a Failure where data of this size and digest is not that of the image; `place` is where it was."""
        self.check_size(place, size)
        if digest is not None and digest.hexdigest() != self.digest:
            raise Failure(reasons.HASH_MISMATCH, f"{place} has other data than was uploaded ({self.algorithm})")

    def has_size(self, size: int | None) -> bool:
        """Tell whether a file of this size, None for no file, may be the image."""
        return size is not None and self.size in (None, size)

    def check_size(self, place: str, size: int) -> None:
        """Raise a Failure where data of this size is not that of the image."""
        if not self.has_size(size):
            raise Failure(reasons.SIZE_MISMATCH, f"{place} has {size} bytes instead of {self.size}")


def expected(size: int | None, algorithm: str | None, digest: str | None, md5: str | None) -> Expected:
    """Return what is expected of data of which Glance says this: its own hash, else the MD5 checksum of old images."""
    if algorithm and digest and algorithm in hashlib.algorithms_available:
        return Expected(size, algorithm, digest)
    return Expected(size, "md5", md5) if md5 else Expected(size, None, None)
