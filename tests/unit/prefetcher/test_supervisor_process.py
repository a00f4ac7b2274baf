"""The supervisor as a process of its own, with a worker beside it that does what no real one does on demand."""

import json
import os
import shutil
import signal
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.agent_process import Agent, Json
from tests.waiting import wait_for

SCRIPTED_WORKER = Path(__file__).parent / "scripted_worker.py"
MEBIBYTE = 2**20


def new_id() -> str:
    return str(uuid.uuid4())


class Scripted(Agent):
    """An agent with a scripted worker."""

    def script(self, **images: Json) -> None:
        """Say what happens to images from now on, besides what was said."""
        path = self.directory / "script.json"
        path.with_suffix(".new").write_text(json.dumps({**self.scripted, **images}))
        path.with_suffix(".new").replace(path)

    @property
    def scripted(self) -> Json:
        path = self.directory / "script.json"
        found: Json = json.loads(path.read_text()) if path.exists() else {}
        return found

    def scripted_image(self, do: str = "good", **more: Any) -> str:
        """Have an image that behaves so, and return its id."""
        image_id = new_id()
        self.script(**{image_id: {"do": do, "size": 1000, **more}})
        return image_id

    def asked(self, do: str) -> list[str]:
        """Return the ids of the requests of a kind that workers were sent."""
        path = self.directory / "requests"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line.removeprefix(f"{do} ") for line in lines if line.startswith(f"{do} ")]

    def files(self) -> set[str]:
        """Return the images that lie in the cache."""
        return {path.name for path in self.cache.iterdir() if path.is_file()}


def scripted(directory: Path, **settings: Any) -> Scripted:
    agent = Scripted.install(directory, SCRIPTED_WORKER, **settings)
    assert isinstance(agent, Scripted)
    agent.script()
    return agent


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Scripted]:
    installed = scripted(tmp_path, stallSeconds=2)
    with installed.running():
        yield installed


def test_good_images_around_a_bad_one_are_cached_and_the_bad_one_is_named(agent: Scripted) -> None:
    good, bad, also_good = (
        agent.scripted_image(),
        agent.scripted_image("fail", reason="DataMissing"),
        agent.scripted_image(),
    )
    agent.put_set(good, bad, also_good)
    agent.wait(also_good, "Cached")
    agent.wait(good, "Cached")
    named = agent.wait(bad, "Failed")
    assert (named["reason"], named["message"], named["sizeBytes"]) == ("DataMissing", "scripted", 1000)
    assert named["retryAt"] > time.time() - 5
    assert agent.files() == {good, also_good}
    assert agent.metric('prefetch_failures_total{reason="DataMissing"}') >= 1  # type: ignore[operator]
    assert agent.metric("prefetch_fetched_bytes_total") == 2000
    assert agent.metric("cache_images") == 2


def test_a_mended_image_is_cached_after_its_pause(agent: Scripted) -> None:
    bad = agent.scripted_image("fail", reason="StoreUnreachable")
    agent.put_set(bad)
    agent.wait(bad, lambda image: image["attempts"] >= 2)
    agent.script(**{bad: {"do": "good", "size": 1000}})
    agent.wait(bad, "Cached", seconds=8)
    assert agent.image(bad)["attempts"] == 0


@pytest.mark.parametrize(
    ("do", "reason"),
    [
        ("hang", "Stalled"),
        ("silent", "Stalled"),
        ("exit", "WorkerFailed"),
        ("garbage", "WorkerFailed"),
        ("strange", "WorkerFailed"),
        ("endless", "WorkerFailed"),
    ],
)
def test_a_worker_that_misbehaves_is_replaced_and_the_next_image_fetched(agent: Scripted, do: str, reason: str) -> None:
    bad, good = agent.scripted_image(do), agent.scripted_image()
    agent.put_set(bad, good, maxBackoffSeconds=60, backoffSeconds=60)
    assert agent.wait(bad, "Failed")["reason"] == reason
    agent.wait(good, "Cached")
    wait_for(lambda: not list((agent.cache / "incomplete").iterdir()), 10, "what it left is removed")
    assert agent.asked("fetch") == [bad, good]


