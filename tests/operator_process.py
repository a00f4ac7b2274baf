"""The operator as a process of its own beside a test cluster, and what tests ask of it."""

import contextlib
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests import monitor_stand_in
from tests.cluster.cluster import Cluster
from tests.ports import free_port
from tests.waiting import wait_for

__all__ = ["OperatorProcess", "running", "wait_for"]

START_SECONDS = 30


class OperatorProcess:
    """`image-service-operator run` against a cluster; its log goes to a file."""

    program: tuple[str | Path, ...] = (Path(sys.executable).with_name("image-service-operator"),)
    """What is started, with the arguments of `run`."""

    def __init__(self, cluster: Cluster, log: Path, **settings: str) -> None:
        self.log = log
        self._cluster = cluster
        self._port = free_port()
        settings = {"monitor_url": monitor_stand_in.url()} | settings
        self._settings = {f"IMAGE_SERVICE_OPERATOR_{name.upper()}": value for name, value in settings.items()}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def start(self) -> "OperatorProcess":
        """Start it and wait until it leads and has made its first pass, or stands by."""
        environment = {
            **self._cluster.environment,
            **self._settings,
            "IMAGE_SERVICE_OPERATOR_HEALTH_HOST": "127.0.0.1",
            "IMAGE_SERVICE_OPERATOR_HEALTH_PORT": str(self._port),
        }
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                # The kernel ends it with the test run, however that ends.
                ["setpriv", "--pdeathsig", "KILL", *self.program, "run", "--kubeconfig", self._cluster.kubeconfig],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_for(self.is_ready, START_SECONDS, f"the operator is not ready; see {self.log}")
        return self

    def is_ready(self) -> bool:
        return self.answers("/readyz")

    def answers(self, path: str) -> bool:
        with contextlib.suppress(OSError):
            return bool(self.fetch(path) is not None)
        return False

    def fetch(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=5) as answer:
            return str(answer.read().decode())

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End it without a chance to clean up."""
        self.send(signal.SIGKILL)
        self.wait()

    def stop(self) -> int:
        """End it in good order; return its exit status."""
        if self._process is None:
            return 0
        self._process.terminate()
        return self.wait()

    def wait(self) -> int:
        assert self._process
        try:
            status = self._process.wait(timeout=70)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        self._process = None
        return status


@contextlib.contextmanager
def running(cluster: Cluster, log: Path, **settings: str) -> Iterator[OperatorProcess]:
    """Give a running operator; it is ended with the block."""
    process = OperatorProcess(cluster, log, **settings).start()
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.stop()
