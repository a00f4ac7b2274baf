"""The cgroup under which one node's kubelet keeps its pods, on cgroup v1 (a tree per controller) and v2 (one tree)."""

import contextlib
import os
import time
from pathlib import Path

from .errors import ClusterError

_MOUNT = Path("/sys/fs/cgroup")
# What the kubelet wants enabled for the pods below its root on v2.
_V2_CONTROLLERS = ("cpuset", "cpu", "io", "memory", "pids", "hugetlb")


def is_v2() -> bool:
    """Whether this machine has the unified hierarchy only."""
    return (_MOUNT / "cgroup.controllers").exists()


def _trees() -> list[Path]:
    if is_v2():
        return [_MOUNT]
    # Names such as `cpu` may be links to a tree mounted under two names. `unified` has no controllers, but container
    # runtimes make their groups there too.
    return sorted({tree.resolve() for tree in _MOUNT.iterdir() if tree.is_dir()})


def make(name: str) -> None:
    """Make the cgroup `name`, in every tree of v1, ready for pods. An existing one is fine."""
    for tree in _trees():
        (tree / name).mkdir(exist_ok=True)
    if is_v2():
        _enable_controllers(_MOUNT)
        _enable_controllers(_MOUNT / name)
    elif (_MOUNT / "cpuset").is_dir():
        # A new v1 cpuset is empty, and no process can enter an empty one (cpuset(7)).
        for file in ("cpuset.cpus", "cpuset.mems"):
            (_MOUNT / "cpuset" / name / file).write_text((_MOUNT / "cpuset" / file).read_text())


def _enable_controllers(group: Path) -> None:
    available = (group / "cgroup.controllers").read_text().split()
    for controller in _V2_CONTROLLERS:
        if controller in available:
            try:
                (group / "cgroup.subtree_control").write_text(f"+{controller}")
            except OSError as error:
                # In a container whose own processes sit in the topmost group, for example.
                raise ClusterError(f"cannot hand the cgroup controller {controller} on from {group}: {error}") from None


def remove(name: str, *, within: float = 10) -> None:
    """Remove the cgroup `name` with all below it. Its processes are dying or dead; wait for them.

    Raises ClusterError when something is left after `within` seconds.
    """
    deadline = time.monotonic() + within
    left = [tree / name for tree in _trees()]
    while left:
        left = [group for group in left if not _removed(group)]
        if left and time.monotonic() > deadline:
            raise ClusterError(f"these cgroups cannot be removed, something still runs in them: {left}")
        if left:
            time.sleep(0.05)


def _removed(group: Path) -> bool:
    if not group.exists():
        return True
    # Deepest first; one that goes away by itself meanwhile is as good.
    for folder, _, _ in os.walk(group, topdown=False):
        with contextlib.suppress(OSError):
            Path(folder).rmdir()
    return not group.exists()
