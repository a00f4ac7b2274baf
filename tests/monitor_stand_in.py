"""The store monitor of every API pod, where no pod runs: on a control plane with nodes that only claim to run pods.

It says that no store holds images, and nothing about whether stores are reached: the operator then has no reason to
hold up a deletion, and takes every store for one that nobody can tell about. Real pods are asked on real nodes.

    settings = {"monitor_url": monitor_stand_in.url()}

There is one for each test process, for as long as that lives.

`python -m tests.monitor_stand_in` runs one until its standard input ends, and prints the value of the setting.
"""

import contextlib
import functools
import json
import sys
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_FIELDS = "/{namespace}/{service}"

Reports = Mapping[str, Mapping[str, str]]
"""Id of a store -> what is said of it: `reason`, `message`, `fsid`."""


class _Answers(BaseHTTPRequestHandler):
    """Answers as the store monitor does, whatever the site."""

    protocol_version = "HTTP/1.1"
    server: "_Server"

    def do_GET(self) -> None:
        _, _, question = self.path.strip("/").split("/", 2)
        answer = {"stores": self.server.reports} if question == "stores" else {"images": 0, "onlyHere": 0}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing: every deletion of a store asks."""


class _Server(ThreadingHTTPServer):
    def __init__(self, reports: Reports) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.reports = reports
        threading.Thread(target=self.serve_forever, name="monitor-stand-in", daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{_FIELDS}"


@functools.cache
def url() -> str:
    """Return the setting `monitor_url` that leads to the stand-in of this process, and start it if need be."""
    return _Server({}).url


@contextlib.contextmanager
def saying(reports: Reports) -> Iterator[str]:
    """Give the setting that leads to one more stand-in, which says this of stores while the block lasts."""
    server = _Server(reports)
    try:
        yield server.url
    finally:
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    print(url(), flush=True)
    sys.stdin.read()
