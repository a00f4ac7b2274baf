"""A process whose memory and processor time are read from /proc, with all its descendants."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
STOP_SECONDS = 30


class MeasuredProcess:
    """A program that was started for the measurement. Its output goes to a file."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path, directory: Path) -> None:
        self.log = log
        self.started_at = time.time()
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                # The kernel ends it with the bench, however that ends.
                ["setpriv", "--pdeathsig", "KILL", *command],
                env=dict(environment),
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def last_words(self) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-8:])

    def stop(self) -> None:
        """End it in good order (SIGTERM); after STOP_SECONDS, by force."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS)
        self.kill()

    def kill(self) -> None:
        """End it, and whatever it has started, at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(STOP_SECONDS)

    def cpu_seconds(self) -> float:
        """Return the processor time used since the start, by the process and all its descendants."""
        return sum(cpu_seconds(pid) for pid in _with_descendants(self.pid))

    def rss_mib(self) -> float:
        """Return the resident memory in MiB."""
        return sum(_status_mib(pid, "VmRSS") for pid in _with_descendants(self.pid))

    def peak_mib(self) -> float:
        """Return the largest resident memory since the start, in MiB."""
        return sum(_status_mib(pid, "VmHWM") for pid in _with_descendants(self.pid))


class Others:
    """How much of the machine everybody else uses: what this program and all that it has started does not."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._busy, self._ours = _busy_seconds(), _our_seconds()

    def processors(self) -> float:
        """Return how many processors others have kept busy since this was made, on average."""
        others = (_busy_seconds() - self._busy) - (_our_seconds() - self._ours)
        return max(0.0, others / (time.monotonic() - self._began))


def _busy_seconds() -> float:
    """Return the processor time of the whole machine: all but idle and waiting for disks (proc(5), /proc/stat)."""
    user, nice, system, _idle, _wait, *interrupts = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    return sum(map(int, (user, nice, system, *interrupts))) / _TICKS


def _our_seconds() -> float:
    return sum(cpu_seconds(pid) for pid in _with_descendants(os.getpid()))


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process, and of its children that have ended; 0 where there is none."""
    return _cpu_fields(pid, slice(11, 15))


def own_cpu_seconds(pid: int) -> float:
    """Return the processor time of a process without any child; 0 where there is none."""
    return _cpu_fields(pid, slice(11, 13))


def _cpu_fields(pid: int, which: slice) -> float:
    """Return the sum of some fields of proc(5), /proc/PID/stat: utime, stime, cutime, cstime from 11 on."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[which])) / _TICKS


def _status_mib(pid: int, name: str) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:")), 0.0)


def _with_descendants(pid: int) -> list[int]:
    found = [pid]
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [one for child in thread.read_text().split() for one in _with_descendants(int(child))]
    return found
