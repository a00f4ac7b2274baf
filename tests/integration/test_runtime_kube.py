"""The client of the API server, on a real one: what apply writes, what it leaves alone, and what it refuses."""

import asyncio
import copy
import uuid
from asyncio.sslproto import SSLProtocol
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from kubernetes.aio.client.configuration import Configuration
from tests.cluster.cluster import Cluster

from imageservice.runtime.connection import TLS_BUFFER_BYTES, Connection, NoCluster, keep_tls_buffers_small
from imageservice.runtime.kinds import (
    CONFIG_MAP,
    DEPLOYMENT,
    IMAGE_SERVICE,
    POD_DISRUPTION_BUDGET,
    SECRET,
    SERVICE,
    Kind,
)
from imageservice.runtime.kube import Conflict, Invalid, KubeApi, NotFound, NotLeading, Unreachable
from imageservice.runtime.metrics import Metrics

pytestmark = pytest.mark.cluster

OTHER_UID = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
async def connection(control_plane: Cluster) -> Connection:
    return await Connection.open(str(control_plane.kubeconfig))


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def kube(connection: Connection, metrics: Metrics) -> AsyncIterator[KubeApi]:
    api = KubeApi(connection, metrics=metrics)
    yield api
    await api.close()


@pytest.fixture
def namespace(control_plane: Cluster) -> str:
    name = f"kube-{uuid.uuid4().hex[:8]}"
    control_plane.kubectl("create", "namespace", name)
    return name


def config_map(namespace: str, name: str = "a", **data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": data,
    }


def children(namespace: str) -> list[tuple[Kind, dict[str, Any]]]:
    """Return one object of each kind of child, written in ways that the API server rewrites."""
    labels = {"app": "a"}
    metadata = {"name": "a", "namespace": namespace, "labels": labels}
    container = {
        "name": "api",
        "image": "glance:1",
        "args": ["x"],
        "env": [{"name": "A", "value": "1"}],
        "ports": [{"name": "http", "containerPort": 9292}],
        "resources": {"requests": {"cpu": "1000m", "memory": "1024Mi"}, "limits": {"memory": "2048Mi"}},
        "readinessProbe": {"httpGet": {"path": "/healthcheck", "port": "http"}},
        "volumeMounts": [{"name": "data", "mountPath": "/a"}, {"name": "data", "mountPath": "/b", "readOnly": True}],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    pod = {
        "containers": [container],
        "nodeSelector": {},
        "automountServiceAccountToken": False,
        "tolerations": [{"key": "x", "operator": "Exists"}],
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": labels},
            }
        ],
        "volumes": [{"name": "data", "emptyDir": {"sizeLimit": "1024Mi"}}],
    }
    template = {"metadata": {"labels": labels}, "spec": pod}
    return [
        (
            DEPLOYMENT,
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": metadata,
                "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template},
            },
        ),
        (
            SERVICE,
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": metadata,
                "spec": {"selector": labels, "ports": [{"name": "http", "port": 9292, "targetPort": "http"}]},
            },
        ),
        (
            POD_DISRUPTION_BUDGET,
            {
                "apiVersion": "policy/v1",
                "kind": "PodDisruptionBudget",
                "metadata": metadata,
                "spec": {"maxUnavailable": 1, "selector": {"matchLabels": labels}},
            },
        ),
        (
            SECRET,
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": metadata,
                "immutable": True,
                "data": {"key": "dmFsdWU="},
            },
        ),
    ]


def at(address: str) -> Connection:
    """Return a connection to a server without TLS and without credentials."""

    async def load() -> Configuration:
        return Configuration(host=address)

    return Connection(Configuration(host=address), load)


def writes(metrics: Metrics) -> float:
    """Return how many writing requests were sent."""
    return sum(
        sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name.endswith("rest_client_requests_total") and sample.labels["method"] != "GET"
    )


