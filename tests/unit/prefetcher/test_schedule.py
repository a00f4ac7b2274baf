"""Whose turn it is, and when: the decisions of the agent, without its processes."""

import uuid
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imageservice.prefetcher.schedule import (
    DEFAULT_TERMS,
    Known,
    Terms,
    back_off,
    granting,
    next_change,
    next_image,
    terms,
    wanted,
    why_not,
    why_stop,
)
from imageservice.prefetcher.sets import DesiredSet
from imageservice.prefetcher.state import Outcome

NOW = 1_800_000_000.0
A, B, C, D = (str(uuid.UUID(int=number)) for number in range(4))
MANY = [str(uuid.UUID(int=number)) for number in range(12)]


def desired(
    *images: str,
    uid: str = "one",
    fetch: bool = True,
    until: float | None = None,
    timeout_seconds: float = 100,
    backoff_seconds: float = 10,
    max_backoff_seconds: float = 100,
) -> DesiredSet:
    return DesiredSet(uid, uid, "1", images, fetch, until, timeout_seconds, backoff_seconds, max_backoff_seconds)


def failed(
    attempts: int = 1, retry_in: float = 60, size: int | None = 5, *, reason: str = "DataMissing", planned: bool = False
) -> Outcome:
    return Outcome(reason, "", attempts, NOW + retry_in, size, planned)


def known(
    *sets: DesiredSet,
    cached: Sequence[str] = (),
    queued: Sequence[str] = (),
    outcomes: Mapping[str, Outcome] = {},
    now: float = NOW,
) -> Known:
    return Known(now, sets, dict.fromkeys(cached, 1), queued, outcomes)


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        (known(), None),
        (known(desired(A, B)), A),
        (known(desired(A, B), cached=[A]), B),
        (known(desired(A, B), cached=[A, B]), None),
        # The first of each set comes before the second of any.
        (known(desired(A, B), desired(C, uid="two"), cached=[A]), C),
        (known(desired(A, fetch=False), desired(B, uid="two")), B),
        (known(desired(A, until=NOW)), None),
        (known(desired(A, until=NOW + 1)), A),
        (known(desired(A, fetch=False), desired(A, uid="two")), A),
        # What failed waits for its time, and then for those that have failed less often.
        (known(desired(A, B), outcomes={A: failed()}), B),
        (known(desired(A, B), outcomes={A: failed(retry_in=0)}), B),
        (known(desired(A, B), outcomes={A: failed(2, -1), B: failed(1, -1)}), B),
        (known(desired(A), outcomes={A: failed(retry_in=1)}), None),
        (known(desired(A), outcomes={A: failed(retry_in=0)}), A),
        # A clock that was put back by a year.
        (known(desired(A), outcomes={A: failed(retry_in=365 * 86400)}), A),
        # Refused for want of room, which may be there by now, or not.
        (known(desired(A), outcomes={A: failed(reason="NoSpace", planned=True)}), A),
        (known(desired(A), outcomes={A: failed(reason="NoSpace", planned=True, size=500)}), None),
        (known(desired(A), outcomes={A: failed(reason="NoSpace")}), None),
        # Glance's queue comes last, in its own order, and needs no grant.
        (known(desired(A), queued=[C, B]), A),
        (known(desired(A), queued=[C, B], cached=[A]), C),
        (known(desired(A), queued=[C, B], cached=[A], outcomes={C: failed()}), B),
        (known(desired(A), queued=[C, B], cached=[A], outcomes={C: failed(1, -1)}), B),
        (known(queued=[A], cached=[A]), None),
        (known(desired(A, fetch=False), queued=[A]), A),
    ],
)
def test_the_next_image(what: Known, expected: str | None) -> None:
    assert next_image(what, lambda _, size: size < 100) == expected


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        (known(desired(A)), None),
        (known(desired(A, fetch=False)), "NotGranted"),
        (known(desired(A, until=NOW - 1)), "WindowClosed"),
        (known(desired(A, until=NOW - 1), desired(A, uid="two", fetch=False)), "WindowClosed"),
        (known(desired(A, until=NOW - 1), desired(A, uid="two")), None),
        (known(desired(B)), "Cancelled"),
        (known(desired(B), queued=[A]), None),
        (known(desired(A, fetch=False), queued=[A]), None),
    ],
)
def test_why_a_fetch_stops(what: Known, expected: str | None) -> None:
    assert why_stop(what, A) == expected
    if not what.queued:
        assert why_not(what.sets, A, NOW) == expected


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        (known(desired(A)), None),
        (known(desired(A, until=NOW + 5)), 5),
        (known(desired(A, until=NOW - 5)), None),
        (known(desired(A, fetch=False, until=NOW + 5)), None),
        (known(desired(A), outcomes={A: failed(retry_in=7)}), 7),
        (known(desired(A), outcomes={A: failed(retry_in=-7)}), None),
        (known(desired(A), outcomes={A: failed(retry_in=7)}, cached=[A]), None),
        (known(queued=[A], outcomes={A: failed(retry_in=7)}), 7),
        (known(desired(A, fetch=False), outcomes={A: failed(retry_in=7)}), None),
    ],
)
def test_when_time_alone_changes_something(what: Known, expected: float | None) -> None:
    change = next_change(what)
    assert change == (None if expected is None else NOW + expected)


