"""Two Ceph clusters, `central` and `dcn0`, as the sites of one cloud have them, each with a pool `images`.

For the pods and nodes of a test cluster:

    with two_clusters(real_cluster, tmp_path) as (central, dcn0):
        key = central.user("glance", "images")
        # ImageStore: monitors = central.monitors, fsid = central.fsid, pool "images", user "glance";
        # Secret: key
        with dcn0.frozen_osd(): ...

Both live in the cluster's network, in the namespace of its control plane, at `network.LAB_ADDRESS`: pods and nodes
reach them there by address, at two ports, and nothing outside does. The methods of `CephCluster` find the way in by
themselves. End them before the test cluster: whoever holds the namespace keeps it alive.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.cluster import network
from tests.cluster.cluster import Cluster
from tests.cluster.errors import Unavailable
from tests.cluster.local import LocalCluster

from .cluster import CephCluster, running

POOL = "images"


class TwoClusters(NamedTuple):
    """The clusters of two sites."""

    central: CephCluster
    dcn0: CephCluster


@contextlib.contextmanager
def two_clusters(cluster: Cluster | None, directory: Path) -> Iterator[TwoClusters]:
    """Run both below `directory`, where the pods of `cluster` reach them; on the loopback address where it is None.

    Raises Unavailable where the pods of `cluster` are not on this machine, or Ceph cannot be installed.
    """
    address, namespace = ("127.0.0.1", None) if cluster is None else _within(cluster)
    with (
        running(directory, name="central", address=address, namespace=namespace) as central,
        running(directory, name="dcn0", address=address, namespace=namespace) as dcn0,
    ):
        for ceph in (central, dcn0):
            ceph.create_pool(POOL)
        yield TwoClusters(central, dcn0)


def _within(cluster: Cluster) -> tuple[str, Path]:
    if not isinstance(cluster, LocalCluster) or cluster.loopback:
        raise Unavailable("a Ceph cluster that pods reach takes real nodes on this machine (provider local)")
    return network.LAB_ADDRESS, network.namespace(cluster.state)
