"""Things done at the same time, none of which outlives the pass that began it."""

import asyncio
from collections.abc import Awaitable
from typing import Any


async def together(*acts: Awaitable[Any]) -> list[Any]:
    """Do some things at the same time and return their results in order; raise the first error once all have ended.

    `asyncio.gather` would raise at once and leave the others at work behind the back of the next pass.
    """
    results = await asyncio.gather(*acts, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results