async def test_what_was_applied_once_is_never_written_again_not_even_by_a_new_process(
    connection: Connection, kube: KubeApi, namespace: str
) -> None:
    for kind, manifest in children(namespace):
        await kube.apply(kind, manifest, live=None)
    await asyncio.sleep(0.5)  # let the controllers write their status
    fresh_metrics = Metrics()
    fresh = KubeApi(connection, metrics=fresh_metrics)
    for kind, manifest in children(namespace):
        live = await fresh.get(kind, namespace, "a")
        assert live is not None
        assert await fresh.apply(kind, manifest, live=live) == live, kind
    await fresh.close()
    assert writes(fresh_metrics) == 0


async def test_an_apply_that_changes_nothing_leaves_the_resource_version_where_it_is(
    kube: KubeApi, namespace: str
) -> None:
    for kind, manifest in children(namespace):
        await kube.apply(kind, manifest, live=None)
    await asyncio.sleep(0.5)
    for kind, manifest in children(namespace):
        before = await kube.get(kind, namespace, "a")
        after = await kube.apply(kind, manifest, live=None)
        assert before is not None
        assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"], kind


async def test_a_difference_that_is_none_is_written_once_and_then_known(
    kube: KubeApi, namespace: str, metrics: Metrics
) -> None:
    (_, manifest), *_ = children(namespace)
    manifest["spec"]["template"]["spec"]["hostNetwork"] = False  # dropped by the API server, as that is its default
    live = await kube.apply(DEPLOYMENT, manifest, live=None)
    await asyncio.sleep(0.5)
    live = await kube.get(DEPLOYMENT, namespace, "a") or {}
    before = writes(metrics)
    for _ in range(3):
        live = await kube.apply(DEPLOYMENT, manifest, live=live)
    assert writes(metrics) - before <= 1


CHANGES: dict[str, Any] = {
    "a field of ours": lambda live: live["spec"].update(replicas=3),
    "a label": lambda live: live["metadata"]["labels"].update(app="other", foreign="x"),
    "the hash": lambda live: live["metadata"]["annotations"].clear(),
    "the image": lambda live: live["spec"]["template"]["spec"]["containers"][0].update(image="evil"),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_by_others_is_taken_back_and_their_own_fields_stay(
    kube: KubeApi, namespace: str, change: str
) -> None:
    (_, manifest), *_ = children(namespace)
    await kube.apply(DEPLOYMENT, manifest, live=None)
    while True:
        live = await kube.get(DEPLOYMENT, namespace, "a") or {}
        edited = copy.deepcopy(live)
        CHANGES[change](edited)
        edited["metadata"].setdefault("annotations", {})["example.com/theirs"] = "kept"
        try:
            edited = await kube.replace(DEPLOYMENT, edited)
            break
        except Conflict:  # the deployment controller was faster
            continue
    live = await kube.apply(DEPLOYMENT, manifest, live=edited)
    assert live["spec"]["replicas"] == 0
    assert live["metadata"]["labels"]["app"] == "a"
    assert live["spec"]["template"]["spec"]["containers"][0]["image"] == "glance:1"
    assert live["metadata"]["annotations"]["example.com/theirs"] == "kept"


SERVICE_CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "one more entry in the selector": lambda spec: spec["selector"].update(app2="other"),
    "the number of the port, which is its key": lambda spec: spec["ports"][0].update(port=9999),
    "the protocol of the port, which is its key": lambda spec: spec["ports"][0].update(protocol="UDP"),
}


@pytest.mark.parametrize("change", SERVICE_CHANGES)
async def test_a_service_that_others_bent_is_straight_again_and_its_fields_are_ours_alone(
    kube: KubeApi, connection: Connection, namespace: str, change: str
) -> None:
    _, (_, manifest), *_ = children(namespace)
    live = await kube.apply(SERVICE, manifest, live=None)
    SERVICE_CHANGES[change](live["spec"])
    path = SERVICE.path(namespace, "a")
    body = {"spec": live["spec"], "metadata": {"annotations": {"example.com/theirs": "kept"}}}
    async with connection.session(connections=1) as session:
        headers = {"Content-Type": "application/merge-patch+json"}
        bent = await (await session.patch(connection.server + path, json=body, headers=headers)).json()
    live = await kube.apply(SERVICE, manifest, live=bent)
    [port] = live["spec"]["ports"]
    assert (port["port"], port["protocol"], live["spec"]["selector"]) == (9292, "TCP", {"app": "a"})
    assert live["metadata"]["annotations"]["example.com/theirs"] == "kept"
    assert live["spec"]["clusterIP"] == bent["spec"]["clusterIP"]
    manifest["spec"]["ports"] = [{"name": "http", "port": 9393, "targetPort": "http"}]
    live = await kube.apply(SERVICE, manifest, live=live)
    assert [port["port"] for port in live["spec"]["ports"]] == [9393], "nothing is left that nobody takes out"


