"""What a look at a store shows, and how it is looked at: a Ceph cluster and its pool, or a directory.

Used by `store_monitor.py`, which lies beside it in the pod. A text that is made here holds names and sentences of ours,
and of a library's error no more than its number.
"""

import contextlib
import errno
import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEFAULT_TIMEOUT_SECONDS = 5

Settings = Mapping[str, Any]
"""One store of `stores.json`."""


@dataclass(frozen=True)
class Finding:
    """What a look at a store has shown. None where it does not apply, or was not reached."""

    reason: str
    message: str
    fsid: str | None = None
    mounted: bool | None = None
    read_only: bool | None = None
    free_bytes: int | None = None


NOT_LOOKED = Finding("Checking", "The store has not been looked at yet.")

# ----------------------------------------------------------------------------------------------------------- Ceph

PROBED_OBJECT = "rbd_directory"
"""The object in which a pool lists its RBD images; that there is none in a new pool is an answer like any other."""
SILENT = {"log_to_stderr": "false", "err_to_stderr": "false", "log_file": "", "admin_socket": ""}
"""Options of librados: its log may quote keys, and the pod has no place for its files."""
SMALL = {"ms_async_op_threads": "1", "librados_thread_count": "1"}
"""Options of librados: one read at a time needs no crowd of threads."""
BOUNDED = ("client_mount_timeout", "rados_mon_op_timeout", "rados_osd_op_timeout")
"""Options of librados: seconds until it gives up."""

READ_CONF, CONNECT, OPEN_POOL, READ = "reading the conf", "connecting", "opening the pool", "reading from the pool"

CEPH_FAULTS: Mapping[tuple[str, int], tuple[str, str]] = {
    (READ_CONF, errno.ENOENT): ("ProbeFailed", "There is no Ceph conf in the pod."),
    (READ_CONF, errno.EINVAL): ("ProbeFailed", "The Ceph conf cannot be parsed."),
    (CONNECT, errno.EACCES): ("KeyringRefused", "The monitors refuse the key of client.{user}."),
    (CONNECT, errno.EPERM): ("KeyringRefused", "The monitors refuse the key of client.{user}."),
    # librados says so of a key that is no base64.
    (CONNECT, errno.EIO): ("KeyringRefused", "The keyring of client.{user} cannot be parsed."),
    (CONNECT, errno.ETIMEDOUT): ("MonitorsUnreachable", "No monitor answers within {timeout} s."),
    (CONNECT, errno.ENOENT): ("MonitorsUnreachable", "The Ceph conf names no monitor."),
    (CONNECT, errno.EINVAL): ("MonitorsUnreachable", "The names of the monitors cannot be resolved."),
    (OPEN_POOL, errno.ENOENT): ("PoolNotFound", "The cluster has no pool {pool}."),
    (OPEN_POOL, errno.ETIMEDOUT): ("MonitorsUnreachable", "The monitors stopped answering."),
    (READ, errno.ETIMEDOUT): ("StorageNotResponding", "A read from pool {pool} got no answer within {timeout} s."),
    (READ, errno.EPERM): ("KeyringRefused", "The capabilities of client.{user} do not let it read pool {pool}."),
    (READ, errno.EACCES): ("KeyringRefused", "The capabilities of client.{user} do not let it read pool {pool}."),
    (READ, errno.ENOENT): ("PoolNotFound", "Pool {pool} was removed."),
}
"""Step and error of librados -> reason, and a sentence for people."""


def look_at_ceph(store: Settings) -> Finding:
    """Connect to the cluster with conf and key as they are on disk now, compare its fsid, and read from the pool."""
    try:
        import rados  # type: ignore[import-not-found]  # noqa: PLC0415 - only pods with a Ceph store need it
    except ImportError:
        return Finding("ProbeFailed", "The Glance image has no librados for Python.")
    words = {"user": store["user"], "pool": store["pool"], "timeout": timeout_of(store)}
    fsid, step = None, READ_CONF
    # The conf is read afterwards: a handle that fails while it is made can never be shut down, and leaks 340 KiB.
    cluster = rados.Rados(name=f"client.{store['user']}")
    try:
        cluster.conf_read_file(store["conf"])
        for option, value in {**SILENT, **SMALL, **dict.fromkeys(BOUNDED, str(timeout_of(store)))}.items():
            cluster.conf_set(option, value)
        step = CONNECT
        cluster.connect()
        fsid = cluster.get_fsid()
        if store.get("fsid") not in (None, fsid):
            return Finding("WrongCluster", f"The monitors are of cluster {fsid}, not of {store['fsid']}.", fsid)
        step = OPEN_POOL
        with contextlib.closing(cluster.open_ioctx(store["pool"])) as pool:
            step = READ
            has_answered(pool, rados.ObjectNotFound)
    except rados.Error as error:
        number = getattr(error, "errno", None) or 0
        # Each release of librados has another error for this one; all say it at once, without asking a monitor.
        if step is CONNECT and number != errno.ETIMEDOUT and not has_key(cluster.conf_get("keyring"), store["user"]):
            return Finding("KeyringRefused", f"There is no keyring with a key of client.{store['user']}.")
        said = errno.errorcode.get(number, type(error).__name__)
        reason, sentence = CEPH_FAULTS.get((step, number), ("ProbeFailed", f"librados said {said} when {step}."))
        return Finding(reason, sentence.format(**words), fsid)
    finally:
        cluster.shutdown()
    return Finding("Reachable", f"Pool {store['pool']} answers.", fsid)


