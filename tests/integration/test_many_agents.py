"""One ImagePrecache over a thousand nodes, or as many as IMAGE_SERVICE_AGENTS says: real HTTP on loopback, no pods."""

import json
import os
import time
from pathlib import Path

import pytest
from tests import agents_stand_in
from tests.integration.cache_home import IMAGES, cache_home, cache_operator
from tests.operator_process import wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

COUNT = int(os.environ.get("IMAGE_SERVICE_AGENTS") or 1000)
PARALLELISM = COUNT // 10
MOST_RSS_KIB = 400 * 1024
MOST_BYTES = 32 * 1024
MOST_WRITES = 10
IDLE_SECONDS = 60


@pytest.fixture(scope="module")
def fleet():
    with agents_stand_in.running(COUNT) as found:
        yield found


@pytest.fixture(scope="module")
def operator(control_plane, fleet, tmp_path_factory):
    log = tmp_path_factory.mktemp("operator") / "log"
    with cache_operator(control_plane, log, fleet.agent_url, fleet.monitor_url) as process:
        yield process


@pytest.fixture(scope="module")
def home(control_plane, keystone, operator):
    assert operator
    with cache_home(control_plane, keystone, COUNT) as made:
        yield made


def level(process, name):
    """A figure of /proc/<pid>/status in KiB."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(f"{name}:")))


def cpu_seconds(process):
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def writes(process):
    """How often the operator has written an ImagePrecache: its own count."""
    lines = process.fetch("/metrics").splitlines()
    counted = [line for line in lines if "rest_client_requests_total{" in line and 'kind="ImagePrecache"' in line]
    return sum(int(float(line.rpartition(" ")[2])) for line in counted if 'method="GET"' not in line)


def test_a_change_reaches_all_nodes_and_the_status_is_right(home, fleet, operator, told):
    home.want(*IMAGES[:2], parallelism=PARALLELISM)
    first = home.told(desired=COUNT, pending=COUNT, cached=0)
    revision_before = set(fleet.counts()["revisions"])
    began, cpu, written = time.monotonic(), cpu_seconds(operator), writes(operator)
    home.want(*IMAGES[:3], parallelism=PARALLELISM)
    wait_for(
        lambda: [n for r, n in fleet.counts()["revisions"].items() if r not in revision_before] == [COUNT],
        120,
        "all nodes are told",
        pause=0.5,
    )
    reached = time.monotonic() - began
    home.told(desired=COUNT, pending=COUNT)
    right = time.monotonic() - began
    live = json.dumps(home.precache())
    told(
        f"{COUNT} nodes: first told after {first:.1f} s; a change reached all after {reached:.1f} s, status right "
        f"after {right:.1f} s, with {writes(operator) - written} writes and {cpu_seconds(operator) - cpu:.1f} s of the "
        f"operator's processor; object {len(live)} bytes"
    )
    assert writes(operator) - written <= MOST_WRITES
    assert fleet.counts()["mostGranted"] <= PARALLELISM
    assert len(live) < MOST_BYTES
    assert level(operator, "VmHWM") < MOST_RSS_KIB


def test_all_nodes_are_filled_so_many_at_a_time(home, fleet, operator, told):
    home.want(*IMAGES[:3], parallelism=PARALLELISM)
    fleet.work(at_work=True)
    began, cpu, written = time.monotonic(), cpu_seconds(operator), writes(operator)
    home.told(desired=COUNT, cached=COUNT)
    filled, cpu = time.monotonic() - began, cpu_seconds(operator) - cpu
    home.wait_ready("golden", "imageprecache")
    told(
        f"{COUNT} nodes filled after {filled:.1f} s, {PARALLELISM} at a time, with {writes(operator) - written} writes "
        f"and {cpu:.1f} s of the operator's processor; operator {level(operator, 'VmHWM') // 1024} MiB at most"
    )
    assert home.precache()["status"]["progressPercent"] == 100
    assert fleet.counts()["mostGranted"] <= PARALLELISM
    assert level(operator, "VmHWM") < MOST_RSS_KIB


def test_a_third_that_hangs_holds_up_no_other(home, fleet, told):
    hanging = COUNT // 3
    fleet.behave({f"node-{number}": "hangs" for number in range(hanging)})
    home.want(*IMAGES, parallelism=PARALLELISM)
    began = time.monotonic()
    home.told(desired=COUNT, cached=COUNT - hanging, unavailable=hanging)
    told(f"{COUNT} nodes of which {hanging} hang: the others filled after {time.monotonic() - began:.1f} s")
    fleet.behave({f"node-{number}": "" for number in range(hanging)})
    home.told(desired=COUNT, cached=COUNT)


def test_nodes_that_have_all_cost_little(home, operator, told):
    home.wait_ready("golden", "imageprecache")
    time.sleep(5)  # what follows from the last of them
    before, cpu = writes(operator), cpu_seconds(operator)
    time.sleep(IDLE_SECONDS)
    told(f"{COUNT} nodes, an idle minute: {cpu_seconds(operator) - cpu:.1f} s of the operator's processor")
    assert writes(operator) == before
