"""The agent of a node as its container runs it: the program, its settings, its token; only port and pace differ."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.ports import free_port
from tests.waiting import wait_for

import imageservice.prefetcher

SOURCES = Path(imageservice.prefetcher.__file__).parent
TOKEN = "7d0f0c0ffee0token"
NODE = "node-1"
STOP_SECONDS = 2.0
WAIT_SECONDS = 30.0
GENEROUS: Mapping[str, Any] = {
    "maxBytes": 10 * 2**30,
    "highWatermarkPercent": 90,
    "lowWatermarkPercent": 80,
    "pruneIntervalSeconds": 300,
    "prefetchIntervalSeconds": 300,
    "stallSeconds": 600,
    "bytesPerSecond": None,
    "release": "2026.1",
}

Json = dict[str, Any]


@dataclass
class Agent:
    """An agent that can be started, killed and started again on the same directories."""

    directory: Path
    settings: Json
    variables: Mapping[str, str] = field(default_factory=dict)
    python: Path = Path(sys.executable)
    token: str = TOKEN
    process: "subprocess.Popen[bytes] | None" = None

    @classmethod
    def install(cls, directory: Path, worker: Path | None = None, **more: Any) -> "Agent":
        """Put the program into a directory, with another program in place of its worker if one is given."""
        settings = {**GENEROUS, "port": free_port(), "glanceConfigDir": str(directory)}
        settings |= {"cacheDir": str(directory / "images"), "stateDir": str(directory / "state")}
        fields = {name: more.pop(name) for name in ("variables", "python") if name in more}
        agent = cls(directory, {**settings, **more}, **fields)
        shutil.copytree(SOURCES, directory / SOURCES.name, ignore=shutil.ignore_patterns("__pycache__"))
        if worker:
            shutil.copy(worker, directory / SOURCES.name / "worker.py")
        return agent

    @property
    def cache(self) -> Path:
        """The cache directory."""
        return Path(self.settings["cacheDir"])

    @property
    def state(self) -> Path:
        """Where the agent keeps what it has to know after a restart."""
        return Path(self.settings["stateDir"])

    # ------------------------------------------------------------------------------------------------------- process

    def start(self) -> None:
        """Start it, and wait until it answers."""
        (self.directory / "prefetcher.json").write_text(json.dumps(self.settings))
        (self.directory / "agent-token").write_text(f"{self.token}\n")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("OS_", "PYTHON"))}
        own = {"PYTHONPATH": str(self.directory), "NODE_NAME": NODE, "POD_IPS": "127.0.0.1", "MALLOC_ARENA_MAX": "2"}
        with (self.directory / "log").open("ab") as log:
            # The kernel ends it with the test run, however that ends.
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", self.python, "-B", "-m", SOURCES.name],
                env={**kept, **own, **self.variables},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_for(self._answers, 20, f"an answer, see {self.directory / 'log'}", pause=0.02)

    def _answers(self) -> bool:
        assert self.process
        assert self.process.poll() is None, self.log
        with contextlib.suppress(OSError):
            return self.call("GET", "/healthz", token="")[0] == 200
        return False

    def kill(self) -> None:
        """Kill it, and wait until it is gone."""
        if self.process:
            self.process.kill()
            self.process.wait(timeout=10)

    def terminate(self) -> int:
        """Send SIGTERM, which ends it at once, and return its exit status."""
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=STOP_SECONDS)

    @contextlib.contextmanager
    def running(self) -> Iterator["Agent"]:
        """Run it until the block ends, which SIGTERM must do at once."""
        self.start()
        try:
            yield self
            assert self.process
            assert self.process.poll() is None, self.log
            assert self.terminate() == 0, self.log
        finally:
            self.kill()

    def worker_pid(self) -> int | None:
        """Return the process of its worker, if it has one."""
        assert self.process
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        found = [int(pid) for task in children.parent.parent.iterdir() for pid in _children(task)]
        return found[0] if found else None

    def rss_kib(self, pid: int | None = None) -> int:
        """Return the resident memory of it, or of another process."""
        assert self.process
        status = Path(f"/proc/{pid or self.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")))

    def cpu_seconds(self) -> float:
        """Return what it has taken of a processor, workers that are gone included."""
        assert self.process
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")

    # ------------------------------------------------------------------------------------------------------ requests

    def call(
        self, method: str, path: str, body: Any = None, *, token: str | None = None, headers: Mapping[str, str] = {}
    ) -> tuple[int, Any, Mapping[str, str]]:
        """Return status, content and headers of an answer; `token` is sent in place of the right one."""
        token = self.token if token is None else token
        connection = http.client.HTTPConnection("127.0.0.1", self.settings["port"], timeout=40)
        with contextlib.closing(connection):
            sent = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
            all_headers = {**({"X-Image-Service-Token": token} if token else {}), **headers}
            connection.request(method, path, body=sent, headers=all_headers)
            answer = connection.getresponse()
            text = answer.read()
            is_json = answer.headers.get_content_type() == "application/json" and text
            return answer.status, json.loads(text) if is_json else text.decode(), dict(answer.headers.items())

    def put_set(self, *images: str, uid: str = "", **more: Any) -> str:
        """Want images, and return the uid of the set."""
        uid = uid or str(uuid.uuid4())
        content = {"name": "golden", "revision": uuid.uuid4().hex[:8], "images": list(images), "fetch": True}
        content |= {"until": None, "timeoutSeconds": 3600, "backoffSeconds": 1, "maxBackoffSeconds": 4}
        sent = {**content, **more}
        status, answer, _ = self.call("PUT", f"/v1/sets/{uid}", sent)
        assert (status, answer.get("revision")) == (200, sent["revision"]), answer
        assert answer["status"]["sets"][uid]["revision"] == sent["revision"], answer
        return uid

    def status(self) -> Json:
        """Return what it says of itself."""
        status, content, _ = self.call("GET", "/v1/status")
        assert status == 200, content
        found: Json = content
        return found

    def image(self, image_id: str) -> Json:
        """Return what it says of an image."""
        found: Json = self.status()["images"][image_id]
        return found

    def wait(self, image_id: str, what: str | Callable[[Json], bool], seconds: float = WAIT_SECONDS) -> Json:
        """Wait until an image has this state or reason, or whatever a function looks for."""
        matches = what if callable(what) else (lambda image: what in (image["state"], image["reason"]))

        def look() -> Json | None:
            image = self.status()["images"].get(image_id)
            return image if image and matches(image) else None

        try:
            found: Json = wait_for(look, seconds, f"{what} of {image_id}", pause=0.05)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.status()}\n{self.log[-4000:]}") from None
        return found

    def metric(self, name: str) -> float | None:
        """Return the value of a metric, by its name with labels and without its prefix."""
        text = self.call("GET", "/metrics")[1]
        start = f"image_service_{name} "
        values = [line.removeprefix(start) for line in text.splitlines() if line.startswith(start)]
        return float(values[0]) if values else None

    @property
    def log(self) -> str:
        """What it and its workers wrote."""
        return (self.directory / "log").read_text()

    def events(self, name: str) -> list[Json]:
        """Return what it logged under a name."""
        lines = [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("event") == name]


def _children(task: Path) -> list[str]:
    with contextlib.suppress(OSError):
        return (task / "children").read_text().split()
    return []
