"""Who read what: the way from a change of a user's object to the reconciles that depend on it.

A user's Secret does not say who refers to it. But each reconcile reads what it depends on, so its reads of the last
pass are kept, and a change of one of them brings it back. After a restart the first pass reads all of them again.
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from imageservice.runtime.kinds import Key

_READING: ContextVar[tuple[Key, set[Key]] | None] = ContextVar("reading", default=None)


class Interests:
    """What each reconcile read in its last pass, and in the one under way."""

    def __init__(self) -> None:
        self._read: dict[Key, set[Key]] = {}
        self._readers: dict[Key, set[Key]] = defaultdict(set)

    @contextmanager
    def reading(self, reader: Key) -> Iterator[None]:
        """Note all that is read in this block, also by tasks begun in it, as what `reader` depends on from now on."""
        read: set[Key] = set()
        token = _READING.set((reader, read))
        try:
            yield
        finally:
            _READING.reset(token)
            for key in self._read.pop(reader, set()) - read:
                self._drop(key, reader)
            if read:
                self._read[reader] = read

    def note(self, key: Key) -> None:
        """Note that the reconcile that runs here reads this object, whether or not it exists."""
        reading = _READING.get()
        if reading is not None:
            reader, read = reading
            read.add(key)
            self._readers[key].add(reader)

    def readers(self, key: Key) -> set[Key]:
        """Return who reads this object."""
        return set(self._readers.get(key, ()))

    def _drop(self, key: Key, reader: Key) -> None:
        self._readers[key].discard(reader)
        if not self._readers[key]:
            del self._readers[key]
