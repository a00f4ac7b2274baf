"""Caches on real nodes: filled by themselves, read on their own node, and mended where an image is bad."""

import hashlib
import json
import random
import signal
import sys
import time
from pathlib import Path

import pytest
from demo import platform
from tests.cluster import images
from tests.cluster.errors import ClusterError
from tests.e2e.store_site import StoreSite
from tests.operator_process import wait_for

pytestmark = [pytest.mark.nodes, pytest.mark.timeout(600)]

RELEASE = "2026.1"
SIZE = 6 * 2**20
CONTENTS = {name: random.Random(seed).randbytes(SIZE) for seed, name in enumerate(("one", "bad", "two"))}
NODES = ("node-1", "node-2")


class CacheSite(StoreSite):
    """A namespace with caches."""

    def precache(self, name="golden"):
        found = self.get("imageprecache", name)
        conditions = {c["type"]: c for c in found.get("status", {}).get("conditions", [])}
        return found.get("status", {}), conditions

    def cache_pods(self):
        """Node -> pod of the policy."""
        found = self.get("pods", "-l", "imageservice.dev/cache-policy=compute")["items"]
        return {p["spec"]["nodeName"]: p for p in found if not p["metadata"].get("deletionTimestamp")}

    def command(self, *words):
        """Run `image-service-operator cache`."""
        action, *rest = words
        operator = Path(sys.executable).with_name("image-service-operator")
        there = ("--kubeconfig", self.cluster.kubeconfig, "--namespace", self.home)
        return str(self.cluster.run([operator, "cache", action, *there, *rest], timeout=120).stdout)

    def cached_on(self, node):
        """The ids of what is cached on a node."""
        return {row[0] for row in self.rows(node)}

    def hits(self):
        """Node -> downloads that were served from its cache."""
        return {node: sum(int(row[3]) for row in self.rows(node)) for node in NODES}

    def rows(self, node):
        """What is listed as cached on a node: id, size and its unit, hits, and when it was read last."""
        rows = [line.split() for line in self.command("list", "--node", node).splitlines()[2:]]
        return [row for row in rows if row and row[-1] == "cached"]


@pytest.fixture(scope="module")
def site(real_cluster):
    """An ImageService with a store on a shared claim, and a policy for both nodes."""
    real_cluster.import_images(
        *(images.build(name) for name in ("operator", f"glance-{RELEASE}", "mariadb", "keystone"))
    )
    site = CacheSite(real_cluster, "caches")
    namespace = platform.namespace(site.home)
    namespace["metadata"]["labels"] = {"pod-security.kubernetes.io/enforce": "restricted"}
    real_cluster.apply(namespace)
    servers = [item for server in (platform.MARIADB, platform.KEYSTONE) for item in platform.server(server, site.home)]
    real_cluster.apply(*servers, *platform.secrets(site.home), *platform.shared_storage(real_cluster, site.home))
    platform.install_operator(real_cluster, (RELEASE,))
    for name in ("mariadb", "keystone"):
        site.kubectl("rollout", "status", f"deployment/{name}", "--timeout=120s", timeout=130)
    api = {"replicas": 1, "processes": 1, "terminationGracePeriodSeconds": 30}
    policy = {"targetRef": {"kind": "ImageService", "name": "glance"}, "maxSize": "64Mi"}
    site.put(
        platform.image_store(site.home),
        platform.image_service(site.home, release=RELEASE, api=api),
        {
            "apiVersion": "imageservice.dev/v1alpha1",
            "kind": "CachePolicy",
            "metadata": {"name": "compute", "namespace": site.home},
            "spec": {**policy, "terminationGracePeriodSeconds": 30, "pruneIntervalSeconds": 10},
        },
    )
    site.wait_ready(seconds=240)
    return site


@pytest.fixture(scope="module")
def centre(site):
    return site.images("glance-api", site.token())


@pytest.fixture(scope="module")
def ids(site, centre):
    """Three images, the data of the second of which is gone from its store."""
    found = {}
    for name, content in CONTENTS.items():
        found[name] = centre.new(name, "raw")
        centre.upload_to("central", found[name], content)
    return found


def data_file(site, image_id):
    """The file of an image on the disk that the nodes share."""
    [found] = site.cluster.shared.rglob(image_id)
    return found


def wanted(site, *image_ids, **spec):
    order = {"imageServiceRef": {"name": "glance"}, "images": [{"id": image} for image in image_ids]}
    backoff = {"initialSeconds": 3, "maxSeconds": 6}
    site.put(
        {
            "apiVersion": "imageservice.dev/v1alpha1",
            "kind": "ImagePrecache",
            "metadata": {"name": "golden", "namespace": site.home},
            "spec": {**order, "backoff": backoff, **spec},
        }
    )


