"""When a pass is followed by the next one, where no watch would tell that it is time."""

from dataclasses import dataclass
from datetime import UTC, datetime

POLL_SECONDS = 5.0
"""How soon to look again at pods, which are not watched, while a roll-out goes on. More than the patience with one."""
MISSING_SECONDS = 15.0
"""How soon to look again for something that is referred to and was not there, or is not in Kubernetes."""


@dataclass(kw_only=True)
class LookAgain:
    """The part of a pass that collects when to look again, in seconds from its end; None: when something changes."""

    requeue_after: float | None = None

    def look_again(self, seconds: float | None) -> None:
        """Come back after `seconds`, or earlier where an earlier look was asked for."""
        if seconds is not None:
            self.requeue_after = min(seconds, self.requeue_after or seconds)


def utc_now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(UTC)
