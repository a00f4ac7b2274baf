"""Every release in turn, one site upgraded from the first to the last: a bad image keeps no other from the nodes."""

import pytest
from tests.cluster import images
from tests.e2e.cache_pods import pods_of
from tests.e2e.cache_reader import reading
from tests.e2e.cache_site import RELEASES, new_cache_site
from tests.operator_process import wait_for

pytestmark = [pytest.mark.nodes, pytest.mark.caches, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def site(real_cluster):
    site = new_cache_site(real_cluster, "releases", RELEASES[0])
    site.policy()
    return site


@pytest.mark.parametrize("release", RELEASES)
def test_good_images_are_cached_and_served_and_the_bad_one_is_once_it_is_mended(site, release):
    site.cluster.import_images(images.build(f"glance-{release}"))
    site.kubectl("patch", "imageservice", "glance", "--type=merge", "-p", f'{{"spec":{{"release":"{release}"}}}}')
    wait_for(lambda: site.get("imageservice", "glance")["status"]["release"] == release, 240, f"it is {release}")
    site.wait_ready(seconds=240)
    wait_for(lambda: releases_of(site) == {release}, 120, f"the caches are {release}")
    site.wait_policy(nodes=2)
    wanted = site.upload(3, 4)
    one, bad, two = wanted
    with site.lost(bad):
        site.want(*wanted)
        site.wait_reason("FetchFailed")
        for pod in pods_of(site).values():
            pod.wait_until_it_holds(one, two)
        named = {(node, bad, "DataMissing") for node in pods_of(site)}
        wait_for(lambda: site.failing() == named, 60, f"{named} is told")
    site.wait_reason("Ready")
    with reading(site, site.url("compute-cache"), site.cluster.nodes(), wanted) as reports:
        wait_for(lambda: all(total >= 3 for total in site.hits().values()), 60, "all are served by the caches")
    assert not [report.failed for report in reports.values() if report.failed]


def releases_of(site):
    """The releases that the pods of the caches are told to be."""
    template = site.get("daemonset", "compute-cache")["spec"]["template"]["spec"]
    return {container["image"].rpartition(":")[2].rpartition("-")[0] for container in template["containers"]}
