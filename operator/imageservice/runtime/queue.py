"""The work queue: each key once, by one worker at a time, what is missing first, and nobody waits for ever.

An `add` is a promise that the key is taken at least once after it (a delayed one: from when it is due). All promises
made before a `take` are kept by it, since a reconcile looks at the whole object; those made while the key is with a
worker bring it back when the worker is done.
"""

import asyncio
import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from imageservice.runtime.kinds import Key
from imageservice.runtime.metrics import Metrics

FIRST_BACKOFF_SECONDS = 1.0
LONGEST_BACKOFF_SECONDS = 300.0
_MOST_DOUBLINGS = 9  # 2 ** 9 is past the longest back-off
_JITTER = 0.5


class Urgency(Enum):
    """Why a key is in the queue. The value is its grace in seconds: how much later others may come and go first.

    Keys are served by the time of their add plus this grace. So the urgent ones overtake, but only within a bounded
    time, and a steady stream of them cannot keep a key waiting for ever.
    """

    MISSING = 0.0
    """A child is gone: something that was served may be down."""
    PROGRESS = 1.0
    """The object is on its way and something it waits for has moved: finish it before a new one is begun."""
    CHANGE = 10.0
    """The object is new, was changed, or is tried again after an error."""
    CONFIRM = 30.0
    """Nothing is known to be wrong: look whether all is as it should be."""


@dataclass(frozen=True)
class _Waiting:
    """A key that may be taken now: `rank` decides the order, `ticket` tells its heap entry from outdated ones."""

    rank: float
    ticket: int
    since: float


@dataclass(frozen=True)
class _Delayed:
    due: float
    ticket: int
    urgency: Urgency


class _Entry(NamedTuple):
    at: float
    ticket: int
    key: Key


class WorkQueue:
    """The queue of one process. All methods belong to one event loop; only `get` waits.

    `clock` counts seconds and never goes back; `jitter` returns a number from 0 to 1.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        metrics: Metrics | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._clock = clock
        self._metrics = metrics or Metrics()
        self._jitter = jitter
        self._tickets = itertools.count()
        self._ready: dict[Key, _Waiting] = {}
        self._ready_heap: list[_Entry] = []
        self._delayed: dict[Key, _Delayed] = {}
        self._delayed_heap: list[_Entry] = []
        self._running: set[Key] = set()
        self._again: dict[Key, _Waiting] = {}
        self._failures: Counter[Key] = Counter()
        self._changed = asyncio.Event()
        self._closed = False

    def add(self, key: Key, urgency: Urgency = Urgency.CHANGE, *, after: float = 0.0) -> None:
        """See to it that `key` is taken, not before `after` seconds; of several delays the shortest counts."""
        if self._closed:
            return
        now = self._clock()
        if after > 0:
            self._delay(key, urgency, now + after)
        else:
            self._make_ready(key, urgency, now)
        self._changed.set()

    def retry(self, key: Key) -> float:
        """Add `key` again after an error, each time later; return in how many seconds."""
        doublings = min(self._failures[key], _MOST_DOUBLINGS)
        self._failures[key] += 1
        jitter = 1 + _JITTER * self._jitter()
        delay = min(FIRST_BACKOFF_SECONDS * jitter * (1 << doublings), LONGEST_BACKOFF_SECONDS)
        self._metrics.queue_retries.labels(controller=key.kind.kind).inc()
        self.add(key, Urgency.CHANGE, after=delay)
        return delay

    def retries(self, key: Key) -> int:
        """Return how often `key` was added again after an error since it last went well."""
        return self._failures.get(key, 0)

    def forget(self, key: Key) -> None:
        """Forget the errors of `key`: it went well."""
        self._failures.pop(key, None)

    def take(self) -> Key | None:
        """Hand out the key whose turn it is, None where none may be taken now. `done` must follow."""
        self._promote()
        while self._ready_heap:
            _, ticket, key = heapq.heappop(self._ready_heap)
            waiting = self._ready.get(key)
            if waiting is None or waiting.ticket != ticket:
                continue
            del self._ready[key]
            self._delayed.pop(key, None)
            self._running.add(key)
            self._metrics.queue_depth.labels(controller=key.kind.kind).dec()
            self._metrics.queue_duration.labels(controller=key.kind.kind).observe(self._clock() - waiting.since)
            return key
        return None

    def done(self, key: Key) -> None:
        """Give back a key that was taken."""
        self._running.remove(key)
        again = self._again.pop(key, None)
        if again is not None:
            self._put(key, again)
        self._changed.set()

    async def get(self) -> Key | None:
        """Wait for a key and hand it out as `take` does; None when the queue was closed."""
        while not self._closed:
            self._changed.clear()
            key = self.take()
            if key is not None:
                return key
            due = self.next_due()
            try:
                async with asyncio.timeout(None if due is None else max(0.0, due - self._clock())):
                    await self._changed.wait()
            except TimeoutError:
                continue
        return None

    def close(self) -> None:
        """Hand out nothing more; those who wait get None."""
        self._closed = True
        self._changed.set()

    def next_due(self) -> float | None:
        """Return when the next delayed key becomes ready, by the clock of the queue."""
        while self._delayed_heap:
            due, ticket, key = self._delayed_heap[0]
            delayed = self._delayed.get(key)
            if delayed is not None and delayed.ticket == ticket:
                return due
            heapq.heappop(self._delayed_heap)
        return None

    def __len__(self) -> int:
        """Return how many keys may be taken now."""
        self._promote()
        return len(self._ready)

    def _delay(self, key: Key, urgency: Urgency, due: float) -> None:
        before = self._delayed.get(key)
        if before is not None:
            urgency = min(urgency, before.urgency, key=lambda choice: choice.value)
            due = min(due, before.due)
        ticket = next(self._tickets)
        self._delayed[key] = _Delayed(due, ticket, urgency)
        heapq.heappush(self._delayed_heap, _Entry(due, ticket, key))

    def _promote(self) -> None:
        """Make the delayed keys ready whose time has come."""
        now = self._clock()
        while (due := self.next_due()) is not None and due <= now:
            key = heapq.heappop(self._delayed_heap).key
            self._make_ready(key, self._delayed.pop(key).urgency, due)

    def _make_ready(self, key: Key, urgency: Urgency, since: float) -> None:
        wish = _Waiting(since + urgency.value, next(self._tickets), since)
        if key in self._running:
            before = self._again.get(key)
            if before is None or wish.rank < before.rank:
                self._again[key] = wish
            return
        before = self._ready.get(key)
        if before is None:
            self._put(key, wish)
        elif wish.rank < before.rank:
            self._ready[key] = _Waiting(wish.rank, wish.ticket, before.since)
            heapq.heappush(self._ready_heap, _Entry(wish.rank, wish.ticket, key))

    def _put(self, key: Key, waiting: _Waiting) -> None:
        self._ready[key] = waiting
        heapq.heappush(self._ready_heap, _Entry(waiting.rank, waiting.ticket, key))
        self._metrics.queue_adds.labels(controller=key.kind.kind).inc()
        self._metrics.queue_depth.labels(controller=key.kind.kind).inc()
