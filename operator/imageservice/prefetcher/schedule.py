"""Which image is to be fetched next, when a failed one is tried again, and whether a fetch may go on. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from . import reasons
from .sets import DesiredSet
from .state import Outcome

NOT_GRANTED = "NotGranted"
"""Why a wanted image waits: the operator lets no set that wants it fetch on this node."""


@dataclass(frozen=True)
class Terms:
    """How long a fetch may take, and how long to wait after the first failure and at most."""

    timeout_seconds: float
    backoff_seconds: float
    max_backoff_seconds: float


DEFAULT_TERMS = Terms(timeout_seconds=3600, backoff_seconds=30, max_backoff_seconds=3600)
"""Terms of what is in Glance's own queue, which comes without."""
GLOBAL_TERMS = Terms(timeout_seconds=0, backoff_seconds=5, max_backoff_seconds=300)
"""How long to wait where the worker cannot work at all: the database is away, or it does not start."""


@dataclass(frozen=True)
class Known:
    """What is known at a moment; `cached` are the ids of what is in the cache, `queued` those in Glance's queue."""

    now: float
    sets: Sequence[DesiredSet]
    cached: Mapping[str, int]
    queued: Sequence[str]
    outcomes: Mapping[str, Outcome]


# ------------------------------------------------------------------------------------------------------------ who wants


def wanted(sets: Iterable[DesiredSet]) -> dict[str, int]:
    """Return the images that sets want, with their rank: the first of each set before the second of any."""
    ranks: dict[str, int] = {}
    for one in sets:
        for position, image_id in enumerate(one.images):
            ranks[image_id] = min(position, ranks.get(image_id, position))
    return ranks


def granting(sets: Iterable[DesiredSet], image_id: str, now: float) -> list[DesiredSet]:
    """Return the sets for which an image may be fetched now."""
    return [one for one in sets if one.grants(now) and image_id in one.members]


def terms(granted_by: Sequence[DesiredSet]) -> Terms:
    """Return the terms of an image: what the most patient and the most eager of its sets allow."""
    if not granted_by:
        return DEFAULT_TERMS
    return Terms(
        timeout_seconds=max(one.timeout_seconds for one in granted_by),
        backoff_seconds=min(one.backoff_seconds for one in granted_by),
        max_backoff_seconds=min(one.max_backoff_seconds for one in granted_by),
    )


def why_not(sets: Iterable[DesiredSet], image_id: str, now: float) -> str | None:
    """Return why an image may not be fetched for a set now: a reason, None where it may be."""
    wanting = [one for one in sets if image_id in one.members]
    if any(one.grants(now) for one in wanting):
        return None
    if any(one.fetch for one in wanting):
        return reasons.WINDOW_CLOSED
    return NOT_GRANTED if wanting else reasons.CANCELLED


def why_stop(known: Known, image_id: str) -> str | None:
    """Return why a fetch that runs is to be stopped: a reason, None where it may go on."""
    return None if image_id in known.queued else why_not(known.sets, image_id, known.now)


# --------------------------------------------------------------------------------------------------------- whose turn


def next_image(known: Known, fits: Callable[[str, int], bool]) -> str | None:
    """Return the image to fetch now, None where there is none.

    What sets want comes before Glance's queue. What never failed comes before what did, and of that what failed less
    often: a bad image is in nobody's way. `fits` tells whether there is room for an image of so many bytes: one that
    was refused for want of it is tried again as soon as there is.
    """
    may_be_fetched = _fetchable(known)
    due = [(rank, image_id) for image_id, rank in may_be_fetched.items() if _is_due(known, image_id, fits)]
    if due:
        return min(due, key=lambda each: (_attempts(known, each[1]), *each))[1]
    queued = [
        image_id
        for image_id in known.queued
        if image_id not in known.cached and image_id not in may_be_fetched and _is_due(known, image_id, fits)
    ]
    return min(queued, key=lambda image_id: _attempts(known, image_id), default=None)


def _fetchable(known: Known) -> dict[str, int]:
    """Return what sets want, may fetch and is not cached, with its rank."""
    ranks = wanted(one for one in known.sets if one.grants(known.now))
    return {image_id: rank for image_id, rank in ranks.items() if image_id not in known.cached}


def _attempts(known: Known, image_id: str) -> int:
    outcome = known.outcomes.get(image_id)
    return outcome.attempts if outcome else 0


def _is_due(known: Known, image_id: str, fits: Callable[[str, int], bool]) -> bool:
    outcome = known.outcomes.get(image_id)
    if outcome is None or outcome.retry_at <= known.now:
        return True
    if outcome.planned and outcome.size is not None and fits(image_id, outcome.size):
        return True
    # A clock that was put back must not let an image wait for what it was put back by.
    longest = max(DEFAULT_TERMS.max_backoff_seconds, *(each.max_backoff_seconds for each in known.sets), 0)
    return outcome.retry_at - known.now > 2 * longest


def next_change(known: Known) -> float | None:
    """Return the epoch at which something may become due, or end, by time alone; None where nothing will."""
    fetchable = _fetchable(known).keys() | set(known.queued) - known.cached.keys()
    times = [known.outcomes[image_id].retry_at for image_id in fetchable if image_id in known.outcomes]
    times += [one.until for one in known.sets if one.fetch and one.until is not None]
    return min((each for each in times if each > known.now), default=None)


# ------------------------------------------------------------------------------------------------------------ back-off


def back_off(attempts: int, given: Terms, jitter: float) -> float:
    """Return how many seconds to wait after so many failures in a row; `jitter`, from 0 to 1, moves that by a fifth.

    The pause doubles with each failure. Without the jitter, all nodes would ask a store that is back at one moment.
    """
    doubled = given.backoff_seconds * 2.0 ** min(attempts - 1, 30)
    return min(doubled, given.max_backoff_seconds) * (0.8 + 0.4 * jitter)
