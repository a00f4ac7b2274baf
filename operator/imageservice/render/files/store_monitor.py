"""Look at the stores of this pod again and again, and tell over HTTP how they are.

Runs in the Glance image, beside the API. Beside this file lie `stores.json`, which says what to look at,
`store_checks.py`, and the programs that ask Glance's database. Each store has a thread of its own: one that hangs holds
up no other. A Ceph cluster is connected to anew for each look, so a key that was corrected or revoked, or a conf that
was changed, is noticed at the next one; that takes 10 ms of processor time, and a handle that was shut down leaves
neither threads nor memory behind, whatever its cluster did.

    GET /stores         {"stores": {"central": {"reason": "Reachable", "message": "...", "fsid": "..."}}}
    GET /images/<id>    {"images": 12, "onlyHere": 3}, for any store that Glance or its database knows
    POST /lookup        images by id, name, tags and properties, as `image_lookup.py` says; only with the token in
                        `agent-token` as `X-Image-Service-Token`
    GET /metrics        for Prometheus
    GET /healthz        this program runs

Neither an answer nor the log ever holds a key, a password, a URL or a text of librados or of a database.
"""

import hmac
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from store_checks import KINDS, NOT_LOOKED, Finding, Settings, timeout_of  # type: ignore[import-not-found]

HERE = Path(__file__).resolve().parent
SETTINGS = HERE / "stores.json"
TOKEN = HERE / "agent-token"
COUNTER = HERE / "image_count.py"
FINDER = HERE / "image_lookup.py"

DATABASE_SECONDS = 8
"""How long asking the database may take, the process for it included."""
COUNT_FRESH_SECONDS = 5
"""For how long a count, or the failure to get one, is given again without asking the database."""
MOST_REQUESTS = 16
"""How many requests are served at once; more are turned away, since anybody in the cluster's network may ask."""
REQUEST_SECONDS = 5
"""How long a client may take to send its request."""
LONGEST_QUERIES_BYTES = 512 * 1024


class Store:
    """A store, and the thread that looks at it."""

    def __init__(self, settings: Settings, interval_seconds: float) -> None:
        self.id: str = settings["id"]
        self._settings = settings
        self._interval_seconds = interval_seconds
        self._kind = KINDS[settings["type"]]
        self._found, self._seconds = NOT_LOOKED, 0.0
        self._looking_since: float | None = None
        self._told = NOT_LOOKED.reason
        self._telling = threading.Lock()

    def start(self) -> None:
        """Begin to look."""
        threading.Thread(target=self._run, name=self.id, daemon=True).start()

    def _run(self) -> None:
        while True:
            self.look()
            self.tell()
            time.sleep(self._interval_seconds)

    def look(self) -> None:
        """Look once. Whatever goes wrong becomes a finding."""
        self._looking_since = began = time.monotonic()
        try:
            found = self._kind.look(self._settings)
        except Exception as error:  # noqa: BLE001 - a thread that ends would leave an old finding for ever
            found = Finding("ProbeFailed", f"The look itself failed ({type(error).__name__}).")
        self._found, self._seconds = found, time.monotonic() - began
        self._looking_since = None

    @property
    def seconds(self) -> float:
        """How long the last look took, or how long the one that hangs has taken so far."""
        since = self._looking_since
        return max(self._seconds, time.monotonic() - since) if since else self._seconds

    def finding(self) -> Finding:
        """Return what the last look has shown, or that the one at work takes too long."""
        since = self._looking_since
        seconds = time.monotonic() - since if since else 0
        if seconds <= self._kind.steps * timeout_of(self._settings):
            return self._found
        reason, sentence = self._kind.overdue
        return Finding(reason, sentence.format(seconds=seconds))

    def tell(self) -> None:
        """Write to the log where the reason is another than last time."""
        with self._telling:
            found = self.finding()
            if found.reason != self._told:
                self._told = found.reason
                line = json.dumps({"store": self.id, "reason": found.reason, "message": found.message})
                sys.stdout.write(f"{line}\n")


# ---------------------------------------------------------------------------------------------------- the database


