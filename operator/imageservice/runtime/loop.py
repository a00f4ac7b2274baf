"""The workers: take a key from the queue, reconcile it, and see to when it is looked at next."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

from imageservice.errors import Blocked, Retry
from imageservice.runtime.kinds import Key, Kind
from imageservice.runtime.kube import ApiError, Conflict, NotLeading, Throttled
from imageservice.runtime.logs import origin
from imageservice.runtime.metrics import Metrics
from imageservice.runtime.queue import Urgency, WorkQueue

logger = logging.getLogger(__name__)

RESYNC_SPREAD = 0.2
"""Resyncs are spread over this part of their period, earlier and later, so that they do not come in waves."""

CONFLICTS_IN_A_ROW = 3
"""So many passes may find that the object was changed or replaced under them; that there are more is an error."""


@dataclass(frozen=True)
class Result:
    """How a reconcile ended well. `requeue_after`: look again after that many seconds even if nothing happens.

    With None the object is looked at when an event names it, and at the next resync.
    """

    requeue_after: float | None = None


class Reconciler(Protocol):
    """Brings one kind of object to what it asks for."""

    kind: Kind

    async def reconcile(self, namespace: str, name: str) -> Result:
        """Bring the object of that name, or its remains where it is gone, one step or all the way to what is wanted.

        What it raises is counted and backed off, so a reconcile says what it knows in the status before.
        """
        ...


class Workers:
    """Reconciles what the queue hands out, `count` objects at once; one that fails or hangs holds up no other.

    `deadline` bounds one reconcile, `resync` is the pause before a settled object is looked at again (both in seconds).
    `exists` tells whether an object is worth that look; `served` is told of every key that has been tried once. Each
    reconcile runs inside of `scope`.
    """

    def __init__(
        self,
        queue: WorkQueue,
        *,
        metrics: Metrics,
        count: int,
        deadline: float,
        resync: float,
        exists: Callable[[Key], bool],
        served: Callable[[Key], None] = lambda _key: None,
        scope: Callable[[Key], AbstractContextManager[None]] = lambda _key: nullcontext(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue = queue
        self._reconcilers: Mapping[Kind, Reconciler] = {}
        self._metrics = metrics
        self._count = count
        self._deadline = deadline
        self._resync = resync
        self._exists = exists
        self._served = served
        self._scope = scope
        self._clock = clock
        self._started: dict[Key, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        metrics.max_concurrent.set(count)
        metrics.unfinished_work.set_function(lambda: sum(self._ages(), 0.0))
        metrics.longest_running.set_function(self.oldest)

    def start(self, reconcilers: Iterable[Reconciler]) -> None:
        """Start the workers, with one reconciler for each kind that the queue has keys of."""
        self._reconcilers = {reconciler.kind: reconciler for reconciler in reconcilers}
        self._tasks = {asyncio.create_task(self._work(), name=f"worker-{number}") for number in range(self._count)}

    async def stop(self, grace: float) -> None:
        """Take nothing more, let what runs end within `grace` seconds, cancel the rest."""
        self._queue.close()
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=grace)
        for task in late:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def oldest(self) -> float:
        """Return the age in seconds of the reconcile that has been running longest."""
        return max(self._ages(), default=0.0)

    def failed(self) -> BaseException | None:
        """Return the error of a worker that died, which only a bug in this class can bring about."""
        ended = (task for task in self._tasks if task.done() and not task.cancelled())
        return next((error for task in ended if (error := task.exception())), None)

    def _ages(self) -> list[float]:
        return [self._clock() - started for started in self._started.values()]

    async def _work(self) -> None:
        while (key := await self._queue.get()) is not None:
            self._started[key] = started = self._clock()
            active = self._metrics.active_workers.labels(controller=key.kind.kind)
            active.inc()
            try:
                result = await self._reconcile(key)
            finally:
                active.dec()
                del self._started[key]
                self._queue.done(key)
            self._metrics.reconciles.labels(controller=key.kind.kind, result=result).inc()
            self._metrics.reconcile_time.labels(controller=key.kind.kind).observe(self._clock() - started)
            self._served(key)

    async def _reconcile(self, key: Key) -> str:
        """Reconcile once, put the key back for its next look, and return how it ended, in a word for the metrics."""
        limit = asyncio.timeout(self._deadline)
        try:
            async with limit:
                with self._scope(key):
                    result = await self._reconcilers[key.kind].reconcile(key.namespace, key.name)
        except Retry as wait:
            return self._well(key, Result(wait.after_seconds))
        except Blocked:
            self._well(key, Result())
            return "blocked"
        except Throttled as wait:
            self._queue.add(key, Urgency.CHANGE, after=wait.retry_after * random.uniform(1.0, 1.5))  # noqa: S311
            return "throttled"
        except Conflict as error:
            return self._outdated(key, error)
        except NotLeading:  # nothing may be written any more and the process is about to end
            self._queue.retry(key)
            return "error"
        except ApiError as error:
            return self._failed(key, str(error))
        except TimeoutError as error:
            if limit.expired():
                return self._failed(key, f"not done within {self._deadline:g} s")
            return self._failed(key, type(error).__name__, error)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return self._failed(key, "something it waited for was cancelled", error)
        except Exception as error:  # noqa: BLE001 - a bug in one reconcile must not end the worker
            return self._failed(key, f"bug: {type(error).__name__}", error)
        return self._well(key, result)

    def _well(self, key: Key, result: Result) -> str:
        self._queue.forget(key)
        if result.requeue_after is not None:
            self._queue.add(key, Urgency.PROGRESS, after=result.requeue_after)
            return "requeue_after"
        if self._exists(key):
            pause = self._resync * random.uniform(1 - RESYNC_SPREAD, 1 + RESYNC_SPREAD)  # noqa: S311
            self._queue.add(key, Urgency.CONFIRM, after=pause)
        return "success"

    def _outdated(self, key: Key, conflict: Conflict) -> str:
        """Put a key back of which something was to be written that was no longer as it had been seen."""
        if self._queue.retries(key) >= CONFLICTS_IN_A_ROW:
            return self._failed(key, str(conflict))
        self._queue.retry(key)
        logger.info("Changed while it was reconciled, looking again: %s", conflict, extra={"object": key})
        return "conflict"

    def _failed(self, key: Key, what: str, bug: BaseException | None = None) -> str:
        """Back off and write one line to the log; where in the code only for what nobody expected."""
        delay = self._queue.retry(key)
        self._metrics.reconcile_errors.labels(controller=key.kind.kind).inc()
        extra: dict[str, object] = {"object": key, "retry_seconds": round(delay, 1)}
        if bug is not None:
            extra["origin"] = origin(bug)
        logger.error("Reconcile failed: %s", what, extra=extra)
        return "error"
