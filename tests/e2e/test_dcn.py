"""A centre and an edge on real nodes with two real Ceph clusters: what the guide's chapter on edges promises.

The order matters: each class leaves things as it found them, but for the images.
"""

import hashlib
import json
import random
import time

import pytest
from tests.ceph.sites import POOL
from tests.e2e.dcn import USER, ZONE, Dcn, ceph_store, qcow2
from tests.operator_process import wait_for

pytestmark = [pytest.mark.nodes, pytest.mark.ceph, pytest.mark.timeout(900)]

HOME = "dcn"
RELEASE = "2026.1"
MEBIBYTE = 2**20
CONTENT = random.Random(5).randbytes(9 * MEBIBYTE).ljust(24 * MEBIBYTE, b"\0")
DIGEST = hashlib.sha512(CONTENT).hexdigest()
WRONG_KEY = "AQAAAAAAAAAAABAAAAAAAAAAAAAAAAAAAAAAAA=="
SOON = 60.0
"""What breaks is told by then, on the right object."""
HEAL = 150.0
"""The kubelet brings a changed Secret into pods within some 90 s."""
FORCE = "imageservice.dev/delete-with-images"


@pytest.fixture(scope="module")
def dcn(real_cluster, two_ceph_clusters_for_pods):
    """MariaDB, Keystone, the operator, and the two stores with their service, Ready."""
    return Dcn(real_cluster, HOME, two_ceph_clusters_for_pods).make(RELEASE)


@pytest.fixture(scope="module")
def centre(dcn):
    return dcn.images("glance-api", dcn.token())


@pytest.fixture(scope="module")
def edge(dcn):
    return dcn.images("glance-edge-dcn0", dcn.token())


@pytest.fixture(scope="module")
def imported(centre, tmp_path_factory):
    """The id of an image that was imported at the centre as qcow2."""
    image_id = centre.new("golden", "qcow2")
    centre.put_file(image_id, qcow2(tmp_path_factory.mktemp("image"), CONTENT), "stage")
    centre.bring(image_id, "glance-direct")
    return image_id


def secrets_of(pod):
    """The names of all Secrets that a pod mounts."""
    found = set()
    for volume in pod["spec"]["volumes"]:
        found |= {volume["secret"]["secretName"]} if "secret" in volume else set()
        for source in volume.get("projected", {}).get("sources", []):
            found |= {source["secret"]["name"]} if "secret" in source else set()
    return found


def nodes_of(pods):
    return {pod["spec"]["nodeName"] for pod in pods}


class TestWiring:
    def test_the_pods_of_the_edge_run_on_its_node_and_those_of_the_centre_on_theirs(self, dcn):
        first, second = dcn.cluster.nodes()
        assert nodes_of(dcn.pods()) == {first}
        assert nodes_of(dcn.pods("dcn0")) == {second}
        assert {name: row["ready"] for name, row in dcn.sites().items()} == {"central": True, "dcn0": True}

    def test_each_pod_mounts_the_credentials_of_its_own_stores_and_no_others(self, dcn):
        key = dcn.ceph.dcn0.user("glance-lonely", POOL)
        dcn.credentials("lonely", key=key)
        lonely = {"replicas": 1, "nodeSelector": {ZONE: "nowhere"}}
        dcn.put(ceph_store(HOME, "lonely", dcn.ceph.dcn0, ceph={"user": "glance-lonely"}, edge=lonely))
        try:
            dcn.wait_store("lonely", "NoNodeMatches", "Attached", 120)
            stores = {"central": "glance-store-central", "dcn0": "glance-store-dcn0", "lonely": "glance-store-lonely"}
            wait_for(
                lambda: all(set(stores.values()) <= secrets_of(pod) for pod in dcn.pods()),
                120,
                "the centre mounts all three",
            )
            for pod in dcn.pods("dcn0"):
                assert secrets_of(pod) & set(stores.values()) == {stores["central"], stores["dcn0"]}
            [waiting] = dcn.pods("lonely")
            assert secrets_of(waiting) & set(stores.values()) == {stores["central"], stores["lonely"]}
            assert dcn.sites()["lonely"]["reason"] == "NoNodeMatches"
            assert dcn.verdict("lonely")[0] == "False"
            assert {name: dcn.verdict(name)[1] for name in ("central", "dcn0")} == {"central": "Ready", "dcn0": "Ready"}
        finally:
            dcn.kubectl("delete", "imagestore", "lonely", "--timeout=90s", timeout=100)
        wait_for(lambda: not dcn.pods("lonely"), 60, "the edge is gone with its store")
        dcn.wait_ready()


