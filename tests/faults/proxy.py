"""A proxy between a client and a server that logs every request and carries out faults.

    with FaultProxy(api, directory) as proxy:
        start_operator(proxy.kubeconfig)
        proxy.inject(Answer(503, WRITES, times=3))
        ...
        proxy.heal()
        assert not proxy.log.writes()

The client speaks plain HTTP to it and needs no credentials: the proxy adds those of the kubeconfig it was given. It is
one thread with one event loop, so that any number of them can run side by side; all methods may be called from any
other thread. What the faults do is in `faults.py`.
"""

import asyncio
import json
import socket
import struct
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from tests.api_client import ApiClient
from tests.faults.requestlog import Request, RequestLog, parse
from yarl import URL

START_SECONDS = 10
READ_BUFFER_BYTES = 2**22
"""The longest line of a watch: an object with everything in it."""
_HOP_BY_HOP = frozenset(
    ("connection", "keep-alive", "transfer-encoding", "content-length", "host", "authorization", "accept-encoding")
)
_RESET_AT_CLOSE = struct.pack("ii", 1, 0)


class Cut(Exception):  # noqa: N818 - what is done
    """Raised by a fault: reset the connection to the client instead of answering."""


class EndOfWatch(Exception):  # noqa: N818 - what is done
    """Raised by a fault: end a watch in good order, with some last lines."""

    def __init__(self, *last: bytes) -> None:
        super().__init__()
        self.last = last


@dataclass(frozen=True)
class Answer:
    """An answer to a request that is no watch."""

    status: int
    body: bytes
    headers: CIMultiDict[str] = field(default_factory=CIMultiDict)


@dataclass(frozen=True)
class Exchange:
    """A request under way, as a fault sees it.

    `question` is what else decides what an answer looks like: the part of the URL after the question mark, and the
    content type that is asked for.
    """

    request: Request
    question: str
    body: bytes


class Fault:
    """Something that goes wrong, or is merely watched. A subclass overrides what it needs.

    `takes` is asked once for every request; only if it says yes `before`, `between` and `after` are called for it.
    `takes_events` is asked for every event of every watch, so a fault also concerns watches that are older than itself.
    All are called in the event loop of the proxy, one at a time, so they need no locks, and must not block.
    """

    def takes(self, request: Request) -> bool:
        """Tell whether this fault concerns the request."""
        return False

    def takes_events(self, request: Request) -> bool:
        """Tell whether this fault concerns the events of a watch."""
        return False

    async def before(self, exchange: Exchange) -> Answer | None:
        """Act before the server is asked; an answer given here is the client's, and the server is not asked."""
        return None

    async def between(self, exchange: Exchange, answer: Answer) -> Answer:
        """Act when the server has answered and the client knows nothing yet; return what the client is to be told."""
        return answer

    def after(self, exchange: Exchange) -> None:
        """Act when the client has been answered."""

    async def event(self, exchange: Exchange, line: bytes, came: float) -> list[bytes]:
        """Return what becomes of an event of a watch: a line of JSON that came at a time of the monotonic clock."""
        return [line]


