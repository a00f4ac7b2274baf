"""The disk of a node: a file system in one sparse file, mounted nowhere but in the node's own mount namespace.

So it has a size of its own, and it is thrown away as one file instead of a hundred thousand: on a busy machine that is
the difference between 1 s and 30 s. Where there are no loop devices (some containers) it is a plain directory.
"""

import os
import shutil
import subprocess
import time
from pathlib import Path

from .errors import ClusterError

SIZE_BYTES = 20 * 2**30
_IMAGE = "disk.img"


def make(folder: Path) -> None:
    """Have a disk in a node's folder: `disk.img`, or the directory `disk`. What is there stays."""
    image, directory = folder / _IMAGE, folder / "disk"
    if image.exists() or directory.exists():
        return
    if not _has_loop_devices():
        directory.mkdir()
        return
    beside = image.with_suffix(".new")
    beside.touch()
    os.truncate(beside, SIZE_BYTES)
    # No journal: after a crash of the whole machine e2fsck mends what it can, and nothing on it is precious.
    options = ("-q", "-F", "-O", "^has_journal", "-E", "lazy_itable_init=1,nodiscard")
    made = subprocess.run(["mkfs.ext4", *options, beside], capture_output=True, text=True, timeout=60, check=False)
    if made.returncode:
        raise ClusterError(f"no disk for {folder.name}: {made.stderr.strip()}")
    beside.rename(image)


def wait_until_free(folder: Path, *, within: float = 10) -> None:
    """Wait until the disk is mounted no more: mounted twice, a file system is destroyed."""
    deadline = time.monotonic() + within
    while loop_devices(folder / _IMAGE):
        if time.monotonic() > deadline:
            raise ClusterError(f"{folder / _IMAGE} is still mounted by something")
        time.sleep(0.05)


def loop_devices(below: Path) -> list[str]:
    """The loop devices on that file, or on files below that directory."""
    found = []
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            file = Path(backing.read_text().strip().removesuffix(" (deleted)"))
        except OSError:  # detached at this moment
            continue
        if file.is_relative_to(below):
            found.append(backing.parent.parent.name)
    return found


def needs_plain_copies(folder: Path) -> bool:
    """Whether image layers cannot lie over each other there: an overlay on an overlay (a directory in a container)."""
    if (folder / _IMAGE).exists():
        return False
    kind = subprocess.run(["stat", "-f", "-c", "%T", folder], capture_output=True, text=True, check=True, timeout=10)
    return kind.stdout.strip() == "overlayfs"


def _has_loop_devices() -> bool:
    if not all(shutil.which(program) for program in ("losetup", "mkfs.ext4", "e2fsck")):
        return False
    return subprocess.run(["losetup", "--find"], capture_output=True, timeout=10, check=False).returncode == 0
