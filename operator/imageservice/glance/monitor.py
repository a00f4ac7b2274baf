"""A client of the store monitor in the API pods (`render/files/store_monitor.py`).

What goes wrong is a `MonitorError` with a fixed reason, whose message repeats nothing of the answer (`answers.py`).
"""

from enum import StrEnum
from urllib.parse import quote

import aiohttp

from imageservice.glance import answers
from imageservice.glance.answers import Json, is_count, shown
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
    if status != 200 or not is_count(count) or not is_count(only_here) or only_here > count:
        raise _refused(f"did not count images (HTTP {status})")
    return ImageCount(count, only_here)


def _report(entry: object) -> StoreReport:
    """Read the report of one store; one of no known form, or with a reason of its own, is of a probe that failed."""
    if not isinstance(entry, dict):
        return StoreReport(StoreReason.PROBE_FAILED, "the monitor said nothing of it that can be read")
    reason = _REASONS.get(str(entry.get("reason")), StoreReason.PROBE_FAILED)
    return StoreReport(reason, shown(entry.get("message"), MESSAGE_LIMIT), shown(entry.get("fsid"), FSID_LIMIT) or None)


async def _get(session: aiohttp.ClientSession, url: str, seconds: float) -> tuple[int, Json]:
    """Return status and JSON object of an answer. Raises MonitorError."""
    try:
        answer = await answers.ask(session, "GET", url, seconds=seconds, limit_bytes=ANSWER_LIMIT_BYTES)
    except answers.NoAnswer as error:
        reached = isinstance(error, answers.Unreadable)
        reason = Reason.MONITOR_REFUSED if reached else Reason.MONITOR_UNREACHABLE
        raise MonitorError(reason, f"the store monitor {error.what}") from error
    return answer.status, answer.content


def _refused(what: str) -> MonitorError:
    return MonitorError(Reason.MONITOR_REFUSED, f"the store monitor {what}")
