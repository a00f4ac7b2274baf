"""What can go wrong between a client and the API server. Each fault is an object to give to `FaultProxy.inject`."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from multidict import CIMultiDict
from tests.faults.proxy import Answer as Told
from tests.faults.proxy import Cut, EndOfWatch, Exchange, Fault
from tests.faults.requestlog import LEASES, READS, Request
from tests.faults.requestlog import WRITES as WRITE_VERBS

Moment = Literal["unanswered", "answered"]
"""Of a write that reached the API server: before its answer is passed on, or just after."""

_ENDLESS = 1_000_000_000
_AFTER_ANSWER_SECONDS = 0.005
"""How long a process has, after an answer, to act on it before it is killed."""


@dataclass(frozen=True)
class Where:
    """Which requests a fault concerns; an empty set leaves that open. Leases only where they are named.

    `names` are names of objects: a list or a watch has none. `server` is that of `FaultProxy.add_server`.
    """

    verbs: frozenset[str] = frozenset()
    resources: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    namespaces: frozenset[str] = frozenset()
    server: str = ""

    def holds(self, request: Request) -> bool:
        """Tell whether it is one of the requests meant."""
        if request.server != self.server or (request.resource == LEASES and LEASES not in self.resources):
            return False
        return all(
            not wanted or found in wanted
            for wanted, found in (
                (self.verbs, request.verb),
                (self.resources, request.resource),
                (self.names, request.name),
                (self.namespaces, request.namespace),
            )
        )

    def of(self, *resources: str) -> "Where":
        """Return the same, but only of these resources (plurals)."""
        return replace(self, resources=frozenset(resources))


WRITES = Where(verbs=WRITE_VERBS)
GETS = Where(verbs=frozenset(("get",)))
LISTS = Where(verbs=frozenset(("list",)))
READS_OF_OBJECTS = Where(verbs=READS - {"watch", "discover"})
WATCHES = Where(verbs=frozenset(("watch",)))
ALL = Where(verbs=WRITE_VERBS | READS - {"watch"})


@dataclass
class Limited(Fault):
    """A fault of some requests: those that `where` means, all but the first `skip`, at most `times`.

    `done` counts the requests that it was carried out on.
    """

    where: Where
    times: int = _ENDLESS
    skip: int = 0
    done: int = field(default=0, init=False)
    _seen: int = field(default=0, init=False)

    def takes(self, request: Request) -> bool:
        """Tell whether this request is one that is to suffer."""
        if not self.where.holds(request):
            return False
        self._seen += 1
        if self._seen <= self.skip or self.done >= self.times:
            return False
        self.done += 1
        return True


@dataclass
class Refuse(Limited):
    """Answer with an error instead of asking the API server. `retry_after` is in seconds."""

    status: int = 500
    reason: str = ""
    retry_after: int | None = None

    async def before(self, exchange: Exchange) -> Told | None:
        content = _status(self.status, self.reason or _REASONS.get(self.status, "InternalError"))
        headers = CIMultiDict({"Content-Type": "application/json"})
        if self.retry_after is not None:
            headers["Retry-After"] = str(self.retry_after)
        return Told(self.status, json.dumps(content).encode(), headers)


_REASONS = {
    409: "Conflict",
    410: "Expired",
    422: "Invalid",
    429: "TooManyRequests",
    503: "ServiceUnavailable",
}


def _status(code: int, reason: str) -> dict[str, Any]:
    """Return the object by which the API server says that something went wrong."""
    message = "a fault of the tests"
    content = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code}
    return content | {"metadata": {}, "message": message}


@dataclass
class Reset(Limited):
    """Reset the connection: before the API server has heard of the request, or when it has carried it out."""

    reached: bool = False

    async def before(self, exchange: Exchange) -> Told | None:
        if not self.reached:
            raise Cut
        return None

    async def between(self, exchange: Exchange, answer: Told) -> Told:
        raise Cut


@dataclass
class Silence(Limited):
    """Never answer: the client has to give up by itself. `reached`: the request was carried out all the same."""

    reached: bool = False

    async def before(self, exchange: Exchange) -> Told | None:
        if not self.reached:
            await asyncio.Event().wait()
        return None

    async def between(self, exchange: Exchange, answer: Told) -> Told:
        await asyncio.Event().wait()
        return answer


@dataclass
class Late(Limited):
    """Pass an answer on only after some seconds: it tells of a world that has changed since."""

    seconds: float = 1.0

    async def between(self, exchange: Exchange, answer: Told) -> Told:
        await asyncio.sleep(self.seconds)
        return answer


@dataclass
class AtWrite(Fault):
    """Call `act` at the k-th write that a server has answered, whatever it answered (Leases do not count).

    `server` is the name of the one server whose writes count (`FaultProxy.add_server`); None for all. `act` must return
    at once: killing or stopping a process is what it is made for. `happened` is the write at which it was called.
    """

    number: int
    act: Callable[[], None]
    moment: Moment = "unanswered"
    server: str | None = None
    happened: Request | None = field(default=None, init=False)
    _seen: int = field(default=0, init=False)
    _awaiting_answer: set[int] = field(default_factory=set, init=False)

    def takes(self, request: Request) -> bool:
        """Take every write until it has happened."""
        return request.is_write and self.happened is None and self.server in (None, request.server)

    async def between(self, exchange: Exchange, answer: Told) -> Told:
        self._seen += 1
        if self._seen != self.number:
            return answer
        self.happened = exchange.request
        if self.moment == "unanswered":
            self.act()
            raise Cut
        self._awaiting_answer.add(id(exchange))
        return answer

    def after(self, exchange: Exchange) -> None:
        if id(exchange) in self._awaiting_answer:
            # Not here: a client that hangs up after its last answer ends what is done for it here.
            asyncio.get_running_loop().call_later(_AFTER_ANSWER_SECONDS, self.act)


@dataclass
class OldLists(Fault):
    """Answer lists as they once were, as an API server does that lags behind.

    Until `serve` lists are only recorded: the first answer to each list since the fault was injected. Each `serve` lets
    each of them be told once more. `done` counts how often one was.
    """

    where: Where = LISTS
    done: int = field(default=0, init=False)
    _recorded: dict[tuple[str, str], Told] = field(default_factory=dict, init=False)
    _to_serve: set[tuple[str, str]] = field(default_factory=set, init=False)

    def serve(self) -> None:
        """Answer the next list of each kind with what was recorded."""
        self._to_serve = set(self._recorded)

    def takes(self, request: Request) -> bool:
        """Take all lists that are meant."""
        return self.where.holds(request)

    async def before(self, exchange: Exchange) -> Told | None:
        key = (exchange.request.path, exchange.question)
        if key not in self._to_serve:
            return None
        self._to_serve.discard(key)
        self.done += 1
        return self._recorded[key]

    async def between(self, exchange: Exchange, answer: Told) -> Told:
        if answer.status == 200:
            self._recorded.setdefault((exchange.request.path, exchange.question), answer)
        return answer


@dataclass
class WatchFault(Fault):
    """A fault of the events of watches, also of those that are open already. Bookmarks are no events.

    `done` counts the events that it was carried out on.
    """

    where: Where = WATCHES
    done: int = field(default=0, init=False)

    def takes_events(self, request: Request) -> bool:
        """Take the events of all watches that are meant."""
        return self.where.holds(request)

    async def event(self, exchange: Exchange, line: bytes, came: float) -> list[bytes]:
        """Pass bookmarks on."""
        return [line] if _is_bookmark(line) else await self.instead(exchange, line, came)

    async def instead(self, exchange: Exchange, line: bytes, came: float) -> list[bytes]:
        """Return what is told instead of an event."""
        raise NotImplementedError


@dataclass
class DropEvents(WatchFault):
    """Lose every n-th event. Bookmarks go on coming, so the client has no sign of the loss."""

    every: int = 2
    _seen: int = field(default=0, init=False)

    async def instead(self, exchange: Exchange, line: bytes, came: float) -> list[bytes]:
        self._seen += 1
        if self._seen % self.every:
            return [line]
        self.done += 1
        return []


@dataclass
class DelayEvents(WatchFault):
    """Tell of each event only some seconds after it came: the client's view is out of date all the time."""

    seconds: float = 1.0

    async def instead(self, exchange: Exchange, line: bytes, came: float) -> list[bytes]:
        self.done += 1
        await asyncio.sleep(max(0.0, came + self.seconds - time.monotonic()))
        return [line]


