"""Time that counts seconds and is never set: also while the process, or the whole machine, is paused."""

import time


def boottime() -> float:
    """Return seconds since the machine was started, those it slept included (CLOCK_BOOTTIME on Linux)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
