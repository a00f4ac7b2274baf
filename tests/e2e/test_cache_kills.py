"""What is killed, or is away, in the middle of fetches: all ends cached, and clients read on through their own node.

Each fetch is slowed down so that what happens to it does so in its middle, and each test makes sure that it did.
"""

import contextlib

import pytest
from tests.e2e.cache_pods import AGENT, API, WORKER, pods_of
from tests.e2e.cache_reader import reading
from tests.operator_process import wait_for

pytestmark = [pytest.mark.nodes, pytest.mark.timeout(900)]

RATE = "2Mi"
MEBIBYTES = 16
"""Size of an image: at this rate it takes eight seconds."""


@pytest.fixture(scope="module")
def site(cache_site):
    cache_site.reset(bandwidthLimit=RATE, maxSize="256Mi")
    return cache_site


@pytest.fixture(scope="module")
def url(site):
    """Where clients reach the cache of their own node."""
    return site.url("compute-cache")


@pytest.fixture(scope="module")
def cached(site):
    """An image that both nodes have, and that clients read all the while: id -> SHA-512."""
    [(image_id, digest)] = site.upload(1, 4).items()
    site.want(image_id)
    site.wait_reason("Ready")
    return {image_id: digest}


def as_they_fetch(pods, image_id):
    """Yield each pod in the middle of its fetch: one may begin when another has ended."""
    waiting = dict(pods)
    while waiting:
        fetching = wait_for(
            lambda: [node for node, pod in waiting.items() if pod.fetched_bytes(image_id)],
            240,
            f"{sorted(waiting)} fetch {image_id}",
            pause=0.02,
        )
        yield waiting.pop(fetching[0])


def wait_until_all_have_begun(pods, images):
    """Wait until all nodes know what is wanted."""
    first = next(iter(images))

    def begun(pod):
        return pod.fetched_bytes(first) or pod.holds(first)

    wait_for(lambda: all(map(begun, pods.values())), 240, f"all have begun with {first}", pause=0.02)


def assert_in_the_middle(pods, images):
    *_, last = images
    assert not all(pod.holds(last) for pod in pods.values())


def assert_no_read_failed(reports, *nodes):
    failed = {node: reports[node].failed for node in nodes or reports}
    assert not any(failed.values()), failed


def assert_read_back(site, url, images):
    """What the nodes serve is right."""
    with reading(site, url, site.cluster.nodes(), images) as reports:
        pass
    assert_no_read_failed(reports)


@pytest.mark.parametrize("victim", [AGENT, WORKER], ids=["agent", "worker"])
def test_what_fetches_is_killed_on_all_nodes_and_no_read_fails(site, url, cached, victim):
    [(image_id, digest)] = site.upload(1, MEBIBYTES).items()
    pods = pods_of(site)
    with reading(site, url, pods, cached) as reports:
        site.want(*cached, image_id)
        for pod in as_they_fetch(pods, image_id):
            pod.kill(*victim)
            assert not pod.holds(image_id), "it was in the middle"
        print(f"all there {site.wait_reason('Ready'):.0f} s after it was killed")
    assert_no_read_failed(reports)
    assert not [node for node, pod in pods.items() if pod.fetched_bytes(image_id)], "nothing is left of the killed"
    assert_read_back(site, url, {image_id: digest})


def test_the_api_of_a_cache_is_killed_and_its_agent_fetches_on(site, url, cached):
    [(image_id, digest)] = site.upload(1, MEBIBYTES).items()
    pods = pods_of(site)
    first, *others = pods
    with reading(site, url, pods, cached) as reports:
        site.want(*cached, image_id)
        pods[first].wait_until_it_fetches(image_id)
        fetching = pods[first].one(*WORKER)
        pods[first].kill(*API)
        assert not pods[first].holds(image_id), "it was in the middle"
        pods[first].wait_until_it_holds(image_id)
        assert fetching.alive(), "one and the same worker has fetched it"
        site.wait_reason("Ready")
        site.wait_policy(nodes=2)
    assert_no_read_failed(reports, *others)
    assert_read_back(site, url, {image_id: digest})


@contextlib.contextmanager
def no_operator(site):
    with site.operator_away():
        yield
        assert site.operator_pods() == []


@contextlib.contextmanager
def no_api_server(site):
    site.cluster.api_server_off()
    try:
        yield
    finally:
        site.cluster.api_server_on()


@pytest.mark.parametrize("away", [no_operator, no_api_server])
def test_who_is_away_from_the_first_byte_to_the_last_is_not_missed(site, url, cached, away):
    images = site.upload(3, MEBIBYTES)
    pods = pods_of(site)
    with reading(site, url, pods, cached) as reports:
        site.want(*cached, *images)
        wait_until_all_have_begun(pods, images)
        with away(site):
            assert_in_the_middle(pods, images)
            for pod in pods.values():
                pod.wait_until_it_holds(*images)
        site.wait_reason("Ready")
    assert_no_read_failed(reports)
    assert_read_back(site, url, images)


def test_an_agent_that_dies_again_and_again_takes_the_cache_from_no_client(site, url, cached):
    pods = pods_of(site)
    with reading(site, url, pods, cached) as reports:
        for _ in range(2):
            for pod in pods.values():
                pod.one(*AGENT)
                pod.kill(*AGENT)
        # The second time, its container has to wait before it is started again, and the pod is not ready for so long.
        wait_for(lambda: not any(map(is_ready, site.cache_pods().values())), 60, "no pod is ready")
        site.wait_policy(nodes=2)
    assert_no_read_failed(reports)


def is_ready(pod):
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"]["conditions"])
