"""Wait for what happens elsewhere: a look, a pause, another look, and an end to it."""

import asyncio
import time
from collections.abc import Callable
from typing import Any


def wait_for(condition: Callable[[], Any], seconds: float, what: str, *, pause: float = 0.1) -> Any:
    """Wait until `condition` returns something true, and return that; fail with `what` after some seconds."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(pause)


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until `condition` holds while the event loop goes on; TimeoutError after some seconds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - a condition on many things, none of which sends an event
            await asyncio.sleep(0.02)
