"""How much room the cache has, what has to go for an image, and when it is to be pruned. Pure."""

from collections.abc import Collection
from dataclasses import dataclass

from . import reasons
from .scan import Scan

LEAST_HEADROOM_BYTES = 64 * 2**20
HEADROOM_PERCENT = 2
"""What stays free of a volume at least: the larger of both."""
UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


@dataclass(frozen=True)
class Limits:
    """What the cache may take."""

    max_bytes: int
    high_watermark_percent: int
    low_watermark_percent: int


@dataclass(frozen=True)
class Room:
    """An image may be fetched: after a prune down to `prune_to`, if that is a number, with `room_bytes` for it."""

    room_bytes: int
    prune_to: int | None = None


@dataclass(frozen=True)
class NoRoom:
    """An image may not be fetched. `is_planned`: it may be as soon as another plan says so."""

    reason: str
    message: str
    is_planned: bool = True


def headroom_bytes(volume_bytes: int) -> int:
    """Return how much of a volume is to stay free."""
    return max(LEAST_HEADROOM_BYTES, volume_bytes * HEADROOM_PERCENT // 100)


def limit_bytes(limits: Limits, seen: Scan) -> int:
    """Return what the files of the cache may take: what the policy allows, or less where the volume is smaller."""
    on_the_volume = seen.used_bytes + seen.free_bytes - headroom_bytes(seen.volume_bytes)
    return max(0, min(limits.max_bytes, on_the_volume))


def evictable_bytes(seen: Scan, keep: Collection[str]) -> int:
    """Return what images take that may go."""
    return sum(size for image_id, size in seen.images.items() if image_id not in keep)


def plan(size: int, limits: Limits, seen: Scan, keep: Collection[str], *, is_wanted: bool = True) -> Room | NoRoom:
    """Find room for an image of so many bytes; what is in `keep` stays, and nothing goes where that would not help.

    An image that no set wants must fit below the high watermark: above it, it would be pruned at once.
    """
    if size > limits.max_bytes:
        return NoRoom(
            reasons.TOO_LARGE, f"The image has {shown(size)}, the whole cache may have {shown(limits.max_bytes)}."
        )
    limit = limit_bytes(limits, seen) * (100 if is_wanted else limits.high_watermark_percent) // 100
    free = limit - seen.used_bytes
    if size <= free:
        return Room(free)
    evictable = evictable_bytes(seen, keep)
    if size > free + evictable:
        left = shown(max(0, free + evictable))
        return NoRoom(
            reasons.NO_SPACE,
            f"The image has {shown(size)}; beside the images that are wanted, {left} of {shown(limit)} are left.",
        )
    return Room(size, prune_to=limit - size)


def prune_target(limits: Limits, seen: Scan, keep: Collection[str]) -> int | None:
    """Return to how many bytes to prune the cache; None where it is below its high watermark, or nothing may go."""
    limit = limit_bytes(limits, seen)
    if seen.used_bytes * 100 <= limit * limits.high_watermark_percent or not evictable_bytes(seen, keep):
        return None
    return limit * limits.low_watermark_percent // 100


def is_over(limits: Limits, seen: Scan) -> bool:
    """Tell whether the cache takes more than it may."""
    return seen.used_bytes > limit_bytes(limits, seen)


def shown(size: int) -> str:
    """Return a size as a person reads it."""
    amount, unit = float(size), 0
    while amount >= 1024 and unit < len(UNITS) - 1:
        amount, unit = amount / 1024, unit + 1
    return f"{amount:.1f} {UNITS[unit]}" if unit else f"{size} {UNITS[0]}"
