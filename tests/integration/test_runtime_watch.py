"""The watches, on a real API server, and through a proxy that breaks them in the ways that networks and servers do."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from kubernetes.aio.client.configuration import Configuration
from tests.cluster.cluster import Cluster
from tests.waiting import until

from imageservice.runtime.cached import worth_keeping
from imageservice.runtime.connection import Connection
from imageservice.runtime.kinds import DEPLOYMENT, IMAGE_SERVICE, IMAGE_STORE, SECRET, Key
from imageservice.runtime.kube import KubeApi
from imageservice.runtime.metrics import Metrics
from imageservice.runtime.objects import ObjectCache
from imageservice.runtime.queue import Urgency
from imageservice.runtime.seen import WATCHED_KINDS, SeenObjects
from imageservice.runtime.watch import Watch

pytestmark = pytest.mark.cluster

API = "imageservice.dev/v1alpha1"
GONE = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}}
BROKEN = {"type": "ERROR", "object": {"kind": "Status", "code": 500, "reason": "InternalError", "message": "broken"}}


class Proxy:
    """Stands between the operator and the API server, over plain HTTP, and breaks what the test tells it to."""

    def __init__(self, connection: Connection) -> None:
        self._server = connection.server
        self._session = connection.session(connections=0)
        self._streams: set[asyncio.Task[Any]] = set()
        self._runner: web.AppRunner | None = None
        self.writes: list[str] = []
        self.crds_served = True
        self.refuse_watches = False
        self.swallow_watches = False
        self.answer_watches_with: dict[str, Any] | None = None

    async def start(self) -> Connection:
        """Start, and return a connection that leads through it."""
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._forward)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        address = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

        async def load() -> Configuration:
            return Configuration(host=address)

        return Connection(await load(), load)

    async def stop(self) -> None:
        self.break_watches()
        if self._runner is not None:
            await self._runner.cleanup()
        await self._session.close()

    def break_watches(self) -> None:
        """Cut every watch that is open."""
        for stream in self._streams:
            stream.cancel()

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        if request.method != "GET":
            self.writes.append(f"{request.method} {request.path}")
        if not self.crds_served and request.path.startswith("/apis/imageservice.dev"):
            return web.json_response({"kind": "Status", "reason": "NotFound", "code": 404}, status=404)
        watching = "watch" in request.query
        if watching and self.refuse_watches:
            return web.Response(status=503)
        if watching and self.answer_watches_with is not None:
            return web.Response(text=json.dumps(self.answer_watches_with) + "\n", content_type="application/json")
        task = asyncio.current_task()
        assert task is not None
        if watching:
            self._streams.add(task)
        try:
            return await self._relay(request)
        except asyncio.CancelledError:
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=500)
        finally:
            self._streams.discard(task)

    async def _relay(self, request: web.Request) -> web.StreamResponse:
        headers = {name: request.headers[name] for name in ("Content-Type", "Accept") if name in request.headers}
        async with self._session.request(
            request.method,
            self._server + request.raw_path,
            data=await request.read() or None,
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=None),
        ) as answer:
            response = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.content_type})
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                if self.swallow_watches and "watch" in request.query:
                    continue
                await response.write(chunk)
            await response.write_eof()
            return response


class Observer:
    """A watch on one namespace, and what it put in the queue."""

    def __init__(self, connection: Connection, kube: KubeApi, *namespaces: str, relist: float = 600) -> None:
        self.added: list[tuple[Key, Urgency]] = []
        self.metrics = Metrics()
        self.seen = SeenObjects(lambda key, urgency, _after: self.added.append((key, urgency)))
        self.objects = ObjectCache(lambda kind, manifest: worth_keeping(kind, manifest, self.seen.interests))
        self.watch = Watch(
            connection,
            kube,
            self.seen,
            self.objects,
            namespaces=namespaces,
            metrics=self.metrics,
            relist_seconds=relist,
        )
        self.task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self.task = asyncio.create_task(self.watch.run())
        async with asyncio.timeout(20):
            await self.watch.wait_for_lists()

    async def stop(self) -> None:
        self.watch.stop()
        assert self.task is not None
        async with asyncio.timeout(10):
            await self.task

    def forget(self) -> None:
        self.added.clear()

    def woken(self) -> set[tuple[str, Urgency]]:
        return {(f"{key.kind.kind}/{key.name}", urgency) for key, urgency in self.added}

    async def wait_for(self, name: str, urgency: Urgency | None = None, seconds: float = 5.0) -> None:
        """Wait until the key of that `Kind/name` was put in the queue."""

        def came() -> bool:
            return any(woken == name and urgency in (None, its) for woken, its in self.woken())

        await until(came, seconds)

    def restarts(self) -> float:
        return self.metrics.registry.get_sample_value("image_service_operator_watch_restarts_total") or 0


async def quiet(observer: Observer, seconds: float = 0.7) -> set[tuple[str, Urgency]]:
    """Return what was woken within some seconds in which nobody should be."""
    await asyncio.sleep(seconds)
    return observer.woken()


@pytest.fixture(scope="module")
def cluster(control_plane: Cluster) -> Cluster:
    control_plane.kubectl("apply", "--server-side", "-f", "crds")
    control_plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    return control_plane


@pytest.fixture
async def connection(cluster: Cluster) -> Connection:
    return await Connection.open(str(cluster.kubeconfig))


@pytest.fixture
async def kube(connection: Connection) -> AsyncIterator[KubeApi]:
    """The client whose writes are our own."""
    api = KubeApi(connection)
    yield api
    await api.close()


@pytest.fixture
async def others(connection: Connection) -> AsyncIterator[KubeApi]:
    """Somebody else."""
    api = KubeApi(connection)
    yield api
    await api.close()


@pytest.fixture
def namespace(cluster: Cluster) -> str:
    name = f"watch-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", name)
    return name


@pytest.fixture
async def proxy(connection: Connection) -> AsyncIterator[Proxy]:
    made = Proxy(connection)
    yield made
    await made.stop()


@pytest.fixture
async def observer(connection: Connection, kube: KubeApi, namespace: str) -> AsyncIterator[Observer]:
    made = Observer(connection, kube, namespace)
    await made.start()
    yield made
    await made.stop()


def image_service(namespace: str, name: str = "glance") -> dict[str, Any]:
    spec = {
        "release": "2026.1",
        "database": {"secretRef": {"name": "glance-db"}},
        "identity": {
            "authURL": "http://127.0.0.1:9/v3",
            "secretRef": {"name": "glance-user"},
            "catalog": {"register": False},
        },
    }
    return {"apiVersion": API, "kind": "ImageService", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def image_store(namespace: str, name: str = "central") -> dict[str, Any]:
    spec = {
        "imageServiceRef": {"name": "glance"},
        "type": "Filesystem",
        "filesystem": {"volume": {"type": "EmptyDir", "emptyDir": {}}},
    }
    return {"apiVersion": API, "kind": "ImageStore", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def child_secret(owner: dict[str, Any], name: str = "glance-config") -> dict[str, Any]:
    metadata = owner["metadata"]
    reference = {
        "apiVersion": API,
        "kind": "ImageService",
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "namespace": metadata["namespace"],
            "labels": {"app.kubernetes.io/managed-by": "image-service-operator"},
            "ownerReferences": [reference],
        },
        "data": {"a": "YQ=="},
    }


def child_deployment(owner: dict[str, Any], name: str = "glance-api") -> dict[str, Any]:
    secret = child_secret(owner, name)
    labels = {"app.kubernetes.io/managed-by": "image-service-operator"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "api", "image": "glance"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {**secret["metadata"], "labels": labels},
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template},
    }


async def test_an_event_becomes_the_key_of_its_object_and_of_its_relatives(
    observer: Observer, others: KubeApi, namespace: str
) -> None:
    await others.create(IMAGE_STORE, image_store(namespace))
    await observer.wait_for("ImageStore/central")
    await observer.wait_for("ImageService/glance")
    observer.forget()
    service = await others.create(IMAGE_SERVICE, image_service(namespace))
    await observer.wait_for("ImageService/glance", Urgency.CHANGE)
    await observer.wait_for("ImageStore/central")
    observer.forget()
    await others.create(SECRET, child_secret(service))
    await observer.wait_for("ImageService/glance", Urgency.PROGRESS)
    observer.forget()
    await others.delete(IMAGE_SERVICE, service)
    await observer.wait_for("ImageService/glance", Urgency.CHANGE)


async def test_our_own_status_write_wakes_nobody_but_the_stores_it_speaks_of(
    observer: Observer, kube: KubeApi, others: KubeApi, namespace: str
) -> None:
    await others.create(IMAGE_STORE, image_store(namespace))
    await others.create(IMAGE_SERVICE, image_service(namespace))
    await observer.wait_for("ImageService/glance", Urgency.CHANGE)
    status = {"apiVersion": API, "kind": "ImageService", "metadata": {"name": "glance", "namespace": namespace}}
    await kube.apply_status(IMAGE_SERVICE, status | {"status": {"observedGeneration": 1}})
    await asyncio.sleep(0.3)
    observer.forget()
    await kube.apply_status(IMAGE_SERVICE, status | {"status": {"observedGeneration": 1, "replicas": 1}})
    assert await quiet(observer) == set()
    row = {"name": "central", "id": "central", "type": "Filesystem", "default": True, "attached": True, "ready": True}
    await kube.apply_status(IMAGE_SERVICE, status | {"status": {"observedGeneration": 1, "stores": [row]}})
    await observer.wait_for("ImageStore/central")
    assert observer.woken() == {("ImageStore/central", Urgency.PROGRESS)}


async def test_our_own_writes_of_children_wake_nobody_and_those_of_others_do(
    observer: Observer, kube: KubeApi, others: KubeApi, namespace: str
) -> None:
    service = await others.create(IMAGE_SERVICE, image_service(namespace))
    await observer.wait_for("ImageService/glance")
    await asyncio.sleep(0.3)
    observer.forget()
    for number in range(5):
        await kube.apply(SECRET, child_secret(service, f"config-{number}"), live=None)
    assert await quiet(observer) == set()
    live = await others.get(SECRET, namespace, "config-0")
    assert live is not None
    live = await others.replace(SECRET, live | {"data": {"a": "Yg=="}})
    await observer.wait_for("ImageService/glance", Urgency.PROGRESS)
    observer.forget()
    await others.delete(SECRET, live)
    await observer.wait_for("ImageService/glance", Urgency.MISSING)


async def test_a_child_that_loses_its_label_wakes_its_owner(
    observer: Observer, kube: KubeApi, others: KubeApi, namespace: str
) -> None:
    service = await others.create(IMAGE_SERVICE, image_service(namespace))
    await kube.apply(DEPLOYMENT, child_deployment(service), live=None)
    await asyncio.sleep(1)
    observer.forget()
    live = await others.get(DEPLOYMENT, namespace, "glance-api")
    assert live is not None
    live["metadata"]["labels"] = {}
    await others.replace(DEPLOYMENT, live)
    await observer.wait_for("ImageService/glance", Urgency.MISSING)


async def test_a_secret_of_the_user_wakes_who_read_it_and_its_content_is_not_kept(
    observer: Observer, others: KubeApi, namespace: str
) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "db", "namespace": namespace},
        "data": {"a": "YQ=="},
    }
    live = await others.create(SECRET, secret)
    assert await quiet(observer) == set()
    with observer.seen.interests.reading(Key(IMAGE_SERVICE, namespace, "glance")):
        observer.seen.interests.note(Key(SECRET, namespace, "db"))
    live = await others.replace(SECRET, {**live, "data": {"a": "Yg=="}})
    await observer.wait_for("ImageService/glance", Urgency.PROGRESS)
    observer.forget()
    assert observer.objects.get(SECRET, namespace, "db") is None
    await others.delete(SECRET, live)
    await observer.wait_for("ImageService/glance", Urgency.PROGRESS)


async def test_an_event_that_was_lost_is_made_good_by_the_next_list(
    connection: Connection, kube: KubeApi, others: KubeApi, namespace: str, proxy: Proxy
) -> None:
    observer = Observer(await proxy.start(), kube, namespace, relist=3)
    service = await others.create(IMAGE_SERVICE, image_service(namespace))
    child = await kube.apply(DEPLOYMENT, child_deployment(service), live=None)
    await observer.start()
    try:
        observer.forget()
        proxy.swallow_watches = True
        await others.delete(DEPLOYMENT, child)
        await observer.wait_for("ImageService/glance", Urgency.MISSING, seconds=15)
        assert observer.objects.get(DEPLOYMENT, namespace, "glance-api") is None
    finally:
        await observer.stop()


async def test_deployments_of_others_are_not_seen(observer: Observer, others: KubeApi, namespace: str) -> None:
    service = await others.create(IMAGE_SERVICE, image_service(namespace))
    await observer.wait_for("ImageService/glance")
    await asyncio.sleep(0.3)
    observer.forget()
    deployment = child_deployment(service)
    deployment["metadata"]["labels"] = {}
    await others.create(DEPLOYMENT, deployment)
    assert await quiet(observer) == set()


async def test_other_namespaces_are_not_seen(
    observer: Observer, others: KubeApi, cluster: Cluster, namespace: str
) -> None:
    elsewhere = f"{namespace}-other"
    cluster.kubectl("create", "namespace", elsewhere)
    await others.create(IMAGE_SERVICE, image_service(elsewhere))
    assert await quiet(observer) == set()


async def test_what_was_there_before_is_served_by_urgency_once_all_lists_are_in(
    connection: Connection, kube: KubeApi, others: KubeApi, namespace: str
) -> None:
    service = await others.create(IMAGE_SERVICE, image_service(namespace, "halfway"))
    await others.create(DEPLOYMENT, child_deployment(service))
    await others.create(IMAGE_SERVICE, image_service(namespace, "new"))
    observer = Observer(connection, kube)
    await observer.start()
    assert observer.watch.first_keys is not None
    mine = {item for item in observer.added if item[0].namespace == namespace}
    assert {key for key, _ in mine} <= observer.watch.first_keys
    assert {(key.name, urgency) for key, urgency in mine} == {
        ("halfway", Urgency.PROGRESS),
        ("new", Urgency.CHANGE),
    }
    await observer.stop()


async def test_a_child_deleted_while_the_watch_was_broken_is_noticed_by_the_next_list(
    proxy: Proxy, kube: KubeApi, others: KubeApi, namespace: str
) -> None:
    service = await others.create(IMAGE_SERVICE, image_service(namespace))
    gone = await others.create(SECRET, child_secret(service, "gone"))
    await others.create(SECRET, child_secret(service, "stays"))
    observer = Observer(await proxy.start(), kube, namespace)
    await observer.start()
    observer.forget()
    proxy.refuse_watches = True
    proxy.break_watches()
    await others.delete(SECRET, gone)
    proxy.refuse_watches, proxy.answer_watches_with = False, GONE
    await observer.wait_for("ImageService/glance", Urgency.MISSING, seconds=20)
    proxy.answer_watches_with = None
    assert observer.woken() == {("ImageService/glance", Urgency.MISSING)}, "what had not changed was woken too"
    observer.forget()
    await asyncio.sleep(2)
    await others.create(IMAGE_STORE, image_store(namespace))
    await observer.wait_for("ImageStore/central", seconds=20)
    await observer.stop()


async def test_nothing_is_lost_when_watches_break_and_go_on(
    proxy: Proxy, kube: KubeApi, others: KubeApi, namespace: str
) -> None:
    service = await others.create(IMAGE_SERVICE, image_service(namespace))
    observer = Observer(await proxy.start(), kube, namespace)
    await observer.start()
    for number in range(3):
        observer.forget()
        proxy.break_watches()
        live = await others.create(SECRET, child_secret(service, f"config-{number}"))
        await observer.wait_for("ImageService/glance", Urgency.PROGRESS, seconds=10)
        proxy.break_watches()
        await others.delete(SECRET, live)
        await observer.wait_for("ImageService/glance", Urgency.MISSING, seconds=10)
    assert observer.restarts() == 0
    await observer.stop()


async def test_a_watch_that_falls_silent_is_begun_anew(
    proxy: Proxy, kube: KubeApi, others: KubeApi, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imageservice.runtime.engine.SILENCE_SECONDS", 3.0)
    service = await others.create(IMAGE_SERVICE, image_service(namespace))
    gone = await others.create(SECRET, child_secret(service))
    observer = Observer(await proxy.start(), kube, namespace)
    await observer.start()
    observer.forget()
    proxy.swallow_watches = True
    await others.delete(SECRET, gone)
    assert await quiet(observer, 1.0) == set()
    proxy.swallow_watches = False
    await observer.wait_for("ImageService/glance", Urgency.MISSING, seconds=8)
    await observer.stop()


async def test_an_error_that_ends_the_event_engine_starts_it_anew(
    proxy: Proxy, kube: KubeApi, others: KubeApi, namespace: str
) -> None:
    service = await others.create(IMAGE_SERVICE, image_service(namespace))
    gone = await others.create(SECRET, child_secret(service))
    observer = Observer(await proxy.start(), kube, namespace)
    await observer.start()
    observer.forget()
    proxy.answer_watches_with = BROKEN
    proxy.break_watches()
    await until(lambda: observer.restarts() >= 1, seconds=10)
    await others.delete(SECRET, gone)
    proxy.answer_watches_with = None
    await observer.wait_for("ImageService/glance", Urgency.MISSING, seconds=20)
    observer.forget()
    await asyncio.sleep(1)
    await others.create(SECRET, child_secret(service, "later"))
    await observer.wait_for("ImageService/glance", Urgency.PROGRESS, seconds=10)
    await observer.stop()


async def test_the_operator_waits_for_its_custom_resource_definitions(
    proxy: Proxy, others: KubeApi, namespace: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("imageservice.runtime.watch.CRD_RETRY_SECONDS", 0.2)
    await others.create(IMAGE_SERVICE, image_service(namespace))
    proxy.crds_served = False
    connection = await proxy.start()
    through = KubeApi(connection)
    observer = Observer(connection, through, namespace)
    starting = asyncio.create_task(observer.start())
    await until(lambda: "imageservices.imageservice.dev" in caplog.text)
    assert not starting.done()
    proxy.crds_served = True
    await starting
    assert observer.woken() == {("ImageService/glance", Urgency.CHANGE)}
    await observer.stop()
    await through.close()


async def test_a_kind_that_cannot_be_listed_does_not_keep_the_others_from_being_served(
    proxy: Proxy, kube: KubeApi, others: KubeApi, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imageservice.runtime.watch.LISTS_SECONDS", 2.0)
    await others.create(IMAGE_SERVICE, image_service(namespace))
    connection = await proxy.start()
    forward = proxy._forward

    async def without_jobs(request: web.Request) -> web.StreamResponse:
        if "/jobs" in request.path:
            return web.json_response({"kind": "Status", "reason": "Forbidden", "code": 403}, status=403)
        return await forward(request)

    monkeypatch.setattr(proxy, "_forward", without_jobs)
    observer = Observer(connection, kube, namespace)
    await observer.start()
    assert observer.woken() == {("ImageService/glance", Urgency.CHANGE)}
    await observer.stop()


async def test_the_event_engine_writes_nothing_and_every_request_is_counted(
    proxy: Proxy, kube: KubeApi, others: KubeApi, namespace: str
) -> None:
    observer = Observer(await proxy.start(), kube, namespace)
    await observer.start()
    service = image_service(namespace)
    service["metadata"]["finalizers"] = ["imageservice.dev/keystone-catalog", "kopf.dev/finalizer"]
    live = await others.create(IMAGE_SERVICE, service)
    await observer.wait_for("ImageService/glance")
    await others.delete(IMAGE_SERVICE, live)
    await asyncio.sleep(1)
    assert proxy.writes == []
    live = await others.get(IMAGE_SERVICE, namespace, "glance") or {}
    live["metadata"]["finalizers"] = []
    await others.replace(IMAGE_SERVICE, live)
    counted = {
        (sample.labels["verb"], sample.labels["kind"])
        for family in observer.metrics.registry.collect()
        for sample in family.samples
        if sample.name.endswith("rest_client_requests_total")
    }
    await observer.stop()
    assert {("list", kind.kind) for kind in WATCHED_KINDS} <= counted
    assert {("watch", kind.kind) for kind in WATCHED_KINDS} <= counted
