"""Values that hold for a while, by key."""

from collections.abc import Callable
from typing import Generic, TypeVar

_FEW = 64

K = TypeVar("K")
V = TypeVar("V")


class Expiring(Generic[K, V]):
    """A value for each key until its time is over. `clock` counts seconds.

    Looking one up takes as long with thousands of keys as with one. What is over is thrown away whenever there are
    twice as many as were left the last time, so at most half of what is kept is of no use.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._kept: dict[K, tuple[float, V]] = {}
        self._most = _FEW

    def get(self, key: K) -> V | None:
        """Return the value that holds, None where none does."""
        until, value = self._kept.get(key, (0.0, None))
        return value if value is not None and until > self._clock() else None

    def put(self, key: K, value: V, seconds: float) -> None:
        """Have `value` hold for so many seconds from now."""
        self._kept[key] = (self._clock() + seconds, value)
        if len(self._kept) > self._most:
            self._throw_away()

    def clear(self) -> None:
        """Forget all of them."""
        self._kept.clear()

    def __len__(self) -> int:
        """Return how many are kept."""
        return len(self._kept)

    def _throw_away(self) -> None:
        now = self._clock()
        self._kept = {key: entry for key, entry in self._kept.items() if entry[0] > now}
        self._most = max(_FEW, 2 * len(self._kept))
