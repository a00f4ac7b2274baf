"""The store monitor on real file systems, in a mount namespace of its own, and what it does as a server of HTTP."""

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
from tests.glance.store_monitor import StoreMonitor, store_monitor
from tests.waiting import wait_for

from imageservice.render.store_monitor import MonitoredFilesystem

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")

SILENT_FILE_SYSTEM = """
import ctypes, os, sys, time
device = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(b"silent", sys.argv[1].encode(), b"fuse", 0, options):
    sys.exit(os.strerror(ctypes.get_errno()))
print("mounted", flush=True)
time.sleep(600)
"""
"""A file system that answers nothing at all, as NFS whose server has gone; when it ends, its users get ENOTCONN."""


@dataclass
class Mounts:
    """A mount namespace; what is mounted in there goes with the process that holds it."""

    holder: int

    @property
    def within(self) -> list[str]:
        """Words that run a command in there."""
        return ["nsenter", f"--mount=/proc/{self.holder}/ns/mnt", "--"]

    def run(self, *command: str | Path) -> None:
        subprocess.run([*self.within, *command], check=True, capture_output=True, timeout=20)

    @contextlib.contextmanager
    def silent(self, directory: Path) -> Iterator[None]:
        """Mount a file system that answers nothing on a directory; it ends with the block, its mount does not."""
        command = [*self.within, "setpriv", "--pdeathsig", "KILL", sys.executable, "-c", SILENT_FILE_SYSTEM, directory]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
            assert server.stdout
            try:
                assert server.stdout.readline() == b"mounted\n"
                yield
            finally:
                server.kill()


@pytest.fixture
def mounts() -> Iterator[Mounts]:
    command = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private", "sleep", "infinity"]
    with subprocess.Popen(command) as holder:
        try:
            own = Path("/proc/self/ns/mnt").readlink()
            wait_for(lambda: Path(f"/proc/{holder.pid}/ns/mnt").readlink() != own, 10, "a mount namespace", pause=0.02)
            yield Mounts(holder.pid)
        finally:
            holder.kill()


def store(
    directory: Path, name: str = "files", volume: Literal["NFS", "PersistentVolumeClaim", "EmptyDir"] = "EmptyDir"
) -> MonitoredFilesystem:
    return MonitoredFilesystem(name, f"{directory}/", volume, timeout_seconds=1)


def made(directory: Path) -> Path:
    directory.mkdir()
    return directory


def test_a_directory_that_can_be_written_to_is_reachable_and_its_free_space_is_known(tmp_path: Path) -> None:
    directory = made(tmp_path / "files")
    with store_monitor(tmp_path / "monitor", store(directory)) as monitor:
        reports = monitor.wait(files="Reachable")
        assert reports["files"] == {"reason": "Reachable", "message": "The directory answers.", "fsid": None}
        space = os.statvfs(directory)
        free = monitor.metric("free_bytes", "files")
        assert free == pytest.approx(space.f_bavail * space.f_frsize, rel=0.1)
        assert monitor.metric("read_only", "files") == 0
        assert monitor.metric("mounted", "files") is None
        directory.rmdir()
        monitor.wait(files="DirectoryMissing")
        assert monitor.metric("reachable", "files") == 0
        assert monitor.metric("free_bytes", "files") is None
        directory.write_text("a file")
        wait_for(lambda: "is none" in monitor.reports()["files"]["message"], 5, "another message")
        assert monitor.reports()["files"]["reason"] == "DirectoryMissing"
        directory.unlink()
        directory.mkdir()
        monitor.wait(files="Reachable")


@needs_root
def test_a_directory_of_somebody_else_is_read_only(tmp_path: Path) -> None:
    directory = made(tmp_path / "files")
    os.chown(directory, 65534, 65534)
    with store_monitor(tmp_path / "monitor", store(directory)) as monitor:
        assert "user" in monitor.wait(files="ReadOnly")["files"]["message"]
        assert monitor.metric("read_only", "files") == 1
        os.chown(directory, 0, 0)
        monitor.wait(files="Reachable")


@needs_root
def test_nfs_and_claims_have_to_be_mounted_while_a_directory_of_the_pod_need_not(
    mounts: Mounts, tmp_path: Path
) -> None:
    blank = made(tmp_path / "with blank\\041")
    nfs, claim, plain = (made(tmp_path / name) for name in ("nfs", "claim", "plain"))
    stores = store(nfs, "nfs", "NFS"), store(claim, "claim", "PersistentVolumeClaim"), store(plain, "plain")
    with store_monitor(tmp_path / "monitor", *stores, store(blank, "blank", "NFS"), within=mounts.within) as monitor:
        monitor.wait(nfs="NotMounted", claim="NotMounted", blank="NotMounted", plain="Reachable")
        assert monitor.metric("mounted", "nfs") == 0
        for directory in (nfs, blank):
            mounts.run("mount", "-t", "tmpfs", "tmpfs", directory)
        # A bind mount is on the same device as what surrounds it, and a mount nevertheless.
        mounts.run("mount", "--bind", plain, claim)
        monitor.wait(nfs="Reachable", claim="Reachable", blank="Reachable")
        assert monitor.metric("mounted", "claim") == 1
        mounts.run("mount", "-o", "remount,ro", nfs)
        assert "read-only" in monitor.wait(nfs="ReadOnly")["nfs"]["message"]
        assert monitor.metric("mounted", "nfs") == 1
        mounts.run("umount", nfs)
        monitor.wait(nfs="NotMounted", claim="Reachable")