@dataclass
class RepeatEvents(WatchFault):
    """Tell of each event several times."""

    copies: int = 3

    async def instead(self, exchange: Exchange, line: bytes, came: float) -> list[bytes]:
        self.done += 1
        return [line] * self.copies


@dataclass
class ExpireWatch(WatchFault):
    """End each watch with the error 410 after some events, as the API server does when its history is too short.

    The event after these is not told.
    """

    after_events: int = 0
    _passed: Counter[int] = field(default_factory=Counter, init=False)

    async def instead(self, exchange: Exchange, line: bytes, came: float) -> list[bytes]:
        self._passed[id(exchange)] += 1
        if self._passed[id(exchange)] <= self.after_events:
            return [line]
        self.done += 1
        raise EndOfWatch(json.dumps({"type": "ERROR", "object": _status(410, "Expired")}).encode() + b"\n")


@dataclass
class BlackHole(Fault):
    """The network swallows everything from when this is made: watches that are open stay open and silent for good, and
    until `lift` (or the proxy is healed) new requests of the kind meant get no answer.

    With `new_too` False only what is open is hit, as when a firewall forgets its connections. A watch without any event
    before the proxy is healed comes to life again.
    """

    where: Where = WATCHES
    new_too: bool = True
    began: float = field(default_factory=time.monotonic, init=False)
    done: int = field(default=0, init=False)
    _lifted: bool = field(default=False, init=False)

    def lift(self) -> None:
        """Answer again. What was open stays dead: nothing that is on its way in a dead connection ever comes."""
        self._lifted = True

    def takes(self, request: Request) -> bool:
        """Take new requests for as long as the network is gone."""
        return self.new_too and not self._lifted and self.where.holds(request)

    def takes_events(self, request: Request) -> bool:
        """Take the events of the watches that were open when it began."""
        return request.began <= self.began and self.where.holds(request)

    async def before(self, exchange: Exchange) -> Told | None:
        self.done += 1
        await asyncio.Event().wait()
        return None

    async def event(self, exchange: Exchange, line: bytes, came: float) -> list[bytes]:
        """Never return: neither this event, nor any later one, nor the end of the watch is passed on."""
        self.done += 1
        await asyncio.Event().wait()
        return []


def _is_bookmark(line: bytes) -> bool:
    with suppress(ValueError):
        return bool(json.loads(line).get("type") == "BOOKMARK")
    return False
