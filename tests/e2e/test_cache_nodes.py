"""Nodes without power, cordoned, not ready, joined and gone: none holds up the others, and each is filled by itself."""

import signal
import subprocess

import pytest
from tests.e2e.cache_pods import pods_of
from tests.operator_process import wait_for

pytestmark = [pytest.mark.nodes, pytest.mark.caches, pytest.mark.timeout(900)]

LABEL = "example.com/cache"
MEBIBYTES = 12


@pytest.fixture(scope="module")
def site(cache_site):
    cache_site.reset(bandwidthLimit="2Mi", maxSize="256Mi")
    return cache_site


@pytest.fixture
def first(site):
    """The node on which nothing runs but its cache."""
    return site.cluster.nodes()[0]


@pytest.fixture
def second(site):
    return site.cluster.nodes()[1]


def is_ready(site, node):
    conditions = site.get("node", node)["status"]["conditions"]
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def test_a_node_that_loses_its_power_while_it_fetches_gives_its_turn_to_the_other(site, first, second):
    images = list(site.upload(2, MEBIBYTES))
    pods = pods_of(site)
    site.want(*images, parallelism=1)
    pods[first].wait_until_it_fetches(images[0])
    assert not pods[second].holds(images[0]), "it is the turn of the first"
    site.cluster.node_off(first)
    try:
        pods[second].wait_until_it_holds(*images)
        wait_for(lambda: not is_ready(site, first), 90, f"{first} is not ready")
        site.wait_reason("NodesUnavailable")
        status, conditions = site.precache()
        assert (
            conditions["Ready"]["message"]
            == "1 of 2 nodes have all of 2 images; 1 give no answer to use: AgentUnreachable (1)."
        )
        assert status["nodes"] == {
            "desired": 2,
            "cached": 1,
            "fetching": 0,
            "pending": 0,
            "failed": 0,
            "unavailable": 1,
        }
    finally:
        site.cluster.node_on(first)
    print(f"all there {site.wait_reason('Ready'):.0f} s after its power was back")
    pods_of(site)[first].wait_until_it_holds(*images)
    site.wait_policy(nodes=2)


def test_a_cordoned_node_is_filled_like_every_other(site, first):
    [image] = site.upload(1, 1)
    site.cluster.kubectl("cordon", first)
    try:
        site.want(image)
        site.wait_reason("Ready")
        assert all(pod.holds(image) for pod in pods_of(site).values())
        site.kubectl("delete", "pod", site.cache_pods()[first]["metadata"]["name"], "--timeout=60s", timeout=70)
        site.wait_policy(nodes=2)
        wait_for(lambda: pods_of(site)[first].holds(image), 60, "the new pod is filled too")
    finally:
        site.cluster.kubectl("uncordon", first)


def test_a_node_whose_kubelet_is_silent_holds_up_no_other_and_is_filled_too(site, first, second):
    [image] = site.upload(1, 1)
    pods = pods_of(site)
    signal_kubelet(site, first, signal.SIGSTOP)
    try:
        wait_for(lambda: not is_ready(site, first), 90, f"{first} is not ready")
        site.want(image)
        pods[second].wait_until_it_holds(image)
        pods[first].wait_until_it_holds(image)
        site.wait_reason("Ready")
    finally:
        signal_kubelet(site, first, signal.SIGCONT)
    wait_for(lambda: is_ready(site, first), 60, f"{first} is ready again")
    site.wait_policy(nodes=2)


def signal_kubelet(site, node, number):
    """Send a signal to the kubelet of a node, and to no other process."""

    def run(*words):
        command = site.cluster.node_command(node, words)
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout

    [pid] = run("pgrep", "--exact", "kubelet").split()
    run("kill", f"-{number.value}", pid)


def test_a_node_that_joins_is_filled_by_itself_and_one_that_leaves_is_missed_by_nobody(site, first, second):
    site.cluster.kubectl("label", "node", second, f"{LABEL}=true")
    try:
        [image] = site.upload(1, 1)
        site.policy(nodeSelector={LABEL: "true"})
        site.want(image)
        site.wait_counts(desired=1, cached=1)
        assert set(site.cache_pods()) == {second}
        site.cluster.kubectl("label", "node", first, f"{LABEL}=true")
        site.wait_policy(nodes=2)
        site.wait_counts(desired=2, cached=2)
        assert pods_of(site)[first].holds(image)
        site.cluster.kubectl("label", "node", first, f"{LABEL}-")
        site.wait_counts(desired=1, cached=1)
        assert site.precache()[1]["Ready"]["status"] == "True"
    finally:
        for node in (first, second):
            site.cluster.kubectl("label", "node", node, f"{LABEL}-")
