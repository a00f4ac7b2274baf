"""Keep what is known and the cache in order: list, repair, prune. Each is due at times of its own."""

import time
from typing import Any

from . import reasons
from .board import Board
from .commands import Ask
from .events import tell
from .room import is_over, prune_target
from .scan import drop_wish
from .status import Row
from .worker_process import Message, WorkFailed
from .workers import Workers

REPAIR_SECONDS = 900.0
"""How long a repair may take, which may ask the database for thousands of images."""
REPAIR_SHARE = 1 / 200
"""What repairs may take of a processor: where a worker starts slowly, they are less often."""
AGAIN_SECONDS = 60.0
"""When to try again what did not help: a repair that failed, a prune that removed nothing, a list that differs from
what lies in the directory."""


class Upkeep:
    """What is due, and its doing. Raises WorkFailed where the worker fails."""

    def __init__(self, board: Board, workers: Workers) -> None:
        self._board, self._workers = board, workers
        self._never_before = float("-inf")
        self._repaired: tuple[int, int] | None = None
        self._has_leftovers = False
        self._repair_at = self._repair_again_at = self._never_before
        self._prune_at = self._prune_again_at = self._list_again_at = self._never_before
        self._differed: frozenset[str] = frozenset()

    def do_one(self) -> bool:
        """Do what is most due, and tell whether anything was."""
        self._drop_fulfilled_wishes()
        if self._is_repair_due():
            self._repair()
        elif (target := self.due_prune()) is not None:
            self.prune(self._workers.ask, target)
        elif self._is_list_due():
            self.list(self._workers.ask)
        else:
            return False
        return True

    def _drop_fulfilled_wishes(self) -> None:
        known = self._board.known
        for image_id in known.queued:
            if image_id in known.cached:
                drop_wish(self._board.settings.cache_dir, image_id)

    # -------------------------------------------------------------------------------------------------------- repairs

    def expect_leftovers(self) -> None:
        """A fetch was killed: what it has written is to be removed, and no client's download is cached until then."""
        self._has_leftovers = True

    def _is_repair_due(self) -> bool:
        """Tell whether the directory is new, has leftovers, or was not compared with Glance for long."""
        now, seen = time.monotonic(), self._board.seen
        if self._repaired != seen.identity or self._has_leftovers:
            return now >= self._repair_again_at
        is_empty = not (seen.images or self._board.rows or self._board.keep)
        return now >= self._repair_at and not is_empty

    def _repair(self) -> None:
        began, identity, cost_before = time.monotonic(), self._board.seen.identity, self._workers.cpu_seconds
        # Where it fails, there are other things to do before it is tried again.
        self._repair_again_at = self._repair_at = began + AGAIN_SECONDS
        found = self._workers.ask("repair", seconds=REPAIR_SECONDS)
        self._repaired, self._has_leftovers = identity, False
        self._repair_again_at = self._never_before
        cost = self._workers.cpu_seconds - cost_before
        self._repair_at = began + max(self._board.settings.prefetch_interval_seconds, cost / REPAIR_SHARE)
        if any(found.get(kind) for kind in ("orphans", "staleRows", "leftovers", "gone")):
            tell("Repaired", **{kind: found.get(kind) for kind in ("orphans", "staleRows", "leftovers", "gone")})
        self.list(self._workers.ask)

    # ---------------------------------------------------------------------------------------------------------- lists

    def _difference(self) -> frozenset[str]:
        """Return the images that were listed and are away, and those that are wanted, are there and were not listed."""
        there, listed = self._board.seen.images.keys(), self._board.memory.cached.keys()
        return frozenset((listed - there) | (there - listed) & self._board.keep)

    def _is_list_due(self) -> bool:
        difference = self._difference()
        return bool(difference) and (difference != self._differed or time.monotonic() >= self._list_again_at)

    def list(self, ask: Ask) -> Message:
        """Learn what is cached."""
        answer = ask("list")
        try:
            rows = {
                str(row["id"]): Row(int(row["size"]), int(row["hits"]), float(row["lastAccessed"]))
                for row in answer["cached"]
            }
        except (KeyError, TypeError, ValueError):
            raise WorkFailed(reasons.WORKER_FAILED, "The worker lists what makes no sense.") from None
        self._board.rows = rows
        self._board.look()
        self._board.memory.note_cached({image_id: row.size for image_id, row in rows.items()})
        self._differed, self._list_again_at = self._difference(), time.monotonic() + AGAIN_SECONDS
        return answer

    # --------------------------------------------------------------------------------------------------------- prunes

    def expect_growth(self) -> None:
        """An image was fetched: whether the cache is above its high watermark is to be looked at at once."""
        self._prune_at = self._never_before

    def due_prune(self) -> int | None:
        """Return to how many bytes the cache is to be pruned now, None where it is not."""
        now, seen = time.monotonic(), self._board.seen
        is_due = now >= self._prune_at or is_over(self._board.limits, seen)
        if not is_due or now < self._prune_again_at:
            return None
        target = prune_target(self._board.limits, seen, self._board.keep)
        if target is None:
            self._prune_at = max(self._prune_at, now + self._board.settings.prune_interval_seconds)
        return target

    def prune(self, ask: Ask, target_bytes: int) -> None:
        """Remove what nobody wants, the least recently used first, until no more than the target is left."""
        now = time.monotonic()
        self._prune_at, self._prune_again_at = now + self._board.settings.prune_interval_seconds, now + AGAIN_SECONDS
        removed = ask("prune", targetBytes=target_bytes, keep=sorted(self._board.keep)).get("removed")
        if removed:
            self._prune_again_at = self._never_before
        self.note_removed(removed)
        self._board.look()

    def note_removed(self, removed: Any) -> None:
        """Tell what was evicted."""
        try:
            sizes = {str(each["id"]): int(each["size"]) for each in removed}
        except (KeyError, TypeError, ValueError):
            raise WorkFailed(reasons.WORKER_FAILED, "The worker has removed what makes no sense.") from None
        for image_id, size in sizes.items():
            tell("Evicted", image=image_id, bytes=size)
        self._board.counts.evicted(sizes.values())
