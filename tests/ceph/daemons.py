"""The files and the three processes of a cluster: monitor `a`, manager `x`, OSD 0.

All keys are made here and given to the monitor before its first start, so that the daemons can start without waiting
for each other.
"""

import contextlib
import os
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path

from tests.cluster import network
from tests.cluster.errors import ClusterError
from tests.cluster.processes import Process
from tests.cluster.state import State

from .settings import Settings, ceph_conf, keyring, new_key

MONITOR, MANAGER, OSD = "ceph-mon", "ceph-mgr", "ceph-osd"
ADMIN = "client.admin"
_ALL = {"mon": "allow *", "mgr": "allow *", "osd": "allow *"}
_CAPS = {
    "mon.": {"mon": "allow *"},
    "mgr.x": {"mon": "allow profile mgr", "osd": "allow *", "mds": "allow *"},
    "osd.0": {"mon": "allow profile osd", "mgr": "allow profile osd", "osd": "allow *"},
    ADMIN: _ALL,
}
_MAKE_SECONDS = 120


class Daemons:
    """The processes of one cluster; with `namespace` they run in that network namespace."""

    def __init__(self, state: State, settings: Settings, namespace: Path | None) -> None:
        self.state = state
        self.settings = settings
        self._namespace = namespace
        self._osd_uuid = str(uuid.uuid4())
        self._keys = {entity: new_key() for entity in _CAPS}

    def words(self, program: str, *arguments: str | Path) -> list[str]:
        """The words of a command on this cluster, where its network is."""
        # Not `ip netns exec`: that would give them another /sys.
        enter = ["nsenter", f"--net={self._namespace}", "--"] if self._namespace else []
        return [*enter, program, "--conf", str(self.settings.conf), *map(str, arguments)]

    def network(self) -> contextlib.AbstractContextManager[None]:
        """A block in which the calling thread opens its sockets where the daemons are."""
        return network.inside(self._namespace) if self._namespace else contextlib.nullcontext()

    def make(self) -> None:
        """Write the files and make the data directories of all three."""
        settings, root = self.settings, self.settings.root
        for directory in (*map(settings.data, ("mon", "mgr", "osd")), settings.no_modules):
            directory.mkdir()
        settings.conf.write_text(ceph_conf(settings))
        for entity, file in {
            "mgr.x": settings.data("mgr") / "keyring",
            "osd.0": settings.data("osd") / "keyring",
            ADMIN: root / f"{ADMIN}.keyring",
        }.items():
            _write_secret(file, keyring(entity, self._keys[entity]))
        known = root / "initial.keyring"
        _write_secret(known, "".join(keyring(entity, self._keys[entity], caps) for entity, caps in _CAPS.items()))
        monitors = root / "monmap"
        self._run(
            *("monmaptool", "--create", "--fsid", settings.fsid, "--addv", "a", f"[{settings.monitor}]", monitors)
        )
        # Neither asks the other: the monitor map comes from the file.
        self._run(*self.words(MONITOR, "--id", "a", "--mkfs", "--monmap", monitors, "--keyring", known))
        new = ("--mkfs", "--osd-uuid", self._osd_uuid, "--no-mon-config", "--monmap", monitors)
        self._run(*self.words(OSD, "--id", "0", *new))

    def start(self) -> None:
        """Start all three. The OSD is up some seconds later."""
        self.start_monitor()
        self._spawn(MANAGER, "x")
        secret = f'{{"cephx_secret": "{self._keys["osd.0"]}"}}'
        self._run(*self.words("ceph", "osd", "new", self._osd_uuid, "0", "-i", "-"), stdin=secret)
        self._spawn(OSD, "0")

    def start_monitor(self) -> None:
        """Start the monitor, the first time or again."""
        self._spawn(MONITOR, "a")

    def process(self, name: str) -> Process:
        """The running daemon of that name; ClusterError with the end of its log where it is dead."""
        process = self.state.process(name)
        if process is None:
            said = self.state.log(name).read_text(errors="replace")[-3000:]
            raise ClusterError(f"{name} of {self.settings.root} does not run:\n{said}")
        return process

    def _spawn(self, program: str, identity: str) -> None:
        self.state.spawn(program, self.words(program, "--id", identity, "--foreground"))

    def _run(self, *command: str | Path, stdin: str = "") -> None:
        run(command, stdin=stdin, seconds=_MAKE_SECONDS)


def run(command: Sequence[str | Path], *, stdin: str = "", seconds: float) -> str:
    """Run a command of Ceph and return what it says; ClusterError with its own words when it fails."""
    words = [str(word) for word in command]
    # CEPH_ARGS and the like of the caller speak of another cluster.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CEPH_")}
    try:
        done = subprocess.run(
            words, input=stdin, capture_output=True, text=True, timeout=seconds, env=clean, check=False
        )
    except subprocess.TimeoutExpired:
        raise ClusterError(f"{' '.join(words)}: no end within {seconds:.0f} s") from None
    if done.returncode:
        raise ClusterError(f"{' '.join(words)}: exit {done.returncode}: {done.stderr.strip()[-3000:]}")
    return done.stdout


def _write_secret(file: Path, text: str) -> None:
    file.touch(mode=0o600)
    file.write_text(text)
