"""The life of an operator process on a real API server: probes, metrics, the first pass, and the gentle end."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from tests.cluster.cluster import Cluster
from tests.waiting import until

from imageservice.runtime.connection import Connection
from imageservice.runtime.kinds import IMAGE_SERVICE, IMAGE_STORE, LEASE, SECRET, Kind
from imageservice.runtime.kube import KubeApi
from imageservice.runtime.loop import Reconciler, Result
from imageservice.runtime.process import Process
from imageservice.runtime.settings import LeaseSettings, Settings

pytestmark = pytest.mark.cluster

API = "imageservice.dev/v1alpha1"


class Recorder:
    """A reconciler that notes what it is called for and does what the test says."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.names: list[str] = []
        self.doing: Callable[[str], Awaitable[None]] | None = None
        self.finished: list[str] = []

    async def reconcile(self, _namespace: str, name: str) -> Result:
        self.names.append(name)
        if self.doing is not None:
            await self.doing(name)
        self.finished.append(name)
        return Result()


class Running:
    """A process in this event loop, and its probes."""

    def __init__(self, connection: Connection, namespace: str, **settings: Any) -> None:
        self.services, self.stores = Recorder(IMAGE_SERVICE), Recorder(IMAGE_STORE)
        lease = LeaseSettings(namespace=namespace, identity=f"me_{uuid.uuid4()}")
        options = Settings(namespaces=(namespace,), lease=lease, health_host="127.0.0.1", health_port=0, **settings)
        self.process = Process(options, connection, self._reconcilers)
        self._http = aiohttp.ClientSession()
        self.task: asyncio.Task[int] | None = None

    def _reconcilers(self, *_: object) -> list[Reconciler]:
        return [self.services, self.stores]

    async def start(self) -> None:
        self.task = asyncio.create_task(self.process.run())
        await until(lambda: self.process.server.port > 0)

    async def probe(self, path: str) -> tuple[int, str]:
        async with self._http.get(f"http://127.0.0.1:{self.process.server.port}{path}") as answer:
            return answer.status, await answer.text()

    async def wait_for_probe(self, path: str, status: int, seconds: float = 15.0) -> str:
        async with asyncio.timeout(seconds):
            while True:
                got, text = await self.probe(path)
                if got == status:
                    return text
                await asyncio.sleep(0.05)

    async def end(self) -> int:
        self.process.terminate()
        assert self.task is not None
        async with asyncio.timeout(15):
            status = await self.task
        await self._http.close()
        return status


@pytest.fixture(scope="module")
def cluster(control_plane: Cluster) -> Cluster:
    control_plane.kubectl("apply", "--server-side", "-f", "crds")
    control_plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    return control_plane


@pytest.fixture
async def connection(cluster: Cluster) -> Connection:
    return await Connection.open(str(cluster.kubeconfig))


@pytest.fixture
async def others(connection: Connection) -> AsyncIterator[KubeApi]:
    api = KubeApi(connection)
    yield api
    await api.close()


@pytest.fixture
def namespace(cluster: Cluster) -> str:
    name = f"process-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", name)
    return name


def image_service(namespace: str, name: str) -> dict[str, Any]:
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


async def test_a_leader_is_ready_when_all_that_was_there_was_tried_once(
    connection: Connection, others: KubeApi, namespace: str
) -> None:
    for number in range(4):
        await others.create(IMAGE_SERVICE, image_service(namespace, f"glance-{number}"))
    running = Running(connection, namespace, workers=2)
    gate = asyncio.Event()

    async def wait_for_gate(_name: str) -> None:
        await gate.wait()

    running.services.doing = wait_for_gate
    await running.start()
    await until(lambda: len(running.services.names) == 2)
    status, text = await running.probe("/readyz")
    assert (status, "first pass" in text) == (503, True)
    assert (await running.probe("/livez"))[0] == 200
    gate.set()
    await running.wait_for_probe("/readyz", 200)
    assert sorted(running.services.finished) == [f"glance-{number}" for number in range(4)]
    assert await running.end() == 0


async def test_an_object_that_fails_does_not_keep_the_leader_from_being_ready(
    connection: Connection, others: KubeApi, namespace: str
) -> None:
    await others.create(IMAGE_SERVICE, image_service(namespace, "bad"))
    await others.create(IMAGE_SERVICE, image_service(namespace, "good"))
    running = Running(connection, namespace)

    async def fail(name: str) -> None:
        if name == "bad":
            raise RuntimeError

    running.services.doing = fail
    await running.start()
    await running.wait_for_probe("/readyz", 200)
    assert running.services.finished == ["good"]
    await until(lambda: running.services.names.count("bad") >= 2)
    assert await running.end() == 0


