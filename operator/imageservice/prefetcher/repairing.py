"""Bring the cache directory, the rows of this node and Glance's images into agreement."""

import time
from collections.abc import Mapping
from typing import Any

from .cache_directory import CacheDirectory, is_settled
from .fetching import Fetcher
from .glance_setup import Glance, Image
from .sets import is_id
from .transfer import Watch

ADOPT_SECONDS = 10.0
"""How long a repair may read files without rows, to give them rows. What is larger waits for a fetch, or is pruned."""
ADOPT_BYTES_PER_SECOND = 100 * 2**20
"""How fast a slow disk or processor checks a file."""


KEPT = ("active", "deactivated")
"""States of images whose data may be of use."""


class Repair:
    """One pass over all that there is."""

    def __init__(self, glance: Glance, directory: CacheDirectory, fetcher: Fetcher) -> None:
        self._glance, self._directory, self._fetcher = glance, directory, fetcher
        self._orphans = self._stale_rows = 0
        self._gone: list[str] = []

    def run(self) -> Mapping[str, Any]:
        """Repair, and return what was found, in the words of the protocol.

        Rows of other nodes are left alone, also of an address that this node had once: somebody else may have it now.
        Deactivated images stay: Glance does not serve them, and they may become active again.
        """
        self._directory.make()
        leftovers = self._directory.remove_leftovers()
        # Files first: one that gets its row after that is still seen as one without, and rows never lack an older file.
        files = self._directory.images()
        rows = self._glance.rows()
        ids = filter(is_id, rows.keys() | files.keys())
        images = {image_id: self._glance.image(image_id) for image_id in ids}
        for image_id in rows:
            self._look_at_row(image_id, images.get(image_id))
        adopt_until = time.monotonic() + ADOPT_SECONDS
        for name, status in files.items():
            if name not in rows and is_settled(status):
                self._look_at_orphan(name, status.st_size, images.get(name), adopt_until)
        return {
            "orphans": self._orphans,
            "staleRows": self._stale_rows,
            "leftovers": leftovers,
            "gone": sorted(self._gone),
        }

    def _look_at_row(self, image_id: str, image: Image | None) -> None:
        if image is None:
            self._gone.append(image_id)
        elif not image.expected.has_size(self._directory.size(image_id)):
            self._stale_rows += 1
        else:
            return
        self._glance.driver.delete_cached_image(image_id)

    def _look_at_orphan(self, name: str, size: int, image: Image | None, adopt_until: float) -> None:
        """Drop a file that is nobody's, give one that is right its row, and leave one that takes too long to read."""
        self._orphans += 1
        if image is None and is_id(name):
            self._gone.append(name)
        if image is None or image.status not in KEPT or not image.expected.has_size(size):
            self._directory.image(name).unlink(missing_ok=True)
        elif (left := adopt_until - time.monotonic()) > size / ADOPT_BYTES_PER_SECOND:
            # One that takes longer than it should is left as well.
            self._fetcher.adopt(image, Watch(lambda _: None, left))
