"""Leadership between real processes on a real API server: killed, paused, cut off, stopped.

Run as a program this file is one such process: it leads or stands by as the operator does, and while it leads it writes
its name into a ConfigMap as fast as it can.
"""

import asyncio
import contextlib
import copy
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.cluster import Cluster
from tests.ports import free_port
from tests.waiting import wait_for

from imageservice.runtime.connection import Connection
from imageservice.runtime.kinds import CONFIG_MAP, LEASE, Key
from imageservice.runtime.kube import KubeApi
from imageservice.runtime.lease import LeaseElector, LeaseLost
from imageservice.runtime.loop import Result
from imageservice.runtime.process import Process
from imageservice.runtime.settings import LeaseSettings, Settings

pytestmark = pytest.mark.cluster

BOARD = "board"
"""The ConfigMap that the leader writes its name into."""
QUICK = {"duration": 6.0, "renew_deadline": 4.0, "retry": 1.0}
"""A lease for tests in which nothing depends on the length of it."""


class Writer:
    """A reconciler of just one object: it writes its name on the board, again and again."""

    kind = CONFIG_MAP

    def __init__(self, kube: KubeApi, name: str) -> None:
        self._kube = kube
        self._name = name
        self._count = 0

    async def reconcile(self, namespace: str, name: str) -> Result:
        self._count += 1
        live = await self._kube.get(CONFIG_MAP, namespace, name)
        metadata = {"name": name, "namespace": namespace}
        data = {"writer": self._name, "count": str(self._count)}
        board = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
        await self._kube.apply(CONFIG_MAP, board, live=live)
        return Result(requeue_after=0.01)


async def contend(kubeconfig: str, namespace: str, name: str, health_port: int, lease: dict[str, float]) -> int:
    """Live as the operator does, with a Writer for a reconciler."""
    settings = Settings(
        namespaces=(namespace,),
        lease=LeaseSettings(namespace=namespace, identity=f"{name}_{uuid.uuid4()}", **lease),
        health_host="127.0.0.1",
        health_port=health_port,
    )
    connection = await Connection.open(kubeconfig)
    process = Process(settings, connection, lambda kube, _recorder, _settings: [Writer(kube, name)])
    process.queue.add(Key(CONFIG_MAP, namespace, BOARD))
    return await process.run()


if __name__ == "__main__":
    sys.exit(asyncio.run(contend(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), json.loads(sys.argv[5]))))


class Contender:
    """A process that wants to lead."""

    def __init__(self, cluster: Cluster, namespace: str, name: str, lease: dict[str, float]) -> None:
        self._port = free_port()
        words = [str(cluster.kubeconfig), namespace, name, str(self._port), json.dumps(lease)]
        self._process = subprocess.Popen([sys.executable, "-m", __name__, *words], cwd=Path(__file__).parents[2])
        wait_for(self._answers, 30, f"{name} answers its probe")

    def _answers(self) -> bool:
        assert self.runs()
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{self._port}/livez", timeout=2):
            return True
        return False

    def send(self, number: signal.Signals) -> None:
        os.kill(self._process.pid, number)

    def wait(self, seconds: float) -> int:
        return self._process.wait(seconds)

    def runs(self) -> bool:
        return self._process.poll() is None

    def end(self) -> None:
        self._process.kill()
        self._process.wait(10)


