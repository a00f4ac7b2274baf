"""A namespace with a CachePolicy on nodes that only their agents make, and looks at what it wants of them."""

import contextlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.cluster.cluster import Cluster
from tests.integration.objects import API, DATABASE_URL, Manifest, Namespace
from tests.keystone import KeystoneServer
from tests.operator_process import OperatorProcess, running, wait_for

from imageservice.render.agent_token import agent_token
from imageservice.sensitive import Sensitive

IMAGES = [f"00000000-0000-4000-8000-00000000000{n}" for n in range(4)]
PER_SLICE = 100


@contextlib.contextmanager
def cache_operator(cluster: Cluster, log: Path, agent_url: str, monitor_url: str) -> Iterator[OperatorProcess]:
    """Run an operator that finds the agents of nodes, and the store monitor, at these URLs."""
    cluster.kubectl("apply", "--server-side", "-f", "crds")
    cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    settings = {"agent_url": agent_url, "monitor_url": monitor_url}
    settings |= {"lease_name": "agents", "lease_namespace": "default"}
    with running(cluster, log, **settings) as process:
        yield process


@contextlib.contextmanager
def cache_home(cluster: Cluster, keystone: KeystoneServer, count: int) -> Iterator["CacheHome"]:
    """Make such a namespace, with the nodes `node-0`, `node-1` and so on."""
    home = CacheHome(cluster, keystone)
    try:
        home.set_up()
        home.nodes(*(f"node-{number}" for number in range(count)))
        yield home
    finally:
        home.delete()


class CacheHome(Namespace):
    """The namespace; its CachePolicy is `edge`, its ImagePrecache `golden`."""

    def __init__(self, cluster: Cluster, keystone: KeystoneServer) -> None:
        keystone.empty_the_catalog()  # Tests before these may have ended without their operator.
        super().__init__(cluster, keystone)

    def token(self) -> str:
        """Return the token of the agents."""
        return agent_token(Sensitive(DATABASE_URL), self.name, "glance").reveal()

    def set_up(self) -> None:
        """Make an ImageService and a policy that has no nodes yet. The operator runs."""
        self.quickstart()
        self.wait_ready()
        # No node of the cluster has a pod of it: where the agents are is said by `nodes`.
        self.policy("edge")
        wait_for(lambda: self.find("service", "edge-agents"), 30, "the Service of the agents")

    def nodes(self, *names: str) -> None:
        """Say that these nodes have an agent."""
        numbered = list(enumerate(names))
        self.apply(*(_endpoints(dict(numbered[at : at + PER_SLICE])) for at in range(0, len(names), PER_SLICE)))

    def policy(self, name: str, **spec: Any) -> None:
        """Put a CachePolicy there."""
        target = {"kind": "ImageService", "name": "glance"}
        wanted = {"targetRef": target, "nodeSelector": {"no-node-has-this": "label"}, "maxSize": "10Gi"} | spec
        self.apply({"apiVersion": API, "kind": "CachePolicy", "metadata": {"name": name}, "spec": wanted})

    def want(self, *images: str, **spec: Any) -> None:
        """Ask for images by id."""
        order = {"imageServiceRef": {"name": "glance"}, "images": [{"id": image} for image in images]} | spec
        self.apply({"apiVersion": API, "kind": "ImagePrecache", "metadata": {"name": "golden"}, "spec": order})

    def precache(self) -> Manifest:
        """Return the ImagePrecache."""
        found = self.find("imageprecache", "golden")
        assert found
        return found

    def status(self) -> Manifest:
        """Return what is told of the newest spec; nothing before something is."""
        live = self.precache()
        status: Manifest = live.get("status", {})
        return status if status.get("observedGeneration") == live["metadata"]["generation"] else {}

    def told(self, seconds: float = 300, **counts: int) -> float:
        """Wait until the status of the newest spec has these counts of nodes; return after how long."""
        began = time.monotonic()
        wait_for(
            lambda: counts.items() <= self.status().get("nodes", {}).items(),
            seconds,
            f"{counts}; there is {self.precache().get('status', {}).get('nodes')}",
        )
        return time.monotonic() - began

    def writes(self, seconds: float) -> int:
        """Count for so long how often the ImagePrecache is written to, by anybody."""
        versions, end = set(), time.monotonic() + seconds
        while time.monotonic() < end:
            versions.add(self.precache()["metadata"]["resourceVersion"])
            time.sleep(0.2)
        return len(versions) - 1


def _endpoints(nodes: Mapping[int, str]) -> Manifest:
    """A part of what Kubernetes writes of a Service's pods."""
    labels = {"kubernetes.io/service-name": "edge-agents", "endpointslice.kubernetes.io/managed-by": "test"}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"edge-agents-{min(nodes)}", "labels": labels},
        "addressType": "IPv4",
        "ports": [{"name": "agent", "port": 9294, "protocol": "TCP"}],
        "endpoints": [
            {
                "addresses": [f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}"],
                "nodeName": name,
                "conditions": {"ready": True},
            }
            for n, name in nodes.items()
        ],
    }
