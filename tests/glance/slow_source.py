"""A web server with the data of images, of limited bandwidth for each connection, which counts who reads at once.

Images are there by their location (`http://…`), which Glance's store of type `http` reads.
"""

import contextlib
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PIECE_BYTES = 2**16


class SlowSource:
    """The running server. `bytes_per_second` of each connection may be changed at any time; None is without limit."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.contents: dict[str, bytes] = {}
        self.bytes_per_second: int | None = None
        self._lock = threading.Lock()
        self._reading = 0
        self.most_at_once = 0
        self.reads = 0

    @property
    def reading_now(self) -> int:
        """How many read now."""
        return self._reading

    def put(self, name: str, content: bytes) -> str:
        """Serve data, and return its location."""
        self.contents[name] = content
        return f"{self.url}/{name}"

    def count_anew(self) -> None:
        """Forget who has read before."""
        with self._lock:
            self.reads, self.most_at_once = 0, self._reading

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Count one who reads while the block lasts."""
        with self._lock:
            self.reads += 1
            self._reading += 1
            self.most_at_once = max(self.most_at_once, self._reading)
        try:
            yield
        finally:
            with self._lock:
                self._reading -= 1


class _Answers(BaseHTTPRequestHandler):
    """Answers a client; the connection ends with the answer."""

    server: "_Server"

    def do_HEAD(self) -> None:
        self._head()

    def do_GET(self) -> None:
        content = memoryview(self._head())
        *pieces, last = [content[at : at + PIECE_BYTES] for at in range(0, len(content), PIECE_BYTES)] or [content]
        with contextlib.suppress(OSError):
            # Whoever has the last piece may begin to read another image before we come round to count.
            with self.server.source.reading():
                self._send(pieces)
            self.wfile.write(last)

    def _head(self) -> bytes:
        content = self.server.source.contents.get(self.path.strip("/"), b"")
        self.send_response(200 if content else 404)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        return content

    def _send(self, pieces: list[memoryview]) -> None:
        began, sent = time.monotonic(), 0
        for piece in pieces:
            self.wfile.write(piece)
            sent += len(piece)
            pace = self.server.source.bytes_per_second
            if pace is not None:
                time.sleep(max(0.0, began + sent / pace - time.monotonic()))

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.source = SlowSource(f"http://127.0.0.1:{self.server_address[1]}")


@contextlib.contextmanager
def slow_source() -> Iterator[SlowSource]:
    """Run one until the block ends."""
    server = _Server()
    threading.Thread(target=server.serve_forever, name="slow-source", daemon=True).start()
    try:
        yield server.source
    finally:
        server.shutdown()
        server.server_close()
