"""What Prometheus is told, in its text format."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

BUCKETS = (1, 5, 15, 60, 300, 900, 3600, 14400)
"""Upper limits of the histogram of fetches, in seconds."""


@dataclass
class Counts:
    """What has happened since the start of the agent; one thread alone counts."""

    fetched_bytes: int = 0
    evicted_images: int = 0
    evicted_bytes: int = 0
    worker_starts: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    fetch_buckets: Counter[float] = field(default_factory=Counter)
    fetches: int = 0
    fetch_seconds: float = 0.0

    def fetched(self, seconds: float, size: int) -> None:
        """A fetch ended well."""
        self.fetches += 1
        self.fetch_seconds += seconds
        self.fetched_bytes += size
        self.fetch_buckets.update(bucket for bucket in BUCKETS if seconds <= bucket)

    def evicted(self, sizes: Iterable[int]) -> None:
        """Images were removed to make room."""
        for size in sizes:
            self.evicted_images += 1
            self.evicted_bytes += size


@dataclass(frozen=True)
class Levels:
    """What is now; `images` are those that sets want, by state."""

    used_bytes: int
    limit_bytes: int
    free_bytes: int
    cached_images: int
    hits: int
    queue_length: int
    images: Mapping[str, int]


def metrics(levels: Levels, counts: Counts) -> str:
    """Return all metrics."""
    fetch_seconds: dict[str, float] = {f'_bucket{{le="{bucket}"}}': counts.fetch_buckets[bucket] for bucket in BUCKETS}
    fetch_seconds |= {'_bucket{le="+Inf"}': counts.fetches, "_sum": counts.fetch_seconds, "_count": counts.fetches}
    return "".join(
        (
            _one("cache_used_bytes", "gauge", "What all files of the cache take.", levels.used_bytes),
            _one("cache_limit_bytes", "gauge", "What they may take.", levels.limit_bytes),
            _one("cache_free_bytes", "gauge", "What is free on the volume of the cache.", levels.free_bytes),
            _one("cache_images", "gauge", "Images in the cache.", levels.cached_images),
            _one(
                "cache_hits",
                "gauge",
                "How often the images that are in the cache now were served from it, when last looked at.",
                levels.hits,
            ),
            _one("cache_queue_length", "gauge", "Images in Glance's own queue.", levels.queue_length),
            _one("cache_evicted_images_total", "counter", "Images removed to make room.", counts.evicted_images),
            _one("cache_evicted_bytes_total", "counter", "Bytes of images removed to make room.", counts.evicted_bytes),
            _many("prefetch_images", "gauge", "Images that are wanted here, by state.", _by("state", levels.images)),
            _one("prefetch_fetched_bytes_total", "counter", "Bytes of images fetched.", counts.fetched_bytes),
            _many("prefetch_fetch_seconds", "histogram", "How long fetches took that ended well.", fetch_seconds),
            _many(
                "prefetch_failures_total", "counter", "Fetches that failed, by reason.", _by("reason", counts.failures)
            ),
            _one("prefetch_worker_starts_total", "counter", "Starts of the worker process.", counts.worker_starts),
        )
    )


def _by(label: str, values: Mapping[str, float]) -> dict[str, float]:
    return {f'{{{label}="{name}"}}': value for name, value in sorted(values.items())}


def _one(name: str, kind: str, explanation: str, value: float) -> str:
    return _many(name, kind, explanation, {"": value})


def _many(name: str, kind: str, explanation: str, values: Mapping[str, float]) -> str:
    full = f"image_service_{name}"
    lines = [f"# HELP {full} {explanation}", f"# TYPE {full} {kind}"]
    return "".join(f"{line}\n" for line in (*lines, *(f"{full}{rest} {value}" for rest, value in values.items())))