UNIONS: dict[str, tuple[Kind, dict[str, Any]]] = {
    "a budget that keeps pods instead": (POD_DISRUPTION_BUDGET, {"maxUnavailable": None, "minAvailable": 1}),
    "a probe of another kind": (
        DEPLOYMENT,
        {"readinessProbe": {"exec": {"command": ["true"]}, "httpGet": None}},
    ),
    "a volume of another kind": (DEPLOYMENT, {"volumes": [{"name": "data", "hostPath": {"path": "/x"}}]}),
}


@pytest.mark.parametrize("change", UNIONS)
async def test_a_member_of_a_union_put_in_place_of_ours_goes(
    kube: KubeApi, connection: Connection, namespace: str, change: str
) -> None:
    kind, content = UNIONS[change]
    manifest = next(manifest for found, manifest in children(namespace) if found is kind)
    wanted = await kube.apply(kind, manifest, live=None)
    spec: dict[str, Any] = content
    if kind is DEPLOYMENT:
        volumes = content.get("volumes") or manifest["spec"]["template"]["spec"]["volumes"]
        [container] = manifest["spec"]["template"]["spec"]["containers"]
        changed = container | {key: value for key, value in content.items() if key != "volumes"}
        spec = {"template": {"spec": {"volumes": volumes, "containers": [changed]}}}
    async with connection.session(connections=1) as session:
        headers = {"Content-Type": "application/merge-patch+json"}
        url = connection.server + kind.path(namespace, "a")
        answer = await session.patch(url, json={"spec": spec}, headers=headers)
        assert answer.status == 200, await answer.text()
    bent = await kube.get(kind, namespace, "a")
    live = await kube.apply(kind, manifest, live=bent)
    assert live["spec"] == wanted["spec"]


async def test_a_late_write_does_not_undo_a_newer_one(connection: Connection, kube: KubeApi, namespace: str) -> None:
    """A process that was held up between reading and writing sees what happened meanwhile before it writes."""
    late = KubeApi(connection)
    old = await late.apply(CONFIG_MAP, config_map(namespace, by="nobody"), live=None)
    await kube.apply(CONFIG_MAP, config_map(namespace, by="the new leader"), live=old)
    once = KubeApi(connection, may_write=iter([True, False, False]).__next__)  # lost between its two writes
    with pytest.raises(NotLeading):
        await once.apply(CONFIG_MAP, config_map(namespace, by="the old leader"), live=old)
    live = await kube.get(CONFIG_MAP, namespace, "a") or {}
    assert live["data"] == {"by": "the new leader"}
    live = await late.apply(CONFIG_MAP, config_map(namespace, by="the leader still"), live=old)
    assert live["data"] == {"by": "the leader still"}
    for api in (late, once):
        await api.close()


async def test_an_object_that_was_replaced_by_another_of_its_name_is_not_taken_over(
    kube: KubeApi, namespace: str
) -> None:
    ours = await kube.apply(CONFIG_MAP, config_map(namespace, by="us"), live=None)
    await kube.delete(CONFIG_MAP, ours)
    theirs = await kube.create(CONFIG_MAP, config_map(namespace, by="them"))
    with pytest.raises(Conflict):
        await kube.apply(CONFIG_MAP, config_map(namespace, by="us, changed"), live=ours)
    assert await kube.get(CONFIG_MAP, namespace, "a") == theirs
    await kube.delete(CONFIG_MAP, theirs)
    with pytest.raises((Conflict, NotFound)):
        await kube.apply_finalizers(CONFIG_MAP, theirs, ["imageservice.dev/catalog"])
    live = await kube.apply(CONFIG_MAP, config_map(namespace, by="us again"), live=theirs)
    assert live["data"] == {"by": "us again"}, "a deleted child is made anew"


