"""What a node's cache agent (`prefetcher/`) says of its cache: plain data, for who asks it and who judges it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class ImageState(StrEnum):
    """How far an image is that somebody wants on a node."""

    CACHED = "Cached"
    FETCHING = "Fetching"
    WAITING = "Waiting"
    FAILED = "Failed"


class ImageReason(StrEnum):
    """Why an image is not in the cache of a node."""

    NOT_GRANTED = "NotGranted"
    """It waits until the operator lets this node fetch."""
    WINDOW_CLOSED = "WindowClosed"
    PAUSED = "Paused"
    IMAGE_NOT_FOUND = "ImageNotFound"
    IMAGE_NOT_ACTIVE = "ImageNotActive"
    NO_LOCATIONS = "NoLocations"
    STORE_UNREACHABLE = "StoreUnreachable"
    DATA_MISSING = "DataMissing"
    SIZE_MISMATCH = "SizeMismatch"
    HASH_MISMATCH = "HashMismatch"
    NO_SPACE = "NoSpace"
    TOO_LARGE = "TooLarge"
    STALLED = "Stalled"
    TIMED_OUT = "TimedOut"
    BUSY = "Busy"
    """A client's download of it is just being cached."""
    CANCELLED = "Cancelled"
    DATABASE_UNREACHABLE = "DatabaseUnreachable"
    WORKER_FAILED = "WorkerFailed"
    """Whatever no other reason speaks of."""


@dataclass(frozen=True, slots=True)
class ImageReport:
    """One image on one node. `size_bytes` is None where it is not known; `done_bytes` are those that have arrived.

    `attempts` counts the fetches that failed; `retry_at` is when the next one begins, in seconds since 1970.
    """

    state: ImageState
    size_bytes: int | None = None
    done_bytes: int = 0
    reason: ImageReason | None = None
    message: str = ""
    attempts: int = 0
    retry_at: float | None = None


@dataclass(frozen=True, slots=True)
class SetReport:
    """What an agent was last told of one ImagePrecache. `fetch` tells whether it may begin to fetch."""

    name: str
    revision: str
    fetch: bool


@dataclass(frozen=True, slots=True)
class CacheUse:
    """The cache directory of a node. `hits` are those of the images that are in it."""

    used_bytes: int
    max_bytes: int
    free_bytes: int
    images: int
    hits: int


@dataclass(frozen=True, slots=True)
class AgentReport:
    """All that an agent says of itself. `images` holds what its sets want, by id; `sets` are by uid of their owner."""

    node: str
    release: str
    cache: CacheUse
    sets: Mapping[str, SetReport]
    images: Mapping[str, ImageReport]


@dataclass(frozen=True, slots=True)
class AgentFailure:
    """Why an agent says nothing of itself: a reason in one CamelCase word, and a line for people."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class CachedImage:
    """One image that is in the cache of a node. `last_accessed` is in seconds since 1970."""

    id: str
    size_bytes: int
    hits: int
    last_accessed: float


@dataclass(frozen=True, slots=True)
class CacheContent:
    """What is in the cache of a node, and what waits in Glance's own queue there, by id."""

    cached: tuple[CachedImage, ...]
    queued: tuple[str, ...]
