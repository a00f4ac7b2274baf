"""The windows of time in which nodes may fetch images. `status/windows.py` tells when one is open."""

from datetime import UTC, datetime
from typing import Annotated
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from pydantic import Field

from imageservice.api.markers import OperatorRule, Pattern, schema_format, unit, unset
from imageservice.api.v1alpha1.common import ApiModel

SOME_DAY = datetime(2024, 1, 1, tzinfo=UTC)
_CRON_FIELD = r"[0-9A-Za-z*/,#-]+"


def is_schedule(text: str) -> bool:
    """Tell whether a text is a cron schedule that comes round at all."""
    try:
        next(CronSim(text, SOME_DAY))
    except (CronSimError, StopIteration):
        return False
    return True


def is_time_zone(name: str) -> bool:
    """Tell whether a time zone is known by this name."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # no such zone, a file that is none, a folder of zones
        return False
    return True


Schedule = Annotated[
    str,
    Field(min_length=9, max_length=128),
    Pattern(
        rf"^{_CRON_FIELD}( {_CRON_FIELD}){{4}}$",
        "must be a cron schedule of five fields with single blanks between them: minute, hour, day of the month, "
        "month, day of the week, like 0 22 * * MON-FRI",
    ),
    OperatorRule("must be a cron schedule that comes round, like 0 22 * * MON-FRI", is_schedule),
]

TimeZone = Annotated[
    str,
    Field(min_length=1, max_length=64),
    Pattern(
        r"^[A-Za-z][-+_0-9A-Za-z]*(/[A-Za-z][-+_0-9A-Za-z]*)*$",
        "must be the name of a time zone, like UTC or Europe/Berlin",
    ),
    OperatorRule("must be a time zone that the operator knows, like UTC or Europe/Berlin", is_time_zone),
]


class FetchWindow(ApiModel):
    """A span of time that comes again and again."""

    schedule: Annotated[
        Schedule,
        Field(
            description="When the window opens, as a cron schedule: minute, hour, day of the month, month, day of the "
            "week. A time that the change to summer time leaves out is moved to the end of the gap; one that comes "
            "twice in autumn opens the window once.",
            examples=["0 22 * * MON-FRI"],
        ),
    ]
    duration_seconds: Annotated[
        int,
        Field(
            ge=60,
            le=604_800,
            description="How long the window stays open. Fetches that run when it closes are stopped, and begin anew "
            "in the next one.",
            examples=[28800],
        ),
        schema_format("int64"),
        unit("seconds"),
    ]
    time_zone: Annotated[
        TimeZone | None,
        Field(
            description="Time zone of the schedule, by its name in the IANA database.",
            examples=["Europe/Berlin"],
        ),
        unset("UTC"),
    ] = None