async def test_a_field_that_is_wanted_no_more_is_taken_out(kube: KubeApi, namespace: str) -> None:
    live = await kube.apply(CONFIG_MAP, config_map(namespace, old="1", kept="2"), live=None)
    live = await kube.apply(CONFIG_MAP, config_map(namespace, kept="2"), live=live)
    assert live["data"] == {"kept": "2"}


async def test_a_finalizer_is_added_and_removed_without_touching_those_of_others(kube: KubeApi, namespace: str) -> None:
    theirs = config_map(namespace)
    theirs["metadata"]["finalizers"] = ["example.com/theirs"]
    live = await kube.create(CONFIG_MAP, theirs)
    live = await kube.apply_finalizers(CONFIG_MAP, live, ["imageservice.dev/catalog"])
    assert sorted(live["metadata"]["finalizers"]) == ["example.com/theirs", "imageservice.dev/catalog"]
    live = await kube.apply_finalizers(CONFIG_MAP, live, [])
    assert live["metadata"]["finalizers"] == ["example.com/theirs"]


async def test_a_finalizer_never_creates_an_object_and_never_touches_its_successor(
    kube: KubeApi, namespace: str
) -> None:
    first = await kube.create(CONFIG_MAP, config_map(namespace))
    await kube.delete(CONFIG_MAP, first)
    with pytest.raises(Conflict):
        await kube.apply_finalizers(CONFIG_MAP, first, ["imageservice.dev/catalog"])
    assert await kube.get(CONFIG_MAP, namespace, "a") is None
    second = await kube.create(CONFIG_MAP, config_map(namespace))
    with pytest.raises(Conflict):
        await kube.apply_finalizers(CONFIG_MAP, first, ["imageservice.dev/catalog"])
    assert await kube.get(CONFIG_MAP, namespace, "a") == second


async def test_a_status_is_written_to_the_object_it_is_about_or_not_at_all(kube: KubeApi, namespace: str) -> None:
    (_, manifest), *_ = children(namespace)
    live = await kube.apply(DEPLOYMENT, manifest, live=None)
    status = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "namespace": namespace}}
    condition = {"type": "Ours", "status": "True", "reason": "Test", "message": ""}
    answer = await kube.apply_status(DEPLOYMENT, status | {"status": {"conditions": [condition]}})
    assert any(item["type"] == "Ours" for item in answer["status"]["conditions"])
    assert answer["spec"] == live["spec"]
    stale = {**status, "metadata": {**status["metadata"], "uid": OTHER_UID}}
    with pytest.raises(Conflict):
        await kube.apply_status(DEPLOYMENT, stale | {"status": {}})
    absent = {**status, "metadata": {"name": "absent", "namespace": namespace}}
    with pytest.raises(NotFound):
        await kube.apply_status(DEPLOYMENT, absent | {"status": {}})


async def test_only_the_very_object_is_deleted_and_once_is_enough(kube: KubeApi, namespace: str) -> None:
    live = await kube.create(CONFIG_MAP, config_map(namespace))
    await kube.delete(CONFIG_MAP, {"metadata": {**live["metadata"], "uid": OTHER_UID}})
    assert await kube.get(CONFIG_MAP, namespace, "a") is not None
    await kube.delete(CONFIG_MAP, live)
    await kube.delete(CONFIG_MAP, live)
    assert await kube.get(CONFIG_MAP, namespace, "a") is None


async def test_create_and_replace_refuse_what_changed_meanwhile(kube: KubeApi, namespace: str) -> None:
    live = await kube.create(CONFIG_MAP, config_map(namespace, version="1"))
    with pytest.raises(Conflict):
        await kube.create(CONFIG_MAP, config_map(namespace))
    await kube.replace(CONFIG_MAP, live | {"data": {"version": "2"}})
    with pytest.raises(Conflict):
        await kube.replace(CONFIG_MAP, live | {"data": {"version": "3"}})
    current = await kube.get(CONFIG_MAP, namespace, "a")
    assert current is not None
    assert current["data"] == {"version": "2"}


