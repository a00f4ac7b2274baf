"""What the monitor of a site's stores says of one store: plain data, for whoever asks it and whoever judges it."""

from dataclasses import dataclass
from enum import StrEnum


class StoreReason(StrEnum):
    """What a look at a store has shown, in the words of `render/files/store_checks.py`."""

    REACHABLE = "Reachable"
    CHECKING = "Checking"
    """It has not been looked at yet."""
    MONITORS_UNREACHABLE = "MonitorsUnreachable"
    """No monitor of the Ceph cluster answers."""
    KEYRING_REFUSED = "KeyringRefused"
    """The monitors refuse the key, there is none, or it does not allow what a store needs."""
    WRONG_CLUSTER = "WrongCluster"
    """The monitors belong to a Ceph cluster with another fsid than the expected one."""
    POOL_NOT_FOUND = "PoolNotFound"
    STORAGE_NOT_RESPONDING = "StorageNotResponding"
    """Monitors answer but a read from the pool does not; or a file system hangs or fails."""
    NOT_MOUNTED = "NotMounted"
    """The volume of a file system store is not mounted, or its server no longer knows the mount."""
    READ_ONLY = "ReadOnly"
    DIRECTORY_MISSING = "DirectoryMissing"
    PROBE_FAILED = "ProbeFailed"
    """The look itself failed in a way that no other reason speaks of."""


@dataclass(frozen=True)
class StoreReport:
    """One store as the pod of a site sees it. `fsid` is that of the Ceph cluster that was reached, else None."""

    reason: StoreReason
    message: str
    fsid: str | None = None


@dataclass(frozen=True)
class ImageCount:
    """How many images have an active copy in a store, and how many of these have none in any other store."""

    images: int
    only_here: int