class Program:
    """A program that asks Glance's database and writes one JSON object.

    It is a process of its own: it takes 55 MiB for a quarter of a second, which this one would keep for good, it can be
    ended whatever its database driver does, and the URL of the database is never in here.
    """

    def __init__(self, program: Path, glance_config: str, failed: str) -> None:
        self._command = [sys.executable, "-B", str(program), glance_config]
        self._failed = failed

    def run(self, text: str = "") -> dict[str, Any]:
        """Run it with this on its standard input; return what it writes, or a reason and a message."""
        try:
            done = subprocess.run(  # noqa: S603 - the command is ours
                self._command,
                input=text.encode(),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=DATABASE_SECONDS,
                check=False,
            )
            return dict(json.loads(done.stdout))
        except subprocess.TimeoutExpired:
            return {
                "reason": "DatabaseUnreachable",
                "message": f"The database has not answered in {DATABASE_SECONDS} s.",
            }
        except (OSError, ValueError):
            return {"reason": self._failed, "message": "The program that asks the database ended without an answer."}


class ImageCounts:
    """How many images each store holds."""

    def __init__(self, glance_config: str) -> None:
        self._program = Program(COUNTER, glance_config, "CountFailed")
        self._lock = threading.Lock()
        self._answer: dict[str, Any] = {}
        self._until = 0.0

    def of(self, store_id: str) -> tuple[int, dict[str, Any]]:
        """Return an HTTP status and its JSON."""
        with self._lock:
            if time.monotonic() >= self._until:
                self._answer = self._program.run()
                self._until = time.monotonic() + COUNT_FRESH_SECONDS
            answer = self._answer
        if "stores" not in answer:
            return 503, answer
        if store_id not in answer["stores"]:
            return 404, {"reason": "StoreUnknown", "message": "Neither Glance nor its database knows such a store."}
        return 200, answer["stores"][store_id]


class ImageLookup:
    """Which images have some id, name, tags or properties: told to the operator alone, who has the token."""

    def __init__(self, glance_config: str, token: str) -> None:
        self._program = Program(FINDER, glance_config, "LookupFailed")
        self._token = token.encode()
        self._lock = threading.Lock()

    def allows(self, token: str) -> bool:
        """Tell whether this is the token. Without one of our own nobody has it."""
        return bool(self._token) and hmac.compare_digest(token.encode(), self._token)

    def answer(self, queries: str) -> tuple[int, dict[str, Any]]:
        """Return an HTTP status and its JSON. One asks after the other: each takes a process."""
        if not self._lock.acquire(timeout=DATABASE_SECONDS):
            return 503, {"reason": "LookupFailed", "message": "Others are being answered."}
        try:
            answer = self._program.run(queries)
        finally:
            self._lock.release()
        if "answers" in answer:
            return 200, answer
        return 400 if answer.get("reason") == "InvalidQuery" else 503, answer


# ----------------------------------------------------------------------------------------------------------- HTTP


class Server(http.server.ThreadingHTTPServer):
    """Serves what is known of the stores, on all addresses of the pod."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int, pod_ips: str, stores: list[Store], counts: ImageCounts, lookup: ImageLookup) -> None:
        self.stores, self.counts, self.lookup = stores, counts, lookup
        self._free = threading.BoundedSemaphore(MOST_REQUESTS)
        # A socket of IPv6 serves IPv4 as well, but a node may have IPv6 switched off.
        has_ipv6 = ":" in pod_ips
        self.address_family = socket.AF_INET6 if has_ipv6 else socket.AF_INET
        super().__init__(("::" if has_ipv6 else "0.0.0.0", port), Handler)  # noqa: S104 - the pod's own addresses

    def server_bind(self) -> None:
        """Bind; a socket of IPv6 to both families. Without the lookup of the own name that HTTPServer makes."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = "store-monitor", self.socket.getsockname()[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve in a thread of its own, or not at all where too many are at work."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve, and make room for the next."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that go away."""


