"""Whether nodes may fetch now, until when, and from when on, by the windows of an ImagePrecache. No clock in here."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from heapq import merge
from zoneinfo import ZoneInfo

from cronsim import CronSim

from imageservice.api.v1alpha1 import FetchWindow

HORIZON = timedelta(hours=6)
"""How far ahead the end of windows that run into each other is looked for: some schedules never close."""
_LOOKS_BACK = (timedelta(hours=1), timedelta(days=1))
"""How far back the last opening is looked for at first: schedules that open often would have thousands in a week."""


def open_until(windows: Sequence[FetchWindow], now: datetime) -> datetime | None:
    """Return when the windows that are open at `now` have closed; None where none is open.

    One that opens until another closes prolongs it. Where that goes on for HORIZON or longer, the answer is a time when
    they are open still: ask again before. `now` bears a time zone; what is returned is in UTC.
    """
    now = end = now.astimezone(UTC)
    for start, closing in merge(*(_spans(window, now) for window in windows)):
        if start > end or end >= now + HORIZON:
            break
        end = max(end, closing)
    return end if end > now else None


def next_opening(windows: Sequence[FetchWindow], now: datetime) -> datetime | None:
    """Return, in UTC, when the next window opens after `now`, also while one is open; None without windows."""
    now = now.astimezone(UTC)
    starts = (next((start for start in _starts(window, now) if start > now), None) for window in windows)
    return min((start for start in starts if start is not None), default=None)


def _spans(window: FetchWindow, now: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Give start and end of the last opening until `now`, where it may last still, and of all that follow."""
    lasting = timedelta(seconds=window.duration_seconds)
    for back in (*(shorter for shorter in _LOOKS_BACK if shorter < lasting), lasting):
        last = None
        for start in _starts(window, now - back):
            if start > now:
                break
            last = start
        if last is not None:
            yield last, last + lasting
            break
    yield from ((start, start + lasting) for start in _starts(window, now) if start > now)


def _starts(window: FetchWindow, after: datetime) -> Iterator[datetime]:
    """Give, in order and without end, when a window opens.

    cronsim counts in local time, and takes one that comes twice for that of the first round: within the second round,
    what lies ahead by the clock on the wall is past, and is given nevertheless.
    """
    local = after.astimezone(ZoneInfo(window.time_zone or "UTC"))
    return (start.astimezone(UTC) for start in CronSim(window.schedule, local))
