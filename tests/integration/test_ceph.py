"""The Ceph clusters of the tests: that they are real, break as real ones do, and that nothing stays of them."""

import contextlib
import hashlib
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.ceph.cluster import CephCluster, running
from tests.ceph.settings import keyring
from tests.ceph.sites import POOL, TwoClusters
from tests.cluster import leftovers
from tests.cluster.cluster import Cluster
from tests.cluster.errors import ClusterError
from tests.cluster.state import State
from tests.waiting import wait_for

pytestmark = pytest.mark.ceph

MEBIBYTE = 2**20
_OWNER = """
import sys, time
from pathlib import Path
from tests.ceph.cluster import running
with running(Path(sys.argv[1])):
    print("up", flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def ceph(two_ceph_clusters: TwoClusters) -> CephCluster:
    return two_ceph_clusters.central


@contextlib.contextmanager
def a_file(directory: Path, size: int, *written: tuple[int, bytes]) -> Iterator[Path]:
    """A sparse file of some size with data at some places."""
    file = directory / "image.raw"
    with file.open("wb") as image:
        image.truncate(size)
        for place, data in written:
            image.seek(place)
            image.write(data)
    yield file
    file.unlink()


def put(ceph: CephCluster, name: str, file: Path) -> None:
    ceph.rbd("import", "--no-progress", file, f"{POOL}/{name}")


class Client:
    """Somebody with a key of his own, who knows the monitor and nothing else."""

    def __init__(self, ceph: CephCluster, directory: Path, user: str, key: str) -> None:
        self.ceph = ceph
        self.file = directory / f"client.{user}.keyring"
        self.file.write_text(keyring(f"client.{user}", key))
        self.user = user

    def refusal(self, *arguments: str, seconds: float = 20) -> str:
        """Run `rbd`; what it says where it is refused, nothing where it is not."""
        done = subprocess.run(self.words(*arguments), capture_output=True, text=True, timeout=seconds, check=False)
        return done.stderr if done.returncode else ""

    def words(self, *arguments: str) -> list[str]:
        """The words that run `rbd` as that user."""
        place = ("--mon-host", self.ceph.monitors[0], "--keyring", str(self.file), "--id", self.user)
        return ["rbd", "--conf", "/dev/null", *place, *arguments]


def test_two_clusters_are_two(two_ceph_clusters: TwoClusters, tmp_path: Path) -> None:
    central, dcn0 = two_ceph_clusters
    assert central.fsid != dcn0.fsid
    with a_file(tmp_path, MEBIBYTE) as file:
        put(central, "only-central", file)
    try:
        assert "only-central" in central.images(POOL)
        assert "only-central" not in dcn0.images(POOL)
    finally:
        central.rbd("rm", "--no-progress", f"{POOL}/only-central")


def test_data_comes_back_and_holes_take_no_space(ceph: CephCluster, tmp_path: Path) -> None:
    data = random.Random(5).randbytes(3 * MEBIBYTE)
    with a_file(tmp_path, 64 * MEBIBYTE, (20 * MEBIBYTE, data)) as file:
        wanted = hashlib.sha512(file.read_bytes()).hexdigest()
        put(ceph, "sparse", file)
    try:
        assert ceph.export(POOL, "sparse") == wanted
        assert ceph.virtual_bytes(POOL, "sparse") == 64 * MEBIBYTE
        assert ceph.allocated_bytes(POOL, "sparse") == len(data)
        assert ceph.snapshots(POOL, "sparse") == {}
        ceph.rbd("snap", "create", "--no-progress", f"{POOL}/sparse@snap")
        ceph.rbd("snap", "protect", f"{POOL}/sparse@snap")
        assert ceph.snapshots(POOL, "sparse") == {"snap": True}
        ceph.rbd("snap", "unprotect", f"{POOL}/sparse@snap")
    finally:
        ceph.rbd("snap", "purge", "--no-progress", f"{POOL}/sparse")
        ceph.rbd("rm", "--no-progress", f"{POOL}/sparse")


def test_an_export_of_what_is_not_there_says_so(ceph: CephCluster) -> None:
    with pytest.raises(ClusterError, match=r"images/absent cannot be exported.*No such file"):
        ceph.export(POOL, "absent")


def test_a_user_has_the_rights_on_one_pool_and_only_with_the_key_of_today(ceph: CephCluster, tmp_path: Path) -> None:
    ceph.create_pool("other")
    try:
        old = ceph.user("glance-here", POOL)
        assert ceph.key("glance-here") == old
        client = Client(ceph, tmp_path, "glance-here", old)
        assert client.refusal("ls", POOL) == ""
        assert "Operation not permitted" in client.refusal("ls", "other")

        new = ceph.rotate("glance-here")
        assert "Permission denied" in client.refusal("ls", POOL)
        client = Client(ceph, tmp_path, "glance-here", new)
        assert client.refusal("ls", POOL) == ""
        assert "Operation not permitted" in client.refusal("ls", "other")

        ceph.remove_user("glance-here")
        assert "Permission denied" in client.refusal("ls", POOL)
    finally:
        ceph.delete_pool("other")


def test_the_monitor_is_found_by_its_plain_address_too(ceph: CephCluster) -> None:
    words = ["ceph", "--mon-host", ceph.plain_monitors[0], "--connect-timeout", "20", "fsid"]
    administrator = ["--conf", "/dev/null", "--keyring", str(ceph.conf.parent / "client.admin.keyring")]
    done = subprocess.run([*words, *administrator], capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout.strip() == ceph.fsid, done.stderr


def test_a_frozen_osd_holds_up_what_reads_and_not_what_asks(ceph: CephCluster) -> None:
    before = ceph.rbd("ls", POOL)
    with ceph.frozen_osd():
        assert ceph.osd_is_up()
        with pytest.raises(ClusterError, match="no end within 3 s"):
            ceph.rbd("ls", POOL, seconds=3)
    assert ceph.rbd("ls", POOL, seconds=20) == before


def test_a_stopped_monitor_refuses_connections_until_it_is_back(ceph: CephCluster) -> None:
    before, images = ceph.fsid, ceph.images(POOL)
    with ceph.stopped_monitor(), pytest.raises(ClusterError, match=r"timed out|error connecting"):
        ceph.ceph("--connect-timeout", "2", "fsid")
    assert ceph.ceph("fsid").strip() == before
    assert ceph.images(POOL) == images


def test_nothing_is_left_of_a_cluster_that_ended(tmp_path: Path) -> None:
    began = time.monotonic()
    with running(tmp_path) as cluster:
        print(f"ready after {time.monotonic() - began:.1f} s")
        assert leftovers.of(tmp_path / "ceph", cluster.fsid), "this test would prove nothing"
        cluster.freeze_osd()
    assert leftovers.of(tmp_path / "ceph", cluster.fsid) == []


@pytest.mark.parametrize("moment", ["ready", "starting"])
def test_nothing_is_left_when_the_owner_of_a_cluster_is_killed(tmp_path: Path, moment: str) -> None:
    root = tmp_path / "ceph"
    words = [sys.executable, "-c", _OWNER, str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout
        if moment == "ready":
            assert owner.stdout.readline() == "up\n"
        else:
            wait_for((root / "process" / "ceph-mgr").exists, 60, "the manager's process", pause=0.01)
        owner.send_signal(signal.SIGKILL)
    identity = State(root).settings()["id"]
    left = [entry for entry in leftovers.of(root, identity) if entry.startswith("process")]
    assert len(left) >= 2, f"what is looked for below was never there: {left}"
    sweep = [sys.executable, "-m", "tests.cluster", "sweep"]
    said = subprocess.run(sweep, check=True, capture_output=True, text=True, timeout=60).stderr
    assert f"removed what a dead run left: {root}" in said
    assert leftovers.of(root, identity) == []


@pytest.mark.nodes
def test_nodes_reach_both_clusters_and_the_machine_does_not(
    real_cluster: Cluster, two_ceph_clusters_for_pods: TwoClusters, tmp_path: Path
) -> None:
    for ceph in two_ceph_clusters_for_pods:
        client = Client(ceph, tmp_path, "glance", ceph.user("glance", POOL))
        with a_file(tmp_path, MEBIBYTE, (0, b"from afar")) as file:
            put(ceph, "seen", file)
        export = client.words("export", "--no-progress", f"{POOL}/seen", "-")
        for node in real_cluster.nodes():
            command = real_cluster.node_command(node, export)
            read = subprocess.run(command, capture_output=True, timeout=30, check=False)
            assert read.stdout.startswith(b"from afar"), f"{node}: {read.stderr.decode()}"
        with pytest.raises(OSError, match=r"timed out|unreachable|refused"):
            socket.create_connection((ceph.address, ceph.port), timeout=2)
