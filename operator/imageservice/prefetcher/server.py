"""A small HTTP server for JSON that nobody can hold up: one thread reads and writes for all, none waits for a client.

A connection costs a socket until a whole request has come; only then a thread answers it, and at most 16 do at once.
Everything is bounded: connections, heads, bodies, and the seconds in which each of them has to come. Whether a request
is allowed is decided when its head is there, so nobody without the token can make us keep a body.
"""

import collections
import contextlib
import json
import selectors
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .events import tell
from .wake import Wake

MOST_CONNECTIONS = 128
MOST_REQUESTS = 16
"""How many requests are answered at once."""
LONGEST_HEAD = 8 * 1024
LONGEST_BODY = 1024 * 1024
REQUEST_SECONDS = 10.0
"""How long a request may take to come, and an answer to be taken."""
IDLE_SECONDS = 75.0
"""How long a connection is kept for the next request."""
LINGER_SECONDS = 2.0
"""How long to listen to what is of no interest any more, so that the answer to it is not lost."""
PIECE_BYTES = 64 * 1024
PHRASES = {
    200: "OK", 202: "Accepted", 304: "Not Modified", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found",
    405: "Method Not Allowed", 409: "Conflict", 411: "Length Required", 413: "Content Too Large",
    431: "Request Header Fields Too Large", 500: "Internal Server Error", 501: "Not Implemented",
    503: "Service Unavailable", 505: "HTTP Version Not Supported", 507: "Insufficient Storage",
}  # fmt: skip


@dataclass(frozen=True)
class Request:
    """A request; names of headers are in small letters."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True)
class Response:
    """An answer."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


def json_response(status: int, content: Mapping[str, Any], **headers: str) -> Response:
    """Return an answer of JSON."""
    return Response(status, f"{json.dumps(content)}\n".encode(), headers=headers)


def refusal(status: int, reason: str, message: str) -> Response:
    """Return why a request is not fulfilled."""
    return json_response(status, {"reason": reason, "message": message})


