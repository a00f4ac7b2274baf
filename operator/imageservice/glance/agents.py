"""A client of the cache agent on a node (`prefetcher/`, port 9294).

What goes wrong is an `AgentError` with a fixed reason, whose message repeats nothing of the answer (`answers.py`). An
answer of which any part is not as an agent writes it is not used at all.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, TypeVar
from urllib.parse import quote

import aiohttp

from imageservice.agent_report import (
    AgentReport,
    CacheContent,
    CachedImage,
    CacheUse,
    ImageReason,
    ImageReport,
    ImageState,
    SetReport,
)
from imageservice.api.vocabulary import MOST_BYTES, MOST_COUNTED
from imageservice.glance import answers
from imageservice.glance.answers import Answer, Json, is_count, shown
from imageservice.sensitive import Sensitive

STATUS_SECONDS = 5.0
"""How long a status may take: the agent has it at hand."""
WRITE_SECONDS = 10.0
"""How long a set may take to be taken: the agent puts it on its disk first."""
CACHE_SECONDS = 30.0
"""How long looking into the cache, or throwing something out of it, may take: Glance's code is started for it."""
ANSWER_LIMIT_BYTES = 1024 * 1024
"""The longest answer that is read: of several thousand images."""
MESSAGE_LIMIT = 200
NAME_LIMIT = 253
TOKEN_HEADER = "X-Image-Service-Token"  # noqa: S105 - the name of a header

_STATES = {state.value: state for state in ImageState}
_REASONS = {reason.value: reason for reason in ImageReason}
_Value = TypeVar("_Value")


class Reason(StrEnum):
    """Why an agent gave no answer to use."""

    AGENT_UNREACHABLE = "AgentUnreachable"
    """No connection, or no answer in time."""
    AGENT_REFUSED = "AgentRefused"
    """It answered, but not as an agent does, or as that of another node."""
    AGENT_TOKEN_REFUSED = "AgentTokenRefused"  # noqa: S105 - a reason
    """It does not take the token: it has that of another database, or is none of ours."""
    IMAGE_WANTED = "ImageWanted"
    """The image is not thrown out of the cache, because an ImagePrecache wants it there."""


class AgentError(Exception):
    """The agent gave no answer to use; `reason` is fixed, `message` is for people."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message


@dataclass(frozen=True, slots=True)
class Agent:
    """Where the agent of a node is: `url` is `http://<host>:<port>`; what the node is called; and the agents' token."""

    node: str
    url: str
    token: Sensitive


@dataclass(frozen=True, slots=True)
class WantedSet:
    """What one ImagePrecache wants of a node, as the agent takes it.

    `revision` names the images and all that follows them, but not whether the node may fetch: the agent gives both back
    (`SetReport`). `until` is when fetching has to end, in seconds since 1970.
    """

    name: str
    revision: str
    images: tuple[str, ...]
    fetch: bool
    until: int | None
    timeout_seconds: int
    backoff_seconds: int
    max_backoff_seconds: int

    def to_json(self) -> bytes:
        """Return the body of the request."""
        content = {
            "name": self.name,
            "revision": self.revision,
            "images": list(self.images),
            "fetch": self.fetch,
            "until": self.until,
            "timeoutSeconds": self.timeout_seconds,
            "backoffSeconds": self.backoff_seconds,
            "maxBackoffSeconds": self.max_backoff_seconds,
        }
        return json.dumps(content, separators=(",", ":")).encode()


def new_session() -> aiohttp.ClientSession:
    """Return a session for thousands of agents, none of which is held on to."""
    return answers.new_session(keep_alive=False)


async def status(session: aiohttp.ClientSession, agent: Agent, etag: str = "") -> tuple[AgentReport, str] | None:
    """Return what an agent says of itself, and the ETag of that; None where it still is that of `etag`.

    Raises AgentError, also where the answer is that of another node: addresses of pods are used again.
    """
    headers = {"If-None-Match": etag} if etag else {}
    answer = await _ask(session, agent, "GET", "/v1/status", seconds=STATUS_SECONDS, headers=headers)
    if answer.status == 304 and etag:
        return None
    report = _understood(answer, _report)
    if report.node != agent.node:
        raise AgentError(Reason.AGENT_REFUSED, "at the agent's address answers that of another node")
    return report, answer.etag


async def put_set(session: aiohttp.ClientSession, agent: Agent, uid: str, wanted: bytes, revision: str) -> AgentReport:
    """Tell an agent what the ImagePrecache `uid` wants of its node (`WantedSet.to_json`); return how it is then.

    Raises AgentError.
    """
    answer = await _ask(session, agent, "PUT", f"/v1/sets/{quote(uid, safe='')}", seconds=WRITE_SECONDS, body=wanted)
    if answer.status != 200 or answer.content.get("revision") != revision:
        raise _refused("did not take what it was told to cache", answer)
    try:
        return _report(_object(answer.content.get("status")))
    except _Odd:
        raise _refused("tells how it is in a form that cannot be read", answer) from None


async def delete_set(session: aiohttp.ClientSession, agent: Agent, uid: str) -> None:
    """Tell an agent that the ImagePrecache `uid` wants nothing of its node any more. Raises AgentError."""
    answer = await _ask(session, agent, "DELETE", f"/v1/sets/{quote(uid, safe='')}", seconds=WRITE_SECONDS)
    if answer.status not in (200, 204, 404):
        raise _refused("did not forget what it was told to cache", answer)


async def content(session: aiohttp.ClientSession, agent: Agent) -> CacheContent:
    """Return what is in the cache of a node, and in Glance's own queue there. Raises AgentError."""
    answer = await _ask(session, agent, "GET", "/v1/cache", seconds=CACHE_SECONDS)
    return _understood(answer, _content)