def test_a_fetch_that_takes_too_long_is_ended(agent: Scripted) -> None:
    slow = agent.scripted_image(seconds=20, size=20_000)
    agent.put_set(slow, timeoutSeconds=1)
    began = time.monotonic()
    assert agent.wait(slow, "Failed")["reason"] == "TimedOut"
    # The worker may say so itself for 5 s; this one does not.
    assert 5 < time.monotonic() - began < 9


def test_pauses_grow_with_each_failure(agent: Scripted) -> None:
    bad = agent.scripted_image("fail", reason="HashMismatch")
    agent.put_set(bad, backoffSeconds=0.4, maxBackoffSeconds=60)
    wait_for(lambda: len(agent.events("FetchFailed")) >= 4, 30, "it has failed four times")
    pauses = [event["pauseSeconds"] for event in agent.events("FetchFailed")]
    assert pauses[3] >= 2
    assert len(agent.asked("fetch")) in (4, 5)


def test_a_restart_goes_on_where_the_agent_was_and_asks_for_nothing_anew(agent: Scripted) -> None:
    good, bad = agent.scripted_image(), agent.scripted_image("fail", reason="HashMismatch")
    agent.put_set(good, bad, backoffSeconds=600, maxBackoffSeconds=600)
    before = agent.wait(bad, "Failed")
    agent.wait(good, "Cached")
    agent.kill()
    agent.start()
    assert agent.image(good)["state"] == "Cached", "from the first answer on"
    agent.wait(bad, lambda image: image["state"] == "Failed")
    assert agent.image(bad) == before
    time.sleep(1)
    assert agent.asked("fetch") == [good, bad]


@pytest.mark.parametrize("victim", ["supervisor", "worker"])
def test_what_is_killed_at_any_moment_of_a_fetch_ends_with_all_cached(agent: Scripted, victim: str) -> None:
    images = [agent.scripted_image(seconds=0.4) for _ in range(4)]
    agent.put_set(*images, backoffSeconds=0.2, maxBackoffSeconds=0.4)
    for round_ in range(5):
        time.sleep(0.17 * (round_ + 1))
        if victim == "supervisor":
            agent.kill()
            agent.start()
        elif (pid := agent.worker_pid()) is not None:
            os.kill(pid, signal.SIGKILL)
    for image_id in images:
        # One at which the agent ended more than once is left alone for 30 s or so: it may have been the image's fault.
        agent.wait(image_id, "Cached", seconds=100)
    assert agent.files() == set(images)
    wait_for(lambda: not list((agent.cache / "incomplete").iterdir()), 10, "nothing half is left")


def test_an_image_at_which_the_agent_dies_every_time_keeps_no_other_from_its_turn(agent: Scripted) -> None:
    """As where its fetch takes all memory of the container."""
    deadly, good = agent.scripted_image(seconds=30), agent.scripted_image()
    agent.put_set(deadly, good)
    agent.wait(deadly, "Fetching")
    agent.kill()
    agent.start()
    agent.wait(deadly, "Fetching")
    assert agent.image(good)["state"] == "Cached", "it had its turn first"
    agent.kill()
    agent.start()
    named = agent.wait(deadly, "Failed")
    assert (named["reason"], named["attempts"]) == ("WorkerFailed", 2)
    time.sleep(3)
    assert agent.image(deadly) == named
    assert named["retryAt"] > time.time() + 10


def test_sigterm_ends_both_processes_at_once(tmp_path: Path) -> None:
    agent = scripted(tmp_path)
    agent.start()
    hanging = agent.scripted_image("hang")
    agent.put_set(hanging)
    agent.wait(hanging, "Fetching")
    pid = agent.worker_pid()
    assert pid
    assert agent.terminate() == 0
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), 2, "the worker is gone")


def test_a_fetch_goes_on_while_other_sets_change_and_ends_when_nobody_wants_it(agent: Scripted) -> None:
    image = agent.scripted_image(seconds=6)
    other = agent.scripted_image()
    first, second = agent.put_set(image), agent.put_set(image, other)
    agent.wait(image, "Fetching")
    agent.put_set(other)
    agent.call("DELETE", f"/v1/sets/{first}")
    time.sleep(1)
    assert agent.image(image)["state"] == "Fetching"
    began = time.monotonic()
    agent.put_set(other, uid=second)
    wait_for(lambda: agent.events("Stopped"), 3, "it is stopped")
    assert time.monotonic() - began < 1
    assert agent.events("Stopped")[0]["reason"] == "Cancelled"
    agent.wait(other, "Cached")
    wait_for(
        lambda: agent.files() == {other} and not list((agent.cache / "incomplete").iterdir()), 10, "only the other"
    )
    assert agent.asked("fetch") == [image, other]


