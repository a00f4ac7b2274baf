"""A centre and an edge on real nodes, each with a Ceph cluster of its own, and what the tests ask of them."""

import subprocess
from pathlib import Path
from typing import Any, Self

from demo import platform
from tests.ceph.cluster import CephCluster
from tests.ceph.sites import POOL, TwoClusters
from tests.cluster import images
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

    def make(self, release: str) -> Self:
        """Make MariaDB, Keystone, the operator, and a store in each Ceph with their service; wait until all is Ready.

        The centre is on the first node, the edge `dcn0` on the second.
        """
        cluster, home = self.cluster, self.home
        first, second = cluster.nodes()
        cluster.kubectl("label", "node", first, f"{ZONE}=central", "--overwrite")
        cluster.kubectl("label", "node", second, f"{ZONE}=dcn0", "--overwrite")
        names = ("operator", f"glance-{release}", "mariadb", "keystone")
        cluster.import_images(*(images.build(name) for name in names))
        cluster.apply(platform.namespace(home))
        servers = [item for server in (platform.MARIADB, platform.KEYSTONE) for item in platform.server(server, home)]
        cluster.apply(*servers, *platform.secrets(home))
        central, dcn0 = self.ceph
        self.credentials("central", userID=USER, userKey=central.user(USER, POOL))
        key = dcn0.user(USER, POOL)
        self.credentials("dcn0", **{USER: key, "userID": "dcn0-client", "userKey": key})  # as Rook writes it
        platform.install_operator(cluster, (release,))
        for name in ("mariadb", "keystone"):
            self.kubectl("rollout", "status", f"deployment/{name}", "--timeout=120s", timeout=130)
        api = {"replicas": 2, "processes": 1, "terminationGracePeriodSeconds": 60, "nodeSelector": {ZONE: "central"}}
        self.put(
            ceph_store(home, "central", central, ceph={"fsid": central.fsid}),
            ceph_store(home, "dcn0", dcn0, edge={"replicas": 1, "nodeSelector": {ZONE: "dcn0"}}),
            platform.image_service(home, release=release, defaultStore="central", api=api),
        )
        self.wait_ready(seconds=240)
        for store in ("central", "dcn0"):
            self.wait_store(store, "Ready")
        return self

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