async def queue(session: aiohttp.ClientSession, agent: Agent, image_id: str) -> None:
    """Put an image into Glance's own queue on a node. Raises AgentError."""
    await _change(session, agent, "PUT", f"/v1/queue/{quote(image_id, safe='')}")


async def unqueue(session: aiohttp.ClientSession, agent: Agent, image_id: str | None = None) -> None:
    """Take an image, or all, out of Glance's own queue on a node. Raises AgentError."""
    await _change(session, agent, "DELETE", "/v1/queue" + ("" if image_id is None else f"/{quote(image_id, safe='')}"))


async def evict(
    session: aiohttp.ClientSession, agent: Agent, image_id: str | None = None, *, force: bool = False
) -> None:
    """Throw an image, or all, out of the cache of a node. Raises AgentError.

    One that an ImagePrecache wants stays (`ImageWanted`), unless `force` is set: then it is fetched again.
    """
    path = "/v1/cache" + ("" if image_id is None else f"/{quote(image_id, safe='')}")
    await _change(session, agent, "DELETE", path + ("?force=true" if force else ""))


async def _change(session: aiohttp.ClientSession, agent: Agent, method: str, path: str) -> None:
    answer = await _ask(session, agent, method, path, seconds=CACHE_SECONDS)
    if answer.status == 409:
        raise AgentError(Reason.IMAGE_WANTED, "an ImagePrecache wants the image in the cache of this node")
    if answer.status not in (200, 201, 202, 204, 404):
        raise _refused("did not do as it was told", answer)


async def _ask(
    session: aiohttp.ClientSession,
    agent: Agent,
    method: str,
    path: str,
    *,
    seconds: float,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
) -> Answer:
    try:
        answer = await answers.ask(
            session,
            method,
            agent.url + path,
            seconds=seconds,
            limit_bytes=ANSWER_LIMIT_BYTES,
            headers={TOKEN_HEADER: agent.token.reveal(), **(headers or {})},
            body=body,
        )
    except answers.NoAnswer as error:
        reached = isinstance(error, answers.Unreadable)
        reason = Reason.AGENT_REFUSED if reached else Reason.AGENT_UNREACHABLE
        raise AgentError(reason, f"the agent {error.what}") from None
    if answer.status in (401, 403):
        raise AgentError(Reason.AGENT_TOKEN_REFUSED, "the agent does not take the token of this ImageService")
    return answer


def _refused(what: str, answer: Answer) -> AgentError:
    return AgentError(Reason.AGENT_REFUSED, f"the agent {what} (HTTP {answer.status})")


# -------------------------------------------------------------------------------------------------- strict reading


class _Odd(Exception):  # noqa: N818 - names what is wrong
    """A part of an answer is not as an agent writes it."""


def _understood(answer: Answer, read: Callable[[Json], _Value]) -> _Value:
    if answer.status != 200:
        raise _refused("did not tell how it is", answer)
    try:
        return read(answer.content)
    except _Odd:
        raise _refused("tells how it is in a form that cannot be read", answer) from None


def _report(content: Json) -> AgentReport:
    return AgentReport(
        node=_name(content.get("node")),
        release=_name(content.get("release")),
        cache=_cache_use(_object(content.get("cache"))),
        sets={_name(uid): _set(_object(entry)) for uid, entry in _object(content.get("sets")).items()},
        images={_name(image): _image(_object(entry)) for image, entry in _object(content.get("images")).items()},
    )


def _cache_use(entry: Json) -> CacheUse:
    names = ("usedBytes", "maxBytes", "freeBytes", "images", "hits")
    return CacheUse(*(_number(entry.get(name)) for name in names))


def _set(entry: Json) -> SetReport:
    fetch = entry.get("fetch")
    if not isinstance(fetch, bool):
        raise _Odd
    return SetReport(_name(entry.get("name")), _name(entry.get("revision")), fetch)


def _image(entry: Json) -> ImageReport:
    state, size, retry_at = _STATES.get(_name(entry.get("state"))), entry.get("sizeBytes"), entry.get("retryAt")
    if state is None:
        raise _Odd
    found = ImageReport(state, None if size is None else _number(size), _number(entry.get("doneBytes") or 0))
    if state is ImageState.CACHED:
        return found
    reason = str(entry.get("reason") or "")
    return replace(
        found,
        reason=_REASONS.get(reason, ImageReason.WORKER_FAILED) if reason or state is ImageState.FAILED else None,
        message=shown(entry.get("message"), MESSAGE_LIMIT),
        attempts=min(_number(entry.get("attempts") or 0), MOST_COUNTED),
        retry_at=None if retry_at is None else _time(retry_at),
    )


def _content(content: Json) -> CacheContent:
    queued = _list(content.get("queued"))
    return CacheContent(
        cached=tuple(_cached(_object(entry)) for entry in _list(content.get("cached"))),
        queued=tuple(_name(image) for image in queued),
    )


def _cached(entry: Json) -> CachedImage:
    return CachedImage(
        _name(entry.get("id")),
        _number(entry.get("size")),
        _number(entry.get("hits")),
        _time(entry.get("lastAccessed") or 0),
    )


def _object(value: object) -> Json:
    if not isinstance(value, dict):
        raise _Odd
    return value


def _list(value: object) -> Sequence[Any]:
    if not isinstance(value, list):
        raise _Odd
    return value


def _name(value: object) -> str:
    """Read a short text that may be shown as it is."""
    if not isinstance(value, str) or shown(value, NAME_LIMIT) != value:
        raise _Odd
    return value


def _number(value: object) -> int:
    if not is_count(value) or value > MOST_BYTES:
        raise _Odd
    return value


def _time(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < MOST_BYTES:
        raise _Odd
    return float(value)
