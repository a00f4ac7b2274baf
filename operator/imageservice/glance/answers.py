"""Answers of programs in pods over HTTP, bounded in time and size and read strictly.

Whoever can enter a pod can answer in its place. So what goes wrong is an error with words of ours, which repeat nothing
of the answer.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

import aiohttp

ETAG_LIMIT = 128

Json = dict[str, Any]

_WITHOUT_BODY = frozenset({204, 304})


class NoAnswer(Exception):  # noqa: N818 - names what is wrong
    """Nothing that can be used came back. `what` goes on after a word for who was asked."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


class Unreachable(NoAnswer):
    """There is no connection, or no answer in time."""


class Unreadable(NoAnswer):
    """Something answered, but with no JSON object over HTTP, or with too long a one."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The HTTP status, the JSON object (empty where the status has none), and the ETag (empty where it has none)."""

    status: int
    content: Json
    etag: str = ""


def new_session(*, keep_alive: bool = True) -> aiohttp.ClientSession:
    """Return a session for these requests: nothing in it that the answer of a server could widen.

    Without `keep_alive` each request has a connection of its own, as many at once as are asked for: for programs that
    are too many for a connection kept to each.
    """
    connector = aiohttp.TCPConnector() if keep_alive else aiohttp.TCPConnector(limit=0, force_close=True)
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        headers={"Accept": "application/json", "Accept-Encoding": "identity"},
    )


async def ask(
    session: aiohttp.ClientSession,
    method: str,
    url: str,
    *,
    seconds: float,
    limit_bytes: int,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
) -> Answer:
    """Send a request, with a JSON body if any, and return its answer of at most `limit_bytes`. Raises NoAnswer."""
    sent = {**(headers or {}), **({} if body is None else {"Content-Type": "application/json"})}
    try:
        timeout = aiohttp.ClientTimeout(total=seconds)
        async with session.request(
            method, url, timeout=timeout, headers=sent, data=body, allow_redirects=False
        ) as response:
            content = await _read(response, limit_bytes)
            if response.status in _WITHOUT_BODY:
                return Answer(response.status, {})
            return Answer(response.status, _object(content), response.headers.get("ETag", "")[:ETAG_LIMIT])
    except TimeoutError as error:
        raise Unreachable(f"gave no answer within {seconds:g} s") from error
    except (aiohttp.ClientConnectorError, aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
        raise Unreachable("cannot be connected to") from error
    except (aiohttp.ClientError, ValueError) as error:
        raise Unreadable("answered with something else than a JSON object over HTTP") from error


def is_count(value: object) -> TypeGuard[int]:
    """Tell whether a value of JSON is a whole number from 0 on."""
    return type(value) is int and value >= 0


def shown(value: object, limit: int) -> str:
    """Return a text of others as it may be shown: on one line, printable and short; empty where it is no text."""
    words = " ".join(value.split()) if isinstance(value, str) else ""
    return "".join(character for character in words if character.isprintable())[:limit]


async def _read(response: aiohttp.ClientResponse, limit_bytes: int) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(64 * 1024):
        body += chunk
        if len(body) > limit_bytes:
            raise Unreadable(f"sent an answer longer than {limit_bytes} bytes")
    return bytes(body)


def _object(body: bytes) -> Json:
    try:
        value = json.loads(body)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError("not an object")  # noqa: TRY004 - the content is wrong, not the program
    return value
