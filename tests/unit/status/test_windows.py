"""When windows are open: overlaps, the change of the clock, and schedules that never close."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from imageservice.api.v1alpha1 import FetchWindow
from imageservice.status.windows import HORIZON, next_opening, open_until

HOUR = 3600
BERLIN = "Europe/Berlin"


def window(schedule: str, hours: float, zone: str | None = None) -> FetchWindow:
    return FetchWindow(schedule=schedule, duration_seconds=int(hours * HOUR), time_zone=zone)


def at(text: str, zone: str = "UTC", *, fold: int = 0) -> datetime:
    """Return a local time; `fold` 1 is the second round of an hour that comes twice."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold)


NIGHTS = window("0 22 * * MON-FRI", 8, BERLIN)  # 26 November 2026 is a Thursday


@pytest.mark.parametrize(
    ("now", "until", "following"),
    [
        ("2026-11-26 21:59:59", None, "2026-11-26 22:00"),
        ("2026-11-26 22:00:00", "2026-11-27 06:00", "2026-11-27 22:00"),
        ("2026-11-27 05:59:59", "2026-11-27 06:00", "2026-11-27 22:00"),
        ("2026-11-27 06:00:00", None, "2026-11-27 22:00"),
        ("2026-11-28 05:00:00", "2026-11-28 06:00", "2026-11-30 22:00"),
        ("2026-11-28 22:00:00", None, "2026-11-30 22:00"),
    ],
)
def test_a_window_is_open_from_its_time_for_its_duration(now: str, until: str | None, following: str) -> None:
    assert open_until([NIGHTS], at(now, BERLIN)) == (until and at(until, BERLIN))
    assert next_opening([NIGHTS], at(now, BERLIN)) == at(following, BERLIN)


def test_without_a_time_zone_the_schedule_is_in_utc() -> None:
    assert open_until([window("0 22 * * *", 1)], at("2026-11-26 23:30", BERLIN)) == at("2026-11-26 23:00")


def test_without_windows_none_is_open_and_none_opens() -> None:
    assert open_until([], at("2026-11-26 12:00")) is None
    assert next_opening([], at("2026-11-26 12:00")) is None


def test_the_answers_are_in_utc_whatever_the_zone_of_the_question() -> None:
    until, following = (ask([NIGHTS], at("2026-11-26 23:00", BERLIN)) for ask in (open_until, next_opening))
    assert until is not None
    assert following is not None
    assert (until.tzinfo, following.tzinfo) == (UTC, UTC)


@pytest.mark.parametrize(
    ("windows", "until"),
    [
        ([window("0 10 * * *", 2), window("0 11 * * *", 3)], "2026-11-26 14:00"),  # one runs into the other
        ([window("0 10 * * *", 2), window("0 12 * * *", 1)], "2026-11-26 13:00"),  # one opens when the other closes
        ([window("0 10 * * *", 2), window("1 12 * * *", 1)], "2026-11-26 12:00"),  # a minute apart
        ([window("0 10 * * *", 5), window("0 11 * * *", 1)], "2026-11-26 15:00"),  # one within the other
        ([window("0,30 10-12 * * *", 0.75)], "2026-11-26 13:15"),  # one window, opened anew before it closes
        ([window("0 9 * * *", 24 * 3)], "2026-11-29 09:00"),  # open since days: the last opening counts
    ],
)
def test_windows_that_overlap_are_open_until_the_last_of_them_closes(windows: list[FetchWindow], until: str) -> None:
    assert open_until(windows, at("2026-11-26 11:30")) == at(until)


def test_a_schedule_that_never_closes_is_open_for_a_good_while_ahead() -> None:
    now = at("2026-11-26 11:30:20")
    until = open_until([window("* * * * *", 1 / 60)] * 16, now)
    assert until is not None
    assert now + HORIZON <= until <= now + HORIZON + timedelta(minutes=1)


# 29 March 2026: at 2:00 it is 3:00. 25 October 2026: at 3:00 it is 2:00 again.


def test_a_time_that_summer_time_leaves_out_opens_the_window_at_the_end_of_the_gap() -> None:
    early = [window("30 2 * * *", 1, BERLIN)]
    gap_ends = at("2026-03-29 03:00", BERLIN)
    assert next_opening(early, at("2026-03-29 01:59", BERLIN)) == gap_ends == at("2026-03-29 01:00")
    assert open_until(early, at("2026-03-29 00:59:59")) is None
    assert open_until(early, at("2026-03-29 01:59:59")) == at("2026-03-29 02:00")
    assert open_until(early, at("2026-03-29 02:00")) is None