class Board:
    """What happens to the ConfigMap, as the API server tells it: every version, in order."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        template = '{.data.writer} {.data.count}{"\\n"}'
        command = ["kubectl", "-n", namespace, "get", "configmaps", "-w", "--field-selector", f"metadata.name={BOARD}"]
        self._process = subprocess.Popen(
            cluster.command([*command, "-o", f"jsonpath={template}"]),
            env=cluster.environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        self._rest = ""
        self.writers: list[str] = []

    def read(self) -> list[str]:
        """Return the name of the writer of each version so far."""
        assert self._process.stdout is not None
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self._process.stdout.fileno(), 65536).decode():
                *lines, self._rest = (self._rest + chunk).split("\n")
                self.writers += [line.split()[0] for line in lines if line.strip()]
        return self.writers

    def wait_for(self, writer: str, seconds: float, *, after: int = 0) -> float:
        """Wait until `writer` wrote a version, not counting the first `after` ones; return when that was seen."""
        wait_for(lambda: writer in self.read()[after:], seconds, f"{writer} writes", pause=0.02)
        return time.monotonic()

    def end(self) -> None:
        self._process.kill()
        self._process.wait(10)


@pytest.fixture(scope="module")
def cluster(control_plane: Cluster) -> Cluster:
    control_plane.kubectl("apply", "--server-side", "-f", "crds")
    control_plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    return control_plane


@pytest.fixture
def namespace(cluster: Cluster) -> str:
    name = f"lease-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", name)
    return name


@pytest.fixture
def board(cluster: Cluster, namespace: str) -> Iterator[Board]:
    made = Board(cluster, namespace)
    yield made
    made.end()


@pytest.fixture
def contender(cluster: Cluster, namespace: str) -> Iterator[Callable[..., Contender]]:
    made: list[Contender] = []

    def make(name: str, **lease: float) -> Contender:
        made.append(Contender(cluster, namespace, name, lease))
        return made[-1]

    yield make
    for one in made:
        one.end()


def test_another_takes_over_within_20_seconds_when_the_leader_is_killed(
    board: Board, contender: Callable[..., Contender]
) -> None:
    first = contender("first")
    board.wait_for("first", 20)
    second = contender("second")
    time.sleep(2)
    assert set(board.read()) == {"first"}, "the standby has written"
    killed = time.monotonic()
    first.send(signal.SIGKILL)
    taken_over = board.wait_for("second", 20)
    print(f"take-over after kill -9: {taken_over - killed:.1f} s")
    assert taken_over - killed < 20
    assert second.runs()


def test_a_leader_that_was_paused_writes_nothing_when_it_goes_on_and_ends(
    board: Board, contender: Callable[..., Contender]
) -> None:
    first = contender("first", **QUICK)
    board.wait_for("first", 20)
    contender("second", **QUICK)
    first.send(signal.SIGSTOP)
    board.wait_for("second", 15)
    time.sleep(1)
    before = len(board.read())
    first.send(signal.SIGCONT)
    assert first.wait(10) == 1
    board.wait_for("second", 5, after=before + 20)
    start = board.writers.index("second")
    assert set(board.writers[start:]) == {"second"}


def test_a_leader_that_was_paused_for_a_moment_goes_on(board: Board, contender: Callable[..., Contender]) -> None:
    first = contender("first", **QUICK)
    board.wait_for("first", 20)
    contender("second", **QUICK)
    for _ in range(3):
        first.send(signal.SIGSTOP)
        time.sleep(1.5)
        before = len(board.read())
        first.send(signal.SIGCONT)
        board.wait_for("first", 5, after=before)
    assert set(board.read()) == {"first"}
    assert first.runs()


def test_a_leader_that_is_stopped_hands_over_at_once(
    cluster: Cluster, namespace: str, board: Board, contender: Callable[..., Contender]
) -> None:
    first = contender("first")
    board.wait_for("first", 20)
    second = contender("second")
    stopped = time.monotonic()
    first.send(signal.SIGTERM)
    assert first.wait(15) == 0
    taken_over = board.wait_for("second", 10)
    print(f"take-over after SIGTERM: {taken_over - stopped:.1f} s")
    assert taken_over - stopped < 5
    second.send(signal.SIGTERM)
    assert second.wait(15) == 0
    lease = cluster.get("-n", namespace, "lease", "image-service-operator")
    assert not lease["spec"].get("holderIdentity")
    assert lease["spec"]["leaseTransitions"] == 1


def test_a_standby_ends_gently_too(board: Board, contender: Callable[..., Contender]) -> None:
    contender("first", **QUICK)
    board.wait_for("first", 20)
    second = contender("second", **QUICK)
    second.send(signal.SIGTERM)
    assert second.wait(5) == 0


def test_a_leader_whose_lease_is_taken_away_ends(
    cluster: Cluster, namespace: str, board: Board, contender: Callable[..., Contender]
) -> None:
    first = contender("first", **QUICK)
    board.wait_for("first", 20)
    patch = {"spec": {"holderIdentity": "somebody-else"}}
    cluster.kubectl(
        "-n", namespace, "patch", "lease", "image-service-operator", "--type=merge", "-p", json.dumps(patch)
    )
    assert first.wait(5) == 1


class Relay:
    """A way to the API server that the test can cut; connections that are open then are cut too."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()
        self.is_cut = False
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        self.is_cut = True
        for end in self._ends:
            end.transport.abort()

    async def stop(self) -> None:
        self.cut()
        assert self._server is not None
        self._server.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_cut:
            writer.transport.abort()
            return
        far_reader, far_writer = await asyncio.open_connection(*self._target)
        self._ends |= {writer, far_writer}
        await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        self._ends -= {writer, far_writer}

    @staticmethod
    async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()


