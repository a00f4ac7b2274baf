"""Why an image is not in the cache of a node, in words that programs may rely on."""

from collections.abc import Mapping

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
WINDOW_CLOSED = "WindowClosed"
CANCELLED = "Cancelled"
DATABASE_UNREACHABLE = "DatabaseUnreachable"
WORKER_FAILED = "WorkerFailed"

REASONS: Mapping[str, str] = {
    IMAGE_NOT_FOUND: "Glance has no image of this id, or has it no longer.",
    IMAGE_NOT_ACTIVE: "The image has no data yet, or is deactivated.",
    NO_LOCATIONS: "The image is active, and Glance knows no place of its data.",
    STORE_UNREACHABLE: "No store that has the image could be read; at least one may have it still.",
    DATA_MISSING: "The stores answered, and have no data of the image.",
    SIZE_MISMATCH: "What the stores have is longer or shorter than Glance says.",
    HASH_MISMATCH: "What the stores have is not what was uploaded.",
    NO_SPACE: "The volume of the cache has too little room left.",
    TOO_LARGE: "The image is larger than what the cache may use for it.",
    STALLED: "Nothing came from the store for the stall time.",
    TIMED_OUT: "The fetch took longer than it may.",
    BUSY: "A client downloads the image through this cache, which caches it.",
    WINDOW_CLOSED: "The time in which images may be fetched ended.",
    CANCELLED: "Nobody wants the image any more.",
    DATABASE_UNREACHABLE: "Glance's database did not answer, or refused.",
    WORKER_FAILED: "The worker could not start, ended by itself, or met what it does not know.",
}
"""Reason -> what it means."""
