"""Ceph clusters as pytest fixtures; `tests/conftest.py` makes them known to every test."""

from collections.abc import Iterator

import pytest
from tests.cluster.cluster import Cluster
from tests.cluster.errors import Unavailable

from .sites import TwoClusters, two_clusters


@pytest.fixture(scope="session")
def two_ceph_clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoClusters]:
    """The clusters `central` and `dcn0` on the loopback address; leave them as they were."""
    try:
        with two_clusters(None, tmp_path_factory.mktemp("ceph")) as both:
            yield both
    except Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def two_ceph_clusters_for_pods(
    real_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TwoClusters]:
    """The clusters `central` and `dcn0` where the pods and the nodes of `real_cluster` reach them."""
    try:
        with two_clusters(real_cluster, tmp_path_factory.mktemp("ceph")) as both:
            yield both
    except Unavailable as reason:
        pytest.skip(str(reason))