async def test_a_standby_is_ready_and_alive_and_does_nothing(
    connection: Connection, others: KubeApi, namespace: str
) -> None:
    leader, standby = Running(connection, namespace), Running(connection, namespace)
    await leader.start()
    await leader.wait_for_probe("/readyz", 200)
    await standby.start()
    await standby.wait_for_probe("/readyz", 200)
    await others.create(IMAGE_SERVICE, image_service(namespace, "glance"))
    await until(lambda: leader.services.finished == ["glance"])
    for path in ("/livez", "/readyz", "/metrics"):
        assert (await standby.probe(path))[0] == 200
    assert 'leader_election_master_status{name="image-service-operator"} 0.0' in (await standby.probe("/metrics"))[1]
    assert standby.services.names == []
    assert await standby.end() == 0
    assert await leader.end() == 0


async def test_a_reconcile_that_hangs_past_its_end_fails_the_liveness_probe(
    connection: Connection, others: KubeApi, namespace: str
) -> None:
    await others.create(IMAGE_SERVICE, image_service(namespace, "glance"))
    running = Running(connection, namespace, reconcile_seconds=0.3)

    async def ignore_cancellation(_name: str) -> None:
        for _ in range(2):
            try:
                await asyncio.sleep(3)
            except asyncio.CancelledError:
                continue

    running.services.doing = ignore_cancellation
    await running.start()
    assert "hangs" in await running.wait_for_probe("/livez", 503)
    await running.wait_for_probe("/livez", 200)
    await running.end()


async def test_the_end_waits_for_what_runs_and_gives_the_lease_back(
    connection: Connection, others: KubeApi, namespace: str
) -> None:
    await others.create(IMAGE_SERVICE, image_service(namespace, "glance"))
    running = Running(connection, namespace)

    async def take_a_while(_name: str) -> None:
        await asyncio.sleep(1.5)

    running.services.doing = take_a_while
    await running.start()
    await until(lambda: running.services.names == ["glance"])
    running.process.terminate()
    await asyncio.sleep(0.3)
    assert (await running.probe("/readyz"))[0] == 503
    assert (await running.probe("/livez"))[0] == 200
    assert await running.end() == 0
    assert running.services.finished == ["glance"]
    lease = await others.get(LEASE, namespace, "image-service-operator")
    assert lease is not None
    assert not lease["spec"].get("holderIdentity")


async def test_events_reach_the_reconcilers_of_both_kinds_and_the_metrics_tell(
    connection: Connection, others: KubeApi, namespace: str
) -> None:
    running = Running(connection, namespace)
    await running.start()
    await running.wait_for_probe("/readyz", 200)
    store = {
        "apiVersion": API,
        "kind": "ImageStore",
        "metadata": {"name": "central", "namespace": namespace},
        "spec": {
            "imageServiceRef": {"name": "glance"},
            "type": "Filesystem",
            "filesystem": {"volume": {"type": "EmptyDir", "emptyDir": {}}},
        },
    }
    await others.create(IMAGE_SERVICE, image_service(namespace, "glance"))
    await others.create(IMAGE_STORE, store)
    await until(lambda: "central" in running.stores.finished and "glance" in running.services.finished)
    await asyncio.sleep(0.3)
    _, text = await running.probe("/metrics")
    for line in (
        'reconcile_total{controller="ImageStore",result="success"}',
        'reconcile_time_seconds_count{controller="ImageService"}',
        'workqueue_adds_total{controller="ImageService"}',
        'workqueue_depth{controller="ImageService"} 0.0',
        'active_workers{controller="ImageService"} 0.0',
        "max_concurrent_reconciles 10.0",
        'leader_election_master_status{name="image-service-operator"} 1.0',
        'rest_client_requests_total{code="200",kind="ImageService",method="GET",verb="list"}',
        'rest_client_requests_total{code="201",kind="Lease",method="POST",verb="create"}',
        "build_info{version=",
    ):
        assert f"image_service_operator_{line}" in text, line
    assert "process_resident_memory_bytes" in text
    assert await running.end() == 0


async def test_an_idle_leader_writes_nothing_but_its_lease(
    connection: Connection, others: KubeApi, namespace: str
) -> None:
    await others.create(IMAGE_SERVICE, image_service(namespace, "glance"))
    running = Running(connection, namespace)
    await running.start()
    await running.wait_for_probe("/readyz", 200)
    await asyncio.sleep(5)
    _, text = await running.probe("/metrics")
    writes = [
        line for line in text.splitlines() if "rest_client_requests_total{" in line and 'method="GET"' not in line
    ]
    assert writes
    assert all('kind="Lease"' in line for line in writes), writes
    assert running.services.names == ["glance"]
    assert await others.list(SECRET, namespace) == []
    assert await running.end() == 0