class Handler(http.server.BaseHTTPRequestHandler):
    """One request."""

    server: Server
    server_version, sys_version = "store-monitor", ""
    timeout = REQUEST_SECONDS

    def do_GET(self) -> None:
        """Answer."""
        path = self.path.partition("?")[0]
        if path == "/healthz":
            self._send(200, "text/plain", "ok\n")
        elif path == "/stores":
            self._send_json(200, {"stores": {store.id: report(store.finding()) for store in self.server.stores}})
        elif path == "/metrics":
            self._send(200, "text/plain; version=0.0.4; charset=utf-8", metrics(self.server.stores))
        elif path.startswith("/images/"):
            self._send_json(*self.server.counts.of(urllib.parse.unquote(path.removeprefix("/images/"))))
        else:
            self._send_json(404, {"reason": "NotFound", "message": "There is /stores, /images/<id> and /metrics."})

    def do_POST(self) -> None:
        """Look for images. Nothing of the body is read before the token has been seen."""
        if self.path != "/lookup":
            self._send_json(404, {"reason": "NotFound", "message": "There is /lookup."})
        elif not self.server.lookup.allows(self.headers.get("X-Image-Service-Token") or ""):
            self._send_json(401, {"reason": "Unauthorized", "message": "The token is missing, or is another one."})
        else:
            self._send_json(*self._look_up())

    def _look_up(self) -> tuple[int, dict[str, Any]]:
        length = self.headers.get("Content-Length") or ""
        if not length.isdecimal() or int(length) > LONGEST_QUERIES_BYTES:
            message = f"Content-Length has to be there, and at most {LONGEST_QUERIES_BYTES}."
            return 413, {"reason": "InvalidQuery", "message": message}
        try:
            queries = self.rfile.read(int(length)).decode()
        except UnicodeDecodeError:
            return 400, {"reason": "InvalidQuery", "message": "The queries are no JSON."}
        return self.server.lookup.answer(queries)

    def _send_json(self, status: int, content: Mapping[str, Any]) -> None:
        self._send(status, "application/json", json.dumps(content))

    def _send(self, status: int, content_type: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing of requests: they come from probes and from the operator, every few seconds."""


def report(found: Finding) -> dict[str, str | None]:
    """Return the JSON of one store."""
    return {"reason": found.reason, "message": found.message, "fsid": found.fsid}


METRICS: Mapping[str, tuple[str, Callable[[Store, Finding], float | None]]] = {
    "image_service_store_reachable": (
        "Whether the last look at the store found it usable.",
        lambda _, found: None if found is NOT_LOOKED else found.reason == "Reachable",
    ),
    "image_service_store_check_seconds": (
        "How long the last look at the store took, or the one that hangs has taken so far.",
        lambda store, _: store.seconds,
    ),
    "image_service_store_mounted": (
        "Whether something is mounted on the directory of a store on NFS or a claim.",
        lambda _, found: found.mounted,
    ),
    "image_service_store_read_only": (
        "Whether Glance cannot write to the directory of the store.",
        lambda _, found: found.read_only,
    ),
    "image_service_store_free_bytes": (
        "How many bytes Glance can still write to the directory of the store.",
        lambda _, found: found.free_bytes,
    ),
}
"""Name of a gauge -> its help, and its value for a store; None where there is none."""


def metrics(stores: list[Store]) -> str:
    """Return all metrics in the text format of Prometheus."""
    findings = [(store, store.finding()) for store in stores]
    lines = []
    for name, (explanation, value_of) in METRICS.items():
        values = [(store.id, value_of(store, found)) for store, found in findings]
        lines += [f"# HELP {name} {explanation}", f"# TYPE {name} gauge"]
        lines += [f'{name}{{store="{store_id}"}} {float(value)}' for store_id, value in values if value is not None]
    return "\n".join(lines) + "\n"


def keep_output_for_ourselves() -> None:
    """Let only Python write to the log: librados writes to both streams at each look, whatever its options say."""
    sys.stdout = sys.stderr = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def main() -> None:
    """Look and serve until SIGTERM, which ends this at once: there is nothing to finish."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    keep_output_for_ourselves()
    settings = json.loads(SETTINGS.read_text("utf-8"))
    stores = [Store(store, settings["intervalSeconds"]) for store in settings["stores"]]
    counts = ImageCounts(settings["glanceConfig"])
    lookup = ImageLookup(settings["glanceConfig"], TOKEN.read_text("utf-8").strip() if TOKEN.exists() else "")
    server = Server(settings["port"], os.environ["POD_IPS"], stores, counts, lookup)
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    for store in stores:
        store.start()
    while True:  # A store whose look hangs cannot tell of it itself.
        time.sleep(1)
        for store in stores:
            store.tell()


if __name__ == "__main__":
    main()
