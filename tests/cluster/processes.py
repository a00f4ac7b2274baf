"""Processes that outlive the command that started them, and are ended by nobody but us.

A pid alone says little: the kernel hands it out again. A process here is its pid, its start time (clock ticks since
boot, field 22 of /proc/PID/stat, see proc(5)) and the boot it belongs to; only when all three agree is it touched.
"""

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import ClusterError

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# The process writes its own record before it becomes what it is to be: an owner that is killed at any moment leaves
# no process without a record.
_RECORD_THEN_BECOME = f'cat /proc/$$/stat {_BOOT_ID} > "$0.new" && mv "$0.new" "$0" && exec "$@"'
_CLEAN_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Children of this very program, kept so that the dead ones are reaped and no Popen is collected while it runs.
_children: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True)
class Process:
    """One process for all time: no later process with the same pid is equal to it."""

    pid: int
    started: int
    boot: str

    @classmethod
    def observe(cls, pid: int) -> "Process | None":
        """The process that has this pid now; None where there is none."""
        try:
            return cls._parse(Path(f"/proc/{pid}/stat").read_text(), _BOOT_ID.read_text())
        except (FileNotFoundError, ProcessLookupError):
            return None

    @classmethod
    def recorded(cls, record: Path) -> "Process | None":
        """The process of a record file; None where the file is absent."""
        try:
            stat, boot = record.read_text().splitlines()
        except FileNotFoundError:
            return None
        except ValueError:
            raise ClusterError(f"{record} is no record of a process: remove it by hand") from None
        return cls._parse(stat, boot)

    @classmethod
    def _parse(cls, stat: str, boot: str) -> "Process":
        # The second field is the program's name in brackets and may hold blanks and brackets itself.
        return cls(int(stat.split(" ", 1)[0]), int(stat.rsplit(")", 1)[1].split()[19]), boot.strip())

    def write(self, record: Path) -> None:
        """Write the record of a process that did not write its own (the owner of a cluster)."""
        beside = record.with_suffix(".new")
        beside.write_text(f"{Path(f'/proc/{self.pid}/stat').read_text()}{self.boot}\n")
        beside.rename(record)

    def alive(self) -> bool:
        """Whether it runs still; one that is dead and not yet reaped does not."""
        if Process.observe(self.pid) != self:
            return False
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            return Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in {"Z", "X"}
        return False

    def send(self, sent: signal.Signals) -> None:
        """Send it a signal; one that is gone gets none, nor does another process that has its pid now."""
        with contextlib.suppress(ProcessLookupError):
            descriptor = os.pidfd_open(self.pid)
            try:
                if self.alive():
                    signal.pidfd_send_signal(descriptor, sent)
            finally:
                os.close(descriptor)

    def children(self) -> "list[Process]":
        """Its direct children."""
        try:
            pids = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        except (FileNotFoundError, ProcessLookupError):
            return []
        return [child for pid in pids if (child := Process.observe(int(pid)))]


def myself() -> Process:
    """The process that runs this code."""
    process = Process.observe(os.getpid())
    assert process is not None
    return process


def spawn(record: Path, argv: Sequence[str | Path], *, log: Path, environment: Mapping[str, str]) -> Process:
    """Start a process in a session of its own, with an environment of its own; return when its record is written.

    `environment` is added to nothing but PATH: proxies, KUBECONFIG and the like of the caller must not reach a cluster.
    """
    record.unlink(missing_ok=True)
    with log.open("ab") as output:
        child = subprocess.Popen(
            ["sh", "-c", _RECORD_THEN_BECOME, str(record), *map(str, argv)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env={"PATH": _CLEAN_PATH, **environment},
        )
    _children[child.pid] = child
    deadline = time.monotonic() + 30
    while (process := Process.recorded(record)) is None:
        if child.poll() is not None or time.monotonic() > deadline:
            raise ClusterError(f"{argv[0]} did not start; see {log}")
        time.sleep(0.002)
    return process


def kill(processes: Iterable[Process], *, within: float = 15) -> None:
    """End processes at once (SIGKILL) and wait until they are gone; those that are gone already are fine.

    Raises ClusterError when one is still there after `within` seconds.
    """
    waiting: dict[int, Process] = {}
    try:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                descriptor = os.pidfd_open(process.pid)
                waiting[descriptor] = process
                # Checked after the descriptor is held: from here on it means this process and no other.
                if process.alive():
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        _wait_for_exit(dict(waiting), within)
    finally:
        for descriptor, process in waiting.items():
            os.close(descriptor)
            _reap(process.pid)


def _wait_for_exit(waiting: dict[int, Process], within: float) -> None:
    waiting = {descriptor: process for descriptor, process in waiting.items() if process.alive()}
    poll = select.poll()
    for descriptor in waiting:
        poll.register(descriptor, select.POLLIN)
    deadline = time.monotonic() + within
    while waiting:
        exited = poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
        if not exited:
            raise ClusterError(f"still running {within:.0f} s after SIGKILL: {[p.pid for p in waiting.values()]}")
        for descriptor, _ in exited:
            poll.unregister(descriptor)
            del waiting[descriptor]


def _reap(pid: int) -> None:
    if child := _children.pop(pid, None):
        child.wait(timeout=5)
