"""A namespace with caches on real nodes, and what the tests ask of them.

All that is not a cache (MariaDB, Keystone, the API, the operator) runs on the last node, so that the others can lose
their power. Where one test run has one cluster, it has one such site too: each file begins with `CacheSite.reset`.
"""

import base64
import hashlib
import json
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from demo import image_client, platform
from tests.cluster import images
from tests.cluster.cluster import Cluster
from tests.cluster.fixtures import no_longer_than_needed
from tests.e2e.site import Manifest
from tests.e2e.store_site import ImagesAt, StoreSite
from tests.operator_process import wait_for

RELEASE = "2026.1"
RELEASES = ("2025.1", "2025.2", "2026.1", "2026.2")
MEBIBYTE = 2**20
POLICY, PRECACHE = "compute", "golden"
SMALL: Manifest = {
    "maxSize": "64Mi",
    "pruneIntervalSeconds": 10,
    "terminationGracePeriodSeconds": 30,
}
"""The spec of a policy, but for its target."""
OPERATOR = ("-n", platform.OPERATOR_NAMESPACE)


class CacheSite(StoreSite):
    """A namespace with an image service, a policy and an ImagePrecache."""

    target: ClassVar[Manifest] = {"kind": "ImageService", "name": "glance"}
    """What the policy is in front of."""

    # -- what is asked for ---------------------------------------------------------------------------------------

    def policy(self, **spec: Any) -> None:
        """Make or change the policy, and wait until its pods are those of the spec on every node and serve."""
        self.put(_object(self.home, "CachePolicy", POLICY, {"targetRef": self.target, **SMALL, **spec}))
        self.wait_policy()

    def wait_policy(self, nodes: int | None = None, seconds: float = 240) -> None:
        """Wait until the policy is Ready, with so many nodes if that is said."""

        def is_ready() -> bool:
            found = self.get("cachepolicy", POLICY)
            status, conditions = found.get("status", {}), _conditions(found)
            counts = status.get("nodes", {})
            is_new = status.get("observedGeneration") == found["metadata"]["generation"]
            is_whole = len({counts.get(name) for name in ("desired", "ready", "updated")}) == 1
            is_it = nodes is None or counts.get("desired") == nodes
            return is_new and is_whole and is_it and conditions.get("Ready", {}).get("status") == "True"

        self._wait(is_ready, seconds, "the policy is Ready", "cachepolicy", POLICY)

    def want(self, *image_ids: str, **spec: Any) -> None:
        """Make or change the ImagePrecache."""
        order = {"imageServiceRef": {"name": "glance"}, "images": [{"id": image} for image in image_ids]}
        backoff = {"initialSeconds": 3, "maxSeconds": 6}
        self.put(_object(self.home, "ImagePrecache", PRECACHE, {**order, "backoff": backoff, **spec}))

    def forget(self) -> None:
        """Delete the ImagePrecache, and empty the caches once no node wants anything."""
        self.kubectl("delete", "imageprecache", PRECACHE, "--ignore-not-found", "--timeout=60s", timeout=70)

        def wants_nothing(node: str) -> bool:
            found: Manifest = json.loads(self.ask_agent(node, "/v1/status"))
            return not found["sets"]

        wait_for(lambda: all(map(wants_nothing, self.cache_pods())), 120, "no image is wanted any more", pause=0.5)
        self.command("evict", "--all")

    def reset(self, pod_security: str = "restricted", **spec: Any) -> None:
        """Begin anew, with nothing cached, a policy of this spec, and pods of this level."""
        self.allow(pod_security)
        self.policy(**spec)
        self.forget()

    def allow(self, level: str) -> None:
        """Have the namespace take pods of this Pod Security level."""
        namespace = platform.namespace(self.home)
        namespace["metadata"]["labels"] = {"pod-security.kubernetes.io/enforce": level}
        self.put(namespace)

    # -- what is told --------------------------------------------------------------------------------------------

    def precache(self) -> tuple[Manifest, dict[str, Manifest]]:
        """The status of the ImagePrecache, and its conditions."""
        found = self.get("imageprecache", PRECACHE)
        return found.get("status", {}), _conditions(found)

    def wait_reason(self, reason: str, seconds: float = 240) -> float:
        """Wait until Ready of the ImagePrecache has a reason; return how long that took, in seconds."""
        began = time.monotonic()

        def found() -> bool:
            precache = self.get("imageprecache", PRECACHE)
            is_new = precache.get("status", {}).get("observedGeneration") == precache["metadata"]["generation"]
            return is_new and _conditions(precache)["Ready"]["reason"] == reason

        self._wait(found, seconds, f"the ImagePrecache says {reason}", "imageprecache", PRECACHE)
        return time.monotonic() - began

    def wait_counts(self, seconds: float = 240, **counts: int) -> None:
        """Wait until nodes are counted so."""

        def found() -> bool:
            nodes = self.precache()[0].get("nodes", {})
            return all(nodes.get(name) == count for name, count in counts.items())

        self._wait(found, seconds, f"nodes are counted as {counts}", "imageprecache", PRECACHE)

    def _wait(self, condition: Any, seconds: float, what: str, *which: str) -> None:
        try:
            wait_for(condition, seconds, what, pause=0.3)
        except AssertionError as late:
            raise AssertionError(f"{late}: {json.dumps(self.get(*which).get('status'))}") from None

    def failing(self) -> set[tuple[str, str, str]]:
        """What the status says of images that nodes could not fetch: node, image, reason."""
        rows = self.precache()[0].get("failingNodes", [])
        return {(row["node"], row.get("imageID"), row["reason"]) for row in rows}

    # -- what is on the nodes ------------------------------------------------------------------------------------

    def cache_pods(self) -> dict[str, Manifest]:
        """Node -> pod of the policy, those on their way out left out."""
        found = self.get("pods", "-l", f"imageservice.dev/cache-policy={POLICY}")["items"]
        return {p["spec"]["nodeName"]: p for p in found if not p["metadata"].get("deletionTimestamp")}

    def command(self, *words: str) -> str:
        """Run `image-service-operator cache`."""
        action, *rest = words
        operator = Path(sys.executable).with_name("image-service-operator")
        there = ("--kubeconfig", self.cluster.kubeconfig, "--namespace", self.home)
        return str(self.cluster.run([operator, "cache", action, *there, *rest], timeout=120).stdout)

    def rows(self, node: str) -> list[list[str]]:
        """What is listed as cached on a node: id, size and its unit, hits, and when it was read last."""
        rows = [line.split() for line in self.command("list", "--node", node).splitlines()[2:]]
        return [row for row in rows if row and row[-1] == "cached"]

    def cached_on(self, node: str) -> set[str]:
        """The ids of what is cached on a node."""
        return {row[0] for row in self.rows(node)}

    def hits(self) -> dict[str, int]:
        """Node -> downloads that were served from its cache."""
        return {node: sum(int(row[3]) for row in self.rows(node)) for node in self.cache_pods()}

    def ask_agent(self, node: str, path: str) -> str:
        """What the agent of a node answers."""
        secret, *_ = self.get("secrets", "-l", f"imageservice.dev/cache-policy={POLICY}")["items"]
        headers = {"X-Image-Service-Token": base64.b64decode(secret["data"]["agent-token"]).decode()}
        url = f"http://{self.cache_pods()[node]['status']['podIP']}:9294"
        answer: bytes = self.inside(lambda: image_client.request(url, "GET", path, headers=headers).read())
        return answer.decode()

    def agent_metrics(self, node: str) -> dict[str, float]:
        """What the agent of a node tells Prometheus, by name with labels and without prefix."""
        text = self.ask_agent(node, "/metrics")
        lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
        return {name.removeprefix("image_service_"): float(value) for name, value in lines}

    # -- images --------------------------------------------------------------------------------------------------

    @property
    def centre(self) -> ImagesAt:
        """The images as the administrator sees them at the centre."""
        return self.images("glance-api", self.token())

    def images_at(self, url: str) -> ImagesAt:
        """The images as they are seen at an address."""
        return ImagesAt(self, url, self.token())

    def upload(self, count: int, mebibytes: int) -> dict[str, str]:
        """Make images that no others are like; return their ids, each with the SHA-512 of its data."""
        centre, made = self.centre, {}
        for number in range(count):
            content = random.Random(time.time()).randbytes(mebibytes * MEBIBYTE)
            image_id = centre.new(f"image-{number}", "raw")
            centre.upload_to("central", image_id, content)
            made[image_id] = hashlib.sha512(content).hexdigest()
        return made

    def data_file(self, image_id: str) -> Path:
        """The file of an image on the disk that the nodes share."""
        assert self.cluster.shared is not None
        [found] = self.cluster.shared.rglob(image_id)
        return found

    @contextmanager
    def lost(self, image_id: str) -> Iterator[None]:
        """A block during which the data of an image is gone from its store."""
        file = self.data_file(image_id)
        aside = file.with_suffix(".aside")
        file.rename(aside)
        try:
            yield
        finally:
            aside.rename(file)

    # -- what goes away ------------------------------------------------------------------------------------------

    @contextmanager
    def operator_away(self) -> Iterator[None]:
        """A block during which there is no operator."""
        [name] = self.cluster.kubectl("get", "deployment", *OPERATOR, "-o", "name").stdout.split()
        self.cluster.kubectl(*OPERATOR, "scale", name, "--replicas=0")
        try:
            wait_for(lambda: not self.operator_pods(), 60, "the pods of the operator are gone")
            yield
        finally:
            with only_on_the_last_node(self.cluster):
                self.cluster.kubectl(*OPERATOR, "scale", name, "--replicas=2")
                self.cluster.kubectl(*OPERATOR, "rollout", "status", name, "--timeout=90s", timeout=100)

    def operator_pods(self) -> list[Manifest]:
        """The pods of the operator."""
        found: list[Manifest] = self.cluster.get("pods", *OPERATOR)["items"]
        return found


