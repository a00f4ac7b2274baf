"""A running Ceph cluster, and what a test may do with it.

    with running(tmp_path, name="central") as ceph:
        ceph.create_pool("images")
        key = ceph.user("glance", "images")
        ceph.monitors, ceph.fsid    # what an ImageStore is told

It is ready after 7 s, its first pool 3 s later, and takes 130 MB. Several live side by side, each with its own
directory and ports. On the loopback address nobody needs to be root; with `namespace`, a network namespace, it lives at
an address in there (`sites.py`). The directory is gone when the block ends.
"""

import contextlib
import hashlib
import json
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.cluster import network, packages
from tests.cluster import state as states
from tests.cluster.errors import ClusterError
from tests.cluster.progress import say
from tests.cluster.state import State
from tests.ports import free_port

from .daemons import MONITOR, OSD, Daemons, run
from .settings import PLACEMENT_GROUPS, Settings, keyring, new_key

SIZE_BYTES = 6 * 2**30
"""Of the sparse file that an OSD keeps its data in."""
READY_SECONDS = 120
COMMAND_SECONDS = 60
_LOOK_SECONDS = 0.2
_CHUNK_BYTES = 2**20


class CephCluster:
    """A running cluster with one OSD; no pool is in it until one is made."""

    def __init__(self, name: str, daemons: Daemons) -> None:
        self.name = name
        self.daemons = daemons
        """Its processes."""
        self._settings = daemons.settings

    @property
    def fsid(self) -> str:
        """The identity of the cluster."""
        return self._settings.fsid

    @property
    def address(self) -> str:
        """The address of all its daemons."""
        return self._settings.address

    @property
    def port(self) -> int:
        """The port of the monitor."""
        return self._settings.port

    @property
    def monitors(self) -> list[str]:
        """The addresses of its monitors, one, with the protocol: `v2:127.0.0.1:3300`."""
        return [self._settings.monitor]

    @property
    def plain_monitors(self) -> list[str]:
        """The addresses of its monitors without the protocol: `127.0.0.1:3300`."""
        return [f"{self._settings.address}:{self._settings.port}"]

    @property
    def conf(self) -> Path:
        """The administrator's ceph.conf; the keyring that it names is beside it."""
        return self._settings.conf

    # -- commands --------------------------------------------------------------------------------------------------

    def ceph(self, *arguments: str | Path, stdin: str = "", seconds: float = COMMAND_SECONDS) -> str:
        """Run `ceph` as the administrator and return what it says; ClusterError where it fails or does not end."""
        return run(self.words("ceph", *arguments), stdin=stdin, seconds=seconds)

    def ceph_json(self, *arguments: str | Path) -> Any:
        """What `ceph … --format json` says."""
        return json.loads(self.ceph(*arguments, "--format", "json"))

    def rbd(self, *arguments: str | Path, seconds: float = COMMAND_SECONDS) -> str:
        """Run `rbd` as the administrator and return what it says; ClusterError where it fails or does not end."""
        return run(self.words("rbd", *arguments), seconds=seconds)

    def rbd_json(self, *arguments: str | Path) -> Any:
        """What `rbd … --format json` says."""
        return json.loads(self.rbd(*arguments, "--format", "json"))

    def words(self, program: str, *arguments: str | Path) -> list[str]:
        """The words that run a program of Ceph on this cluster, where its network is."""
        return self.daemons.words(program, *arguments)

    def network(self) -> contextlib.AbstractContextManager[None]:
        """A block in which the calling thread opens its sockets where the cluster is."""
        return self.daemons.network()

    def free_port(self) -> int:
        """A port that was free a moment ago where the cluster is."""
        with self.network():
            return free_port()

    # -- pools and images ------------------------------------------------------------------------------------------

    def create_pool(self, name: str) -> None:
        """Make a pool for images and wait until it takes writes."""
        groups = str(PLACEMENT_GROUPS)
        self.ceph("osd", "pool", "create", name, groups, groups)
        self.ceph("osd", "pool", "application", "enable", name, "rbd")
        self._wait(lambda: self._is_active(name), f"all placement groups of pool {name} active+clean")

    def _is_active(self, pool: str) -> bool:
        groups = self.ceph_json("pg", "ls-by-pool", pool)["pg_stats"]
        return len(groups) == PLACEMENT_GROUPS and all(group["state"] == "active+clean" for group in groups)

    def delete_pool(self, name: str) -> None:
        """Remove a pool with all its images."""
        self.ceph("osd", "pool", "delete", name, name, "--yes-i-really-really-mean-it")

    def pool_flags(self, name: str) -> set[str]:
        """The flags of a pool; one that has reached its quota is `full`."""
        (pool,) = (pool for pool in self.ceph_json("osd", "dump")["pools"] if pool["pool_name"] == name)
        return set(pool["flags_names"].split(","))

    def images(self, pool: str) -> list[str]:
        """The names of the images in a pool."""
        found: list[str] = self.rbd_json("ls", pool)
        return sorted(found)

    def snapshots(self, pool: str, image: str) -> dict[str, bool]:
        """The snapshots of an image: name -> whether it is protected."""
        listed = self.rbd_json("snap", "ls", f"{pool}/{image}")
        return {entry["name"]: entry["protected"] in (True, "true") for entry in listed}

    def virtual_bytes(self, pool: str, image: str) -> int:
        """The size of an image."""
        return int(self.rbd_json("info", f"{pool}/{image}")["size"])

    def allocated_bytes(self, pool: str, image: str) -> int:
        """How much of an image has ever been written: what it takes on the disks."""
        extents = self.rbd_json("diff", f"{pool}/{image}")
        return sum(int(extent["length"]) for extent in extents if extent["exists"] in (True, "true"))

    def export(self, pool: str, image: str, *, seconds: float = 300) -> str:
        """The SHA-512 of an image's data, read from the cluster with no Glance between."""
        command = self.words("rbd", "export", "--no-progress", f"{pool}/{image}", "-")
        digest = hashlib.sha512()
        deadline = time.monotonic() + seconds
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as export:
            assert export.stdout
            assert export.stderr
            try:
                while chunk := export.stdout.read(_CHUNK_BYTES):
                    digest.update(chunk)
                    if time.monotonic() > deadline:
                        raise ClusterError(f"{pool}/{image}: not exported within {seconds:.0f} s")
                said = export.stderr.read().decode(errors="replace")
            finally:
                export.kill()
        if export.returncode:
            raise ClusterError(f"{pool}/{image} cannot be exported: {said.strip()}")
        return digest.hexdigest()

    # -- users -----------------------------------------------------------------------------------------------------

    def user(self, name: str, pool: str) -> str:
        """Make the user `client.NAME` with the rights on one pool that Glance has; return the key."""
        return self.put_user(f"client.{name}", {"mon": "profile rbd", "osd": f"profile rbd pool={pool}"})

    def key(self, user: str) -> str:
        """The key of a user."""
        return self.ceph("auth", "print-key", f"client.{user}").strip()

    def rotate(self, user: str) -> str:
        """Give a user a new key and return that; whoever comes with the old one is refused from now on."""
        entity = f"client.{user}"
        return self.put_user(entity, self.ceph_json("auth", "get", entity)[0]["caps"])

    def remove_user(self, user: str) -> None:
        """Remove a user: its key opens nothing any more."""
        self.ceph("auth", "rm", f"client.{user}")

    def put_user(self, entity: str, caps: dict[str, str]) -> str:
        """Make an entity with these capabilities, or give it these and a new key; return the key."""
        key = new_key()
        self.ceph("auth", "import", "-i", "-", stdin=keyring(entity, key, caps))
        return key

    # -- faults ----------------------------------------------------------------------------------------------------

    def freeze_osd(self) -> None:
        """Stop the storage as a hung disk does: the monitor answers, what reads or writes waits. It is still up."""
        self.daemons.process(OSD).send(signal.SIGSTOP)

    def thaw_osd(self) -> None:
        """Let the storage go on; what waited is done now."""
        self.daemons.process(OSD).send(signal.SIGCONT)

    @contextlib.contextmanager
    def frozen_osd(self) -> Iterator[None]:
        """A block during which the storage does not answer."""
        self.freeze_osd()
        try:
            yield
        finally:
            self.thaw_osd()

    def stop_monitor(self) -> None:
        """End the monitor at once: connections to it are refused."""
        self.daemons.state.stop(MONITOR)

    def start_monitor(self) -> None:
        """Start the monitor again and wait until the cluster is whole."""
        self.daemons.start_monitor()
        self._wait(self.osd_is_up, "a monitor that answers")

    @contextlib.contextmanager
    def stopped_monitor(self) -> Iterator[None]:
        """A block during which no monitor is there."""
        self.stop_monitor()
        try:
            yield
        finally:
            self.start_monitor()

    # -- waiting ---------------------------------------------------------------------------------------------------

    def osd_is_up(self) -> bool:
        """Whether the monitor says that the OSD is up and in."""
        stat = self.ceph_json("osd", "stat")
        return bool(stat["num_up_osds"] == stat["num_in_osds"] == 1)

    def wait_ready(self) -> None:
        """Wait until the OSD takes its first pool."""
        self._wait(self.osd_is_up, "an OSD that is up")

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not condition():
            for daemon in (MONITOR, OSD):
                self.daemons.process(daemon)
            if time.monotonic() > deadline:
                raise ClusterError(f"{self.name}: {what}: not within {READY_SECONDS} s; see {self.conf.parent / 'log'}")
            time.sleep(_LOOK_SECONDS)