class BadRequest(Exception):  # noqa: N818 - what a client sent
    """What came is no request that we understand."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        self.response = refusal(status, reason, message)
        super().__init__(message)


class Connection:
    """A client."""

    def __init__(self, client: socket.socket) -> None:
        self.socket = client
        self.received = bytearray()
        self.to_send = memoryview(b"")
        self.request: Request | None = None
        self.body_bytes = 0
        self.is_answered_elsewhere = self.ends_after_answer = self.is_lingering = False
        self.deadline = time.monotonic() + REQUEST_SECONDS

    @property
    def events(self) -> int:
        """What to wait for."""
        if self.to_send:
            return selectors.EVENT_WRITE
        return 0 if self.is_answered_elsewhere else selectors.EVENT_READ

    def take_head(self) -> Request | None:
        """Return the head of the next request without its body, once it is there. Raises BadRequest."""
        end = self.received.find(b"\r\n\r\n")
        if end > LONGEST_HEAD or (end < 0 and len(self.received) > LONGEST_HEAD):
            raise BadRequest(431, "HeadTooLarge", f"The head of a request has at most {LONGEST_HEAD} bytes.")
        if end < 0:
            return None
        head = bytes(self.received[:end])
        del self.received[: end + 4]
        self.request, self.body_bytes, self.ends_after_answer = parse_head(head)
        return self.request

    def take_request(self) -> Request | None:
        """Return the request with its body, once that is there."""
        if self.request is None or len(self.received) < self.body_bytes:
            return None
        head, body = self.request, bytes(self.received[: self.body_bytes])
        del self.received[: self.body_bytes]
        self.request = None
        return Request(head.method, head.path, head.query, head.headers, body)


def parse_head(head: bytes) -> tuple[Request, int, bool]:
    """Return the request, the length of its body, and whether the connection ends after it. Raises BadRequest."""
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[0].isalpha() or not words[1].startswith("/"):
        raise BadRequest(400, "BadRequest", "The first line is not that of a request.")
    if words[2] not in ("HTTP/1.1", "HTTP/1.0"):
        raise BadRequest(505, "VersionNotSupported", "Requests are of HTTP/1.1 or HTTP/1.0.")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.lower()
        if not colon or not name or name.strip() != name or (name in headers and name == "content-length"):
            raise BadRequest(400, "BadRequest", "A line of the head is no header, or the length is there twice.")
        headers[name] = value.strip()
    if "transfer-encoding" in headers:
        raise BadRequest(411, "LengthRequired", "A body comes in one piece, with its length.")
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()):
        raise BadRequest(400, "BadRequest", "The length of the body is no number.")
    if len(length) > 9 or int(length) > LONGEST_BODY:
        raise BadRequest(413, "BodyTooLarge", f"A body has at most {LONGEST_BODY} bytes.")
    wish = headers.get("connection", "").lower()
    ends = "close" in wish or (words[2] == "HTTP/1.0" and "keep-alive" not in wish)
    path, _, query = words[1].partition("?")
    return Request(words[0], path, query, headers), int(length), ends


class Server:
    """Serves on all addresses of the pod.

    `refuse` is asked with the head of a request alone, and returns why it is not fulfilled. `answer` runs in a thread
    of its own and may wait.
    """

    def __init__(
        self,
        port: int,
        pod_ips: str,
        *,
        refuse: Callable[[Request], Response | None],
        answer: Callable[[Request], Response],
    ) -> None:
        self._refuse, self._answer = refuse, answer
        self._listener = _listen(port, pod_ips)
        self.port: int = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._wake = Wake()
        self._connections: set[Connection] = set()
        self._answers: collections.deque[tuple[Connection, Response]] = collections.deque()
        self._at_work = 0
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._wake, selectors.EVENT_READ)

    def serve(self) -> None:
        """Serve for ever."""
        while True:
            for key, _ in self._selector.select(self._seconds_left()):
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj is self._wake:
                    self._take_answers()
                elif key.data in self._connections:
                    self._go_on(key.data)
            self._close_late()

    def _seconds_left(self) -> float | None:
        deadlines = [each.deadline for each in self._connections if not each.is_answered_elsewhere]
        return max(0.0, min(deadlines) - time.monotonic()) if deadlines else None

    # ----------------------------------------------------------------------------------------------------- connections

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            # Gone again; or too many files are open, of which some connection will end.
            time.sleep(0.01)
            return
        if len(self._connections) >= MOST_CONNECTIONS:
            self._close_one()
        client.setblocking(False)
        connection = Connection(client)
        self._connections.add(connection)
        self._selector.register(client, selectors.EVENT_READ, connection)

    def _close_one(self) -> None:
        """Close who is nearest to being closed anyway, of those that wait for nothing from us."""
        waiting = [each for each in self._connections if not each.is_answered_elsewhere]
        self._close(min(waiting, key=lambda each: each.deadline))

    def _close_late(self) -> None:
        now = time.monotonic()
        for each in [each for each in self._connections if each.deadline <= now and not each.is_answered_elsewhere]:
            self._close(each)

    def _close(self, connection: Connection) -> None:
        self._connections.discard(connection)
        with contextlib.suppress(KeyError):
            self._selector.unregister(connection.socket)
        connection.socket.close()

    def _wait_for(self, connection: Connection) -> None:
        """Wait for what the connection is at now."""
        try:
            if connection.events:
                self._selector.modify(connection.socket, connection.events, connection)
            else:
                self._selector.unregister(connection.socket)
        except KeyError:
            self._selector.register(connection.socket, connection.events, connection)

    # ------------------------------------------------------------------------------------------------------ one of them

    def _go_on(self, connection: Connection) -> None:
        try:
            if connection.to_send:
                self._send(connection)
            elif not self._receive(connection):
                self._close(connection)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._close(connection)
        except Exception as error:  # noqa: BLE001 - one client must not end the service for all
            tell("RequestFailed", error=type(error).__name__)
            self._close(connection)

    def _receive(self, connection: Connection) -> bool:
        """Take in what has come, and tell whether the client is still there."""
        piece = connection.socket.recv(PIECE_BYTES)
        if piece and not connection.is_lingering:
            if not connection.received and connection.request is None:
                connection.deadline = time.monotonic() + REQUEST_SECONDS
            connection.received += piece
            self._read(connection)
        return bool(piece)

    def _read(self, connection: Connection) -> None:
        """Act upon what has come so far."""
        try:
            if connection.request is None and (head := connection.take_head()) is not None:
                refused = self._refuse(head)
                if refused is not None:
                    # Without a body there is nothing left to be read, and the connection can be used again.
                    connection.request = None
                    self._respond(connection, refused, ends=connection.body_bytes > 0)
                    return
                if connection.body_bytes and head.headers.get("expect", "").lower() == "100-continue":
                    # So short a text fits into any socket; a client that does not read it does without.
                    connection.socket.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        except BadRequest as error:
            self._respond(connection, error.response, ends=True)
            return
        request = connection.take_request()
        if request is None:
            return
        if self._at_work >= MOST_REQUESTS:
            self._respond(connection, refusal(503, "TooManyRequests", f"{MOST_REQUESTS} are answered at once."))
            return
        threading.Thread(target=self._run, args=(connection, request), name="request", daemon=True).start()
        connection.is_answered_elsewhere = True
        self._at_work += 1
        self._wait_for(connection)

    def _run(self, connection: Connection, request: Request) -> None:
        try:
            response = self._answer(request)
        except Exception as error:  # noqa: BLE001 - becomes an answer
            tell("RequestFailed", error=type(error).__name__)
            response = refusal(500, "InternalError", "The agent failed.")
        self._answers.append((connection, response))
        self._wake.up()

    def _take_answers(self) -> None:
        self._wake.take()
        while self._answers:
            connection, response = self._answers.popleft()
            self._at_work -= 1
            connection.is_answered_elsewhere = False
            self._respond(connection, response)

    def _respond(self, connection: Connection, response: Response, *, ends: bool = False) -> None:
        connection.ends_after_answer |= ends
        connection.to_send = memoryview(_encode(response, ends=connection.ends_after_answer))
        connection.deadline = time.monotonic() + REQUEST_SECONDS
        self._wait_for(connection)

    def _send(self, connection: Connection) -> None:
        connection.to_send = connection.to_send[connection.socket.send(connection.to_send) :]
        if connection.to_send:
            return
        connection.deadline = time.monotonic() + (LINGER_SECONDS if connection.ends_after_answer else IDLE_SECONDS)
        if connection.ends_after_answer:
            connection.socket.shutdown(socket.SHUT_WR)
            connection.is_lingering = True
        self._wait_for(connection)
        if connection.received and not connection.is_lingering:
            # The next request has come with the one before.
            connection.deadline = time.monotonic() + REQUEST_SECONDS
            self._read(connection)


def _listen(port: int, pod_ips: str) -> socket.socket:
    # A socket of IPv6 serves IPv4 as well, but a node may have IPv6 switched off.
    has_ipv6 = ":" in pod_ips
    listener = socket.socket(socket.AF_INET6 if has_ipv6 else socket.AF_INET)
    if has_ipv6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("::" if has_ipv6 else "0.0.0.0", port))  # noqa: S104 - the pod's own addresses
    listener.listen(MOST_CONNECTIONS)
    listener.setblocking(False)
    return listener


def _encode(response: Response, *, ends: bool) -> bytes:
    headers = {
        "Content-Type": response.content_type,
        "Content-Length": str(len(response.body)),
        "Connection": "close" if ends else "keep-alive",
        **response.headers,
    }
    lines = [f"HTTP/1.1 {response.status} {PHRASES[response.status]}", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + response.body
