"""What is still on this machine of a cluster: used by tests to see that the answer is nothing."""

import os
from collections.abc import Iterator
from pathlib import Path

from . import disk


def of(root: Path, identity: str) -> list[str]:
    """Everything left of the cluster with that state directory and id, each in words."""
    return [
        *_processes(root, identity),
        *_mounts(root),
        *(f"loop device {name}" for name in disk.loop_devices(root)),
        *_cgroups(identity),
        *([str(root)] if root.exists() else []),
    ]


def _processes(root: Path, identity: str) -> Iterator[str]:
    """Processes that carry the cluster's mark in their environment, or (pods) its id in the name of their cgroup."""
    mark = f"IMAGE_SERVICE_CLUSTER={root}\0".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            ours = mark in (folder / "environ").read_bytes() + b"\0"
            ours = ours or f"image-service-{identity}-" in (folder / "cgroup").read_text()
            if ours:
                yield f"process {folder.name} {(folder / 'cmdline').read_bytes().replace(bytes(1), b' ').decode()}"
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue


def _mounts(root: Path) -> Iterator[str]:
    """Mounts with the state directory in them, network namespaces among them."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if f"{root}/" in line:
            yield f"mount {line.split()[4]}"


def _cgroups(identity: str) -> Iterator[str]:
    for folder, below, _ in os.walk("/sys/fs/cgroup"):
        yield from (f"cgroup {folder}/{name}" for name in below if f"image-service-{identity}-" in name)
