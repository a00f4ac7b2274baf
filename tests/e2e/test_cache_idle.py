"""A minute in which caches have all that is wanted of them: nobody writes, and the agents hardly work."""

import re
import time

import pytest
from demo import image_client
from tests.e2e.cache_pods import AGENT, pods_of

pytestmark = [pytest.mark.nodes, pytest.mark.caches, pytest.mark.timeout(900)]

IDLE_SECONDS = 65
"""Longer than the minute after which operator and agents look at everything again."""
SETTLE_SECONDS = 90
"""By then the agents have ended their workers, and Kubernetes has written what is to be written."""
MOST_OF_A_CORE = 0.01
KINDS = "cachepolicies,imageprecaches,imageservices,imagestores,daemonsets,deployments,services,secrets,pods"
WRITE = re.compile(r'image_service_operator_rest_client_requests_total\{(.*method="(?:PATCH|POST|PUT|DELETE)".*)\}')


@pytest.fixture(scope="module")
def site(cache_site):
    cache_site.reset()
    images = list(cache_site.upload(2, 4))
    cache_site.want(*images)
    cache_site.wait_reason("Ready")
    time.sleep(SETTLE_SECONDS)
    return cache_site


def versions(site):
    """The resourceVersion of every object of the namespace."""
    return {
        f"{item['kind']}/{item['metadata']['name']}": item["metadata"]["resourceVersion"]
        for kind in KINDS.split(",")
        for item in site.get(kind)["items"]
    }


def writes(site):
    """Pod of the operator and kind of request -> how many it has sent that write; Leases are renewed all the time."""
    found = {}
    for pod in site.operator_pods():
        url = f"http://{pod['status']['podIP']}:8080"
        text = site.inside(lambda url=url: image_client.request(url, "GET", "/metrics").read().decode())
        for line in text.splitlines():
            match = WRITE.match(line)
            if match and 'kind="Lease"' not in line:
                found[pod["metadata"]["name"], match[1]] = float(line.split()[-1])
    return found


def test_an_idle_minute_writes_nothing_and_takes_a_hundredth_of_a_core_at_most(site):
    pods = pods_of(site)
    before = versions(site), writes(site)
    assert before[1], "writes of the operator are counted"
    began, used = time.monotonic(), {node: pod.cpu_seconds(*AGENT) for node, pod in pods.items()}
    time.sleep(IDLE_SECONDS)
    shares = {node: (pod.cpu_seconds(*AGENT) - used[node]) / (time.monotonic() - began) for node, pod in pods.items()}
    print({node: f"{share:.2%} of a core" for node, share in shares.items()})
    assert (versions(site), writes(site)) == before
    assert all(share < MOST_OF_A_CORE for share in shares.values()), shares