@needs_root
def test_a_bare_mount_point_of_nfs_on_the_disk_of_the_node_is_no_mount(mounts: Mounts, tmp_path: Path) -> None:
    """The container runtime binds the bare directory into the container, so that something is mounted there."""
    nfs, bare, hosts = made(tmp_path / "nfs"), made(tmp_path / "bare"), tmp_path / "hosts"
    hosts.touch()
    mounts.run("mount", "--bind", hosts, "/etc/hosts")
    mounts.run("mount", "--bind", bare, nfs)
    with store_monitor(tmp_path / "monitor", store(nfs, "nfs", "NFS"), within=mounts.within) as monitor:
        assert "lost the share" in monitor.wait(nfs="NotMounted")["nfs"]["message"]
        assert monitor.metric("mounted", "nfs") == 0
        mounts.run("mount", "-t", "tmpfs", "tmpfs", nfs)
        monitor.wait(nfs="Reachable")
        assert monitor.metric("mounted", "nfs") == 1


@needs_root
def test_a_file_system_that_hangs_is_noticed_holds_up_no_other_and_does_not_stop_the_end(
    mounts: Mounts, tmp_path: Path
) -> None:
    nfs, plain = made(tmp_path / "nfs"), made(tmp_path / "plain")
    with (
        contextlib.ExitStack() as later,
        store_monitor(
            tmp_path / "monitor", store(nfs, "nfs", "NFS"), store(plain, "plain"), within=mounts.within
        ) as monitor,
    ):
        monitor.wait(nfs="NotMounted", plain="Reachable")
        threads = monitor.level("Threads")
        with mounts.silent(nfs):
            monitor.wait(nfs="StorageNotResponding", plain="Reachable")
            plain.rmdir()
            monitor.wait(nfs="StorageNotResponding", plain="DirectoryMissing")
            assert (monitor.metric("check_seconds", "nfs") or 0) > 1
            assert monitor.metric("reachable", "nfs") == 0
            assert monitor.level("Threads") <= threads + 1
            wait_for(lambda: '"StorageNotResponding"' in monitor.log, 3, "a line in the log")
        reports = monitor.wait(nfs="NotMounted")
        assert "ENOTCONN" in reports["nfs"]["message"]
        mounts.run("umount", nfs)
        later.enter_context(mounts.silent(nfs))
        monitor.wait(nfs="StorageNotResponding")
    # SIGTERM has ended it at once, with a thread that still waits.


@pytest.fixture
def monitor(tmp_path: Path) -> Iterator[StoreMonitor]:
    with store_monitor(tmp_path / "monitor", store(tmp_path)) as running:
        yield running


def test_what_is_not_there_is_answered_in_json(monitor: StoreMonitor) -> None:
    for path in ("/", "/store", "/stores/files", "/../stores.json"):
        status, text = monitor.get(path)
        assert (status, json.loads(text)["reason"]) == (404, "NotFound")
    assert monitor.get("/stores", method="POST")[0] == 404
    assert monitor.get("/stores", method="PUT")[0] == 501
    assert monitor.get("/stores?verbose")[0] == 200


def test_a_database_that_cannot_be_asked_is_an_answer_too(monitor: StoreMonitor) -> None:
    """There is no Glance in this Python."""
    status, text = monitor.get("/images/files")
    assert (status, json.loads(text)["reason"]) == (503, "CountFailed")


def test_the_metrics_are_proper_text_of_prometheus(monitor: StoreMonitor) -> None:
    monitor.wait(files="Reachable")
    lines = monitor.get("/metrics")[1].splitlines()
    for name in ("reachable", "mounted", "check_seconds", "free_bytes", "read_only"):
        assert f"# TYPE image_service_store_{name} gauge" in lines
    samples = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
    assert {name for name, _ in samples} == {
        f'image_service_store_{name}{{store="files"}}'
        for name in ("reachable", "check_seconds", "free_bytes", "read_only")
    }
    assert all(float(value) >= 0 for _, value in samples)


def test_connections_that_say_nothing_are_bounded_and_let_go(monitor: StoreMonitor) -> None:
    own = 3  # The main one, the one that accepts, and that of the store.
    wait_for(lambda: monitor.level("Threads") == own, 5, "no request at work")
    with contextlib.ExitStack() as idle:
        for _ in range(100):
            idle.enter_context(socket.create_connection(("127.0.0.1", monitor.port)))
        wait_for(lambda: monitor.level("Threads") == own + 16, 5, "threads that wait for requests")
        wait_for(lambda: _is_served(monitor), 15, "an answer once the idle ones have been let go", pause=0.5)
    wait_for(lambda: monitor.level("Threads") == own, 5, "threads that have ended")


def _is_served(monitor: StoreMonitor) -> bool:
    with contextlib.suppress(OSError):
        return monitor.get("/healthz")[0] == 200
    return False


def test_a_pod_with_an_address_of_ipv6_is_served_on_both_families_and_another_on_ipv4_alone(tmp_path: Path) -> None:
    with store_monitor(tmp_path / "both", store(tmp_path), pod_ips="10.0.0.1,fd00::1") as monitor:
        assert [monitor.get("/healthz", address)[0] for address in ("127.0.0.1", "::1")] == [200, 200]
    with store_monitor(tmp_path / "four", store(tmp_path), pod_ips="10.0.0.1") as monitor:
        assert monitor.get("/healthz")[0] == 200
        with pytest.raises(OSError, match="refused"):
            monitor.get("/healthz", "::1")


def test_memory_stays_small_without_ceph(monitor: StoreMonitor) -> None:
    monitor.wait(files="Reachable")
    assert monitor.level("VmRSS") < 40 * 1024
