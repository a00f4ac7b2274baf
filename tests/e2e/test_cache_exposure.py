"""The ways to a cache besides the Service of its own node: a port of the node, and the Service of the site."""

import pytest
from tests.e2e.cache_reader import reading
from tests.operator_process import wait_for

pytestmark = [pytest.mark.nodes, pytest.mark.caches, pytest.mark.timeout(900)]

PORT = 19292


@pytest.fixture(scope="module")
def site(cache_site):
    cache_site.reset("privileged", exposure={"hostPort": PORT, "joinSiteService": True})
    return cache_site


@pytest.fixture(scope="module")
def cached(site):
    """An image that both nodes have."""
    [(image_id, digest)] = site.upload(1, 4).items()
    site.want(image_id)
    site.wait_reason("Ready")
    return image_id, digest


def test_a_port_of_each_node_leads_to_its_own_cache(site, cached):
    image_id, digest = cached
    for node in site.cluster.nodes():
        addresses = site.get("node", node)["status"]["addresses"]
        address = next(each["address"] for each in addresses if each["type"] == "InternalIP")
        before = site.hits()
        there = site.images_at(f"http://{address}:{PORT}")
        assert [there.digest(image_id) for _ in range(3)] == [digest] * 3
        after = before | {node: before[node] + 3}
        wait_for(lambda after=after: site.hits() == after, 60, f"three more hits on {node} alone: {after}")


def test_clients_of_the_site_are_served_by_the_caches_too(site, cached):
    image_id, digest = cached
    slices = site.get("endpointslices", "-l", "kubernetes.io/service-name=glance-api")["items"]
    addresses = {address for found in slices for endpoint in found["endpoints"] for address in endpoint["addresses"]}
    caches = {pod["status"]["podIP"] for pod in site.cache_pods().values()}
    own = {pod["status"]["podIP"] for pod in site.pods() if pod["status"]["podIP"] not in caches}
    assert addresses == caches | own
    assert len(own) == 1
    before = sum(site.hits().values())
    there = site.centre
    read = 0
    while sum(site.hits().values()) == before and read < 100:
        assert there.digest(image_id) == digest
        read += 1
    print(f"a cache had served one of {read} reads")
    assert sum(site.hits().values()) > before


def test_the_node_local_service_stays_on_its_node_all_the_same(site, cached):
    image_id, digest = cached
    first, *_ = site.cluster.nodes()
    before = site.hits()
    with reading(site, site.url("compute-cache"), [first], {image_id: digest}) as reports:
        wait_for(lambda: site.hits()[first] > before[first] + 2, 60, "hits on the node of the client")
    assert reports[first].failed == []
    after = before | {first: before[first] + reports[first].reads}
    wait_for(lambda: site.hits() == after, 60, f"hits on the node of the client alone: {after}")
