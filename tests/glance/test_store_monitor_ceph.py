"""The store monitor on real Ceph clusters: each fault has its reason, in time, and heals without a restart."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.ceph.cluster import CephCluster
from tests.ceph.settings import keyring, new_key
from tests.ceph.sites import POOL, TwoClusters
from tests.glance.store_monitor import store_monitor
from tests.ports import free_port

from imageservice.render.store_monitor import MonitoredCeph

pytestmark = pytest.mark.ceph

USER = "monitored"
KEYS_MADE: list[str] = []
"""None of them may ever be said."""


class Files:
    """The files of one store, as the pods have them."""

    def __init__(self, directory: Path, store_id: str, ceph: CephCluster, user: str = USER) -> None:
        self.store_id, self.user, self.ceph = store_id, user, ceph
        self.conf = directory / f"{store_id}.conf"
        self.keyring = directory / f"{store_id}.client.{user}.keyring"
        self.write_conf(f"[{','.join(ceph.monitors)}]")
        self.write_key(ceph.key(user))

    def write_conf(self, monitors: str, more: str = "") -> None:
        self.conf.write_text(f"[global]\nmon_host = {monitors}\nkeyring = {self.keyring}\n{more}")

    def write_key(self, key: str) -> None:
        KEYS_MADE.append(key)
        self.keyring.write_text(keyring(f"client.{self.user}", key))

    def store(self, *, pool: str = POOL, fsid: str | None = None) -> MonitoredCeph:
        return MonitoredCeph(self.store_id, str(self.conf), self.user, pool, fsid, timeout_seconds=1)


Make = Callable[..., Files]


@pytest.fixture
def files(tmp_path: Path, two_ceph_clusters: TwoClusters) -> Iterator[Make]:
    """Make the files of a store, by default of `central` for a user of its own."""
    for ceph in two_ceph_clusters:
        ceph.user(USER, POOL)
    yield lambda store_id="central", ceph=two_ceph_clusters.central, user=USER: Files(tmp_path, store_id, ceph, user)
    for ceph in two_ceph_clusters:
        ceph.remove_user(USER)


def test_a_pool_that_answers_is_reachable_and_its_cluster_is_named(
    files: Make, two_ceph_clusters: TwoClusters, tmp_path: Path
) -> None:
    fsid = two_ceph_clusters.central.fsid
    with store_monitor(tmp_path / "monitor", files().store(fsid=fsid)) as monitor:
        reports = monitor.wait(central="Reachable")
        assert reports == {"central": {"reason": "Reachable", "message": "Pool images answers.", "fsid": fsid}}
        assert monitor.metric("reachable", "central") == 1
        assert 0 < (monitor.metric("check_seconds", "central") or 0) < 1
        assert monitor.metric("mounted", "central") is None


def test_a_key_is_read_anew_at_each_look_so_that_rotation_and_correction_show_by_themselves(
    files: Make, two_ceph_clusters: TwoClusters, tmp_path: Path
) -> None:
    central, ceph = files(), two_ceph_clusters.central
    right = ceph.key(USER)
    central.write_key(new_key())
    with store_monitor(tmp_path / "monitor", central.store()) as monitor:
        reports = monitor.wait(central="KeyringRefused")
        assert reports["central"]["message"] == f"The monitors refuse the key of client.{USER}."
        assert monitor.metric("reachable", "central") == 0
        central.write_key(right)
        monitor.wait(central="Reachable")
        rotated = ceph.rotate(USER)
        monitor.wait(central="KeyringRefused")
        central.write_key(rotated)
        monitor.wait(central="Reachable")
        ceph.remove_user(USER)
        monitor.wait(central="KeyringRefused")
        told = [json.loads(line)["reason"] for line in monitor.log.splitlines()]
        assert told == ["KeyringRefused", "Reachable", "KeyringRefused", "Reachable", "KeyringRefused"]
        assert not [key for key in KEYS_MADE if key in monitor.log + monitor.get("/stores")[1]]


def test_each_fault_has_its_reason_and_none_holds_up_another(
    files: Make, two_ceph_clusters: TwoClusters, tmp_path: Path
) -> None:
    central, dcn0 = two_ceph_clusters
    central.ceph("auth", "get-or-create", "client.elsewhere", "mon", "profile rbd", "osd", "profile rbd pool=other")
    good, dead, silent = files("good"), files("dead"), files("silent")
    dead.write_conf(f"[v2:127.0.0.1:{free_port()}]")
    silent.write_conf("[v2:192.0.2.1:3300]")
    unresolved, unnamed = files("unresolved"), files("unnamed")
    unresolved.write_conf("monitor.invalid")
    unnamed.write_conf("")
    garbage, absent, another = files("garbage"), files("absent"), files("another")
    garbage.write_key("garbage-4b1d")
    absent.keyring.unlink()
    another.keyring.write_text(keyring("client.another", central.key(USER)))
    rights = files("rights", user="elsewhere")
    noconf, nonsense = files("noconf"), files("nonsense")
    noconf.conf.unlink()
    nonsense.conf.write_text("[[[ key = leaked-77aa\n")
    loud = files("loud")
    loud.write_conf(f"[{central.monitors[0]}]", "log_to_stderr = true\nerr_to_stderr = true\ndebug_auth = 20\n")
    loud.write_key("garbage-4b1d")
    stores = [good.store(fsid=central.fsid), files("wrong").store(fsid=dcn0.fsid), files("nopool").store(pool="none")]
    stores += [each.store() for each in (dead, silent, unresolved, unnamed, garbage, absent, another, rights)]
    stores += [each.store() for each in (noconf, nonsense, loud)]
    with store_monitor(tmp_path / "monitor", *stores) as monitor:
        reports = monitor.wait(
            good="Reachable",
            wrong="WrongCluster",
            nopool="PoolNotFound",
            dead="MonitorsUnreachable",
            silent="MonitorsUnreachable",
            unresolved="MonitorsUnreachable",
            unnamed="MonitorsUnreachable",
            garbage="KeyringRefused",
            absent="KeyringRefused",
            another="KeyringRefused",
            rights="KeyringRefused",
            noconf="ProbeFailed",
            nonsense="ProbeFailed",
            loud="KeyringRefused",
        )
        assert central.fsid in reports["wrong"]["message"]
        assert dcn0.fsid in reports["wrong"]["message"]
        assert "capabilities" in reports["rights"]["message"]
        assert reports["absent"]["message"] == f"There is no keyring with a key of client.{USER}."
        noconf.write_conf(f"[{central.monitors[0]}]")
        monitor.wait(noconf="Reachable")
        said = monitor.log + str(reports)
        assert not [key for key in (*KEYS_MADE, "garbage-4b1d", "leaked-77aa") if key in said]
        assert len(monitor.log.splitlines()) == len(stores) + 1
    central.remove_user("elsewhere")


def test_a_pool_that_is_made_later_is_found(files: Make, two_ceph_clusters: TwoClusters, tmp_path: Path) -> None:
    ceph = two_ceph_clusters.central
    ceph.user("late", "late")
    try:
        with store_monitor(tmp_path / "monitor", files(user="late").store(pool="late")) as monitor:
            monitor.wait(central="PoolNotFound")
            ceph.create_pool("late")
            monitor.wait(central="Reachable")
    finally:
        ceph.remove_user("late")
        ceph.delete_pool("late")


def test_storage_that_hangs_is_told_from_monitors_that_are_dead_and_comes_back_by_itself(
    files: Make, two_ceph_clusters: TwoClusters, tmp_path: Path
) -> None:
    central, dcn0 = two_ceph_clusters
    stores = files("central").store(), files("dcn0", dcn0).store()
    with store_monitor(tmp_path / "monitor", *stores) as monitor:
        monitor.wait(central="Reachable", dcn0="Reachable")
        with central.frozen_osd():
            reports = monitor.wait(central="StorageNotResponding", dcn0="Reachable")
            assert reports["central"]["fsid"] == central.fsid
        monitor.wait(central="Reachable", dcn0="Reachable", seconds=10)
        with dcn0.stopped_monitor():
            reports = monitor.wait(central="Reachable", dcn0="MonitorsUnreachable")
            assert reports["dcn0"]["fsid"] is None
        monitor.wait(central="Reachable", dcn0="Reachable", seconds=10)


def test_looks_that_fail_leave_neither_threads_nor_memory_nor_files_behind(
    files: Make, two_ceph_clusters: TwoClusters, tmp_path: Path
) -> None:
    """A hundred looks a second: a handle that is not shut down costs 340 KiB, so would show as 100 MiB and more."""
    dead, wrong, noconf = files("dead"), files("wrong"), files("noconf")
    dead.write_conf(f"[v2:127.0.0.1:{free_port()}]")
    wrong.write_key(new_key())
    noconf.conf.unlink()
    stores = [each.store() for each in (dead, wrong, noconf)] + [files("nopool").store(pool="none")]
    with (
        two_ceph_clusters.dcn0.frozen_osd(),
        store_monitor(
            tmp_path / "monitor", *stores, files("frozen", two_ceph_clusters.dcn0).store(), interval_seconds=0.02
        ) as monitor,
    ):
        monitor.wait(dead="MonitorsUnreachable", frozen="StorageNotResponding", nopool="PoolNotFound")
        time.sleep(2)
        before = monitor.level("VmRSS")
        time.sleep(8)
        assert monitor.level("VmRSS") - before < 8 * 1024
        # A handle at work has about 14.
        assert monitor.level("Threads") < 80
        assert len(list(Path(f"/proc/{monitor.process.pid}/fd").iterdir())) < 150
