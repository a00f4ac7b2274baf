"""The store monitor as its container runs it: the rendered files, without a capability; only port and pace differ."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.ports import free_port
from tests.waiting import wait_for

from imageservice.render.store_monitor import (
    SCRIPT,
    SETTINGS,
    MonitoredStore,
    monitor_container,
    monitor_files,
)

SYSTEM_PYTHON = Path("/usr/bin/python3")
"""The Python for which Debian has librados, as it is in the Glance image."""
INTERVAL_SECONDS = 1.0
STOP_SECONDS = 2.0
TOKEN_FILE = "agent-token"


@dataclass
class StoreMonitor:
    """A running monitor."""

    port: int
    directory: Path
    process: "subprocess.Popen[bytes]"

    def get(
        self,
        path: str,
        address: str = "127.0.0.1",
        method: str = "GET",
        body: str | bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, str]:
        """Return status and text of an answer."""
        connection = http.client.HTTPConnection(address, self.port, timeout=15)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def json(self, path: str) -> Any:
        """Return the JSON of an answer with status 200."""
        status, text = self.get(path)
        assert status == 200, text
        return json.loads(text)

    def reports(self) -> dict[str, dict[str, Any]]:
        """Return what is said of each store."""
        found: dict[str, dict[str, Any]] = self.json("/stores")["stores"]
        return found

    def wait(self, seconds: float = 3 * INTERVAL_SECONDS, **reasons: str) -> dict[str, dict[str, Any]]:
        """Wait until the stores have these reasons: three intervals, and some time for a machine that is busy."""
        wait_for(
            lambda: {name: self.reports()[name]["reason"] for name in reasons} == reasons,
            seconds + 3,
            f"{reasons}, see {self.directory / 'log'}",
        )
        return self.reports()

    def metric(self, name: str, store: str) -> float | None:
        """Return the value of a gauge for a store, None where it has none."""
        start = f'image_service_store_{name}{{store="{store}"}} '
        lines = [line for line in self.get("/metrics")[1].splitlines() if line.startswith(start)]
        return float(lines[0].removeprefix(start)) if lines else None

    @property
    def log(self) -> str:
        """What it wrote to stdout and stderr."""
        return (self.directory / "log").read_text()

    def level(self, name: str) -> int:
        """Return a number of /proc/<pid>/status: `Threads`, or `VmRSS` in KiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith(f"{name}:")))


@contextlib.contextmanager
def store_monitor(
    directory: Path,
    *stores: MonitoredStore,
    python: Path = SYSTEM_PYTHON,
    within: Sequence[str] = (),
    pod_ips: str = "127.0.0.1",
    glance_config: Path | None = None,
    interval_seconds: float = INTERVAL_SECONDS,
    token: str = "",
) -> Iterator[StoreMonitor]:
    """Run the monitor until the block ends, which SIGTERM must do at once. `within`: words that run it elsewhere.

    `token` is the one that it demands of those who look for images; without one nobody may.
    """
    directory.mkdir(exist_ok=True)
    for name, text in monitor_files(stores).items():
        (directory / name).write_text(text)
    settings = json.loads((directory / SETTINGS).read_text())
    settings |= {"port": free_port(), "intervalSeconds": interval_seconds}
    settings["glanceConfig"] = str(glance_config or "/nonexistent")
    (directory / SETTINGS).write_text(json.dumps(settings))
    if token:
        (directory / TOKEN_FILE).write_text(token)
    variables = {entry["name"]: entry.get("value", pod_ips) for entry in monitor_container([])["env"]}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OS_", "PYTHON", "CEPH_"))}
    # The kernel ends it with the test run, however that ends. Without capabilities root is bound by modes of files.
    confined = ["setpriv", "--pdeathsig", "KILL", *(["--bounding-set=-all"] if os.geteuid() == 0 else [])]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [*within, *confined, python, "-B", directory / SCRIPT],
            env={**kept, **variables},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    monitor = StoreMonitor(settings["port"], directory, process)
    try:
        wait_for(lambda: _answers(monitor), 20, f"an answer, see {directory / 'log'}")
        yield monitor
        assert process.poll() is None, monitor.log
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=STOP_SECONDS) == 0
    finally:
        process.kill()
        process.wait(timeout=10)


def _answers(monitor: StoreMonitor) -> bool:
    assert monitor.process.poll() is None, monitor.log
    with contextlib.suppress(OSError):
        return monitor.get("/healthz") == (200, "ok\n")
    return False
