"""A client of the store monitor in the API pods (`render/files/store_monitor.py`).

Whoever can enter a pod can answer in its place. So every answer is bounded in time and size and read strictly, and what
goes wrong is a `MonitorError` with a fixed reason, whose message repeats nothing of it.
"""

import json
from enum import StrEnum
from typing import Any, TypeGuard
from urllib.parse import quote

import aiohttp

from imageservice.store_report import ImageCount, StoreReason, StoreReport

STORES_SECONDS = 2.0
"""How long the reports of a site may take: the monitor has them at hand."""
IMAGES_SECONDS = 10.0
"""How long a count may take: the monitor gives its database 8 s."""
ANSWER_LIMIT_BYTES = 256 * 1024
"""The longest answer that is read: of a thousand stores."""
MESSAGE_LIMIT = 300
FSID_LIMIT = 36

_REASONS = {reason.value: reason for reason in StoreReason}

Json = dict[str, Any]


class Reason(StrEnum):
    """Why the monitor gave no answer to use."""

    MONITOR_UNREACHABLE = "MonitorUnreachable"
    """No connection, or no answer in time."""
    MONITOR_REFUSED = "MonitorRefused"
    """It answered, but not as a store monitor does."""
    STORE_UNKNOWN = "StoreUnknown"
    """Neither Glance nor its database knows the store."""
    IMAGES_NOT_COUNTED = "ImagesNotCounted"
    """The monitor could not ask the database."""


class MonitorError(Exception):
    """The monitor gave no answer to use; `reason` is fixed, `message` is for people."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message


def new_session() -> aiohttp.ClientSession:
    """Return a session for these requests: nothing in it that the answer of a server could widen."""
    return aiohttp.ClientSession(
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        headers={"Accept": "application/json", "Accept-Encoding": "identity"},
    )


async def stores(session: aiohttp.ClientSession, url: str) -> dict[str, StoreReport]:
    """Return what the monitor at `url` (`http://<host>:<port>`) says of each of its stores. Raises MonitorError."""
    status, answer = await _get(session, f"{url}/stores", STORES_SECONDS)
    found = answer.get("stores")
    if status != 200 or not isinstance(found, dict):
        raise _refused(f"did not list its stores (HTTP {status})")
    return {store_id: _report(entry) for store_id, entry in found.items()}


async def images(session: aiohttp.ClientSession, url: str, store_id: str) -> ImageCount:
    """Return how many images lie in a store, as the monitor at `url` finds in the database. Raises MonitorError."""
    status, answer = await _get(session, f"{url}/images/{quote(store_id, safe='')}", IMAGES_SECONDS)
    if status == 404 and answer.get("reason") == Reason.STORE_UNKNOWN:
        raise MonitorError(Reason.STORE_UNKNOWN, f"Glance knows no store {store_id}")
    if status == 503:
        why = "does not answer" if answer.get("reason") == "DatabaseUnreachable" else "could not be asked"
        raise MonitorError(Reason.IMAGES_NOT_COUNTED, f"the database of Glance {why}")
    count, only_here = (answer.get(name) for name in ("images", "onlyHere"))
    if status != 200 or not _is_count(count) or not _is_count(only_here) or only_here > count:
        raise _refused(f"did not count images (HTTP {status})")
    return ImageCount(count, only_here)


def _is_count(value: object) -> TypeGuard[int]:
    return type(value) is int and value >= 0


def _report(entry: object) -> StoreReport:
    """Read the report of one store; one of no known form, or with a reason of its own, is of a probe that failed."""
    if not isinstance(entry, dict):
        return StoreReport(StoreReason.PROBE_FAILED, "the monitor said nothing of it that can be read")
    reason = _REASONS.get(str(entry.get("reason")), StoreReason.PROBE_FAILED)
    return StoreReport(reason, _text(entry.get("message"), MESSAGE_LIMIT), _text(entry.get("fsid"), FSID_LIMIT) or None)


def _text(value: object, limit: int) -> str:
    """Return a text of others as it may be shown: on one line, printable and short."""
    words = " ".join(value.split()) if isinstance(value, str) else ""
    return "".join(character for character in words if character.isprintable())[:limit]


async def _get(session: aiohttp.ClientSession, url: str, seconds: float) -> tuple[int, Json]:
    """Return status and JSON object of an answer. Raises MonitorError."""
    try:
        timeout = aiohttp.ClientTimeout(total=seconds)
        async with session.get(url, timeout=timeout, allow_redirects=False) as response:
            body = await _read(response)
            return response.status, _object(body)
    except TimeoutError as error:
        raise MonitorError(
            Reason.MONITOR_UNREACHABLE, f"the store monitor gave no answer within {seconds:g} s"
        ) from error
    except (aiohttp.ClientConnectorError, aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
        raise MonitorError(Reason.MONITOR_UNREACHABLE, "the store monitor cannot be connected to") from error
    except (aiohttp.ClientError, ValueError) as error:
        raise _refused("answered with something else than a JSON object over HTTP") from error


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(64 * 1024):
        body += chunk
        if len(body) > ANSWER_LIMIT_BYTES:
            raise _refused(f"sent an answer longer than {ANSWER_LIMIT_BYTES} bytes")
    return bytes(body)


def _object(body: bytes) -> Json:
    try:
        value = json.loads(body)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError("not an object")  # noqa: TRY004 - the content is wrong, not the program
    return value


def _refused(what: str) -> MonitorError:
    return MonitorError(Reason.MONITOR_REFUSED, f"the store monitor {what}")
