"""The agent's HTTP server against clients of all kinds, over real sockets."""

import contextlib
import http.client
import json
import random
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from imageservice.prefetcher import server
from imageservice.prefetcher.server import (
    LONGEST_BODY,
    LONGEST_HEAD,
    MOST_CONNECTIONS,
    MOST_REQUESTS,
    Request,
    Response,
    Server,
    json_response,
    refusal,
)

FORBIDDEN = refusal(401, "TokenRefused", "no")


class Answers:
    """What the server is given: it answers with what was asked, and waits where the path says so."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.waiting = threading.Semaphore(0)

    def refuse(self, request: Request) -> Response | None:
        if request.path == "/bug-in-refuse":
            raise KeyError
        return None if request.headers.get("token") == "good" else FORBIDDEN

    def answer(self, request: Request) -> Response:
        if request.path == "/bug":
            raise KeyError
        if request.path == "/wait":
            self.waiting.release()
            self.go_on.wait(20)
        if request.path == "/large":
            return Response(200, bytes(20_000_000), "application/octet-stream")
        body = request.body.decode("latin-1")
        return json_response(
            200, {"method": request.method, "path": request.path, "query": request.query, "body": body}
        )


@pytest.fixture
def answers() -> Iterator[Answers]:
    made = Answers()
    yield made
    made.go_on.set()


@pytest.fixture
def port(answers: Answers) -> int:
    running = Server(0, "127.0.0.1", refuse=answers.refuse, answer=answers.answer)
    threading.Thread(target=running.serve, daemon=True).start()
    return running.port


def head(path: str = "/x", method: str = "GET", version: str = "HTTP/1.1", **headers: str) -> bytes:
    lines = [
        f"{method} {path} {version}",
        "Token: good",
        *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


@contextlib.contextmanager
def client(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=15) as connection:
        yield connection


def read_all(connection: socket.socket) -> bytes:
    """Read until the server ends the connection."""
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


def read_one(connection: socket.socket) -> tuple[int, bytes]:
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return answer.status, answer.read()


def is_served(port: int) -> bool:
    """Tell whether somebody who behaves is served, quickly."""
    began = time.monotonic()
    with client(port) as connection:
        connection.sendall(head())
        return read_one(connection)[0] == 200 and time.monotonic() - began < 5


def test_a_request_is_read_and_answered(port: int) -> None:
    with client(port) as connection:
        connection.sendall(head("/a/b?force=true", "PUT", Content_Length="5") + b"hello")
        status, body = read_one(connection)
    assert status == 200
    assert json.loads(body) == {"method": "PUT", "path": "/a/b", "query": "force=true", "body": "hello"}


def test_a_connection_serves_one_request_after_the_other(port: int) -> None:
    with client(port) as connection:
        for number in range(5):
            connection.sendall(head(f"/{number}", "PUT", Content_Length="1") + b"x")
            assert json.loads(read_one(connection)[1])["path"] == f"/{number}"
        # Also one that was refused, and several that come at once.
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert read_one(connection)[0] == 401
        second = head("/second", "PUT", Content_Length="2") + b"yz"
        connection.sendall(head("/first") + second + head("/third", Connection="close"))
        found = [json.loads(line) for line in read_all(connection).splitlines() if line.startswith(b"{")]
    assert [(each["path"], each["body"]) for each in found] == [("/first", ""), ("/second", "yz"), ("/third", "")]


@pytest.mark.parametrize("sent", [head(Connection="close"), head(version="HTTP/1.0")])
def test_a_client_that_wants_no_more_is_let_go(port: int, sent: bytes) -> None:
    with client(port) as connection:
        connection.sendall(sent)
        assert b"Connection: close" in read_all(connection)


@pytest.mark.parametrize(
    ("sent", "status", "reason"),
    [
        (b"\r\n\r\n", 400, "BadRequest"),
        (b"GET\r\n\r\n", 400, "BadRequest"),
        (b"GET  / HTTP/1.1\r\n\r\n", 400, "BadRequest"),
        (b"GET http://elsewhere/ HTTP/1.1\r\n\r\n", 400, "BadRequest"),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400, "BadRequest"),
        (b"GET / HTTP/2.0\r\n\r\n", 505, "VersionNotSupported"),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400, "BadRequest"),
        (b"GET / HTTP/1.1\r\n folded: x\r\n\r\n", 400, "BadRequest"),
        (b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, "BadRequest"),
        (head(Content_Length="-1"), 400, "BadRequest"),
        (head(Content_Length="1e3"), 400, "BadRequest"),
        (head(Content_Length="²"), 400, "BadRequest"),
        (head(Content_Length=str(LONGEST_BODY + 1)), 413, "BodyTooLarge"),
        (head(Content_Length="9" * 5000), 413, "BodyTooLarge"),
        (head(Transfer_Encoding="chunked") + b"1\r\nx\r\n0\r\n\r\n", 411, "LengthRequired"),
        (head(More="x" * LONGEST_HEAD), 431, "HeadTooLarge"),
        (b"x" * (LONGEST_HEAD + 1), 431, "HeadTooLarge"),
        (b"PUT / HTTP/1.1\r\nContent-Length: 900000\r\n\r\n" + b"x" * 900_000, 401, "TokenRefused"),
    ],
)
def test_what_is_no_request_of_ours_is_told_so_and_the_connection_ends(
    port: int, sent: bytes, status: int, reason: str
) -> None:
    with client(port) as connection:
        connection.sendall(sent)
        answer = read_all(connection)
    assert int(answer.split()[1]) == status
    told = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert told["reason"] == reason
    assert told["message"]
    assert is_served(port)


def test_a_body_is_asked_for_only_where_it_is_wanted(port: int) -> None:
    with client(port) as connection:
        connection.sendall(head("/x", "PUT", Content_Length="3", Expect="100-continue"))
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"abc")
        assert json.loads(read_one(connection)[1])["body"] == "abc"
    with client(port) as connection:
        connection.sendall(b"PUT / HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert read_all(connection).startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("path", ["/bug", "/bug-in-refuse"])
def test_an_error_of_ours_ends_one_request_and_nothing_else(port: int, path: str) -> None:
    with client(port) as connection:
        connection.sendall(head(path))
        answer = connection.recv(4096)
    assert path != "/bug" or (answer.startswith(b"HTTP/1.1 500 ") and b'"InternalError"' in answer)
    assert is_served(port)


def test_slow_and_silent_clients_hold_up_nobody(port: int) -> None:
    with contextlib.ExitStack() as stack:
        for number in range(MOST_CONNECTIONS + 50):
            connection = stack.enter_context(client(port))
            # Some say nothing, some half a head, some half a body, some do not read what they asked for.
            sent = [b"", b"GET / HT", head("/x", "PUT", Content_Length="1000") + b"x", head("/large")][number % 4]
            connection.sendall(sent)
        for _ in range(20):
            assert is_served(port)


def test_a_client_that_takes_too_long_is_let_go(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "REQUEST_SECONDS", 0.3)
    with client(port) as connection:
        connection.sendall(b"GET / HT")
        began = time.monotonic()
        assert connection.recv(100) == b""
        assert time.monotonic() - began < 3


def test_more_requests_than_can_be_answered_are_turned_away_and_come_back_later(port: int, answers: Answers) -> None:
    with contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(client(port)) for _ in range(MOST_REQUESTS)]
        for connection in waiting:
            connection.sendall(head("/wait"))
        for _ in waiting:
            assert answers.waiting.acquire(timeout=5)
        with client(port) as one_more:
            one_more.sendall(head("/x"))
            status, body = read_one(one_more)
            assert (status, json.loads(body)["reason"]) == (503, "TooManyRequests")
            answers.go_on.set()
            assert [read_one(connection)[0] for connection in waiting] == [200] * MOST_REQUESTS
            one_more.sendall(head("/x"))
            assert read_one(one_more)[0] == 200


def test_a_client_that_goes_away_while_it_is_answered_leaves_nothing_behind(port: int, answers: Answers) -> None:
    for _ in range(3 * MOST_REQUESTS):
        with client(port) as connection:
            connection.sendall(head("/wait"))
            answers.waiting.acquire(timeout=5)
            answers.go_on.set()
    assert is_served(port)
    with client(port) as connection:
        connection.sendall(head("/large"))
        connection.recv(10)
    assert is_served(port)


def test_a_large_answer_comes_whole(port: int) -> None:
    with client(port) as connection:
        connection.sendall(head("/large"))
        assert read_one(connection) == (200, bytes(20_000_000))


def test_whatever_is_sent_the_next_client_is_served(port: int) -> None:
    generator = random.Random(7)
    good = head("/x", "PUT", Content_Length="4") + b"body"
    for _ in range(300):
        sent = bytearray(good)
        for _ in range(generator.randrange(1, 8)):
            sent[generator.randrange(len(sent))] = generator.randrange(256)
        with client(port) as connection, contextlib.suppress(OSError):
            connection.sendall(sent[: generator.randrange(len(sent) + 1)])
            if generator.random() < 0.3:
                connection.shutdown(socket.SHUT_WR)
                connection.recv(100)
    assert is_served(port)