def test_a_set_without_a_grant_begins_nothing_and_is_cached_with_one(agent: Scripted) -> None:
    image = agent.scripted_image()
    uid = agent.put_set(image, fetch=False)
    assert agent.wait(image, "Waiting")["reason"] == "NotGranted"
    time.sleep(1)
    assert agent.asked("fetch") == []
    agent.put_set(image, uid=uid)
    agent.wait(image, "Cached", seconds=5)
    agent.put_set(image, uid=uid, fetch=False)
    assert agent.image(image)["state"] == "Cached"


def test_a_window_that_closes_ends_the_fetch_and_counts_as_no_failure(agent: Scripted) -> None:
    image = agent.scripted_image(seconds=20)
    uid = agent.put_set(image, until=time.time() + 2)
    agent.wait(image, "Fetching")
    closed = agent.wait(image, "WindowClosed", seconds=5)
    assert (closed["state"], closed["attempts"]) == ("Waiting", 0)
    assert agent.events("Stopped")[0]["reason"] == "WindowClosed"
    agent.script(**{image: {"do": "good", "size": 1000}})
    agent.put_set(image, uid=uid, until=time.time() + 600)
    agent.wait(image, "Cached")


def test_a_grant_that_is_taken_back_ends_the_fetch(agent: Scripted) -> None:
    image = agent.scripted_image(seconds=20)
    uid = agent.put_set(image)
    agent.wait(image, "Fetching")
    agent.put_set(image, uid=uid, fetch=False)
    assert agent.wait(image, "NotGranted", seconds=2)["state"] == "Waiting"


@pytest.mark.parametrize("wipe", ["files", "directory"])
def test_a_wiped_directory_is_filled_again(agent: Scripted, wipe: str) -> None:
    images = [agent.scripted_image() for _ in range(3)]
    agent.put_set(*images)
    for image in images:
        agent.wait(image, "Cached")
    if wipe == "directory":
        shutil.rmtree(agent.cache)
    else:
        for path in agent.cache.rglob("*"):
            if path.is_file():
                path.unlink()
    wait_for(lambda: agent.cache.exists() and agent.files() == set(images), 15, "all are there again")


def test_a_broken_file_of_the_state_is_set_aside_and_told(agent: Scripted) -> None:
    image = agent.scripted_image()
    kept, broken, odd = agent.put_set(image), agent.put_set(), agent.put_set()
    agent.wait(image, "Cached")
    agent.kill()
    (agent.state / "sets" / f"{broken}.json").write_bytes(b'{"name": "gol')
    (agent.state / "sets" / f"{odd}.json").write_text('{"name": "golden", "images": "all"}')
    (agent.state / "images.json").write_bytes(b"\x00" * 100)
    agent.start()
    assert set(agent.status()["sets"]) == {kept}
    agent.wait(image, "Cached")
    aside = {path.name for path in agent.state.rglob("*.unreadable")}
    assert aside == {f"{broken}.json.unreadable", f"{odd}.json.unreadable", "images.json.unreadable"}
    assert {event["file"] for event in agent.events("FileSetAside")} == {
        name.removesuffix(".unreadable") for name in aside
    }


def test_a_database_that_is_away_is_named_and_asked_less_and_less(agent: Scripted) -> None:
    image = agent.scripted_image()
    agent.script(database={"do": "away"})
    agent.put_set(image)
    named = agent.wait(image, "DatabaseUnreachable")
    assert named["state"] == "Failed"
    assert named["retryAt"] > time.time() - 1
    agent.script(database={})
    agent.wait(image, "Cached", seconds=20)
    assert agent.image(image)["attempts"] == 0, "it was no fault of the image"


