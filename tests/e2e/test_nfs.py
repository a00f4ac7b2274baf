"""A store on NFS whose share hangs, is lost and comes back, on real nodes, beside one that is well.

The order matters: the share is taken away step by step. What stands in for NFS is told in `share.py`.
"""

import hashlib
import json
import random
import signal
import time

import pytest
from demo import image_client, platform
from tests.cluster import images
from tests.e2e.share import EXPORT, SERVER, Share
from tests.e2e.store_site import StoreSite
from tests.operator_process import wait_for

pytestmark = [pytest.mark.nodes, pytest.mark.ceph, pytest.mark.timeout(600)]

RELEASE = "2026.1"
CONTENT = random.Random(7).randbytes(5 * 2**20)
DIGEST = hashlib.sha512(CONTENT).hexdigest()
SOON = 60.0
"""What breaks is told by then."""
MONITOR_PORT = 9293


@pytest.fixture(scope="module")
def share(real_cluster):
    return Share(real_cluster, "nfs-export")


@pytest.fixture(scope="module")
def site(real_cluster, share):
    """An ImageService with its default store on a claim and a second one on the share, all Ready."""
    real_cluster.import_images(
        *(images.build(name) for name in ("operator", f"glance-{RELEASE}", "mariadb", "keystone"))
    )
    site = StoreSite(real_cluster, "nfs")
    namespace = platform.namespace(site.home)
    namespace["metadata"]["labels"] = {"pod-security.kubernetes.io/enforce": "privileged"}  # the volume is inline
    real_cluster.apply(namespace)
    servers = [item for server in (platform.MARIADB, platform.KEYSTONE) for item in platform.server(server, site.home)]
    storage = platform.shared_storage(real_cluster, site.home)
    real_cluster.apply(*servers, *platform.secrets(site.home), *storage)
    platform.install_operator(real_cluster, (RELEASE,))
    for name in ("mariadb", "keystone"):
        site.kubectl("rollout", "status", f"deployment/{name}", "--timeout=120s", timeout=130)
    volume = {"type": "NFS", "nfs": {"server": SERVER, "path": EXPORT}}
    api = {"replicas": 2, "processes": 1, "terminationGracePeriodSeconds": 30}
    site.put(
        platform.image_store(site.home),
        platform.image_store(site.home, "share", filesystem={"volume": volume}),
        platform.image_service(site.home, release=RELEASE, defaultStore="central", api=api),
    )
    site.wait_ready(seconds=240)
    for store in ("central", "share"):
        site.wait_store(store, "Ready")
    return site


@pytest.fixture(scope="module")
def centre(site):
    return site.images("glance-api", site.token())


def upload(centre, name):
    """Upload an image into the store on the share; return its id."""
    image_id = centre.new(name, "raw")
    centre.upload_to("share", image_id, CONTENT)
    return image_id


def assert_refused(centre, name):
    """Try to upload an image into the store on the share; it may be refused before it is read to its end."""
    image_id = centre.new(name, "raw")
    with pytest.raises((image_client.Refused, ConnectionError)):
        centre.upload_to("share", image_id, CONTENT)
    assert centre.record(image_id)["status"] == "queued"


@pytest.fixture(scope="module")
def image(centre):
    return upload(centre, "before")


def metric(site, name):
    """What the monitors of all API pods say of the share."""
    found = []
    for pod in site.pods():
        url = f"http://{pod['status']['podIP']}:{MONITOR_PORT}"
        text = site.inside(lambda url=url: image_client.request(url, "GET", "/metrics").read().decode())
        [line] = [line for line in text.splitlines() if line.startswith(f'image_service_store_{name}{{store="share"}}')]
        found.append(float(line.split()[-1]))
    return found


def wait_told(site, reason, words=""):
    """Wait until the share's object says so; return after how many seconds it did."""
    seconds = site.wait_store("share", reason, "Reachable", SOON)
    if words:
        wait_for(lambda: words in message(site), SOON, f"{words!r} in the message")
    assert site.verdict("central") == ("True", "Ready")
    return seconds


def message(site):
    conditions = site.store("share")["status"]["conditions"]
    return next(c["message"] for c in conditions if c["type"] == "Reachable")


def restart_containers(site):
    """End the API in every pod; the kubelet starts it anew in the same pod, with the volumes as they are."""
    before = {pod["metadata"]["name"]: restarts(pod) for pod in site.pods()}
    for name in before:
        for container in ("glance-api", "store-monitor"):
            site.kubectl("exec", name, "-c", container, "--", "python3", "-c", "import os; os.kill(1, 15)", check=False)
    wait_for(
        lambda: all(restarts(pod) == before[pod["metadata"]["name"]] + 2 for pod in site.pods()), 120, "new containers"
    )
    site.kubectl("wait", "pod", "-l", "app.kubernetes.io/component=api", "--for=condition=Ready", "--timeout=90s")


def restarts(pod):
    return sum(one["restartCount"] for one in pod["status"].get("containerStatuses", []))


def test_an_image_in_the_store_lies_on_the_share(site, share, image):
    assert (share.directory / image).read_bytes() == CONTENT
    assert metric(site, "mounted") == [1.0, 1.0]
    assert sum(len(share.mount_points(node)) for node in site.cluster.nodes()) == 2


def test_a_share_that_hangs_is_told_disturbs_no_other_store_and_is_back_by_itself(site, centre, share, image):
    with site.loop() as report:
        assert share.signal(signal.SIGSTOP) == 2
        seconds = wait_told(site, "StorageNotResponding")
        assert metric(site, "reachable") == [0.0, 0.0]
        time.sleep(20)
        share.signal(signal.SIGCONT)
        back = site.wait_store("share", "Ready", seconds=SOON)
    print(f"hangs: told after {seconds:.0f} s, back after {back:.0f} s; {json.dumps(report)}")
    assert report["failed"] == 0
    assert report["uploads"] > 5
    assert centre.digest(image) == DIGEST
    assert len(site.pods()) == 2


def test_a_share_that_is_lost_is_told_and_takes_no_image(site, centre, share):
    with site.loop() as report:
        assert share.signal(signal.SIGKILL) == 2
        seconds = wait_told(site, "NotMounted")
        assert metric(site, "mounted") == [0.0, 0.0]
        assert_refused(centre, "lost")
    print(f"lost: told after {seconds:.0f} s; {json.dumps(report)}")
    assert report["failed"] == 0


def test_nothing_is_ever_written_to_the_bare_mount_point(site, centre, share):
    """Containers that start now find the directory on which the node had the share."""
    bare = share.lose()
    assert len(bare) == 2
    restart_containers(site)
    wait_told(site, "NotMounted", "lost the share")
    assert metric(site, "mounted") == [0.0, 0.0]
    assert_refused(centre, "bare")
    for node, point in bare:
        assert share.run(node, "find", str(point), "-mindepth", "1") == ""


def test_new_pods_mount_the_share_anew_and_its_images_are_there(site, centre, share, image):
    site.kubectl("delete", "pod", "-l", "app.kubernetes.io/component=api", "--wait=true", timeout=120)
    back = site.wait_store("share", "Ready", seconds=120)
    print(f"back after {back:.0f} s")
    assert metric(site, "mounted") == [1.0, 1.0]
    assert centre.digest(image) == DIGEST
    assert {path.name for path in share.directory.iterdir()} == {image}
