"""What lies in the cache directory, without a word with Glance or its database: cheap enough for every few seconds."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .sets import is_id

MOST_QUEUED = 1000
"""How many wishes of the queue are looked at, the oldest first."""


@dataclass(frozen=True)
class Scan:
    """The files of the cache: images by id, what all files take, what the volume has left, and who was asked for.

    `identity` is another one where the directory was made anew.
    """

    images: Mapping[str, int] = field(default_factory=dict)
    used_bytes: int = 0
    free_bytes: int = 0
    volume_bytes: int = 0
    queued: tuple[str, ...] = ()
    identity: tuple[int, int] | None = None


def scan(cache_dir: Path) -> Scan:
    """Look once. A directory that is missing is an empty one; raises OSError where the volume cannot be read."""
    cache_dir.mkdir(parents=True, exist_ok=True)
    images = {name: status.st_size for name, status in files_in(cache_dir)}
    others = sum(status.st_size for place in ("incomplete", "invalid") for _, status in files_in(cache_dir / place))
    wishes = sorted((status.st_mtime, name) for name, status in files_in(cache_dir / "queue") if is_id(name))
    volume, directory = os.statvfs(cache_dir), cache_dir.stat()
    return Scan(
        images={name: size for name, size in images.items() if is_id(name)},
        used_bytes=sum(images.values()) + others,
        free_bytes=volume.f_bavail * volume.f_frsize,
        volume_bytes=volume.f_blocks * volume.f_frsize,
        queued=tuple(name for _, name in wishes[:MOST_QUEUED]),
        identity=(directory.st_dev, directory.st_ino),
    )


def files_in(directory: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the regular files that Glance would see as well."""
    with contextlib.suppress(FileNotFoundError), os.scandir(directory) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                if entry.is_file(follow_symlinks=False) and not entry.name.endswith(".db"):
                    yield entry.name, entry.stat(follow_symlinks=False)


# ------------------------------------------------------------------------------------------------------ Glance's queue


def wish(cache_dir: Path, image_id: str) -> None:
    """Ask for an image in the way of Glance: an empty file. Raises OSError."""
    queue = cache_dir / "queue"
    queue.mkdir(parents=True, exist_ok=True)
    (queue / image_id).touch()


def drop_wish(cache_dir: Path, image_id: str) -> bool:
    """Take a wish back, and tell whether there was one. Raises OSError."""
    try:
        (cache_dir / "queue" / image_id).unlink()
    except FileNotFoundError:
        return False
    return True