@pytest.mark.parametrize("start", ["exit", "refuse"])
def test_a_worker_that_does_not_start_is_named_and_tried_again(agent: Scripted, start: str) -> None:
    agent.kill()
    shutil.rmtree(agent.state, ignore_errors=True)
    image = agent.scripted_image()
    agent.script(start={"do": start})
    agent.start()
    agent.put_set(image)
    named = agent.wait(image, "WorkerFailed")
    by_itself = "The worker ended by itself, with status 3."
    assert named["message"] == {"refuse": "The cache driver is not there.", "exit": by_itself}[start]
    agent.script(start={})
    agent.wait(image, "Cached", seconds=20)


# ---------------------------------------------------------------------------------------------------------------- room


def test_images_that_nobody_wants_make_room_and_wanted_ones_never_do(tmp_path: Path) -> None:
    agent = scripted(tmp_path, maxBytes=10 * MEBIBYTE)
    with agent.running():
        old, newer, wanted = (agent.scripted_image(size=3 * MEBIBYTE) for _ in range(3))
        uid = agent.put_set(old)
        agent.wait(old, "Cached")
        agent.put_set(newer, uid=uid)
        agent.wait(newer, "Cached")
        agent.put_set(wanted, uid=uid)
        agent.wait(wanted, "Cached")
        # 9 of 10 MiB: the next one needs 3 MiB, and the least recently used goes for it.
        last = agent.scripted_image(size=3 * MEBIBYTE)
        agent.put_set(wanted, last, uid=uid)
        agent.wait(last, "Cached")
        assert agent.files() == {newer, wanted, last}
        assert [event["image"] for event in agent.events("Evicted")] == [old]
        # Two that are wanted have 6 MiB: 5 more have no room even where all others go, and then none goes.
        large = agent.scripted_image(size=5 * MEBIBYTE)
        agent.put_set(wanted, last, large, uid=uid)
        refused = agent.wait(large, "Failed")
        assert refused["reason"] == "NoSpace"
        assert refused["sizeBytes"] == 5 * MEBIBYTE
        time.sleep(2)
        assert agent.files() == {newer, wanted, last}
        assert large not in agent.asked("fetch"), "refused before the first byte"
        giant = agent.scripted_image(size=11 * MEBIBYTE)
        agent.put_set(giant, uid=new_id())
        assert agent.wait(giant, "Failed")["reason"] == "TooLarge"
        # As soon as there is room, without waiting for the end of the pause.
        agent.put_set(large, uid=uid, backoffSeconds=600, maxBackoffSeconds=600)
        agent.wait(large, "Cached", seconds=8)
        assert large in agent.files()


def test_a_cache_that_clients_fill_is_pruned_to_its_low_watermark(tmp_path: Path) -> None:
    agent = scripted(tmp_path, maxBytes=10 * MEBIBYTE)
    with agent.running():
        wanted = agent.scripted_image(size=MEBIBYTE)
        agent.put_set(wanted)
        agent.wait(wanted, "Cached")
        rows = json.loads((agent.directory / "rows.json").read_text())
        for number in range(11):
            image = new_id()
            (agent.cache / image).write_bytes(bytes(MEBIBYTE))
            rows[image] = {"hits": 1, "lastAccessed": number}
        (agent.directory / "rows.json").write_text(json.dumps(rows))
        # 12 of 10 MiB: more than it may, so not only after the interval of 300 s.
        wait_for(lambda: len(agent.files()) == 8, 15, "8 MiB are left")
        assert wanted in agent.files()
        assert agent.metric("cache_evicted_images_total") == 4
        assert agent.metric("cache_evicted_bytes_total") == 4 * MEBIBYTE


def test_a_cache_is_pruned_while_a_long_fetch_runs(tmp_path: Path) -> None:
    agent = scripted(tmp_path, maxBytes=10 * MEBIBYTE)
    with agent.running():
        slow = agent.scripted_image(size=MEBIBYTE, seconds=25)
        agent.put_set(slow)
        agent.wait(slow, "Fetching")
        rows = {}
        for number in range(11):
            (agent.cache / (image := new_id())).write_bytes(bytes(MEBIBYTE))
            rows[image] = {"hits": 1, "lastAccessed": number}
        (agent.directory / "rows.json").write_text(json.dumps(rows))
        wait_for(lambda: len(agent.files()) <= 8, 15, "8 MiB are left")
        assert agent.image(slow)["state"] == "Fetching"
        status, content, _ = agent.call("GET", "/v1/cache")
        assert status == 200
        assert {row["id"] for row in content["cached"]} == agent.files()
        assert agent.image(slow)["state"] == "Fetching"


