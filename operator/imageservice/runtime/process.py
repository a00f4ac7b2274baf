"""The life of the operator process: health server, lease, watches and workers, and its end.

It ends in one of two ways. On SIGTERM: what runs may finish, the Lease is given back, exit status 0. When the Lease is
lost, or a part breaks that must not: at once, exit status 1, and Kubernetes starts a new process that knows nothing.
"""

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from imageservice.runtime.cached import CachedKube, worth_keeping
from imageservice.runtime.connection import Connection
from imageservice.runtime.events import EventRecorder
from imageservice.runtime.health import Health, HealthServer
from imageservice.runtime.interests import Interests
from imageservice.runtime.kinds import Key
from imageservice.runtime.kube import KubeApi
from imageservice.runtime.lease import LeaseElector, LeaseLost
from imageservice.runtime.loop import Reconciler, Workers
from imageservice.runtime.metrics import Metrics, package_version
from imageservice.runtime.objects import ObjectCache
from imageservice.runtime.queue import WorkQueue
from imageservice.runtime.seen import SeenObjects
from imageservice.runtime.settings import Settings
from imageservice.runtime.watch import Watch

logger = logging.getLogger(__name__)

Tasks = Mapping[str, asyncio.Task[Any]]
MakeReconcilers = Callable[[CachedKube, EventRecorder, Settings], Sequence[Reconciler]]
"""Called when this process leads. It may take its time, and read modules: the API server has lists to write then."""

SIGNALS = (signal.SIGTERM, signal.SIGINT)
LATE_FACTOR = 2.0
"""A reconcile that is still there after this many deadlines hangs in a way that only a restart ends."""
ENGINE_STOP_SECONDS = 5.0
LEASE_REQUEST_SECONDS = 5.0


