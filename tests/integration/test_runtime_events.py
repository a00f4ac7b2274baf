"""Events on a real API server."""

import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.cluster.cluster import Cluster

from imageservice.runtime.connection import Connection
from imageservice.runtime.events import EventRecorder
from imageservice.runtime.kinds import CONFIG_MAP, EVENT
from imageservice.runtime.kube import KubeApi

pytestmark = pytest.mark.cluster


@pytest.fixture
async def kube(control_plane: Cluster) -> AsyncIterator[KubeApi]:
    api = KubeApi(await Connection.open(str(control_plane.kubeconfig)))
    yield api
    await api.close()


@pytest.fixture
async def regarding(control_plane: Cluster, kube: KubeApi) -> dict[str, Any]:
    namespace = f"events-{uuid.uuid4().hex[:8]}"
    control_plane.kubectl("create", "namespace", namespace)
    metadata = {"name": "a" * 253, "namespace": namespace}
    return await kube.create(CONFIG_MAP, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})


async def told(kube: KubeApi, regarding: dict[str, Any]) -> list[dict[str, Any]]:
    events = await kube.list(EVENT, regarding["metadata"]["namespace"])
    return [event for event in events if event["involvedObject"]["uid"] == regarding["metadata"]["uid"]]


async def test_news_is_told_once_even_by_two_replicas(
    kube: KubeApi, regarding: dict[str, Any], control_plane: Cluster
) -> None:
    for recorder in (EventRecorder(kube, "one"), EventRecorder(kube, "two"), EventRecorder(kube, "one")):
        await recorder.emit(regarding, "Warning", "DatabaseDown", "The database refuses. " * 100)
    events = await told(kube, regarding)
    assert [(event["type"], event["reason"]) for event in events] == [("Warning", "DatabaseDown")]
    await EventRecorder(kube, "one").emit(regarding, "Normal", "Ready", "All is well.")
    assert {event["reason"] for event in await told(kube, regarding)} == {"DatabaseDown", "Ready"}
    metadata = regarding["metadata"]
    shown = control_plane.kubectl("-n", metadata["namespace"], "describe", "configmap", metadata["name"]).stdout
    assert "DatabaseDown" in shown
    assert "image-service-operator" in shown


async def test_an_event_that_cannot_be_recorded_is_logged_and_not_raised(
    kube: KubeApi, regarding: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    lost = regarding | {"metadata": {**regarding["metadata"], "namespace": "absent"}}
    await EventRecorder(kube, "one").emit(lost, "Normal", "Ready", "All is well.")
    assert "Event not recorded" in caplog.text


async def test_an_event_in_a_namespace_that_is_being_deleted_is_not_worth_a_warning(
    kube: KubeApi, regarding: dict[str, Any], control_plane: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    namespace = regarding["metadata"]["namespace"]
    held = {"name": "held", "namespace": namespace, "finalizers": ["imageservice.dev/test"]}
    await kube.create(CONFIG_MAP, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": held})
    control_plane.kubectl("delete", "namespace", namespace, "--wait=false")
    caplog.set_level("DEBUG")
    await EventRecorder(kube, "one").emit(regarding, "Normal", "Ready", "All is well.")
    [record] = [record for record in caplog.records if "Event not recorded" in record.getMessage()]
    control_plane.kubectl(
        "-n", namespace, "patch", "configmap", "held", "--type=merge", '-p={"metadata":{"finalizers":[]}}'
    )
    assert record.levelname == "DEBUG"
    assert "being terminated" in record.getMessage()