def test_the_most_patient_and_the_most_eager_set_give_the_terms() -> None:
    patient = desired(A, timeout_seconds=1000, backoff_seconds=50, max_backoff_seconds=60)
    eager = desired(A, uid="two", timeout_seconds=10, backoff_seconds=5, max_backoff_seconds=500)
    silent = desired(A, uid="three", fetch=False, timeout_seconds=5000)
    assert terms(granting([patient, eager, silent], A, NOW)) == Terms(1000, 5, 60)
    assert terms([]) == DEFAULT_TERMS


@given(st.integers(1, 10**6), st.floats(0.1, 1000), st.floats(1, 100), st.floats(0, 1))
def test_a_pause_is_bounded_whatever_the_attempts(attempts: int, first: float, factor: float, jitter: float) -> None:
    given_terms = Terms(1, first, first * factor)
    pause = back_off(attempts, given_terms, jitter)
    assert 0.8 * first <= pause <= 1.2 * first * factor * 1.000001
    assert back_off(attempts + 1, given_terms, jitter) >= pause


@given(st.lists(st.sampled_from(MANY), unique=True, min_size=1), st.sets(st.sampled_from(MANY)), st.integers(1, 3))
def test_every_good_image_is_fetched_before_a_bad_one_has_its_second_turn(
    images: list[str], bad: set[str], sets: int
) -> None:
    wanting = [desired(*images[number::sets], uid=str(number)) for number in range(sets)]
    cached: list[str] = []
    outcomes: dict[str, Outcome] = {}
    turns: list[str] = []
    for turn in range(3 * len(images)):
        # Every pause is over at once: the hardest case.
        image = next_image(known(*wanting, cached=cached, outcomes=outcomes, now=NOW + turn), lambda *_: True)
        if image is None:
            break
        turns.append(image)
        if image in bad:
            attempts = outcomes[image].attempts + 1 if image in outcomes else 1
            outcomes[image] = Outcome("HashMismatch", "", attempts, NOW + turn)
        else:
            cached.append(image)
    assert set(cached) == set(images) - bad
    assert set(turns[: len(images)]) == set(images)


@given(
    st.lists(st.tuples(st.lists(st.sampled_from(MANY)), st.booleans(), st.none() | st.floats(NOW - 9, NOW + 9))),
    st.sets(st.sampled_from(MANY)),
    st.lists(st.sampled_from(MANY), unique=True),
    st.dictionaries(st.sampled_from(MANY), st.tuples(st.integers(1, 9), st.floats(-50, 50))),
)
def test_what_is_fetched_is_missing_and_allowed_and_may_go_on(
    sets: list[tuple[list[str], bool, float | None]],
    cached: set[str],
    queued: list[str],
    outcomes: dict[str, tuple[int, float]],
) -> None:
    wanting = [
        desired(*images, uid=str(number), fetch=fetch, until=until)
        for number, (images, fetch, until) in enumerate(sets)
    ]
    what = known(
        *wanting,
        cached=sorted(cached),
        queued=queued,
        outcomes={image: failed(attempts, wait) for image, (attempts, wait) in outcomes.items()},
    )
    image = next_image(what, lambda *_: False)
    if image is None:
        missing = [one for one in {*wanted(wanting), *queued} - cached if why_stop(what, one) is None]
        assert all(what.outcomes[one].retry_at > NOW for one in missing)
        assert not missing or next_change(what) is not None
    else:
        assert image not in cached
        assert why_stop(what, image) is None
