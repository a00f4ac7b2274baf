"""A centre and an edge on real nodes, each with a Ceph cluster of its own, and what the tests ask of them."""

import subprocess
from pathlib import Path
from typing import Any

from demo import platform
from tests.ceph.cluster import CephCluster
from tests.ceph.sites import POOL, TwoClusters
from tests.cluster.cluster import Cluster
from tests.e2e.site import Manifest
from tests.e2e.store_site import StoreSite

ZONE = "topology.kubernetes.io/zone"
USER = "glance"


def ceph_store(home: str, name: str, cluster: CephCluster, ceph: Manifest | None = None, **more: Any) -> Manifest:
    """An ImageStore in Ceph; `more` are further fields of its spec, `ceph` those of the member."""
    member = {"secretRef": {"name": f"{name}-ceph"}, "pool": POOL, "monitors": cluster.monitors} | (ceph or {})
    spec = {"imageServiceRef": {"name": "glance"}, "type": "Ceph", "ceph": member} | more
    return {
        "apiVersion": "imageservice.dev/v1alpha1",
        "kind": "ImageStore",
        "metadata": {"name": name, "namespace": home},
        "spec": spec,
    }


class Dcn(StoreSite):
    """The namespace of an image service with a centre and edges."""

    def __init__(self, cluster: Cluster, home: str, clusters: TwoClusters) -> None:
        super().__init__(cluster, home)
        self.ceph = clusters

    def credentials(self, name: str, **values: str) -> None:
        """Make the Secret of a store, or change it to have just these keys."""
        self.put(platform.secret(self.home, f"{name}-ceph", values))


def qcow2(directory: Path, content: bytes) -> Path:
    """A qcow2 file of some content."""
    raw, packed = directory / "image.raw", directory / "image.qcow2"
    raw.write_bytes(content)
    command = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, packed]
    subprocess.run(command, check=True, timeout=60, capture_output=True)
    return packed