def wait_reason(site, reason, seconds=120):
    began = time.monotonic()

    def found():
        status, conditions = site.precache()
        generation = site.get("imageprecache", "golden")["metadata"]["generation"]
        return status.get("observedGeneration") == generation and conditions["Ready"]["reason"] == reason

    try:
        wait_for(found, seconds, f"the ImagePrecache says {reason}")
    except AssertionError as late:
        raise AssertionError(f"{late}: {json.dumps(site.precache()[0])}") from None
    return time.monotonic() - began


def failing(site):
    """What the status says of images that nodes could not fetch."""
    rows = site.precache()[0].get("failingNodes", [])
    return {(row["node"], row.get("imageID"), row["reason"]) for row in rows}


def test_every_node_of_the_policy_serves_a_cache(site):
    waited = site.kubectl(
        "wait", "cachepolicy/compute", "--for=condition=Ready", "--timeout=120s", check=False, timeout=130
    )
    assert waited.returncode == 0, json.dumps(site.get("cachepolicy", "compute").get("status"))
    assert set(site.cache_pods()) == set(NODES)
    assert site.get("cachepolicy", "compute")["status"]["nodes"] == {"desired": 2, "ready": 2, "updated": 2}


def test_good_images_are_everywhere_and_the_bad_one_is_named_on_each_node(site, ids):
    bad = data_file(site, ids["bad"])
    aside = bad.with_suffix(".aside")
    bad.rename(aside)
    try:
        wanted(site, ids["one"], ids["bad"], ids["two"])
        print(f"told after {wait_reason(site, 'FetchFailed'):.0f} s")
        wait_for(
            lambda: all(site.cached_on(node) == {ids["one"], ids["two"]} for node in NODES), 60, "the good are cached"
        )
        named = {(node, ids["bad"], "DataMissing") for node in NODES}
        # One node fails before the other, and while one tries again it fetches; the tables are written every 10 s.
        wait_for(lambda: failing(site) == named, 60, f"{named} is told; there is {failing(site)}")
    finally:
        aside.rename(bad)
    print(f"all there {wait_reason(site, 'Ready'):.0f} s after it was mended")
    assert all(site.cached_on(node) == set(ids.values()) for node in NODES)
    assert site.precache()[0]["progressPercent"] == 100


def test_a_read_through_the_service_stays_on_its_node(site, ids):
    pods, before = site.cache_pods(), site.hits()
    script = (
        "import hashlib,sys,urllib.request as r;"
        "q=r.Request(sys.argv[1],headers={'X-Auth-Token':sys.argv[2]});"
        "print(hashlib.sha512(r.urlopen(q,timeout=60).read()).hexdigest())"
    )
    url = f"http://compute-cache.{site.home}.svc.cluster.local:9292/v2/images/{ids['one']}/file"
    pod = pods["node-1"]["metadata"]["name"]
    for _ in range(5):
        said = site.kubectl("exec", pod, "-c", "glance-api", "--", "python3", "-c", script, url, site.token()).stdout
        assert said.strip() == hashlib.sha512(CONTENTS["one"]).hexdigest()

    def counted():
        after = site.hits()
        return after["node-1"] == before["node-1"] + 5 and after["node-2"] == before["node-2"]

    wait_for(counted, 90, f"five more hits on node-1 and none elsewhere, than {before}")


def test_an_agent_that_is_killed_and_an_operator_that_is_away_leave_nothing_unfilled(site, ids):
    operator = ("deployment", "-n", "image-service-operator", "-o", "name")
    [name] = site.cluster.kubectl("get", *operator).stdout.split()
    site.cluster.kubectl("-n", "image-service-operator", "scale", name, "--replicas=0")
    try:
        for node in NODES:
            site.command("evict", ids["two"], "--node", node, "--force")
        for pod in site.cache_pods().values():
            site.kubectl(
                "exec",
                pod["metadata"]["name"],
                "-c",
                "cache-agent",
                "--",
                "python3",
                "-c",
                f"import os; os.kill(1, {int(signal.SIGTERM)})",
                check=False,
            )

        def is_back():
            try:
                return all(ids["two"] in site.cached_on(node) for node in NODES)
            except ClusterError:
                return False  # the container has not started again yet

        wait_for(is_back, 120, "it is back on both nodes")
    finally:
        site.cluster.kubectl("-n", "image-service-operator", "scale", name, "--replicas=2")


def test_what_nobody_wants_any_more_is_forgotten_by_the_nodes(site, ids):
    site.kubectl("delete", "imageprecache", "golden")

    def forgotten():
        return all(line.split()[-3:] == ["0", "0", "0"] for line in site.command("status").splitlines()[1:])

    wait_for(forgotten, 120, "no image is wanted any more")
    site.command("evict", "--all")
    assert all(site.cached_on(node) == set() for node in NODES)
