"""The store monitor: a container beside the API that looks at the stores of its pod, and what it is told to look at.

What it answers, and how it looks, is written in `files/store_monitor.py` and `files/store_checks.py`.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from typing import Literal

from imageservice.api.v1alpha1 import ImageStoreSpec
from imageservice.manifest import Manifest
from imageservice.render import glance_config
from imageservice.render.inputs import StoreInputs
from imageservice.render.pods import alive_probe
from imageservice.render.ports import MONITOR_PORT, MONITOR_PORT_NAME
from imageservice.render.stores import ceph
from imageservice.render.stores.members import filesystem_of
from imageservice.render.stores.paths import DRIVER_FILES_DIR, conf_name, store_directory

CONTAINER = "store-monitor"

SCRIPT = "store_monitor.py"
PROGRAMS = (SCRIPT, "store_checks.py", "glance_database.py", "image_count.py", "image_lookup.py")
SETTINGS = "stores.json"

INTERVAL_SECONDS = 15
"""Pause between two looks at a store: what breaks is known after this, and the time that the look takes."""
TIMEOUT_SECONDS = 5
"""For how long the storage may keep a look waiting."""


@dataclass(frozen=True)
class MonitoredCeph:
    """A Ceph pool. `conf` is a path in the pod; `fsid` the cluster that it has to be, None for whichever it is."""

    store_id: str
    conf: str
    user: str
    pool: str
    fsid: str | None = None
    timeout_seconds: int = TIMEOUT_SECONDS

    def to_settings(self) -> Manifest:
        """Return the store as `stores.json` has it."""
        return {
            "id": self.store_id,
            "type": "Ceph",
            "conf": self.conf,
            "user": self.user,
            "pool": self.pool,
            "fsid": self.fsid,
            "timeoutSeconds": self.timeout_seconds,
        }


@dataclass(frozen=True)
class MonitoredFilesystem:
    """A directory. `volume` is the type of the volume: on NFS and on a claim something has to be mounted there."""

    store_id: str
    directory: str
    volume: Literal["PersistentVolumeClaim", "NFS", "EmptyDir"]
    timeout_seconds: int = TIMEOUT_SECONDS

    def to_settings(self) -> Manifest:
        """Return the store as `stores.json` has it."""
        return {
            "id": self.store_id,
            "type": "Filesystem",
            "directory": self.directory,
            "volume": self.volume,
            "timeoutSeconds": self.timeout_seconds,
        }


MonitoredStore = MonitoredCeph | MonitoredFilesystem


def is_monitored(spec: ImageStoreSpec) -> bool:
    """Tell whether the monitor looks at stores of this kind. Of the others only Glance itself knows how to use them."""
    return spec.filesystem is not None or spec.ceph is not None


def monitored(stores: Iterable[StoreInputs]) -> list[MonitoredStore]:
    """Return what the monitor is to look at."""
    return [_monitored(store) for store in stores if is_monitored(store.spec)]


def _monitored(store: StoreInputs) -> MonitoredStore:
    if store.spec.ceph is not None:
        return MonitoredCeph(
            store.store_id,
            f"{DRIVER_FILES_DIR}/{conf_name(store.store_id)}",
            ceph.user_of(store),
            store.spec.ceph.pool,
            ceph.expected_fsid(store),
            store.spec.ceph.connect_timeout_seconds,
        )
    volume = filesystem_of(store).volume.type
    return MonitoredFilesystem(store.store_id, f"{store_directory(store.store_id)}/", volume)


def monitor_settings(stores: Iterable[MonitoredStore], *, interval_seconds: int = INTERVAL_SECONDS) -> Manifest:
    """Return the content of `stores.json`."""
    return {
        "port": MONITOR_PORT,
        "intervalSeconds": interval_seconds,
        "glanceConfig": f"{glance_config.CONFIG_DIR}/{glance_config.GLANCE_API_CONF}",
        "stores": [store.to_settings() for store in stores],
    }


def monitor_files(stores: Iterable[MonitoredStore]) -> dict[str, str]:
    """Return file name -> content, for `CONFIG_DIR`: they belong into the config Secret."""
    folder = resources.files("imageservice.render").joinpath("files")
    programs = {name: folder.joinpath(name).read_text("utf-8") for name in PROGRAMS}
    return {**programs, SETTINGS: json.dumps(monitor_settings(stores), indent=1)}


def monitor_container(volume_mounts: Iterable[Manifest]) -> Manifest:
    """Return the container, without what all of the pod have.

    It needs the mounts of the config Secret and of the stores. It has no readiness probe: a pod whose monitor does not
    answer still serves images.
    """
    return {
        "name": CONTAINER,
        # -B: Python would try in vain to write byte code beside the programs.
        "command": ["python3", "-B", f"{glance_config.CONFIG_DIR}/{SCRIPT}"],
        "env": [
            # Each thread of librados would otherwise keep memory of its own.
            {"name": "MALLOC_ARENA_MAX", "value": "2"},
            {"name": "POD_IPS", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIPs"}}},
        ],
        "ports": [{"name": MONITOR_PORT_NAME, "containerPort": MONITOR_PORT, "protocol": "TCP"}],
        "livenessProbe": alive_probe(MONITOR_PORT_NAME),
        # 22 MiB, 42 MiB with Ceph, up to 2 MiB more for each Ceph cluster that hangs, and 55 MiB while it counts.
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
        "volumeMounts": list(volume_mounts),
    }
