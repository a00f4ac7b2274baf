"""What the agent knows, in one place: written by the thread that decides, read by the threads of requests.

No value changes in place, so a reader that took one has one state of it.
"""

import time
from collections.abc import Mapping

from .events import tell
from .fetches import Fetch
from .metrics import Counts
from .room import Limits, NoRoom, Room, plan
from .scan import Scan, scan
from .schedule import Known, wanted
from .sets import DesiredSet, Sets
from .settings import Settings
from .state import Memory, Outcome
from .status import Current, Row, Whole


class Board:
    """All that is known. `trouble` is why the worker can do nothing, None where it can."""

    def __init__(self, settings: Settings, sets: Sets, memory: Memory) -> None:
        self.settings, self.sets, self.memory = settings, sets, memory
        self.limits = Limits(settings.max_bytes, settings.high_watermark_percent, settings.low_watermark_percent)
        self.counts = Counts()
        self.seen = Scan()
        self.rows: Mapping[str, Row] = {}
        self.sizes: Mapping[str, int | None] = {}
        self.fetch: Fetch | None = None
        self.trouble: Outcome | None = None
        self._looked_at = sets.all
        self._keep: tuple[tuple[DesiredSet, ...], frozenset[str]] = ((), frozenset())

    @property
    def known(self) -> Known:
        """What matters for what to do next. Cached is what was listed and is still there."""
        seen, listed = self.seen, self.memory.cached
        cached = {image_id: size for image_id, size in listed.items() if image_id in seen.images}
        return Known(time.time(), self.sets.all, cached, seen.queued, self.memory.outcomes)

    @property
    def whole(self) -> Whole:
        """The same, with everything else that is told."""
        fetch = self.fetch
        current = Current(fetch.image_id, fetch.size, fetch.done_bytes) if fetch else None
        return Whole(self.known, self.seen, self.rows, self.sizes, current, self.trouble)

    @property
    def keep(self) -> frozenset[str]:
        """The images that sets want, and that are never evicted."""
        sets, keep = self._keep
        if sets is not self.sets.all:
            sets = self.sets.all
            self._keep = sets, (keep := frozenset(wanted(sets)))
        return keep

    def plan(self, image_id: str, size: int) -> Room | NoRoom:
        """Find room for an image of so many bytes."""
        return plan(size, self.limits, self.seen, self.keep, is_wanted=image_id in self.keep)

    def fits(self, image_id: str, size: int) -> bool:
        """Tell whether there is room for an image, or could be made."""
        return isinstance(self.plan(image_id, size), Room)

    def look(self) -> None:
        """Look at the directory and the sets, and forget what is nobody's any more. Raises OSError."""
        self.seen = scan(self.settings.cache_dir)
        sets, before = self.sets.all, self._looked_at
        if sets is not before:
            self._looked_at = sets
            self._note_changes({one.uid: one for one in before}, {one.uid: one for one in sets})
        self.memory.keep_only({*self.keep, *self.seen.queued})

    def _note_changes(self, before: Mapping[str, DesiredSet], after: Mapping[str, DesiredSet]) -> None:
        for uid in before.keys() - after.keys():
            tell("SetDeleted", set=uid, name=before[uid].name)
        for uid, one in after.items():
            old = before.get(uid)
            if old == one:
                continue
            tell("SetChanged", set=uid, name=one.name, revision=one.revision, images=len(one.images), fetch=one.fetch)
            if old is None or old.revision != one.revision:
                # Whoever edits a set may have mended what failed.
                self.memory.hurry(one.images)
