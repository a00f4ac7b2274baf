"""More images are read through a cache than it has room for: wanted ones stay, no read fails, no volume is full."""

import os
import threading
import time

import pytest
from tests.e2e.cache_pods import pods_of
from tests.e2e.cache_reader import reading

pytestmark = [pytest.mark.nodes, pytest.mark.caches, pytest.mark.timeout(900)]

MEBIBYTE = 2**20
MAX_SIZE = 120 * MEBIBYTE
"""Of a volume in memory, which the kernel lets have a tenth more; 64 MiB of it the agent leaves free."""
SIZE = 4
OTHERS = 20
"""More images than there is room for beside the wanted ones."""
ROUNDS = 3
PAUSE_SECONDS = 0.4
SAMPLE_SECONDS = 0.1


@pytest.fixture(scope="module")
def site(cache_site):
    memory = {"type": "EmptyDir", "emptyDir": {"medium": "Memory"}}
    cache_site.reset(maxSize=str(MAX_SIZE), volume=memory)
    return cache_site


class Samples(threading.Thread):
    """What a cache takes, and what is free on its volume, looked at all the time."""

    def __init__(self, pod):
        super().__init__(daemon=True)
        self._directory = pod.directory()
        self._pod = pod
        self._end = threading.Event()
        self.most_used, self.least_free, self.size = 0, MAX_SIZE, 0

    def run(self):
        while not self._end.wait(SAMPLE_SECONDS):
            volume = os.statvfs(self._directory)
            self.size = volume.f_blocks * volume.f_frsize
            self.least_free = min(self.least_free, volume.f_bavail * volume.f_frsize)
            self.most_used = max(self.most_used, self._pod.used_bytes())

    def end(self):
        self._end.set()
        self.join()


def test_reads_of_more_than_there_is_room_for_evict_nothing_that_is_wanted_and_fill_no_volume(site):
    wanted = site.upload(3, SIZE)
    others = site.upload(OTHERS, SIZE)
    site.want(*wanted)
    site.wait_reason("Ready")
    first, *_ = site.cluster.nodes()
    pod = pods_of(site)[first]
    samples = Samples(pod)
    samples.start()
    seconds = ROUNDS * OTHERS * PAUSE_SECONDS
    with reading(site, site.url("compute-cache"), [first], {**others, **wanted}, PAUSE_SECONDS) as reports:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(1)
            assert all(pod.holds(image) for image in wanted)
    samples.end()
    metrics = site.agent_metrics(first)
    told = {name: metrics[name] / MEBIBYTE for name in ("cache_limit_bytes", "cache_evicted_bytes_total")}
    print(
        f"volume {samples.size / MEBIBYTE:.0f} MiB, of which the cache had {samples.most_used / MEBIBYTE:.0f} at most "
        f"and {samples.least_free / MEBIBYTE:.0f} were free at least; {told}"
    )
    assert reports[first].failed == []
    assert reports[first].reads > OTHERS + len(wanted)
    assert metrics["cache_evicted_images_total"] > 0
    assert samples.most_used <= samples.size
    assert samples.least_free > 0
    assert site.precache()[1]["Ready"]["status"] == "True"
    [same] = [found.uid for node, found in pods_of(site).items() if node == first]
    assert same == pod.uid, "it was not evicted"