# --------------------------------------------------------------------------------------------------- cache and queue


def test_glances_queue_is_fetched_after_what_is_wanted_and_a_bad_image_in_it_keeps_its_pause(agent: Scripted) -> None:
    queued, bad = agent.scripted_image(), agent.scripted_image("fail", reason="DataMissing")
    wanted = agent.scripted_image(seconds=1)
    agent.put_set(wanted)
    agent.wait(wanted, "Fetching")
    for image in (bad, queued):
        (agent.cache / "queue").mkdir(exist_ok=True)
        (agent.cache / "queue" / image).touch()
        time.sleep(0.02)
    wait_for(lambda: queued in agent.files(), 15, "it is fetched")
    assert agent.asked("fetch")[:3] == [wanted, bad, queued]
    wait_for(lambda: not (agent.cache / "queue" / queued).exists(), 5, "the wish is fulfilled")
    content = agent.call("GET", "/v1/cache")[1]
    assert content["queued"] == [bad]
    assert content["queue"][bad]["reason"] == "DataMissing"
    assert content["queue"][bad]["retryAt"] > time.time() + 20
    assert agent.asked("fetch").count(bad) == 1
    # By hand: at once.
    agent.script(**{bad: {"do": "good", "size": 1000}})
    assert agent.call("PUT", f"/v1/queue/{bad}")[0] == 202
    wait_for(lambda: bad in agent.files(), 5, "it is fetched at once")
    wait_for(lambda: agent.call("GET", "/v1/cache")[1]["queued"] == [], 5, "nothing is queued")


def test_the_hand_removes_from_cache_and_queue(agent: Scripted) -> None:
    wanted, other, third = (agent.scripted_image() for _ in range(3))
    agent.put_set(wanted)
    agent.wait(wanted, "Cached")
    for image in (other, third):
        agent.call("PUT", f"/v1/queue/{image}")
    wait_for(lambda: agent.files() == {wanted, other, third}, 10, "all are there")
    refused = agent.call("DELETE", f"/v1/cache/{wanted}")
    assert (refused[0], refused[1]["reason"]) == (409, "Wanted")
    assert agent.call("DELETE", f"/v1/cache/{other}")[:2] == (200, {"deleted": True})
    assert agent.call("DELETE", f"/v1/cache/{other}")[0] == 404
    assert agent.files() == {wanted, third}
    assert agent.call("DELETE", "/v1/cache")[:2] == (200, {"deleted": 1})
    assert agent.files() == {wanted}
    assert agent.call("DELETE", f"/v1/cache/{wanted}?force=true")[0] == 200
    wait_for(lambda: agent.asked("fetch").count(wanted) == 2, 5, "it is fetched anew")
    bad = agent.scripted_image("fail", reason="DataMissing")
    agent.call("PUT", f"/v1/queue/{bad}")
    assert agent.call("DELETE", f"/v1/queue/{bad}")[:2] == (200, {"deleted": True})
    agent.call("PUT", f"/v1/queue/{bad}")
    wait_for(lambda: agent.call("GET", "/v1/cache")[1]["queued"] == [bad], 10, "it is seen")
    assert agent.call("DELETE", "/v1/queue")[:2] == (200, {"deleted": 1})


def test_an_idle_agent_has_no_worker_and_costs_nearly_nothing(agent: Scripted) -> None:
    wait_for(lambda: agent.asked("list") and agent.worker_pid() is None, 10, "the first look is over")
    before, began = agent.cpu_seconds(), time.monotonic()
    time.sleep(5)
    assert (agent.cpu_seconds() - before) / (time.monotonic() - began) < 0.01
    assert agent.rss_kib() < 25 * 1024


def test_the_log_has_a_line_for_each_thing_that_happens_and_none_for_a_request(agent: Scripted) -> None:
    image = agent.scripted_image()
    agent.put_set(image)
    agent.wait(image, "Cached")
    before = agent.log
    for _ in range(20):
        agent.status()
    agent.call("GET", "/v1/nothing", token="wrong")
    assert agent.log == before
    assert {json.loads(line)["event"] for line in before.splitlines()} == {"Started", "SetChanged", "Fetched"}
