"""The agent of a node beside a real API on the same cache, on every release: good images get there, come what may."""

import contextlib
import hashlib
import os
import random
import signal
import time
import uuid
from pathlib import Path

import pytest
from tests.glance import client
from tests.glance.prefetcher import agent_of, cache_node
from tests.unit.render import samples
from tests.waiting import wait_for

from imageservice.prefetcher.attempts import LOOK_SECONDS

pytestmark = pytest.mark.glance

SIZE = 5 * 2**20 + 17
MEBIBYTE = 2**20
SETTLED_SECONDS = 11.0
"""After that a file that has no row counts as one that will get none (`prefetcher/cache_directory.py`)."""


def content(seed, size=SIZE):
    return random.Random(seed).randbytes(size)


@pytest.fixture(scope="module")
def node(installed, keystone, tmp_path_factory):
    """An API with a cache, and two stores: the first is read first."""
    stores = (samples.store("central"), samples.store("near"))
    with cache_node(stores, installed, installed.environment, keystone, tmp_path_factory.mktemp("node")) as running:
        yield running


@pytest.fixture
def agent(node, tmp_path):
    with agent_of(node, tmp_path).running() as running:
        yield running
        running.call("DELETE", "/v1/cache?force=true")


def served(node, image_id):
    """The hash of what a client gets."""
    return hashlib.sha256(client.download(node.at.glance, node.at.user, image_id)).hexdigest()


