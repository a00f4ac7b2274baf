"""Values that hold for a while, by key."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Expiring(Generic[K, V]):
    """A value for each key until its time is over. `clock` counts seconds.

    Looking one up takes as long with thousands of keys as with one. What is over is thrown away with the next `put`,
    or, behind a value that holds longer, when that one is over too.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._kept: OrderedDict[K, tuple[float, V]] = OrderedDict()
        """With the time when each is over; what was put first is in front."""

    def get(self, key: K) -> V | None:
        """Return the value that holds, None where none does."""
        until, value = self._kept.get(key, (0.0, None))
        return value if value is not None and until > self._clock() else None

    def put(self, key: K, value: V, seconds: float) -> None:
        """Have `value` hold for so many seconds from now."""
        now = self._clock()
        while self._kept and self._kept[oldest := next(iter(self._kept))][0] <= now:
            del self._kept[oldest]
        self._kept[key] = (now + seconds, value)
        self._kept.move_to_end(key)

    def clear(self) -> None:
        """Forget all of them."""
        self._kept.clear()

    def __len__(self) -> int:
        """Return how many are kept."""
        return len(self._kept)