@pytest.fixture
async def relay(cluster: Cluster) -> AsyncIterator[Relay]:
    connection = await Connection.open(str(cluster.kubeconfig))
    host, _, port = connection.server.removeprefix("https://").partition(":")
    made = Relay(host, int(port))
    await made.start()
    yield made
    await made.stop()


async def through(relay: Relay, cluster: Cluster) -> Connection:
    """Return a connection that leads through the relay."""
    direct = await Connection.open(str(cluster.kubeconfig))
    configuration = copy.deepcopy(direct.configuration)
    configuration.host = f"https://127.0.0.1:{relay.port}"

    async def load() -> Any:
        return configuration

    return Connection(configuration, load)


async def test_an_outage_shorter_than_the_deadline_is_survived_and_a_longer_one_is_not(
    relay: Relay, cluster: Cluster, namespace: str
) -> None:
    kube = KubeApi(await through(relay, cluster), request_seconds=2)
    elector = LeaseElector(kube, LeaseSettings(namespace=namespace, identity="me", **QUICK))
    assert not elector.still_leading()
    async with asyncio.timeout(10):
        await elector.acquire()
    holding = asyncio.create_task(elector.hold())
    for _ in range(2):
        relay.cut()
        await asyncio.sleep(2)
        assert elector.still_leading()
        relay.is_cut = False
        await asyncio.sleep(3)
        assert elector.still_leading()
        assert not holding.done()
    relay.cut()
    async with asyncio.timeout(QUICK["duration"]):
        with pytest.raises(LeaseLost):
            await holding
    assert not elector.still_leading()
    await kube.close()


async def test_a_candidate_waits_out_an_api_server_that_is_away(relay: Relay, cluster: Cluster, namespace: str) -> None:
    relay.is_cut = True
    kube = KubeApi(await through(relay, cluster))
    elector = LeaseElector(kube, LeaseSettings(namespace=namespace, identity="me", **QUICK))
    acquiring = asyncio.create_task(elector.acquire())
    await asyncio.sleep(2.5)
    assert not acquiring.done()
    relay.is_cut = False
    async with asyncio.timeout(5):
        await acquiring
    await kube.close()


async def test_the_time_of_day_on_other_machines_does_not_count(cluster: Cluster, namespace: str) -> None:
    kube = KubeApi(await Connection.open(str(cluster.kubeconfig)))
    lease = {
        "apiVersion": LEASE.api_version,
        "kind": "Lease",
        "metadata": {"name": "image-service-operator", "namespace": namespace},
        "spec": {
            "holderIdentity": "other",
            "leaseDurationSeconds": 3,
            "renewTime": "2001-01-01T00:00:00.000000Z",
            "leaseTransitions": 4,
        },
    }
    await kube.create(LEASE, lease)
    elector = LeaseElector(kube, LeaseSettings(namespace=namespace, identity="me", **QUICK))
    started = time.monotonic()
    async with asyncio.timeout(10):
        await elector.acquire()
    assert 3 <= time.monotonic() - started < 5
    live = await kube.get(LEASE, namespace, "image-service-operator")
    assert live is not None
    assert (live["spec"]["holderIdentity"], live["spec"]["leaseTransitions"]) == ("me", 5)
    await kube.close()


async def test_of_many_candidates_exactly_one_leads(cluster: Cluster, namespace: str) -> None:
    connection = await Connection.open(str(cluster.kubeconfig))
    clients = [KubeApi(connection) for _ in range(6)]
    electors = [
        LeaseElector(kube, LeaseSettings(namespace=namespace, identity=f"candidate-{number}", **QUICK))
        for number, kube in enumerate(clients)
    ]
    tasks = [asyncio.create_task(elector.acquire()) for elector in electors]
    done, waiting = await asyncio.wait(tasks, timeout=3)
    assert len(done) == 1
    assert sum(elector.still_leading() for elector in electors) == 1
    leader = next(elector for elector in electors if elector.still_leading())
    await leader.release()
    assert not leader.still_leading()
    done, waiting = await asyncio.wait(waiting, timeout=3)
    assert len(done) == 1, "a released lease is taken at once, by one"
    for task in waiting:
        task.cancel()
    for kube in clients:
        await kube.close()