class Process:
    """One operator process. `run` is its whole life and returns the exit status; `queue` is what its workers serve."""

    def __init__(self, settings: Settings, connection: Connection, make_reconcilers: MakeReconcilers) -> None:
        self._settings = settings
        self._connection = connection
        self._metrics = Metrics()
        self._terminated = asyncio.Event()
        self._lease_kube = KubeApi(connection, metrics=self._metrics, request_seconds=LEASE_REQUEST_SECONDS)
        self._elector = LeaseElector(self._lease_kube, settings.lease, metrics=self._metrics)
        self._kube = KubeApi(
            connection,
            metrics=self._metrics,
            may_write=self._elector.still_leading,
            rate=settings.api_rate,
            burst=settings.api_burst,
        )
        self.queue = WorkQueue(asyncio.get_running_loop().time, metrics=self._metrics)
        interests = Interests()
        objects = ObjectCache(lambda kind, manifest: worth_keeping(kind, manifest, interests))
        self._seen = SeenObjects(lambda key, urgency, after: self.queue.add(key, urgency, after=after), interests)
        cached = CachedKube(self._kube, objects, interests, self._seen)
        self._watch = Watch(
            connection,
            self._kube,
            self._seen,
            objects,
            namespaces=settings.namespaces,
            relist_seconds=settings.resync_seconds,
            metrics=self._metrics,
            after_start=self._take_signals,
        )
        recorder = EventRecorder(self._kube, settings.lease.identity)
        self._reconcilers = partial(make_reconcilers, cached, recorder, settings)
        self._workers = Workers(
            self.queue,
            metrics=self._metrics,
            count=settings.workers,
            deadline=settings.reconcile_seconds,
            resync=settings.resync_seconds,
            exists=self._seen.exists,
            served=self._served,
            scope=interests.reading,
        )
        self._unserved: set[Key] = set()
        self.health = Health(problems=self._problems, sees_leader=self._elector.sees_leader)
        self.server = HealthServer(self.health, self._metrics, settings.health_host, settings.health_port)

    async def run(self) -> int:
        """Live until SIGTERM or SIGINT (return 0) or until the Lease is lost or a part breaks (return 1)."""
        self._take_signals()
        await self.server.start()
        logger.info("Version %s started, health on port %d", package_version(), self.server.port)
        try:
            if not await self._until_terminated(self._elector.acquire()):
                logger.info("Stopped before leading")
                return 0
            return await self._lead()
        finally:
            await self._kube.close()
            await self._lease_kube.close()
            await self.server.stop()
            self._give_signals_back()

    def terminate(self) -> None:
        """Begin to end gently, as SIGTERM does."""
        self._terminated.set()

    async def _lead(self) -> int:
        self.health.leading = True
        tasks: Tasks = {
            "lease": asyncio.create_task(self._elector.hold(), name="lease"),
            "watches": asyncio.create_task(self._watch.run(), name="watches"),
            "first pass": asyncio.create_task(self._begin(), name="first pass"),
            "termination": asyncio.create_task(self._terminated.wait(), name="termination"),
        }
        must_run = {task for name, task in tasks.items() if name != "first pass"}
        try:
            while not any(task.done() for task in must_run):
                running = {task for task in tasks.values() if not task.done()}
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                if tasks["first pass"] in done and tasks["first pass"].exception() is not None:
                    break
            if self._terminated.is_set():
                await self._stop_gently(tasks)
                return 0
            self._say_what_broke(tasks)
            return 1
        finally:
            await self._stop_at_once(tasks)

    async def _begin(self) -> None:
        """Let the workers begin when it is known what is there; the pass over all of that is the first one."""
        await self._watch.wait_for_requests()
        reconcilers = self._reconcilers()
        await self._watch.wait_for_lists()
        self._unserved = set(self._watch.first_keys or ())
        self.health.first_pass_done = not self._unserved
        logger.info("Serving %d objects", len(self._unserved))
        self._workers.start(reconcilers)

    def _served(self, key: Key) -> None:
        self._unserved.discard(key)
        if not self._unserved and not self.health.first_pass_done:
            self.health.first_pass_done = True
            logger.info("First pass done")

    async def _stop_gently(self, tasks: Tasks) -> None:
        """Let running reconciles end while the Lease is still renewed, then give it back."""
        logger.info("Stopping")
        self.health.stopping = True
        tasks["first pass"].cancel()
        await self._workers.stop(self._settings.reconcile_seconds)
        tasks["lease"].cancel()
        await asyncio.wait({tasks["lease"]})
        await self._elector.release()

    async def _stop_at_once(self, tasks: Tasks) -> None:
        self.health.stopping = True
        self._watch.stop()
        await self._workers.stop(0)
        for name, task in tasks.items():
            if name != "watches":
                task.cancel()
        await asyncio.wait(set(tasks.values()), timeout=ENGINE_STOP_SECONDS)

    def _say_what_broke(self, tasks: Tasks) -> None:
        for name, task in tasks.items():
            if not task.done() or task.cancelled():
                continue
            error = task.exception()
            if isinstance(error, LeaseLost):
                logger.error("The lease is lost: %s", error)
            elif error is not None:
                logger.error("Broken: %s", name, exc_info=error)

    async def _until_terminated(self, work: Coroutine[Any, Any, None]) -> bool:
        """Do some work; tell whether it was done before the process was told to end."""
        task = asyncio.create_task(work)
        terminated = asyncio.create_task(self._terminated.wait())
        await asyncio.wait({task, terminated}, return_when=asyncio.FIRST_COMPLETED)
        terminated.cancel()
        if not task.done():
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            return False
        task.result()
        return True

    def _take_signals(self) -> None:
        """Let SIGTERM and SIGINT end the process gently."""
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self.terminate)

    def _give_signals_back(self) -> None:
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.remove_signal_handler(number)

    def _problems(self) -> list[str]:
        problems = []
        if self.health.leading and not self.health.stopping and not self._elector.still_leading():
            problems.append("the lease is no longer held")
        if self._workers.oldest() > self._settings.reconcile_seconds * LATE_FACTOR:
            problems.append("a reconcile hangs")
        if self._workers.failed() is not None:
            problems.append("a worker has died")
        return problems
