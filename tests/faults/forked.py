"""Operators by the dozen: each a process of its own, forked from one that has loaded the operator's code already.

Such a process runs the command line's own entry point and shares no memory with anybody. It is there in a tenth of the
time that Python takes to load everything, which is what lets a test kill and start hundreds of them.

    with Nursery(programs) as nursery:
        operator = nursery.start(kubeconfig, log, namespaces="a,b")
        operator.kill()
        operator.wait()

Run as a program this file is the process that forks: it reads what to start from its standard input, a line of JSON
each, and tells on its standard output of each process that it started, and of each that ended.
"""

import ctypes
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the program that this file also is runs by itself
    from tests.caches_stand_in import Running

_LOADED = ("imageservice.cli", "imageservice.reconcile.registry", "imageservice.runtime.process")
_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)
_START_SECONDS = 60
END_SECONDS = 70


class ForkedOperator:
    """`image-service-operator run` in a process that can be killed, paused and waited for. Made by `Nursery.start`."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.pid = 0
        self._status: int | None = None
        self._started = threading.Event()
        self._ended = threading.Event()

    @property
    def running(self) -> bool:
        """Whether the process has not ended."""
        return not self._ended.is_set()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; one that has ended already gets none."""
        if self.running:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it without a chance to clean up; do not wait for the end."""
        self.send(signal.SIGKILL)

    def wait(self, seconds: float = END_SECONDS) -> int:
        """Wait for its end and return its exit status, negative for the signal that ended it."""
        if not self._ended.wait(seconds) or self._status is None:
            raise AssertionError(f"the operator has not ended after {seconds:g} s; see {self.log}")
        return self._status

    def stop(self) -> int:
        """End it in good order and return its exit status."""
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        return self.wait()

    def last_words(self, lines: int = 12) -> str:
        """Return the end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


class Nursery:
    """The process that forks operators, seen from the tests. Threads may share it; all operators end with it.

    `programs` are those that the operators take for the programs in the pods.
    """

    def __init__(self, programs: "Running") -> None:
        self.programs = programs
        self._process: subprocess.Popen[str] | None = None
        self._starting: list[ForkedOperator] = []
        self._running: dict[int, ForkedOperator] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> "Nursery":
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Nothing here speaks TLS, and to read the certificates of the system takes as long as all else together.
            env={**_without_proxies(os.environ), "SSL_CERT_FILE": os.devnull},
        )
        threading.Thread(target=self._listen, name="nursery", daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self._process
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(timeout=END_SECONDS)

    def start(self, kubeconfig: Path, log: Path, **settings: str) -> ForkedOperator:
        """Start an operator; return when the process is there, which is before it leads.

        `settings` become IMAGE_SERVICE_OPERATOR_* variables; what it says is added to the file `log`.
        """
        alone = {"health_host": "127.0.0.1", "health_port": "0"}  # port 0: any that is free
        settings = alone | self.programs.settings | settings
        environment = {f"IMAGE_SERVICE_OPERATOR_{name.upper()}": value for name, value in settings.items()}
        order = {"arguments": ["run", "--kubeconfig", str(kubeconfig)], "log": str(log), "environment": environment}
        operator = ForkedOperator(log)
        assert self._process
        assert self._process.stdin
        with self._lock:
            self._starting.append(operator)
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
        if not operator._started.wait(_START_SECONDS):
            raise RuntimeError("no operator was forked")
        return operator

    def _listen(self) -> None:
        """Take note of what the forking process says: a number is a new process, in the order they were asked for."""
        assert self._process
        assert self._process.stdout
        for line in self._process.stdout:
            said = json.loads(line)
            if "started" in said:
                with self._lock:
                    operator = self._starting.pop(0)
                operator.pid = said["started"]
                self._running[operator.pid] = operator
                operator._started.set()
            else:
                operator = self._running.pop(said["ended"])
                operator._status = said["status"]
                operator._ended.set()


def _without_proxies(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not name.lower().endswith("_proxy")}


def _serve() -> None:
    """Fork as asked on the standard input, until that is closed; then end all that were forked."""
    for module in _LOADED:
        importlib.import_module(module)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    orders, children, pending = sys.stdin.fileno(), set[int](), b""
    while True:
        readable, _, _ = select.select([orders, woken], [], [])
        if woken in readable:
            os.read(woken, 4096)
            _bury(children)
        if orders not in readable:
            continue
        chunk = os.read(orders, 65536)
        if not chunk:
            break
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            children.add(child := _fork(json.loads(line)))
            _say({"started": child})
    for child in children:
        os.kill(child, signal.SIGKILL)


def _bury(children: set[int]) -> None:
    for child in list(children):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            children.discard(child)
            _say({"ended": child, "status": os.waitstatus_to_exitcode(status)})


def _say(what: Mapping[str, Any]) -> None:
    print(json.dumps(what), flush=True)


def _fork(order: Mapping[str, Any]) -> int:
    """Start one operator and return the number of its process."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        for descriptor, path in enumerate((os.devnull, order["log"], order["log"])):
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            os.dup2(handle, descriptor)
            os.close(handle)
        os.environ.update(order["environment"])
        status = sys.modules["imageservice.cli"].main(order["arguments"])
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    _serve()