async def test_a_list_is_read_to_its_end_and_filtered(
    kube: KubeApi, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imageservice.runtime.kube.PAGE_SIZE", 3)
    for number in range(8):
        manifest = config_map(namespace, name=f"listed-{number}")
        manifest["metadata"]["labels"] = {"half": str(number % 2)}
        await kube.create(CONFIG_MAP, manifest)
    names = [item["metadata"]["name"] for item in await kube.list(CONFIG_MAP, namespace, labels="half=0")]
    assert names == [f"listed-{number}" for number in (0, 2, 4, 6)]
    items = await kube.list(CONFIG_MAP, namespace)
    assert len([item for item in items if item["metadata"]["name"].startswith("listed-")]) == 8
    assert {(item["apiVersion"], item["kind"]) for item in items} == {("v1", "ConfigMap")}


async def test_the_words_of_a_refusal_never_quote_a_secret(kube: KubeApi, namespace: str) -> None:
    manifest = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "a", "namespace": namespace},
        "data": {"password": "planted-password"},
    }
    with pytest.raises(Invalid) as refused:
        await kube.create(SECRET, manifest)
    assert "planted-password" not in str(refused.value)


async def test_nothing_is_written_without_leadership_and_reading_goes_on(
    connection: Connection, kube: KubeApi, namespace: str
) -> None:
    leading = True
    guarded = KubeApi(connection, may_write=lambda: leading)
    live = await guarded.create(CONFIG_MAP, config_map(namespace))
    leading = False
    attempts = [
        guarded.create(CONFIG_MAP, config_map(namespace, "b")),
        guarded.replace(CONFIG_MAP, live | {"data": {"x": "1"}}),
        guarded.apply(CONFIG_MAP, config_map(namespace, x="1"), live=None),
        guarded.apply_finalizers(CONFIG_MAP, live, ["imageservice.dev/catalog"]),
        guarded.delete(CONFIG_MAP, live),
    ]
    for attempt in attempts:
        with pytest.raises(NotLeading):
            await attempt
    assert await guarded.get(CONFIG_MAP, namespace, "a") == live
    assert await guarded.get(CONFIG_MAP, namespace, "b") is None
    await guarded.close()


async def test_whether_a_kind_is_served_is_known(kube: KubeApi) -> None:
    assert await kube.serves(DEPLOYMENT)
    assert not await kube.serves(Kind("absent.example.com", "v1", "Absent", "absents"))
    assert not await kube.serves(Kind(DEPLOYMENT.group, DEPLOYMENT.version, "Absent", "absents"))


async def test_an_api_server_that_is_not_there_is_unreachable(unused_tcp_port: int) -> None:
    kube = KubeApi(at(f"http://127.0.0.1:{unused_tcp_port}"))
    with pytest.raises(Unreachable):
        await kube.get(IMAGE_SERVICE, "default", "a")
    await kube.close()


async def test_an_api_server_that_does_not_answer_is_unreachable_in_time() -> None:
    async def swallow(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            pass

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    kube = KubeApi(at(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"), request_seconds=0.3)
    async with asyncio.timeout(3):
        with pytest.raises(Unreachable):
            await kube.get(CONFIG_MAP, "default", "a")
    await kube.close()
    server.close()


async def test_without_a_kubeconfig_outside_of_a_cluster_the_operator_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(NoCluster, match="--kubeconfig"):
        await Connection.open()
    with pytest.raises(NoCluster, match="/nowhere"):
        await Connection.open("/nowhere")
    with pytest.raises(NoCluster, match="context"):
        await Connection.open(context="some")


async def test_a_connection_holds_a_small_buffer(connection, monkeypatch):
    """What the buffer is kept in is asyncio's own affair: a Python that keeps it elsewhere is noticed here."""
    monkeypatch.setattr(SSLProtocol, "max_size", SSLProtocol.max_size)
    keep_tls_buffers_small()
    async with (
        connection.session(connections=1) as session,
        session.get(f"{connection.server}/api/v1/configmaps?watch=true&timeoutSeconds=5") as response,
    ):
        protocol: Any = response.connection.transport._ssl_protocol
        held = [len(value) for value in vars(protocol).values() if isinstance(value, bytearray)]
    assert held == [TLS_BUFFER_BYTES]