class TestImages:
    def test_what_is_imported_as_qcow2_is_raw_in_ceph(self, dcn, centre, imported):
        assert centre.record(imported)["disk_format"] == "raw"
        assert centre.stores_of(imported) == {"central"}
        assert dcn.ceph.central.export(POOL, imported) == DIGEST
        assert dcn.ceph.central.snapshots(POOL, imported) == {"snap": True}

    def test_it_is_copied_to_the_edge_and_reads_back_bit_for_bit_there(self, dcn, centre, edge, imported):
        centre.bring(imported, "copy-image", stores=["dcn0"])
        assert centre.stores_of(imported) == {"central", "dcn0"}
        assert dcn.ceph.dcn0.export(POOL, imported) == DIGEST
        assert edge.digest(imported) == DIGEST

    def test_an_upload_at_the_edge_lands_in_its_own_store_and_the_centre_serves_it(self, dcn, centre, edge, tmp_path):
        file = tmp_path / "edge.raw"
        file.write_bytes(CONTENT[: 5 * MEBIBYTE])
        image_id = edge.new("made-at-the-edge", "raw")
        edge.put_file(image_id, file)
        assert edge.stores_of(image_id) == {"dcn0"}
        assert image_id in dcn.ceph.dcn0.images(POOL)
        assert centre.digest(image_id) == hashlib.sha512(file.read_bytes()).hexdigest()


class TestStoresComeAndGo:
    def test_a_store_is_added_and_removed_and_no_request_fails(self, dcn):
        key = dcn.ceph.dcn0.user("glance-third", POOL)
        dcn.credentials("third", key=key)
        with dcn.loop(seconds=600) as report:
            before = dcn.uids()
            dcn.put(ceph_store(HOME, "third", dcn.ceph.dcn0, ceph={"user": "glance-third"}))
            dcn.wait_store("third", "Ready", seconds=240)
            between = dcn.uids()
            assert not before & between
            dcn.kubectl("delete", "imagestore", "third", "--timeout=90s", timeout=100)
            wait_for(lambda: not between & dcn.uids(), 240, "the centre rolls again")
            dcn.kubectl("rollout", "status", "deployment/glance-api", "--timeout=180s", timeout=190)
            dcn.wait_ready(seconds=180)
        print(json.dumps(report))
        assert report["failed"] == 0, report["failures"]
        assert report["uploads"] > 5