def has_answered(pool: Any, not_found: type[Exception]) -> None:
    """Have the storage answer; that the object is not there is an answer."""
    with contextlib.suppress(not_found):
        pool.read(PROBED_OBJECT, length=1)


def has_key(keyrings: str, user: str) -> bool:
    """Tell whether one of the keyring files, with commas between them, has a section of the user."""
    section = re.compile(rf"^\s*\[client\.{re.escape(user)}\]", re.MULTILINE)
    for path in keyrings.split(","):
        with contextlib.suppress(OSError):
            if section.search(Path(path.strip()).read_text("utf-8", "replace")):
                return True
    return False


# ---------------------------------------------------------------------------------------------------- file systems

MOUNTED_VOLUMES = ("NFS", "PersistentVolumeClaim")
MOUNTS = Path("/proc/self/mountinfo")
"""Says what is mounted where without touching it, so it answers when the server of a file system does not."""
FILE_OF_THE_KUBELET = "/etc/hosts"
"""A mount in every pod, of a file beside the volumes of the pod on the node's own disk."""

FILE_FAULTS: Mapping[int, tuple[str, str]] = {
    errno.ENOENT: ("DirectoryMissing", "The directory of the store is not there."),
    errno.ENOTDIR: ("DirectoryMissing", "What is in place of the store's directory is none."),
    errno.ESTALE: ("NotMounted", "What was mounted is gone from its server (ESTALE): the pod has to mount it anew."),
    errno.ENOTCONN: ("NotMounted", "What was mounted has lost its server (ENOTCONN): the pod has to mount it anew."),
    errno.EIO: ("StorageNotResponding", "The file system fails (EIO)."),
    errno.ETIMEDOUT: ("StorageNotResponding", "The server of the file system does not answer (ETIMEDOUT)."),
    errno.EHOSTDOWN: ("StorageNotResponding", "The server of the file system does not answer (EHOSTDOWN)."),
    errno.EACCES: ("ReadOnly", "Glance may not enter the directory of the store."),
}
"""Error of the system -> reason, and a sentence for people."""


def look_at_directory(store: Settings) -> Finding:
    """Look whether the directory is there, on a mount of its own where it should be, and open to writing."""
    directory = store["directory"]
    must_be_mounted = store["volume"] in MOUNTED_VOLUMES
    devices = mounted_devices()
    device = devices.get(os.path.normpath(directory))
    mounted = device is not None if must_be_mounted else None
    if store["volume"] == "NFS" and device is not None and device == devices.get(FILE_OF_THE_KUBELET):
        # A container that starts after its node has lost the share gets the directory that the share was mounted on.
        return Finding("NotMounted", "The node has lost the share: the pod has to mount it anew.", mounted=False)
    try:
        if not stat.S_ISDIR(os.stat(directory).st_mode):  # noqa: PTH116 - the path is kept as Glance has it
            raise NotADirectoryError(errno.ENOTDIR, "")
        space = os.statvfs(directory)
    except OSError as error:
        said = errno.errorcode.get(error.errno or 0, type(error).__name__)
        reason, message = FILE_FAULTS.get(error.errno or 0, ("ProbeFailed", f"The system said {said}."))
        return Finding(reason, message, mounted=False if reason == "NotMounted" else mounted)
    if must_be_mounted and not mounted:
        return Finding("NotMounted", "Nothing is mounted on the directory of the store.", mounted=False)
    free_bytes = space.f_bavail * space.f_frsize
    read_only = bool(space.f_flag & os.ST_RDONLY) or not os.access(directory, os.W_OK | os.X_OK)
    if read_only:
        why = "is mounted read-only" if space.f_flag & os.ST_RDONLY else "may not be written to by Glance's user"
        return Finding("ReadOnly", f"The directory of the store {why}.", None, mounted, read_only, free_bytes)
    return Finding("Reachable", "The directory answers.", None, mounted, read_only, free_bytes)


def mounted_devices() -> dict[str, str]:
    """Return what is mounted, the topmost of each place: mount point -> device as major:minor."""
    # Fields 3 and 5 are the device and the mount point, in which blanks are written \040 (proc_pid_mountinfo(5)).
    lines = (line.split(" ") for line in MOUNTS.read_text("utf-8", "surrogateescape").splitlines())
    return {re.sub(r"\\(\d{3})", lambda found: chr(int(found[1], 8)), words[4]): words[2] for words in lines}


@dataclass(frozen=True)
class Kind:
    """How stores of a type are looked at.

    `steps` is how many times the timeout a look may take by itself; one that takes longer hangs in the system, and
    `overdue` is what is said meanwhile.
    """

    look: Callable[[Settings], Finding]
    steps: int
    overdue: tuple[str, str]


KINDS: Mapping[str, Kind] = {
    # librados waits for the monitors twice as it connects, then for the map of pools, then for the read.
    "Ceph": Kind(look_at_ceph, 5, ("ProbeFailed", "librados has not come back for {seconds:.0f} s.")),
    "Filesystem": Kind(
        look_at_directory, 1, ("StorageNotResponding", "The file system has not answered for {seconds:.0f} s.")
    ),
}


def timeout_of(store: Settings) -> int:
    """Return how many seconds the storage may take to answer."""
    return int(store.get("timeoutSeconds") or DEFAULT_TIMEOUT_SECONDS)
