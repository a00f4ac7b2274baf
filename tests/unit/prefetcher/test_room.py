"""How room is found for an image, and when a cache is pruned."""

import uuid
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imageservice.prefetcher.room import (
    LEAST_HEADROOM_BYTES,
    Limits,
    NoRoom,
    Room,
    evictable_bytes,
    is_over,
    limit_bytes,
    plan,
    prune_target,
    shown,
)
from imageservice.prefetcher.scan import Scan

LIMITS = Limits(1000, 90, 80)
ROOMY = 10**12
A, B, C, D = (str(uuid.UUID(int=number)) for number in range(4))


def seen(images: Mapping[str, int], others: int = 0, free: int = ROOMY, volume: int = 0) -> Scan:
    return Scan(images, sum(images.values()) + others, free, volume)


@pytest.mark.parametrize(
    ("size", "cache", "keep", "expected"),
    [
        (100, seen({}), (), Room(1000)),
        (1000, seen({}), (), Room(1000)),
        (1001, seen({}), (), "TooLarge"),
        (100, seen({A: 900}), (), Room(100)),
        (101, seen({A: 900}), (), Room(101, prune_to=899)),
        (101, seen({A: 900}), (A,), "NoSpace"),
        (600, seen({A: 500, B: 400}), (A,), "NoSpace"),
        (500, seen({A: 500, B: 400}), (A,), Room(500, prune_to=500)),
        # What clients are just downloading is not ours to remove.
        (500, seen({A: 500}, others=100), (A,), "NoSpace"),
        # The volume is smaller than what the policy allows.
        (100, seen({}, free=LEAST_HEADROOM_BYTES + 50), (), "NoSpace"),
        (100, seen({A: 60}, free=LEAST_HEADROOM_BYTES + 50), (), Room(100, prune_to=10)),
        (100, seen({}, free=LEAST_HEADROOM_BYTES + 150, volume=100 * LEAST_HEADROOM_BYTES), (), "NoSpace"),
        (0, seen({A: 1200}), (A,), "NoSpace"),
    ],
)
def test_room_for_a_wanted_image(size: int, cache: Scan, keep: tuple[str, ...], expected: Room | str) -> None:
    found = plan(size, LIMITS, cache, keep)
    assert (found.reason if isinstance(found, NoRoom) else found) == expected


def test_an_image_of_glances_queue_has_to_fit_below_the_high_watermark() -> None:
    """Above it, the next prune would remove it."""
    assert plan(950, LIMITS, seen({}), (), is_wanted=True) == Room(1000)
    assert isinstance(plan(950, LIMITS, seen({}), (), is_wanted=False), NoRoom)
    assert plan(900, LIMITS, seen({}), (), is_wanted=False) == Room(900)


@pytest.mark.parametrize(
    ("cache", "keep", "expected"),
    [
        (seen({A: 900}), (), None),
        (seen({A: 901}), (), 800),
        (seen({A: 901}), (A,), None),
        (seen({A: 800, B: 150}), (A,), 800),
        (seen({A: 100}, others=900), (), 800),
        (seen({}, others=2000), (), None),
    ],
)
def test_a_prune_is_due_above_the_high_watermark_where_something_may_go(
    cache: Scan, keep: tuple[str, ...], expected: int | None
) -> None:
    assert prune_target(LIMITS, cache, keep) == expected


SIZES = st.integers(0, 1500)
CACHES = st.builds(
    seen,
    st.dictionaries(st.sampled_from([A, B, C, D]), SIZES),
    st.integers(0, 500),
    st.integers(0, LEAST_HEADROOM_BYTES + 2000) | st.just(ROOMY),
)
KEEPS = st.sets(st.sampled_from([A, B, C, D]))


@given(SIZES, CACHES, KEEPS, st.booleans())
def test_a_plan_keeps_the_limit_and_what_is_wanted(size: int, cache: Scan, keep: set[str], is_wanted: bool) -> None:
    found = plan(size, LIMITS, cache, keep, is_wanted=is_wanted)
    limit = limit_bytes(LIMITS, cache)
    if isinstance(found, NoRoom):
        ceiling = limit if is_wanted else limit * 90 // 100
        assert size > LIMITS.max_bytes or cache.used_bytes - evictable_bytes(cache, keep) + size > ceiling
    else:
        left = cache.used_bytes if found.prune_to is None else found.prune_to
        assert left + size <= limit
        assert size <= found.room_bytes
        # What has to go is there to go.
        assert cache.used_bytes - evictable_bytes(cache, keep) <= left


@given(CACHES, KEEPS)
def test_a_prune_never_aims_at_what_is_full_enough(cache: Scan, keep: set[str]) -> None:
    target = prune_target(LIMITS, cache, keep)
    if target is not None:
        assert target < cache.used_bytes
        assert evictable_bytes(cache, keep) > 0
    elif is_over(LIMITS, cache):
        assert evictable_bytes(cache, keep) == 0


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (5 * 2**30, "5.0 GiB"), (2**60, "1048576.0 TiB")],
)
def test_sizes_are_shown_as_people_read_them(size: int, text: str) -> None:
    assert shown(size) == text
