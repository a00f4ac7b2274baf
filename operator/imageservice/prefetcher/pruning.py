"""What is in the cache, and how it becomes less."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from .cache_directory import CacheDirectory, is_settled
from .glance_setup import Glance


class Contents:
    """The images of the cache: those that have a file and a row."""

    def __init__(self, glance: Glance, directory: CacheDirectory) -> None:
        self._glance, self._directory = glance, directory

    def list(self) -> Mapping[str, Any]:
        """Return what is cached and how much room it takes, in the words of the protocol."""
        rows = self._glance.rows()
        sizes = {image_id: self._directory.size(image_id) for image_id in rows}
        return {
            "cached": [
                {"id": image_id, "size": sizes[image_id], "hits": row.hits, "lastAccessed": row.last_accessed}
                for image_id, row in rows.items()
                if sizes[image_id] is not None
            ],
            "usedBytes": self._directory.used_bytes(),
            "freeBytes": self._directory.free_bytes(),
        }

    def delete(self, image_id: str) -> Mapping[str, Any]:
        """Remove an image from the cache, and tell whether anything of it was there."""
        was_there = self._directory.size(image_id) is not None or image_id in self._glance.rows()
        self._glance.driver.delete_cached_image(image_id)
        return {"deleted": was_there}

    def prune(self, target_bytes: int, keep: Collection[str]) -> Mapping[str, Any]:
        """Remove images until all files take no more than the target, or none is left that may go."""
        too_much = self._directory.used_bytes() - target_bytes
        removed: list[dict[str, Any]] = []
        freed = 0
        for name, size in self._by_worth():
            if freed >= too_much:
                break
            if name not in keep:
                self._glance.driver.delete_cached_image(name)
                removed.append({"id": name, "size": size})
                freed += size
        return {"removed": removed, "bytes": freed}

    def _by_worth(self) -> Iterator[tuple[str, int]]:
        """Yield name and size of what could go: files without rows, then what was not asked for longest.

        Glance's own way asks the database for the next one and never ends where a file has no row.
        """
        files = self._directory.images()
        rows = self._glance.rows()
        orphans = [name for name, status in files.items() if name not in rows and is_settled(status)]
        for name in sorted(orphans, key=lambda name: files[name].st_mtime):
            yield name, files[name].st_size
        for name in sorted(rows.keys() & files.keys(), key=lambda name: rows[name].last_accessed):
            yield name, files[name].st_size
