"""Watches, on kopf's event engine: the only place, with `engine.py`, that knows kopf.

Of kopf only `on.event` is used, which writes nothing: no finalizer, no annotation, no status. Its handlers work out
keys and put them in the queue. kopf reaches the API server over a session of ours, so that it carries our token, is
counted, asks for no more than metadata where the content is no concern of ours, and shows us every list: with the list
in hand, what vanished while a watch was broken is noticed too. kopf itself gets the lists without their items, as it
would spend a task on each.

An event that got lost in a watch that lives on is made good by the lists that are read anew every now and then.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from typing import Any, cast

import aiohttp
import kopf

from imageservice.api.vocabulary import MANAGED_BY, MANAGED_BY_LABEL
from imageservice.manifest import Manifest
from imageservice.runtime.connection import Connection
from imageservice.runtime.engine import SERVER_SECONDS, AllTasks, Backoffs, NoMemories, engine_settings
from imageservice.runtime.kinds import Key, Kind
from imageservice.runtime.kube import METADATA, METADATA_LIST, ApiError, KubeApi
from imageservice.runtime.metrics import Metrics
from imageservice.runtime.objects import ObjectCache, Sight, version_of
from imageservice.runtime.seen import METADATA_KINDS, OWN_KINDS, WATCHED_KINDS, EventType, SeenObjects
from imageservice.runtime.task_scope import TaskScope

logger = logging.getLogger(__name__)

MANAGED_SELECTOR = f"{MANAGED_BY_LABEL}={MANAGED_BY}"
SELECTORS = {kind: MANAGED_SELECTOR for kind in WATCHED_KINDS if kind not in (*OWN_KINDS, *METADATA_KINDS)}
"""Label selectors of the watches, by kind: of most kinds only the children are of interest."""

LISTS_SECONDS = 10.0
"""How long the first lists are waited for before what is known by then is served."""
CRD_RETRY_SECONDS = 5.0
TASK_END_SECONDS = 3.0

GROUP_VERSION = OWN_KINDS[0].api_version

_Scope = tuple[Kind, str | None]


class Watch:
    """Watches all kinds in some namespaces (none given: in the whole cluster) and tells `objects` and `seen` of it.

    `relist_seconds`: how often every kind is listed anew.
    """

    def __init__(
        self,
        connection: Connection,
        kube: KubeApi,
        seen: SeenObjects,
        objects: ObjectCache,
        *,
        namespaces: tuple[str, ...] = (),
        relist_seconds: float = 600.0,
        metrics: Metrics | None = None,
        after_start: Callable[[], None] = lambda: None,
    ) -> None:
        self._connection = connection
        self._kube = kube
        self._seen = seen
        self._objects = objects
        self._relist_seconds = relist_seconds
        self._namespaces = namespaces
        self._metrics = metrics or Metrics()
        self._after_start = after_start
        self._stop = asyncio.Event()
        self._waiting_for: set[_Scope] = {(kind, scope) for kind in WATCHED_KINDS for scope in namespaces or (None,)}
        self._scopes: dict[str, _Scope] = {kind.path(scope): (kind, scope) for kind, scope in self._waiting_for}
        self._pages: dict[_Scope, set[str]] = {}
        self._logged_in = False
        self._session: aiohttp.ClientSession | None = None
        self._started = asyncio.Event()
        self._lists_due = 0.0
        self._unasked = set(self._waiting_for)
        self._all_asked = asyncio.Event()
        self._all_listed = asyncio.Event()
        self.first_keys: set[Key] | None = None
        """The own objects that were there at the start; None until the first lists are in."""

    async def run(self) -> None:
        """Watch until `stop`. Where the event engine fails it is started anew, after a pause that grows."""
        relisting = asyncio.create_task(self._relist(), name="relist")
        try:
            await self._watch_on()
        finally:
            relisting.cancel()
            await asyncio.wait({relisting})

    async def _watch_on(self) -> None:
        pauses = iter(Backoffs())
        while not self._stop.is_set():
            started = time.monotonic()
            try:
                if await self._wait_for_crds():
                    await self._watch_once()
            except Exception:
                logger.exception("The watches failed and start anew")
            if self._stop.is_set():
                return
            self._metrics.watch_restarts.inc()
            if time.monotonic() - started > SERVER_SECONDS:
                pauses = iter(Backoffs())
            await self._sleep(next(pauses))

    def stop(self) -> None:
        """Let `run` end."""
        self._stop.set()

    async def wait_for_requests(self) -> None:
        """Wait until every list was asked for once, or for LISTS_SECONDS.

        Without the CustomResourceDefinitions this waits for them.
        """
        await self._happens_in_time(self._all_asked)

    async def wait_for_lists(self) -> None:
        """Wait until every kind was listed once, or for LISTS_SECONDS; then put all own objects in the queue.

        Without the CustomResourceDefinitions this waits for them.
        """
        if not await self._happens_in_time(self._all_listed):
            missing = sorted(f"{kind.plural} in {scope or 'all namespaces'}" for kind, scope in self._waiting_for)
            logger.warning("Going on without having seen: %s", ", ".join(missing))
        self.first_keys = self._seen.start()

    async def _happens_in_time(self, event: asyncio.Event) -> bool:
        """Wait for the event, or until LISTS_SECONDS after the first start of the watches; tell whether it came."""
        await self._started.wait()
        try:
            async with asyncio.timeout_at(self._lists_due):
                await event.wait()
        except TimeoutError:
            return False
        return True

    async def _wait_for_crds(self) -> bool:
        """Wait until the API server serves our kinds; tell whether it does (not where the wait was stopped)."""
        while not self._stop.is_set():
            try:
                absent = [kind for kind in OWN_KINDS if not await self._kube.serves(kind)]
            except ApiError as error:
                logger.warning("Cannot ask which kinds are served: %s", error)
            else:
                if not absent:
                    return True
                names = ", ".join(f"{kind.plural}.{kind.group}" for kind in absent)
                logger.error("The CustomResourceDefinitions %s (%s) are not installed: waiting", names, GROUP_VERSION)
            await self._sleep(CRD_RETRY_SECONDS)
        return False

    async def _relist(self) -> None:
        """List every kind anew now and then."""
        while not self._stop.is_set():
            await self._sleep(self._relist_seconds * random.uniform(0.8, 1.2))  # noqa: S311
            for scope in self._scopes.values():
                if not self._all_listed.is_set() or self._stop.is_set():
                    break
                kind, namespace = scope
                try:
                    found = await self._kube.snapshot(
                        kind, namespace, labels=SELECTORS.get(kind), metadata_only=kind in METADATA_KINDS
                    )
                except ApiError as error:
                    logger.warning("Cannot list anew: %s", error)
                    continue
                for item in found.items:
                    self._take(kind, None, item, echo=False)
                self._complete(scope, {item["metadata"]["uid"] for item in found.items}, found.version)

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            return

    async def _watch_once(self) -> None:
        """Run kopf until it is told to stop, or fails.

        kopf takes the signal handlers of the process for itself when it starts, which `after_start` undoes. When it
        ends it would cancel every task that is younger than itself, ours too, but leave its own alone for seconds: so
        it is told to cancel none, and those it started are ended here.
        """
        self._logged_in = False
        scope = TaskScope()
        try:
            with scope.entered():
                tasks = await kopf.spawn_tasks(
                    registry=self._registry(),
                    settings=engine_settings(SELECTORS),
                    memories=NoMemories(),
                    # kopf would make one of the user's name, and a container's user may have none.
                    identity="image-service-operator",
                    standalone=True,
                    clusterwide=not self._namespaces,
                    namespaces=self._namespaces,
                    stop_flag=self._stop,
                )
                self._after_start()
                if not self._started.is_set():
                    self._lists_due = asyncio.get_running_loop().time() + LISTS_SECONDS
                    self._started.set()
                await kopf.run_tasks(tasks, ignored=AllTasks())
        finally:
            await scope.end(TASK_END_SECONDS)
            if self._session is not None:
                await self._session.close()

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry, id="login")(self._login)
        for kind in WATCHED_KINDS:
            handle = self._handler(kind)
            kopf.on.event(kind.group, kind.version, kind.plural, registry=registry, id="enqueue")(handle)
        return registry

    async def _login(self, **_: Any) -> kopf.AiohttpSession:
        """Give kopf a session of ours; it asks again, and closes the old one, when that was refused."""
        if self._logged_in:
            await self._connection.renew()
        self._logged_in = True
        self._session = self._connection.session(
            connections=0,
            traces=(self._trace(),),
            response_class=self._response_class(),
            middlewares=(self._ask_for_metadata,),
        )
        return kopf.AiohttpSession(server=self._connection.server, aiohttp_session=self._session)

    async def _ask_for_metadata(
        self, request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Ask for no more than metadata where the content of the objects is no concern of the watches."""
        kind, _ = self._scopes.get(request.url.path, (None, None))
        if kind in METADATA_KINDS:
            request.headers["Accept"] = METADATA if request.url.query.get("watch") else METADATA_LIST
        return await send(request)

    def _handler(self, kind: Kind) -> Callable[..., Any]:
        async def handle(event: Any, **_: Any) -> None:
            manifest = cast(Manifest, event["object"])
            event_type = cast(EventType, event["type"])
            echo = event_type in ("ADDED", "MODIFIED") and await self._kube.own_writes.is_echo(kind, manifest)
            self._take(kind, event_type, manifest, echo=echo)

        return handle

    def _take(self, kind: Kind, event_type: EventType, manifest: Manifest, *, echo: bool) -> None:
        """Take in what an event or a list says of an object, unless something newer is known."""
        deleted = event_type == "DELETED"
        sight = self._objects.saw(kind, manifest, deleted=deleted, whole=kind not in METADATA_KINDS)
        if sight is not Sight.OUTDATED:
            self._seen.saw(kind, event_type, manifest, echo=echo, news=sight is Sight.NEWS)

    def _trace(self) -> aiohttp.TraceConfig:
        """Count the requests of kopf, and note which lists it has asked for."""
        trace = aiohttp.TraceConfig()

        async def sent(_session: Any, _context: Any, request: aiohttp.TraceRequestHeadersSentParams) -> None:
            if (scope := self._scopes.get(request.url.path)) is not None:
                self._unasked.discard(scope)
                if not self._unasked:
                    self._all_asked.set()

        async def count(url: Any, method: str, code: str) -> None:
            kind, _ = self._scopes.get(url.path, (None, None))
            verb = "discover" if kind is None else "watch" if url.query.get("watch") else "list"
            name = "" if kind is None else kind.kind
            self._metrics.requests.labels(code=code, method=method, verb=verb, kind=name).inc()

        async def ended(_session: Any, _context: Any, request: aiohttp.TraceRequestEndParams) -> None:
            await count(request.url, request.method, str(request.response.status))

        async def failed(_session: Any, _context: Any, request: aiohttp.TraceRequestExceptionParams) -> None:
            await count(request.url, request.method, "<error>")

        trace.on_request_headers_sent.append(sent)
        trace.on_request_end.append(ended)
        trace.on_request_exception.append(failed)
        return trace

    def _response_class(self) -> type[aiohttp.ClientResponse]:
        watch = self

        class ListReadingResponse(aiohttp.ClientResponse):
            """Shows us every list that kopf reads, and kopf only that it was read."""

            async def json(self, **options: Any) -> Any:
                content = await super().json(**options)
                scope = watch._scopes.get(self.url.path)
                if scope is None or self.status != 200:
                    return content
                watch._read_page(scope, content, first="continue" not in self.url.query)
                return {**content, "items": []}

        return ListReadingResponse

    def _read_page(self, scope: _Scope, page: Manifest, *, first: bool) -> None:
        """Take in a page of a list, and with the last one what is gone."""
        kind, _ = scope
        items = page.get("items") or []
        uids = set() if first else self._pages.get(scope, set())
        self._pages[scope] = uids | {item["metadata"]["uid"] for item in items}
        for item in items:
            self._take(kind, None, kind.complete(item), echo=False)
        if not page.get("metadata", {}).get("continue"):
            self._complete(scope, self._pages.pop(scope), version_of(page.get("metadata", {})))

    def _complete(self, scope: _Scope, uids: set[str], version: int) -> None:
        """Take in that a list is complete: what is not in it is gone."""
        kind, namespace = scope
        for key in self._objects.listed(kind, namespace, uids, version):
            self._seen.wake_readers(key)
        self._seen.listed(kind, namespace, uids, version)
        self._waiting_for.discard(scope)
        if not self._waiting_for:
            self._all_listed.set()
