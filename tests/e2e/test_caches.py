"""Caches on real nodes: filled by themselves, read on their own node, and mended where an image is bad.

The order matters: one test fills the caches for the next.
"""

import json

import pytest
from tests.e2e.cache_pods import AGENT, pods_of
from tests.e2e.cache_reader import reading
from tests.operator_process import wait_for

pytestmark = [pytest.mark.nodes, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def site(cache_site):
    cache_site.reset()
    return cache_site


@pytest.fixture(scope="module")
def nodes(site):
    return site.cluster.nodes()


@pytest.fixture(scope="module")
def images(site):
    """Three images: id -> SHA-512."""
    return site.upload(3, 6)


def test_every_node_of_the_policy_serves_a_cache(site, nodes):
    assert set(site.cache_pods()) == set(nodes)
    status = site.get("cachepolicy", "compute")["status"]
    assert status["nodes"] == {"desired": 2, "ready": 2, "updated": 2}, json.dumps(status)


def test_good_images_are_everywhere_and_the_bad_one_is_named_on_each_node(site, nodes, images):
    one, bad, two = images
    with site.lost(bad):
        site.want(one, bad, two)
        print(f"told after {site.wait_reason('FetchFailed'):.0f} s")
        wait_for(lambda: all(site.cached_on(node) == {one, two} for node in nodes), 60, "the good are cached")
        named = {(node, bad, "DataMissing") for node in nodes}
        # One node fails before the other, and while one tries again it fetches; the tables are written every 10 s.
        wait_for(lambda: site.failing() == named, 60, f"{named} is told; there is {site.failing()}")
    print(f"all there {site.wait_reason('Ready'):.0f} s after it was mended")
    assert all(site.cached_on(node) == set(images) for node in nodes)
    assert site.precache()[0]["progressPercent"] == 100


def test_a_read_through_the_service_stays_on_its_node(site, nodes, images):
    first, *others = nodes
    before = site.hits()
    image = next(iter(images))
    with reading(site, site.url("compute-cache"), [first], {image: images[image]}) as reports:
        wait_for(lambda: site.hits()[first] >= before[first] + 5, 60, "five more hits on the node of the client")
    assert reports[first].failed == []

    def counted():
        return site.hits() == before | {first: before[first] + reports[first].reads}

    wait_for(counted, 90, f"{reports[first].reads} more hits on {first} and none on {others}, than {before}")


def test_an_agent_that_is_killed_and_an_operator_that_is_away_leave_nothing_unfilled(site, nodes, images):
    lost = list(images)[-1]
    with site.operator_away():
        for node in nodes:
            site.command("evict", lost, "--node", node, "--force")
        for pod in pods_of(site).values():
            pod.kill(*AGENT)
        for pod in pods_of(site).values():
            pod.wait_until_it_holds(lost)


def test_what_nobody_wants_any_more_is_forgotten_by_the_nodes(site, nodes):
    site.forget()
    assert all(site.cached_on(node) == set() for node in nodes)