@contextlib.contextmanager
def running(
    directory: Path,
    *,
    name: str = "ceph",
    address: str = "127.0.0.1",
    port: int | None = None,
    namespace: Path | None = None,
    size_bytes: int = SIZE_BYTES,
) -> Iterator[CephCluster]:
    """Run a cluster in `directory`/`name`, from before the block until its end; it is ready for a first pool.

    `port` is the monitor's, by default one that is free; `namespace` is the file of the network namespace that has
    `address`. Raises Unavailable where the machine lacks Ceph and we cannot install it, ClusterError where it does not
    start.
    """
    packages.ensure(packages.CEPH)
    for swept in states.sweep():
        say(f"removed what a dead run left: {swept}")
    began = time.monotonic()
    state = State.open(directory / name)
    with state.locked():
        if not state.claim():
            raise ClusterError(f"{state.root}: a cluster of this process is there already")
    try:
        with contextlib.nullcontext() if namespace is None else network.inside(namespace):
            port = port or free_port()
        settings = Settings(state.root, str(uuid.uuid4()), address, port, size_bytes)
        state.change_settings(provider="ceph", id=settings.fsid, name=name, monitor=settings.monitor)
        daemons = Daemons(state, settings, namespace)
        daemons.make()
        daemons.start()
        cluster = CephCluster(name, daemons)
        cluster.wait_ready()
        say(f"Ceph cluster {name} at {settings.monitor} is ready after {time.monotonic() - began:.1f} s")
        yield cluster
    finally:
        with state.locked():
            state.destroy()
