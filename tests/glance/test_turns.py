"""Who reads from the store, and when, as the store sees it: real agents that a real operator grants their turns."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from tests.glance.cache_nodes import cache_nodes
from tests.waiting import wait_for

pytestmark = [
    pytest.mark.glance,
    pytest.mark.cluster,
    pytest.mark.timeout(600),
    # Turns are the same whatever the release.
    pytest.mark.parametrize("installed", ["2026.1"], indirect=True, scope="session"),
]

COUNT = 3
MEBIBYTE = 2**20
SIZE = 4 * MEBIBYTE
FETCH_SECONDS = 2
WINDOW_SECONDS = 60


@pytest.fixture(scope="module")
def nodes(control_plane, keystone, installed, tmp_path_factory):
    """Three nodes, and a source that takes some seconds for each image."""
    with cache_nodes(control_plane, keystone, installed, tmp_path_factory.mktemp("turns"), COUNT) as running:
        yield running


@pytest.fixture
def images(nodes):
    """Two images that nobody has."""
    nodes.source.bytes_per_second = None
    found = [nodes.image(random.Random(seed).randbytes(SIZE)) for seed in (1, 2)]
    nodes.source.bytes_per_second = SIZE // FETCH_SECONDS
    nodes.source.count_anew()
    yield found
    nodes.home.kubectl("delete", "imageprecaches", "--all")


@pytest.mark.parametrize("parallelism", [1, 2])
def test_no_more_nodes_than_parallelism_says_read_at_once(nodes, images, parallelism):
    nodes.home.want(*images, parallelism=parallelism)
    nodes.home.told(120, cached=COUNT)
    assert nodes.source.most_at_once == parallelism
    assert nodes.source.reads == COUNT * len(images), "each node reads each image once"


def test_nothing_is_read_while_the_window_is_closed(nodes, images):
    opens = (datetime.now(UTC) + timedelta(seconds=90)).replace(second=0, microsecond=0)
    window = {"schedule": f"{opens.minute} {opens.hour} * * *", "durationSeconds": WINDOW_SECONDS}
    nodes.home.want(*images, parallelism=COUNT, windows=[window])
    nodes.home.wait_reason("WindowClosed", "Ready", "imageprecache", "golden")
    wait_for(lambda: nodes.source.reads, 120, "somebody reads")
    assert datetime.now(UTC) >= opens
    nodes.home.told(WINDOW_SECONDS, cached=COUNT)


def test_what_is_read_when_a_window_closes_is_not_read_to_the_end(nodes, images):
    """The nodes know the end themselves, and the operator lets nobody begin."""
    now = datetime.now(UTC)
    closes = (now + timedelta(seconds=80)).replace(second=0, microsecond=0)
    nodes.source.bytes_per_second = SIZE // 300
    before = closes - timedelta(hours=1)
    window = {"schedule": f"{before.minute} {before.hour} * * *", "durationSeconds": 3600}
    nodes.home.want(*images, parallelism=COUNT, windows=[window])
    wait_for(lambda: nodes.source.reading_now == COUNT, 60, "all read")
    wait_for(lambda: nodes.source.reading_now == 0, 120, "nobody reads any more")
    assert datetime.now(UTC) >= closes
    nodes.home.wait_reason("WindowClosed", "Ready", "imageprecache", "golden")
    assert nodes.home.status()["nodes"]["cached"] == 0
