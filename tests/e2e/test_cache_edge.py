"""A cache at an edge, whose images are in the centre's Ceph alone: it serves them while that storage is frozen."""

import contextlib
import http.client
from typing import ClassVar

import pytest
from tests.e2e.cache_pods import pods_of
from tests.e2e.cache_reader import reading
from tests.e2e.cache_site import MEBIBYTE, RELEASE, CacheSite
from tests.e2e.dcn import Dcn

pytestmark = [pytest.mark.nodes, pytest.mark.ceph, pytest.mark.timeout(900)]

MEBIBYTES = 8
HUNG_SECONDS = 20
"""How long a read of what is not cached is watched."""


class EdgeCaches(CacheSite, Dcn):
    """A centre and an edge with a cache in front of the edge."""

    target: ClassVar = {"kind": "ImageStore", "name": "dcn0"}


@pytest.fixture(scope="module")
def site(real_cluster, two_ceph_clusters_for_pods):
    site = EdgeCaches(real_cluster, "edge-caches", two_ceph_clusters_for_pods).make(RELEASE)
    site.policy(maxSize="256Mi")
    return site


def is_served(site, pod, image_id):
    """Whether a pod serves an image to its end within some seconds."""

    def read():
        with contextlib.closing(
            http.client.HTTPConnection(pod["status"]["podIP"], 9292, timeout=HUNG_SECONDS)
        ) as there:
            there.request("GET", f"/v2/images/{image_id}/file", headers={"X-Auth-Token": token})
            answer = there.getresponse()
            return answer.status == 200 and len(answer.read()) == MEBIBYTES * MEBIBYTE

    token = site.token()
    with contextlib.suppress(OSError, http.client.HTTPException):
        return site.inside(read)
    return False


def test_what_is_cached_at_the_edge_is_served_while_the_centres_storage_is_frozen(site):
    _, edge = site.cluster.nodes()
    images = site.upload(2, MEBIBYTES)
    [(uncached, digest)] = site.upload(1, MEBIBYTES).items()
    assert {store for image in images for store in site.centre.stores_of(image)} == {"central"}
    site.want(*images)
    site.wait_reason("Ready")
    pods = pods_of(site)
    assert set(pods) == {edge}
    url = site.url("compute-cache")
    with site.ceph.central.frozen_osd():
        site.wait_store("central", "StorageNotResponding", "Reachable")
        with reading(site, url, [edge], images) as reports:
            assert not is_served(site, site.cache_pods()[edge], uncached), "the storage is frozen"
            site.wait_policy(nodes=1)
        assert reports[edge].failed == []
        assert reports[edge].digests == images
        assert site.precache()[1]["Ready"]["status"] == "True"
    site.wait_store("central", "Ready")
    assert is_served(site, site.cache_pods()[edge], uncached)
    with reading(site, url, [edge], {uncached: digest}) as reports:
        pass
    assert reports[edge].failed == []