def test_a_duration_is_real_time_also_when_the_clock_changes_within_it() -> None:
    night = [window("0 22 * * *", 8, BERLIN)]
    assert open_until(night, at("2026-03-28 23:00", BERLIN)) == at("2026-03-29 07:00", BERLIN)
    assert open_until(night, at("2026-10-24 23:00", BERLIN)) == at("2026-10-25 05:00", BERLIN)


@pytest.mark.parametrize(
    ("now", "until", "following"),
    [
        (at("2026-10-25 02:40", BERLIN), None, "2026-10-25 00:45"),
        (at("2026-10-25 02:50", BERLIN), "2026-10-25 01:15", "2026-10-26 01:45"),
        (at("2026-10-25 02:10", BERLIN, fold=1), "2026-10-25 01:15", "2026-10-26 01:45"),
        (at("2026-10-25 02:20", BERLIN, fold=1), None, "2026-10-26 01:45"),
        (at("2026-10-25 02:50", BERLIN, fold=1), None, "2026-10-26 01:45"),
    ],
)
def test_a_time_that_comes_twice_opens_the_window_once(now: datetime, until: str | None, following: str) -> None:
    twice = [window("45 2 * * *", 0.5, BERLIN)]
    assert open_until(twice, now) == (until and at(until))
    assert next_opening(twice, now) == at(following)


def test_every_hour_means_every_hour_of_real_time_in_the_night_that_has_one_more() -> None:
    hourly = [window("0 * * * *", 0.25, BERLIN)]
    openings = [at("2026-10-24 23:30")]
    while len(openings) < 5:
        following = next_opening(hourly, openings[-1])
        assert following is not None
        openings.append(following)
    assert openings[1:] == [at(f"2026-10-25 0{hour}:00") for hour in range(4)]


def by_hand(windows: Sequence[FetchWindow], now: datetime) -> tuple[datetime | None, datetime | None]:
    """Return the same answers, as far as two days ahead, by writing down every opening, from the first to the last."""
    spans = []
    for one in windows:
        zone, lasting = ZoneInfo(one.time_zone or "UTC"), timedelta(seconds=one.duration_seconds)
        for start in CronSim(one.schedule, (now - timedelta(days=3)).astimezone(zone)):
            begin = start.astimezone(UTC)
            spans.append((begin, begin + lasting))
            if begin > now + timedelta(days=2):
                break
    end = now
    for begin, closing in sorted(spans):
        if begin > end:
            break
        end = max(end, closing)
    return (end if end > now else None), min((begin for begin, _ in spans if begin > now), default=None)


SCHEDULES = [
    "*/20 * * * *",
    "15 1-4 * * *",
    "30 2 * * *",
    "0 22 * * *",
    "0,45 */3 * * *",
    "59 2 25-29 * *",
    "5 3 * * SUN",
]
WINDOWS = st.builds(
    window,
    st.sampled_from(SCHEDULES),
    st.sampled_from([0.05, 0.25, 0.5, 1, 3, 9, 30]),
    # Not Lord Howe Island, whose clocks change by half an hour: cronsim then may miss an hour, by where it begins.
    st.sampled_from([None, BERLIN, "America/New_York", "Asia/Kathmandu"]),
)
CHANGES = [datetime(2026, month, day, hour, tzinfo=UTC) for month, day, hour in ((3, 29, 1), (10, 25, 1), (11, 1, 6))]
TIMES = st.builds(
    lambda change, minutes, seconds: change + timedelta(minutes=minutes, seconds=seconds),
    st.sampled_from([*CHANGES, datetime(2026, 7, 1, tzinfo=UTC)]),
    st.integers(-240, 240),
    st.sampled_from([0, 0, 1, 30]),
)


@given(windows=st.lists(WINDOWS, min_size=1, max_size=3), now=TIMES)
@settings(max_examples=100, deadline=None)
def test_the_answers_are_those_of_a_calendar_written_out(windows: list[FetchWindow], now: datetime) -> None:
    until, following = by_hand(windows, now)
    if until is not None and until > now + HORIZON:
        answer = open_until(windows, now)
        assert answer is not None
        assert now + HORIZON <= answer <= until
    else:
        assert open_until(windows, now) == until
    assert next_opening(windows, now) == following
