"""What may answer where an agent should: programs that hang, fail or lie, each a way to answer a request for a status.

A way gets the request and what an honest agent would answer, a status or, to a set that it was told, `{"revision",
"status"}`.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from aiohttp import web

TRAP = "/test/trap"
"""Where a redirect leads: nobody may come there, and least of all with the token."""
FOREIGN_IMAGE = "ffffffff-0000-4000-8000-000000000000"
_TOKEN_HEADER = "X-Image-Service-Token"

Json = dict[str, Any]
Way = Callable[[web.Request, Json], Awaitable[web.StreamResponse]]


async def hang(_: web.Request, __: Json) -> web.StreamResponse:
    """Take the request and say nothing."""
    await asyncio.sleep(3600)
    raise web.HTTPGone


async def drip(request: web.Request, honest: Json) -> web.StreamResponse:
    """Send a byte now and then."""
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in itertools.repeat(honest):
        await response.write(b" ")
        await asyncio.sleep(0.2)
    return response


async def never_end(request: web.Request, honest: Json) -> web.StreamResponse:
    """Send as fast as it goes, for ever."""
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in itertools.repeat(honest):
        await response.write(b" " * 65536)
    return response


def _plain(status: int = 200, text: str = "{}", **headers: str) -> Way:
    async def answer(_: web.Request, __: Json) -> web.StreamResponse:
        return web.Response(status=status, text=text, headers=headers, content_type="application/json")

    return answer


def _lying(lie: Callable[[Json], Json]) -> Way:
    """Answer in good form, with another status."""

    async def answer(_: web.Request, honest: Json) -> web.StreamResponse:
        if "status" in honest:
            return web.json_response(honest | {"status": lie(honest["status"])})
        return web.json_response(lie(honest))

    return answer


def _images(**fields: Any) -> Callable[[Json], Json]:
    return lambda status: status | {"images": {image: entry | fields for image, entry in status["images"].items()}}


async def repeat_the_token(request: web.Request, honest: Json) -> web.StreamResponse:
    """Fail with a message that holds what nobody may read."""
    why = {"state": "Failed", "reason": "WorkerFailed", "message": f"it came with {request.headers[_TOKEN_HEADER]}"}
    return await _lying(_images(**why, attempts=1))(request, honest)


async def take_another_set(_: web.Request, honest: Json) -> web.StreamResponse:
    """Take what it is told for something else."""
    return web.json_response(honest | {"revision": "another"} if "revision" in honest else honest)


def _changing() -> Way:
    states: Iterator[str] = itertools.cycle(["Cached", "Failed", "Waiting", "Fetching"])

    async def change(request: web.Request, honest: Json) -> web.StreamResponse:
        """Say something else each time."""
        return await _lying(_images(state=next(states), attempts=1, reason="Stalled"))(request, honest)

    return change


REFUSED, UNREACHABLE = "AgentRefused", "AgentUnreachable"
WAYS: Mapping[str, tuple[Way, str]] = {
    "hangs": (hang, UNREACHABLE),
    "drips": (drip, UNREACHABLE),
    "never ends": (never_end, REFUSED),
    "garbage": (_plain(text="<html>It works!</html>"), REFUSED),
    "nothing": (_plain(text=""), REFUSED),
    "500": (_plain(500), REFUSED),
    "401": (_plain(401), "AgentTokenRefused"),
    "redirect": (_plain(307, Location=TRAP), REFUSED),
    "another node": (_lying(lambda status: status | {"node": "node-0"}), REFUSED),
    "negative": (_lying(_images(doneBytes=-1)), REFUSED),
    "absurd": (_lying(_images(sizeBytes=2**60)), REFUSED),
    "another set": (take_another_set, REFUSED),
    "repeats the token": (repeat_the_token, "WorkerFailed"),
}
"""Name -> the way, and the reason that the status of an ImagePrecache has to give for such a node."""
_FOREIGN = {FOREIGN_IMAGE: {"state": "Cached", "sizeBytes": 1, "doneBytes": 1}}
OTHERS: Mapping[str, Way] = {
    "foreign images": _lying(lambda status: status | {"images": _FOREIGN}),
    "changes": _changing(),
}
"""Ways in good form: to claim what nobody asked for and do nothing of what was; to say something else each time."""


def way(name: str) -> Way:
    """Return a way by its name."""
    return WAYS[name][0] if name in WAYS else OTHERS[name]