class TestFaults:
    def test_with_the_centres_storage_frozen_the_edge_boots_serves_and_says_so(self, dcn, edge, imported):
        with dcn.ceph.central.frozen_osd():
            took = dcn.wait_store("central", "StorageNotResponding", "Reachable", SOON)
            print(f"the frozen storage was told after {took:.0f} s")
            [pod] = dcn.pods("dcn0")
            dcn.kubectl("delete", "pod", pod["metadata"]["name"], "--grace-period=1", "--wait=false")
            wait_for(
                lambda: (
                    dcn.pods("dcn0") and not dcn.uids("dcn0") & {pod["metadata"]["uid"]} and ready(dcn.pods("dcn0"))
                ),
                120,
                "a new pod of the edge is ready",
            )
            assert edge.digest(imported) == DIGEST
            assert dcn.verdict("dcn0") == ("True", "Ready")
            assert dcn.verdict("central")[0] == "False"
            dcn.wait_ready(seconds=60)
        took = dcn.wait_store("central", "Ready", seconds=SOON)
        print(f"it was well again after {took:.0f} s")
        dcn.wait_store("dcn0", "Ready", seconds=SOON)

    def test_a_rotated_key_reaches_the_pods_and_no_pod_is_replaced(self, dcn, edge, imported):
        before = dcn.uids(), dcn.uids("dcn0")
        key = dcn.ceph.dcn0.rotate(USER)
        dcn.wait_store("dcn0", "KeyringRefused", "Reachable", SOON)
        dcn.credentials("dcn0", userID=USER, userKey=key)
        took = dcn.wait_store("dcn0", "Ready", seconds=HEAL)
        print(f"the new key was in the pods after {took:.0f} s")
        assert edge.digest(imported) == DIGEST
        assert (dcn.uids(), dcn.uids("dcn0")) == before
        assert dcn.verdict("central") == ("True", "Ready")

    def test_each_fault_of_a_store_has_its_own_reason_and_disturbs_no_other(self, dcn):
        key = dcn.ceph.dcn0.user("glance-odd", POOL)
        odd = {"user": "glance-odd"}
        dcn.credentials("odd", key=key)
        dcn.put(ceph_store(HOME, "odd", dcn.ceph.dcn0, ceph=odd))
        dcn.wait_store("odd", "Ready", seconds=240)
        told = {}
        try:
            others = dcn.uids("dcn0")
            dcn.credentials("odd", key=WRONG_KEY)
            told["a wrong keyring"] = dcn.wait_store("odd", "KeyringRefused", "Reachable", HEAL)
            dcn.credentials("odd", nothing="here")
            told["a missing key"] = dcn.wait_store("odd", "InvalidCephCredentials", "CredentialsValid", SOON)
            assert dcn.verdict("odd", "Attached")[0] == "True", "its pods go on with what they have"
            dcn.credentials("odd", key=key)
            told["mended"] = dcn.wait_store("odd", "Ready", seconds=HEAL)
            for what, ceph, reason in (
                ("a missing pool", {"pool": "no-such-pool"}, "PoolNotFound"),
                ("a wrong fsid", {"fsid": dcn.ceph.central.fsid}, "WrongCluster"),
                ("a dead monitor", {"monitors": ["198.18.0.1:9"]}, "MonitorsUnreachable"),
            ):
                dcn.put(ceph_store(HOME, "odd", dcn.ceph.dcn0, ceph=odd | ceph))
                told[what] = dcn.wait_store("odd", reason, "Reachable", 180)
            assert dcn.uids("dcn0") == others, "the edge was never touched"
            assert {name: dcn.verdict(name)[1] for name in ("central", "dcn0")} == {"central": "Ready", "dcn0": "Ready"}
        finally:
            dcn.kubectl("annotate", "imagestore", "odd", f"{FORCE}=true")
            dcn.kubectl("delete", "imagestore", "odd", "--timeout=60s", timeout=70)
        print(", ".join(f"{what}: {seconds:.0f} s" for what, seconds in told.items()))
        dcn.wait_ready(seconds=180)


class TestLeaving:
    def test_a_store_with_images_stays_until_they_are_gone_from_it(self, dcn, centre, imported):
        dcn.kubectl("delete", "imagestore", "dcn0", "--wait=false")
        dcn.wait_store("dcn0", "HoldsImages", "DeletionBlocked", SOON)
        conditions = {c["type"]: c for c in dcn.store("dcn0")["status"]["conditions"]}
        assert conditions["DeletionBlocked"]["message"].startswith("2 images are in the store, 1 of them nowhere else.")
        assert dcn.pods("dcn0"), "it is served all the while"
        centre.take(imported, "dcn0")
        found = centre.ask("GET", "/v2/images?limit=100")["images"]
        for record in found:
            if record.get("stores") == "dcn0":
                centre.ask("DELETE", f"/v2/images/{record['id']}")
        wait_for(lambda: not dcn.cluster.find("imagestore", "dcn0", HOME), SOON, "the store is gone")
        wait_for(lambda: not dcn.pods("dcn0"), 120, "its edge is gone")
        assert centre.digest(imported) == DIGEST

    def test_the_namespace_goes_although_stores_hold_images(self, dcn):
        time.sleep(2)
        dcn.cluster.kubectl("delete", "namespace", HOME, "--timeout=150s", timeout=160)


def ready(pods):
    conditions = [c for pod in pods for c in pod["status"].get("conditions", []) if c["type"] == "Ready"]
    return len(conditions) == len(pods) and all(c["status"] == "True" for c in conditions)