class FaultProxy:
    """See the head of this file. `log` has the requests, `url` is where it listens."""

    def __init__(self, api: ApiClient, directory: Path) -> None:
        self.log = RequestLog()
        self.url = ""
        self.kubeconfig = directory / "through-proxy.kubeconfig"
        """With it a client reaches the API server of `api` through this proxy, as the user that `api` is."""
        self._api = api
        self._servers: dict[str, str] = {}
        self._faults: tuple[Fault, ...] = ()
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = asyncio.Event()
        self._under_way: set[asyncio.Task[Answer]] = set()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="fault-proxy", daemon=True)
        self._ready = threading.Event()

    def __enter__(self) -> "FaultProxy":
        self._thread.start()
        if not self._ready.wait(START_SECONDS):
            raise RuntimeError("the proxy did not start")
        self.kubeconfig.parent.mkdir(parents=True, exist_ok=True)
        self.kubeconfig.write_text(json.dumps(_kubeconfig(self.url)))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(START_SECONDS)

    def add_server(self, name: str, url: str) -> str:
        """Put another server (plain HTTP) behind the proxy too; return the URL by which it is reached through it.

        Its requests are in the same log, and faults can be meant for it.
        """
        self._servers[name] = url.rstrip("/")
        return f"{self.url}/{name}"

    def inject(self, *faults: Fault) -> None:
        """Add faults; the first one added sees a request first."""
        self._faults = (*self._faults, *faults)

    def remove(self, *faults: Fault) -> None:
        """Take some faults away."""
        self._faults = tuple(fault for fault in self._faults if not any(fault is gone for gone in faults))

    def heal(self) -> None:
        """Take all faults away. A connection that one of them holds stays as it is until its client gives it up."""
        self._faults = ()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        connector = aiohttp.TCPConnector(limit=0, ssl=self._api.tls or True)
        headers = {"Accept-Encoding": "identity"}
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(
            connector=connector, headers=headers, timeout=timeout, read_bufsize=READ_BUFFER_BYTES
        ) as self._session:
            runner = web.ServerRunner(web.Server(self._handle, handler_cancellation=True), shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            self._ready.set()
            await self._stopped.wait()
            await runner.cleanup()
            for task in self._under_way:
                task.cancel()
            await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _handle(self, received: web.BaseRequest) -> web.StreamResponse:
        server, path = self._target(received)
        request = parse(received.method, path, received.query, server)
        self.log.add(request)
        faults = [fault for fault in self._faults if fault.takes(request)]
        request.faults += [type(fault).__name__ for fault in faults]
        question = f"{received.query_string} {received.headers.get('Accept')}"
        try:
            exchange = Exchange(request, question, await received.read())
            if request.verb == "watch":
                return await self._watch(received, exchange, faults)
            return await self._answer(received, exchange, faults)
        except Cut:
            _reset(received)
            return web.Response()
        finally:
            request.ended = asyncio.get_running_loop().time()

    async def _answer(self, received: web.BaseRequest, exchange: Exchange, faults: list[Fault]) -> web.StreamResponse:
        answer = await _first(faults, exchange)
        if answer is None:
            # A client that dies meanwhile does not take back what is on its way.
            asking = asyncio.create_task(self._ask(received, exchange))
            self._under_way.add(asking)
            asking.add_done_callback(self._over)
            answer = await asyncio.shield(asking)
            for fault in faults:
                answer = await fault.between(exchange, answer)
        response = web.Response(status=answer.status, body=answer.body, headers=answer.headers)
        exchange.request.status = answer.status
        try:
            await response.prepare(received)
            await response.write_eof()
        finally:
            for fault in faults:
                fault.after(exchange)
        return response

    def _over(self, asking: asyncio.Task[Answer]) -> None:
        self._under_way.discard(asking)
        if not asking.cancelled():
            asking.exception()  # nobody may be left to whom it could be told

    async def _ask(self, received: web.BaseRequest, exchange: Exchange) -> Answer:
        try:
            async with self._send(received, exchange) as response:
                exchange.request.reached = response.status
                return Answer(response.status, await response.read(), _passed_on(response.headers))
        except aiohttp.ClientError as error:
            raise Cut from error

    async def _watch(self, received: web.BaseRequest, exchange: Exchange, faults: list[Fault]) -> web.StreamResponse:
        answer = await _first(faults, exchange)
        if answer is not None:
            exchange.request.status = answer.status
            return web.Response(status=answer.status, body=answer.body, headers=answer.headers)
        try:
            async with self._send(received, exchange) as response:
                exchange.request.reached = exchange.request.status = response.status
                told = web.StreamResponse(status=response.status, headers=_passed_on(response.headers))
                told.enable_chunked_encoding()
                await told.prepare(received)
                await self._pass_on(response.content, told, exchange)
        except aiohttp.ClientError as error:
            raise Cut from error
        with suppress(ConnectionError):
            await told.write_eof()
        return told

    async def _pass_on(self, lines: aiohttp.StreamReader, told: web.StreamResponse, exchange: Exchange) -> None:
        """Pass the events of a watch on as they come, each as the faults of its moment make it."""
        waiting: asyncio.Queue[tuple[bytes, float] | None] = asyncio.Queue()
        reader = asyncio.create_task(_read(lines, waiting))
        try:
            while (came := await waiting.get()) is not None:
                passed = [came[0]]
                for fault in [fault for fault in self._faults if fault.takes_events(exchange.request)]:
                    changed = [await fault.event(exchange, line, came[1]) for line in passed]
                    passed = [line for lines_instead in changed for line in lines_instead]
                for line in passed:
                    await told.write(line)
        except EndOfWatch as end:
            for line in end.last:
                await told.write(line)
        finally:
            reader.cancel()
            await asyncio.wait({reader})

    def _send(self, received: web.BaseRequest, exchange: Exchange) -> aiohttp.client._RequestContextManager:
        assert self._session is not None
        url = self._api.server + received.raw_path
        headers = _passed_on(received.headers)
        if exchange.request.server:
            url = self._servers[exchange.request.server] + received.raw_path.removeprefix(f"/{exchange.request.server}")
        else:
            headers.update(self._api.headers)
        body = exchange.body or None
        return self._session.request(
            received.method, URL(url, encoded=True), data=body, headers=headers, allow_redirects=False
        )

    def _target(self, received: web.BaseRequest) -> tuple[str, str]:
        """Return which server a request is for, by the first word of its path, and the path there."""
        name, _, rest = received.path.removeprefix("/").partition("/")
        return (name, f"/{rest}") if name in self._servers else ("", received.path)


async def _read(lines: aiohttp.StreamReader, waiting: "asyncio.Queue[tuple[bytes, float] | None]") -> None:
    """Note when each line came; None is put behind the last one."""
    try:
        async for line in lines:
            waiting.put_nowait((line, asyncio.get_running_loop().time()))
    finally:
        waiting.put_nowait(None)


async def _first(faults: list[Fault], exchange: Exchange) -> Answer | None:
    for fault in faults:
        answer = await fault.before(exchange)
        if answer is not None:
            return answer
    return None


def _passed_on(headers: Mapping[str, str]) -> CIMultiDict[str]:
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in _HOP_BY_HOP)


def _reset(received: web.BaseRequest) -> None:
    """Close the connection in a way that the client sees as an error of the network, not as an orderly end."""
    transport = received.transport
    if transport is not None:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
        transport.abort()


def _kubeconfig(url: str) -> dict[str, object]:
    name = "through-proxy"
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "clusters": [{"name": name, "cluster": {"server": url}}],
        "users": [{"name": name, "user": {}}],
    }
