"""A worker process: started, talked to, killed where it hangs.

Each request carries a tag that its answer brings back, but for a fetch: whatever comes without a tag is about the fetch
that runs, so short requests are answered meanwhile.
"""

import contextlib
import fcntl
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from . import reasons
from .settings import HERE
from .wake import Wake

SHORT_SECONDS = 120.0
"""How long the worker may take for an answer, its start and a database that is slow included."""
MEANWHILE_SECONDS = 5.0
"""How long to wait for an answer while a fetch runs. One whose store hangs gives none."""
END_SECONDS = 5.0
"""How long the worker may take to end, also when it is killed: in a call to a broken disk, nothing can end it."""
LONGEST_LINE = 8 * 2**20
PIPE_BYTES = 2**20
"""So much of a request can be sent to a worker that does not read because a store hangs."""

Message = Mapping[str, Any]


class WorkFailed(Exception):  # noqa: N818 - an outcome of a request
    """The worker could not do it, or is gone: a reason of `reasons.py` and a line of text."""

    def __init__(self, reason: str, message: str) -> None:
        self.reason, self.message = reason, message
        super().__init__(message)


class NoAnswerYet(Exception):  # noqa: N818 - nothing is wrong with the worker
    """The worker is busy with a fetch, and has not answered in time."""


class Worker:
    """A running worker."""

    def __init__(self) -> None:
        """Start it. Raises WorkFailed."""
        python_path = os.pathsep.join(filter(None, (str(HERE.parent), os.environ.get("PYTHONPATH", ""))))
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the command is ours
                [sys.executable, "-B", "-m", f"{HERE.name}.worker"],
                env={**os.environ, "PYTHONPATH": python_path},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        except OSError as error:
            raise WorkFailed(reasons.WORKER_FAILED, f"The worker does not start ({type(error).__name__}).") from None
        assert self._process.stdin  # noqa: S101 - for the types
        assert self._process.stdout  # noqa: S101
        self._in, self._out = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._in, False)
        os.set_blocking(self._out, False)
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._in, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._received = bytearray()
        self._tag = 0
        self._owed: int | None = None
        self._is_closed = False

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    @property
    def cpu_seconds(self) -> float:
        """What it has taken of a processor (proc(5): fields 14 and 15, after a name in brackets)."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text("utf-8").rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def is_usable(self) -> bool:
        """Whether it has not ended, by itself or by us."""
        return not self._is_closed and self._process.poll() is None

    # -------------------------------------------------------------------------------------------------------- talking

    def ask(self, do: str, seconds: float = SHORT_SECONDS, **more: Any) -> Message:
        """Send a request and return its answer. Raises WorkFailed, and ends the worker where it does not answer."""
        try:
            return self._answer(do, seconds, more, self._unasked)
        except NoAnswerYet:
            self.kill()
            raise WorkFailed(reasons.WORKER_FAILED, f"The worker has not answered in {seconds:g} s.") from None

    def ask_meanwhile(self, do: str, of_fetch: Callable[[Message], None], **more: Any) -> Message:
        """Do the same while a fetch runs; what is about that is given to `of_fetch`.

        Raises NoAnswerYet where the worker is too busy. It may do what was asked all the same, later; until then it is
        asked for nothing more.
        """
        if self._owed is not None:
            raise NoAnswerYet
        return self._answer(do, MEANWHILE_SECONDS, more, of_fetch)

    def begin(self, do: str, **more: Any) -> None:
        """Send a request whose answers are received one by one. Raises WorkFailed."""
        self._send({"do": do, **more}, time.monotonic() + SHORT_SECONDS)

    def _answer(
        self, do: str, seconds: float, more: Mapping[str, Any], otherwise: Callable[[Message], None]
    ) -> Message:
        self._tag += 1
        self._owed = tag = self._tag
        deadline = time.monotonic() + seconds
        self._send({"do": do, "tag": tag, **more}, deadline)
        while (message := self.receive(deadline)) is not None:
            if message.get("tag") == tag:
                if "failed" in message:
                    raise failure_of(message)
                return message
            if "tag" not in message:
                otherwise(message)
        raise NoAnswerYet

    @staticmethod
    def _unasked(message: Message) -> None:
        """Raise why the worker cannot work: nothing else comes without being asked for."""
        raise failure_of(message)

    def receive(self, deadline: float, wake: Wake | None = None) -> Message | None:
        """Return the next message; None at the deadline of the monotonic clock, or when woken. Raises WorkFailed."""
        while (end := self._received.find(b"\n")) < 0:
            if len(self._received) > LONGEST_LINE:
                self._give_up("The worker sends lines that do not end.")
            waited_for = [self._out, *([wake.fileno()] if wake else [])]
            ready, _, _ = select.select(waited_for, [], [], max(0.0, deadline - time.monotonic()))
            if self._out not in ready:
                return None
            piece = os.read(self._out, 2**16)
            if not piece:
                self._tell_end()
            self._received += piece
        line = bytes(self._received[:end])
        del self._received[: end + 1]
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            self._give_up("The worker sends what is no JSON object.")
        if message.get("tag") == self._owed:
            self._owed = None
        return message

    def _send(self, request: Message, deadline: float) -> None:
        left = memoryview(f"{json.dumps(request)}\n".encode())
        while left:
            _, ready, _ = select.select([], [self._in], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                self._give_up("The worker does not read its requests.")
            try:
                left = left[os.write(self._in, left) :]
            except BrokenPipeError:
                # What it said before it ended tells why.
                return

    def _give_up(self, message: str) -> NoReturn:
        """Kill the worker, and raise why."""
        self.kill()
        raise WorkFailed(reasons.WORKER_FAILED, message)

    def _tell_end(self) -> NoReturn:
        """Raise how it has ended: it has closed its output."""
        if not self._is_gone():
            self._give_up("The worker closed its output.")
        raise WorkFailed(reasons.WORKER_FAILED, f"The worker ended by itself, with status {self._process.returncode}.")

    # --------------------------------------------------------------------------------------------------------- ending

    def kill(self) -> bool:
        """Kill it in whatever it does, and tell whether it is gone."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        return self._is_gone()

    def end(self) -> None:
        """Let it end by itself."""
        self._close()
        if not self._is_gone():
            self.kill()

    def _is_gone(self) -> bool:
        self._close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=END_SECONDS)
            return True
        return False

    def _close(self) -> None:
        self._is_closed = True
        for stream in (self._process.stdin, self._process.stdout):
            if stream and not stream.closed:
                stream.close()


def failure_of(message: Message) -> WorkFailed:
    """Return what a message says that went wrong, in words that are known, of a length that can be shown."""
    reason, text = message.get("failed"), message.get("message")
    if reason not in reasons.REASONS:
        return WorkFailed(reasons.WORKER_FAILED, "The worker sends what nobody asked it for.")
    return WorkFailed(str(reason), _line(text))


def _line(text: Any) -> str:
    line = "".join(sign if sign.isprintable() else " " for sign in text) if isinstance(text, str) else ""
    return line[:200]
