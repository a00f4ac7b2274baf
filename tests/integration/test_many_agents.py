"""One ImagePrecache over a thousand nodes, or as many as IMAGE_SERVICE_AGENTS says: real HTTP on loopback, no pods."""

import json
import os
import time
from pathlib import Path

import pytest
from tests import agents_stand_in
from tests.integration.objects import Namespace
from tests.operator_process import running, wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

COUNT = int(os.environ.get("IMAGE_SERVICE_AGENTS") or 1000)
PER_SLICE = 100
PARALLELISM = COUNT // 10
IMAGES = [f"00000000-0000-4000-8000-00000000000{n}" for n in range(4)]
MOST_RSS_KIB = 400 * 1024
MOST_BYTES = 32 * 1024
API = "imageservice.dev/v1alpha1"


@pytest.fixture(scope="module")
def fleet():
    with agents_stand_in.running(COUNT) as found:
        yield found


@pytest.fixture(scope="module")
def operator(control_plane, fleet, tmp_path_factory):
    control_plane.kubectl("apply", "--server-side", "-f", "crds")
    control_plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    settings = {"agent_url": fleet.agent_url, "monitor_url": fleet.monitor_url}
    settings |= {"lease_name": "agents", "lease_namespace": "default"}
    with running(control_plane, tmp_path_factory.mktemp("operator") / "log", **settings) as process:
        yield process


@pytest.fixture(scope="module")
def home(control_plane, keystone, operator):
    """A namespace with a policy whose Service has so many endpoints."""
    assert operator
    made = Namespace(control_plane, keystone)
    made.quickstart()
    made.wait_ready()
    target = {"kind": "ImageService", "name": "glance"}
    # No node of the cluster has a pod of it: where the agents are is said below.
    policy = {"targetRef": target, "nodeSelector": {"no-node-has-this": "label"}, "maxSize": "10Gi"}
    made.apply({"apiVersion": API, "kind": "CachePolicy", "metadata": {"name": "edge"}, "spec": policy})
    wait_for(lambda: made.find("service", "edge-agents"), 30, "the Service of the agents")
    made.apply(*(endpoints(at) for at in range(0, COUNT, PER_SLICE)))
    yield made
    made.delete()


def endpoints(first):
    """A part of what Kubernetes writes of a Service's pods."""
    nodes = range(first, min(first + PER_SLICE, COUNT))
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"edge-agents-{first}",
            "labels": {"kubernetes.io/service-name": "edge-agents", "endpointslice.kubernetes.io/managed-by": "test"},
        },
        "addressType": "IPv4",
        "ports": [{"name": "agent", "port": 9294, "protocol": "TCP"}],
        "endpoints": [
            {
                "addresses": [f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}"],
                "nodeName": f"node-{n}",
                "conditions": {"ready": True},
            }
            for n in nodes
        ],
    }


def want(home, *images, **spec):
    order = {"imageServiceRef": {"name": "glance"}, "images": [{"id": image} for image in images]}
    order |= {"parallelism": PARALLELISM, **spec}
    home.apply({"apiVersion": API, "kind": "ImagePrecache", "metadata": {"name": "golden"}, "spec": order})


def told(home, **counts):
    """Wait until the status of the newest spec has these counts of nodes; return after how long."""
    began = time.monotonic()

    def found():
        live = home.find("imageprecache", "golden")
        status = live.get("status", {})
        nodes = status.get("nodes", {})
        is_newest = status.get("observedGeneration") == live["metadata"]["generation"]
        return is_newest and counts.items() <= nodes.items()

    wait_for(found, 300, f"{counts}; there is {home.find('imageprecache', 'golden').get('status', {}).get('nodes')}")
    return time.monotonic() - began


def rss_kib(process):
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM:")))


def writes(home):
    """How often the object was written to, by anybody."""
    return int(home.find("imageprecache", "golden")["metadata"]["resourceVersion"])


def test_a_change_reaches_all_nodes_and_the_status_is_right(home, fleet, operator):
    want(home, *IMAGES[:2])
    first = told(home, desired=COUNT, pending=COUNT, cached=0)
    want(home, *IMAGES[:3])
    revision_before = set(fleet.counts()["revisions"])
    began = time.monotonic()
    wait_for(
        lambda: [n for r, n in fleet.counts()["revisions"].items() if r not in revision_before] == [COUNT],
        120,
        "all nodes are told",
        pause=0.5,
    )
    reached = time.monotonic() - began
    told(home, desired=COUNT, pending=COUNT)
    right = time.monotonic() - began
    live = json.dumps(home.find("imageprecache", "golden"))
    print(
        f"{COUNT} nodes: first told after {first:.1f} s; a change reached all after {reached:.1f} s, status right "
        f"after {right:.1f} s; operator {rss_kib(operator) / 1024:.0f} MiB at most; object {len(live)} bytes; "
        f"{fleet.counts()['requests']} requests to agents"
    )
    assert fleet.counts()["mostGranted"] <= PARALLELISM
    assert len(live) < MOST_BYTES
    assert rss_kib(operator) < MOST_RSS_KIB


def test_all_nodes_are_filled_so_many_at_a_time(home, fleet, operator):
    want(home, *IMAGES[:3])
    fleet.work(at_work=True)
    began = time.monotonic()
    told(home, desired=COUNT, cached=COUNT)
    print(f"{COUNT} nodes filled after {time.monotonic() - began:.1f} s")
    home.wait_ready("golden", "imageprecache")
    assert home.find("imageprecache", "golden")["status"]["progressPercent"] == 100
    assert fleet.counts()["mostGranted"] <= PARALLELISM
    assert rss_kib(operator) < MOST_RSS_KIB