def _object(home: str, kind: str, name: str, spec: Manifest) -> Manifest:
    metadata = {"name": name, "namespace": home}
    return {"apiVersion": "imageservice.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


def _conditions(found: Manifest) -> dict[str, Manifest]:
    return {condition["type"]: condition for condition in found.get("status", {}).get("conditions", [])}


def new_cache_site(cluster: Cluster, home: str, release: str = RELEASE) -> CacheSite:
    """Make a site: an ImageService with a store on a shared claim. It has no policy yet."""
    cluster.import_images(*(images.build(name) for name in ("operator", f"glance-{release}", "mariadb", "keystone")))
    site = CacheSite(cluster, home)
    with only_on_the_last_node(cluster):
        _make_service(site, release)
    return site


def _make_service(site: CacheSite, release: str) -> None:
    cluster = site.cluster
    servers = [item for server in (platform.MARIADB, platform.KEYSTONE) for item in platform.server(server, site.home)]
    cluster.apply(platform.namespace(site.home))
    cluster.apply(*servers, *platform.secrets(site.home), *platform.shared_storage(cluster, site.home))
    platform.install_operator(cluster, RELEASES)
    for name in ("mariadb", "keystone"):
        site.kubectl("rollout", "status", f"deployment/{name}", "--timeout=120s", timeout=130)
    api = {"replicas": 1, "processes": 1, "terminationGracePeriodSeconds": 30}
    site.put(platform.image_store(site.home), platform.image_service(site.home, release=release, api=api))
    site.wait_ready(seconds=240)


@contextmanager
def only_on_the_last_node(cluster: Cluster) -> Iterator[None]:
    """A block in which new pods are placed on the last node, but for those of caches."""
    *others, _ = cluster.nodes()
    for node in others:
        cluster.kubectl("cordon", node)
    try:
        yield
    finally:
        for node in others:
            cluster.kubectl("uncordon", node)


@pytest.fixture(scope=no_longer_than_needed)
def cache_site(real_cluster: Cluster) -> CacheSite:
    """A site for caches; `reset` it first."""
    return new_cache_site(real_cluster, "caches")