def spoil(file: Path, how: str) -> None:
    """Damage the data of an image."""
    if how == "missing":
        file.rename(file.with_suffix(".aside"))
        return
    file.with_suffix(".aside").write_bytes(file.read_bytes())
    with file.open("r+b") as data:
        if how == "truncated":
            data.truncate(SIZE // 2)
        else:
            data.seek(1000)
            data.write(b"another content")


BAD = {"missing": "DataMissing", "truncated": "SizeMismatch", "corrupt": "HashMismatch"}


@pytest.mark.parametrize("how", BAD)
def test_a_bad_image_keeps_no_other_from_the_cache_and_is_fetched_when_it_is_mended(node, agent, how):
    first, bad, last = (node.upload(content(seed)) for seed in range(3))
    file = node.data("central", bad)
    spoil(file, how)
    agent.put_set(first, bad, last)
    for image in (first, last):
        agent.wait(image, "Cached")
    told = agent.wait(bad, "Failed")
    assert told["reason"] == BAD[how], told
    assert "central" in told["message"]
    assert str(file) not in told["message"]
    file.with_suffix(".aside").rename(file)
    agent.wait(bad, "Cached", seconds=20)
    assert set(node.rows()) >= {first, bad, last}, "the API lists what the agent has fetched"
    assert served(node, bad) == hashlib.sha256(content(1)).hexdigest()


def test_the_next_place_is_tried_where_the_first_has_other_data(node, agent):
    image = node.upload(content(7), "near")
    spoil(node.data("central", image), "corrupt")
    agent.put_set(image)
    agent.wait(image, "Cached")
    assert served(node, image) == hashlib.sha256(content(7)).hexdigest()


@pytest.mark.parametrize("victim", ["agent", "worker"])
def test_what_is_killed_in_the_middle_of_a_fetch_changes_nothing_in_the_end(node, tmp_path, victim):
    images = [node.upload(content(seed)) for seed in (11, 12)]
    with agent_of(node, tmp_path, bytesPerSecond=MEBIBYTE).running() as agent:
        agent.put_set(*images)
        agent.wait(images[0], lambda image: image["state"] == "Fetching" and image["doneBytes"] > 0)
        if victim == "agent":
            agent.kill()
            agent.start()
        else:
            os.kill(agent.worker_pid(), signal.SIGKILL)
        for seed, image in zip((11, 12), images, strict=True):
            agent.wait(image, "Cached", seconds=60)
            assert served(node, image) == hashlib.sha256(content(seed)).hexdigest()
        assert not [path for path in (node.cache / "incomplete").iterdir() if path.is_file()]
        agent.call("DELETE", "/v1/cache?force=true")


def test_a_wiped_disk_is_filled_again(node, agent):
    image = node.upload(content(21))
    agent.put_set(image)
    agent.wait(image, "Cached")
    (node.cache / image).unlink()
    # Not a look at its state: it is missed and fetched between two looks.
    wait_for((node.cache / image).exists, 60, "it is in the cache again")
    agent.wait(image, "Cached")
    assert set(node.rows()) >= {image}


def inodes(node, *images):
    return [(node.cache / image).stat().st_ino for image in images]


def assert_at_rest(agent):
    """No repair and no prune follows another."""
    before = agent.events("Repaired"), agent.events("Evicted")
    time.sleep(2 * LOOK_SECONDS)
    assert (agent.events("Repaired"), agent.events("Evicted")) == before


@pytest.mark.caches
def test_files_and_rows_that_do_not_agree_are_put_right_at_the_start_and_that_is_all(node, tmp_path):
    lost, kept = (node.upload(content(seed)) for seed in (71, 72))
    strays = [node.cache / name for name in (str(uuid.uuid4()), "no-id", f"incomplete/{uuid.uuid4()}.part")]
    agent = agent_of(node, tmp_path)
    with agent.running():
        agent.put_set(lost, kept)
        for image in (lost, kept):
            agent.wait(image, "Cached")
    before = inodes(node, kept)
    (node.cache / lost).unlink()
    for stray in strays:
        stray.write_bytes(content(73, MEBIBYTE))
    time.sleep(SETTLED_SECONDS)
    with agent.running():
        agent.wait(lost, lambda image: image["state"] == "Cached" and (node.cache / lost).exists())
        wait_for(lambda: not [stray for stray in strays if stray.exists()], 30, "what is nobody's is gone")
        assert inodes(node, kept) == before
        assert set(node.rows()) >= {lost, kept}
        assert_at_rest(agent)
        agent.call("DELETE", "/v1/cache?force=true")


@pytest.mark.caches
def test_a_node_with_another_address_goes_on_with_the_files_that_it_has(node, tmp_path):
    images = [node.upload(content(seed)) for seed in (81, 82)]
    with agent_of(node, tmp_path / "before").running() as agent:
        agent.put_set(*images)
        for image in images:
            agent.wait(image, "Cached")
    before = inodes(node, *images)
    time.sleep(SETTLED_SECONDS)
    with agent_of(node, tmp_path / "after", "http://another-name:9292").running() as agent:
        agent.put_set(*images)
        for image in images:
            agent.wait(image, "Cached")
        assert {row["id"] for row in agent.call("GET", "/v1/cache")[1]["cached"]} >= set(images)
        assert inodes(node, *images) == before
        assert agent.metric("prefetch_fetched_bytes_total") == 0
        agent.call("DELETE", "/v1/cache?force=true")


def test_glances_own_queue_is_honoured(node, agent):
    image = node.upload(content(31))
    status, *_ = agent.call("PUT", f"/v1/queue/{image}")
    assert status in (200, 202, 204)
    wait_for(lambda: image in node.rows(), 30, "it is cached")
    assert image not in agent.call("GET", "/v1/cache")[1]["queued"]


def test_an_image_larger_than_the_cache_is_refused_before_its_first_byte(node, tmp_path):
    large, small = node.upload(content(41)), node.upload(content(42, MEBIBYTE))
    with agent_of(node, tmp_path, maxBytes=4 * MEBIBYTE).running() as agent:
        agent.put_set(large, small)
        told = agent.wait(large, "Failed")
        assert told["reason"] == "TooLarge"
        agent.wait(small, "Cached")
        assert not (node.cache / large).exists()
        agent.call("DELETE", "/v1/cache?force=true")


def test_what_nobody_wants_makes_room_and_what_is_wanted_stays(node, tmp_path):
    old, wanted, new = (node.upload(content(seed)) for seed in (51, 52, 53))
    with agent_of(node, tmp_path, maxBytes=13 * MEBIBYTE).running() as agent:
        passing = agent.put_set(old)
        agent.wait(old, "Cached")
        agent.put_set(wanted)
        agent.wait(wanted, "Cached")
        agent.call("DELETE", f"/v1/sets/{passing}")
        agent.put_set(new)
        agent.wait(new, "Cached")
        assert agent.image(wanted)["state"] == "Cached"
        assert not (node.cache / old).exists()
        agent.call("DELETE", "/v1/cache?force=true")


def test_the_worker_is_small_whatever_the_size_of_the_image(node, agent):
    image = node.upload(content(61, 96 * MEBIBYTE))
    agent.put_set(image)
    most = 0
    while agent.image(image)["state"] != "Cached":
        with contextlib.suppress(OSError, StopIteration):  # it has just begun, or ended
            most = max(most, agent.rss_kib(agent.worker_pid()))
        time.sleep(0.05)
    print(f"worker {most / 1024:.0f} MiB, supervisor {agent.rss_kib() / 1024:.0f} MiB")
    assert most + agent.rss_kib() <= 140 * 1024
