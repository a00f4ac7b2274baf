"""Which images are meant by ids, names, tags and properties: asked of the store monitor at the centre.

The monitor finds them in Glance's database (`render/files/image_lookup.py`): the API shows the service user no images.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp

from imageservice.api.vocabulary import MOST_BYTES
from imageservice.found_images import Found, FoundImage
from imageservice.glance import answers
from imageservice.glance.agents import TOKEN_HEADER
from imageservice.glance.answers import Json, is_count
from imageservice.glance.monitor import MonitorError, Reason
from imageservice.sensitive import Sensitive

LOOKUP_SECONDS = 10.0
"""How long an answer may take: the monitor gives its database 8 s."""
ANSWER_LIMIT_BYTES = 4 * 1024 * 1024
"""The longest answer that is read: of a hundred names and a selector of 500 images, with room to spare."""
NAME_LIMIT = 255
_ID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

Query = Mapping[str, Any]


async def lookup(session: aiohttp.ClientSession, url: str, token: Sensitive, queries: Sequence[Query]) -> list[Found]:
    """Return what each query finds, in their order, as the monitor at `url` tells. Raises MonitorError."""
    body = json.dumps({"queries": list(queries)}, separators=(",", ":")).encode()
    try:
        answer = await answers.ask(
            session,
            "POST",
            f"{url}/lookup",
            seconds=LOOKUP_SECONDS,
            limit_bytes=ANSWER_LIMIT_BYTES,
            headers={TOKEN_HEADER: token.reveal()},
            body=body,
        )
    except answers.NoAnswer as error:
        reached = isinstance(error, answers.Unreadable)
        reason = Reason.MONITOR_REFUSED if reached else Reason.MONITOR_UNREACHABLE
        raise MonitorError(reason, f"the store monitor {error.what}") from error
    if answer.status == 503:
        raise MonitorError(Reason.IMAGES_NOT_COUNTED, "the database of Glance could not be asked for images")
    if answer.status != 200:
        raise MonitorError(Reason.MONITOR_REFUSED, f"the store monitor did not look images up (HTTP {answer.status})")
    told = answer.content.get("answers")
    if not isinstance(told, list) or len(told) != len(queries):
        raise _odd()
    return [_found(entry) for entry in told]


def _found(entry: object) -> Found:
    images = entry.get("images") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(images, list):
        raise _odd()
    return Found(tuple(_image(image) for image in images), truncated=entry.get("truncated") is True)


def _image(entry: Json) -> FoundImage:
    if not isinstance(entry, dict):
        raise _odd()
    image_id, size = entry.get("id"), entry.get("size")
    if not isinstance(image_id, str) or not _ID.fullmatch(image_id) or not _is_size(size):
        raise _odd()
    return FoundImage(image_id, answers.shown(entry.get("name"), NAME_LIMIT), size, str(entry.get("status")))


def _is_size(value: object) -> bool:
    return value is None or (is_count(value) and value <= MOST_BYTES)


def _odd() -> MonitorError:
    return MonitorError(Reason.MONITOR_REFUSED, "the store monitor tells of images in a form that cannot be read")
