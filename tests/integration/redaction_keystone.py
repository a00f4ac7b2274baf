"""Something in the place of Keystone that repeats in its answers all that it was told: passwords and tokens too."""

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import quote

CLOSED = 0
"""In the place of an HTTP status: no answer at all."""


class _Parrot(BaseHTTPRequestHandler):
    """`/login/<status>/v3/...` answers a login so; `/later/<status>/v3/...` answers so what comes after a login."""

    protocol_version = "HTTP/1.1"
    heard: ClassVar[dict[str, str]] = {}
    """What was said at the login, by the token that it gave."""

    def do_POST(self) -> None:
        heard = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        _, when, status, *_ = self.path.split("/")
        if when == "later" and self.path.endswith("/auth/tokens?nocatalog"):
            self.heard[quote(heard)] = heard
            roles = [{"name": "service"}, {"name": "admin"}]
            self._answer(201, json.dumps({"token": {"roles": roles}}), heard)
        else:
            self._repeat(int(status), heard)

    def do_GET(self) -> None:
        token = self.headers.get("X-Auth-Token", "")
        self._repeat(int(self.path.split("/")[2]), f"{self.heard.get(token)} {token}")

    def _repeat(self, status: int, said: str) -> None:
        if status == CLOSED:
            self.close_connection = True
            self.connection.close()
            return
        self._answer(status, json.dumps({"error": {"code": status, "message": said, "title": said}}), said)

    def _answer(self, status: int, body: str, said: str) -> None:
        self.send_response(status, "heard")
        self.send_header("X-Subject-Token", quote(said))
        self.send_header("Location", f"http://127.0.0.1:9/{quote(said)}?{quote(said)}#{quote(said)}")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Write no log."""


@contextlib.contextmanager
def parrot() -> Iterator[str]:
    """Give the root of its URLs while it runs."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Parrot)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
