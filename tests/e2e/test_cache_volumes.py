"""The volumes of a cache on real nodes: filled, and as they should be when the pod is replaced."""

import re
import subprocess
from pathlib import Path

import pytest
from demo import platform
from tests.e2e.cache_pods import pods_of
from tests.operator_process import wait_for

pytestmark = [pytest.mark.nodes, pytest.mark.caches, pytest.mark.timeout(900)]

GUIDE = Path(__file__).parents[2] / "docs" / "caching.md"
CLASS = "node-disks"
DISK_MEBIBYTES = 256


@pytest.fixture(scope="module")
def site(cache_site):
    cache_site.reset()
    return cache_site


@pytest.fixture(scope="module")
def images(site):
    return list(site.upload(2, 4))


def on(site, node, *words):
    """Run a command on a node."""
    subprocess.run(site.cluster.node_command(node, words), check=True, capture_output=True, timeout=60)


def replace_pods(site):
    """Delete the pods of the policy; return the new ones once they serve."""
    before = pods_of(site)
    for pod in site.cache_pods().values():
        site.kubectl("delete", "pod", pod["metadata"]["name"], "--timeout=60s", timeout=70)
    site.wait_policy(nodes=2)
    after = pods_of(site)
    assert not {pod.uid for pod in before.values()} & {pod.uid for pod in after.values()}
    return after


def inodes(pods, images):
    return {(node, image): (pod.directory() / image).stat().st_ino for node, pod in pods.items() for image in images}


def fetched(site):
    """Node -> bytes that its agent has fetched since its start."""
    return {node: site.agent_metrics(node)["prefetch_fetched_bytes_total"] for node in site.cluster.nodes()}


def runs_as(pod):
    """The users of all processes of a pod."""
    return {Path(f"/proc/{process.pid}").stat().st_uid for process in pod.processes()}


def test_a_replaced_pod_with_a_directory_of_its_own_is_filled_again(site, images):
    site.want(*images)
    site.wait_reason("Ready")
    for pod in replace_pods(site).values():
        pod.wait_until_it_holds(*images)
    site.wait_reason("Ready")


def test_a_directory_of_the_node_made_as_the_guide_says_keeps_its_images(site, images):
    [command, path] = re.search(r"`(install -d .* (/\S+))`", GUIDE.read_text()).groups()
    for node in site.cluster.nodes():
        on(site, node, *command.split())
    site.allow("privileged")
    site.policy(volume={"type": "HostPath", "hostPath": {"path": path}})
    site.want(*images)
    site.wait_reason("Ready")
    before = inodes(pods_of(site), images)
    after = replace_pods(site)
    assert {uid for pod in after.values() for uid in runs_as(pod)} == {platform.GLANCE_UID}
    site.wait_reason("Ready")
    assert inodes(after, images) == before
    assert set(fetched(site).values()) == {0}, "nothing was fetched again"
    site.forget()


def test_a_volume_of_a_storage_class_is_filled_and_the_next_one_again(site, images):
    site.allow("restricted")
    site.put(*disks(site))
    site.policy(volume={"type": "Ephemeral", "ephemeral": {"storageClassName": CLASS}}, maxSize="128Mi")
    site.want(*images)
    site.wait_reason("Ready")
    before = claims(site)
    assert len(before) == 2
    for pod in replace_pods(site).values():
        pod.wait_until_it_holds(*images)
    site.wait_reason("Ready")
    wait_for(lambda: not before & claims(site), 60, "the claims of the old pods are gone")
    assert len(claims(site)) == 2


def claims(site):
    """The uids of the claims of the policy's pods."""
    found = site.get("persistentvolumeclaims")["items"]
    return {claim["metadata"]["uid"] for claim in found if claim["spec"].get("storageClassName") == CLASS}


def disks(site):
    """Two disks on each node, of which each is used once, and the storage class that gives them away."""
    storage_class = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": CLASS},
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    made = [storage_class]
    for node in site.cluster.nodes():
        for number in (1, 2):
            name = f"{node}-disk-{number}"
            on(site, node, "sh", "-c", _MAKE_DISK, f"/srv/{name}", f"{DISK_MEBIBYTES}M")
            made.append(_volume(name, node, f"/srv/{name}"))
    return made


_MAKE_DISK = """
set -e
truncate --size="$1" "$0.img"
mkfs.ext4 -q -F "$0.img"
mkdir "$0"
mount -o loop "$0.img" "$0"
"""


def _volume(name, node, path):
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": f"{DISK_MEBIBYTES}Mi"},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": CLASS,
            "persistentVolumeReclaimPolicy": "Retain",
            "local": {"path": path},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        },
    }
