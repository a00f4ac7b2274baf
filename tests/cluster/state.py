"""The state directory of a cluster: everything that has to be undone is written here before, or as, it is done.

    lock            held while somebody changes the cluster
    owner           the process the cluster belongs to, or the word "kept": it stays until `down`
    cluster.json    identity and settings
    process/NAME    one record for each process      (see processes.py)
    cgroup/NAME     one empty file for each cgroup   (see cgroups.py)
    netns/NAME      network namespaces, each a mount on a file of this directory
    log/ pki/ etcd/ nodes/ shared/ bin/ kubeconfig

`destroy` needs this directory and nothing else; `sweep` does it for every cluster whose owner is dead.
"""

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import cgroups, processes
from .errors import ClusterError
from .processes import Process

KEPT = "kept"
_FOLDERS = ("process", "cgroup", "netns", "log", "nodes", "shared", "bin")


def cache_folder() -> Path:
    """Where binaries, images and the state of clusters are kept (IMAGE_SERVICE_CACHE)."""
    return Path(os.environ.get("IMAGE_SERVICE_CACHE") or Path.home() / ".cache" / "image-service-operator")


def registry() -> Path:
    """The folder that holds, or points to, the state directory of every cluster of this user."""
    return cache_folder() / "clusters"


@dataclass(frozen=True)
class State:
    """The state directory of one cluster."""

    root: Path

    @classmethod
    def open(cls, root: Path) -> "State":
        """The state directory at `root`, made where it is missing and put on the registry."""
        state = cls(root.resolve())
        for folder in _FOLDERS:
            (state.root / folder).mkdir(parents=True, exist_ok=True)
        if state.root.parent != registry().resolve():
            registry().mkdir(parents=True, exist_ok=True)
            pointer = registry() / f"at-{secrets.token_hex(4)}"
            if not any(entry.resolve() == state.root for entry in registry().iterdir()):
                pointer.symlink_to(state.root)
        return state

    @property
    def settings_file(self) -> Path:
        """The file with identity and settings; it exists once `up` has begun."""
        return self.root / "cluster.json"

    def settings(self) -> dict[str, Any]:
        """Identity and settings; empty before the first `up`."""
        try:
            loaded: dict[str, Any] = json.loads(self.settings_file.read_text())
        except FileNotFoundError:
            return {}
        return loaded

    def change_settings(self, **changed: Any) -> dict[str, Any]:
        """Write changed settings and return all of them."""
        settings = {**self.settings(), **changed}
        beside = self.settings_file.with_suffix(".new")
        beside.write_text(json.dumps(settings, indent=2))
        beside.rename(self.settings_file)
        return settings

    # -- ownership -------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the cluster for a change; wait (at most 10 minutes) while another command does."""
        with (self.root / "lock").open("w") as lock:
            deadline = time.monotonic() + 600
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise ClusterError(f"{self.root} is held by another command") from None
                    time.sleep(0.1)
            yield

    def claim(self) -> bool:
        """Bind a new cluster to the calling process: it is swept away when that process is gone. Whether it was new.

        One that is kept stays so; one that belongs to another living process is refused.
        """
        owner = self.root / "owner"
        if not owner.exists():
            processes.myself().write(owner)
            return True
        if not self._kept():
            process = Process.recorded(owner)
            if process != processes.myself():
                raise ClusterError(f"{self.root} belongs to the running process {process and process.pid}")
        return False

    def _kept(self) -> bool:
        return (self.root / "owner").read_text().startswith(KEPT)

    def keep(self) -> None:
        """Let the cluster outlive every process, until `down`."""
        beside = self.root / "owner.new"
        beside.write_text(KEPT)
        beside.rename(self.root / "owner")

    def abandoned(self) -> bool:
        """Whether the owner is dead. A directory that is being made has no owner yet and is left alone for a minute."""
        owner = self.root / "owner"
        try:
            if self._kept():
                return False
        except FileNotFoundError:
            return time.time() - self.root.stat().st_mtime > 60
        process = Process.recorded(owner)
        return process is None or not process.alive()

    # -- processes -------------------------------------------------------------------------------------------------

    def process(self, name: str) -> Process | None:
        """The recorded process of that name if it runs, else None."""
        process = Process.recorded(self.root / "process" / name)
        return process if process and process.alive() else None

    def spawn(self, name: str, argv: Sequence[str | Path], **environment: str) -> Process:
        """Start a process of this cluster; its output goes to log/NAME.log."""
        # With less collecting of garbage an API server takes a fifth less time, for 100 MB more.
        always = {"HOME": "/nonexistent", "GOGC": "300", "IMAGE_SERVICE_CLUSTER": str(self.root)}
        return processes.spawn(
            self.root / "process" / name, argv, log=self.log(name), environment={**always, **environment}
        )

    def log(self, name: str) -> Path:
        """The log file of a process."""
        return self.root / "log" / f"{name}.log"

    def stop(self, *names: str) -> None:
        """End the processes of these names, with what they hold (a node's init ends with all its processes)."""
        records = [self.root / "process" / name for name in names]
        running = [process for record in records if (process := Process.recorded(record))]
        # A node's first process is the init of a pid namespace: gone only when all that ran in there is gone.
        processes.kill([child for process in running for child in process.children()] + running)
        for record in records:
            record.unlink(missing_ok=True)

    # -- the end ---------------------------------------------------------------------------------------------------

    def destroy(self) -> None:
        """Undo everything that is recorded here, then remove the directory. Works after any crash, and twice."""
        if not self.root.exists():
            return
        self.stop(*[record.name for record in (self.root / "process").glob("*") if record.suffix != ".new"])
        for record in (self.root / "cgroup").glob("*"):
            cgroups.remove(record.name)
        unmount_below(self.root)
        shutil.rmtree(self.root)
        for pointer in registry().glob("at-*"):
            if not pointer.exists():
                pointer.unlink(missing_ok=True)


def unmount_below(folder: Path) -> None:
    """Take away every mount at or below a folder, the newest first."""
    below = [
        target
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
        if (target := _unescape(line.split(" ")[4])) == str(folder) or target.startswith(f"{folder}/")
    ]
    for target in reversed(below):
        subprocess.run(["umount", "--lazy", target], check=True)


def _unescape(field: str) -> str:
    return field.encode().decode("unicode_escape").encode("latin-1").decode()


def sweep() -> list[Path]:
    """Destroy every cluster whose owner died; return the directories that were removed."""
    swept = []
    for entry in sorted(registry().glob("*")):
        state = State(entry.resolve())
        # Another run may sweep at the same time: what it has removed is no loss.
        with contextlib.suppress(FileNotFoundError):
            if not state.root.exists():
                entry.unlink()
            elif state.root.is_dir() and state.abandoned():
                with state.locked():
                    if state.abandoned():
                        state.destroy()
                        swept.append(state.root)
    return swept
