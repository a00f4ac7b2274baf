"""Which nodes may fetch: as many as may, those that can do something with it, and nobody is forgotten."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from imageservice.agent_report import AgentReport, CacheUse, ImageReason, ImageReport, ImageState, SetReport
from imageservice.api.v1alpha1 import ImagePrecacheSpec
from imageservice.found_images import FoundImage
from imageservice.glance.agents import AgentError, Reason
from imageservice.reconcile.precache_plan import NodeState, Window, grants, leftovers, next_retry, order, state, window

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
IMAGES = [f"00000000-0000-0000-0000-00000000000{n}" for n in range(3)]
OPEN = Window(is_open=True)
CLOSED = Window(is_open=False)
UID = "8f0b2f4e-7d7c-4e0e-9b0a-0c1d2e3f4a5b"
AWAY = AgentError(Reason.AGENT_UNREACHABLE, "the agent cannot be connected to")


def spec(**changes):
    wanted = {"imageServiceRef": {"name": "glance"}, "images": [{"id": image} for image in IMAGES]}
    return ImagePrecacheSpec.model_validate(wanted | changes)


def told(opened=OPEN, images=IMAGES):
    return order("golden", UID, spec(), [FoundImage(image, "", 1, "active") for image in images], opened)


ORDER = told()


def failed(in_seconds, attempts=1):
    at = NOW.timestamp() + in_seconds
    return ImageReport(ImageState.FAILED, 1, 0, ImageReason.HASH_MISMATCH, "", attempts, at)


class Node:
    """An agent as the plan sees it: it takes what it is told."""

    def __init__(self, *reports):
        self.images = dict(zip(IMAGES, reports, strict=False))
        self.set = None

    def report(self, node):
        sets = {} if self.set is None else {UID: SetReport("golden", self.set.revision, self.set.fetch)}
        return AgentReport(node, "2026.1", CacheUse(0, 1, 1, 0, 0), sets, self.images)


WAITING, CACHED = ImageReport(ImageState.WAITING), ImageReport(ImageState.CACHED, 1, 1)
FETCHING = ImageReport(ImageState.FETCHING, 1)


class Nodes(dict):
    """Nodes by name, None for one that is away."""

    def outcomes(self):
        return {name: AWAY if node is None else node.report(name) for name, node in self.items()}

    def tell(self, parallelism="2", opened=OPEN, now=NOW, wanted=ORDER, idle=()):
        changes = grants(wanted, self.outcomes(), parallelism, opened, now, idle)
        for name, one in changes.items():
            self[name].set = one
        return changes

    def granted(self):
        return {name for name, node in self.items() if node and node.set and node.set.fetch}


def fresh(count):
    return Nodes({f"n{number}": Node(WAITING) for number in range(count)})


class TestGrants:
    def test_all_nodes_are_told_what_is_wanted_and_so_many_may_fetch(self):
        nodes = fresh(5)
        nodes.tell("2")
        assert {node.set.images for node in nodes.values()} == {tuple(IMAGES)}
        assert nodes.granted() == {"n0", "n1"}

    def test_who_was_told_is_not_told_again(self):
        nodes = fresh(5)
        nodes.tell("2")
        assert nodes.tell("2") == {}

    def test_a_node_that_is_done_makes_room_for_the_next(self):
        nodes = fresh(3)
        nodes.tell("1")
        nodes["n0"].images = dict.fromkeys(IMAGES, CACHED)
        nodes.tell("1")
        assert nodes.granted() == {"n1"}

    def test_a_node_that_waits_after_a_failure_holds_up_nobody(self):
        nodes = Nodes(bad=Node(CACHED, failed(60), CACHED), good=Node(WAITING), other=Node(WAITING))
        nodes["bad"].set = ORDER.to_set(fetch=True)
        nodes.tell("1")
        assert nodes.granted() == {"good"}

    def test_it_gets_its_turn_when_its_time_has_come_and_a_place_is_free(self):
        nodes = Nodes(bad=Node(CACHED, failed(60), CACHED), good=Node(CACHED, CACHED, CACHED))
        nodes.tell("1")
        assert nodes.granted() == set()
        nodes.tell("1", now=NOW + timedelta(seconds=61))
        assert nodes.granted() == {"bad"}

    def test_one_that_never_failed_comes_first(self):
        nodes = Nodes(a=Node(failed(-1, attempts=4), CACHED, CACHED), b=Node(WAITING))
        nodes.tell("1")
        assert nodes.granted() == {"b"}

    def test_with_as_many_grants_as_nodes_all_keep_theirs(self):
        nodes = Nodes(a=Node(CACHED, CACHED, CACHED), b=Node(failed(60)), c=None)
        nodes.tell("100%")
        assert nodes.granted() == {"a", "b"}

    def test_what_runs_is_not_stopped_by_a_lower_limit(self):
        nodes = Nodes(a=Node(FETCHING), b=Node(FETCHING), c=Node(WAITING))
        nodes.tell("2")
        nodes.tell("0")
        assert nodes.granted() == {"a", "b"}
        nodes["a"].images = dict.fromkeys(IMAGES, WAITING)
        nodes.tell("0")
        assert nodes.granted() == {"b"}

    def test_nobody_may_fetch_while_no_window_is_open(self):
        nodes = Nodes(a=Node(FETCHING), b=Node(WAITING))
        nodes.tell("2")
        nodes.tell("2", CLOSED, wanted=told(CLOSED))
        assert nodes.granted() == set()

    def test_a_node_that_is_away_is_not_told_and_takes_no_place(self):
        nodes = Nodes(a=None, b=Node(WAITING), c=Node(WAITING))
        changes = nodes.tell("1")
        assert "a" not in changes
        assert nodes.granted() == {"b"}

    def test_another_set_is_told_to_all(self):
        nodes = fresh(3)
        nodes.tell("3")
        changes = nodes.tell("3", wanted=told(images=IMAGES[:1]))
        assert set(changes) == {"n0", "n1", "n2"}

    @pytest.mark.parametrize("seed", range(20))
    def test_however_nodes_fare_no_more_fetch_than_may_and_all_are_filled(self, seed):
        chance, now, limit = random.Random(seed), NOW, 3
        nodes = fresh(12)
        for node in nodes.values():
            node.images = dict.fromkeys(IMAGES, WAITING)
        for _ in range(2000):
            now += timedelta(seconds=5)
            nodes.tell(str(limit), now=now)
            assert len(nodes.granted()) <= limit
            for name in nodes.granted():
                self.step(nodes[name], chance, now)
            if all(state(ORDER, found) is NodeState.CACHED for found in nodes.outcomes().values()):
                return
        raise AssertionError(nodes.outcomes())

    @staticmethod
    def step(node, chance, now):
        for image, report in node.images.items():
            due = report.state is not ImageState.FAILED or report.retry_at <= now.timestamp()
            if report.state is not ImageState.CACHED and due:
                ends = chance.choice((FETCHING, CACHED, None))
                later = now.timestamp() + chance.randrange(5, 60)
                why = ImageReason.STORE_UNREACHABLE
                node.images[image] = ends or ImageReport(ImageState.FAILED, 1, 0, why, "", report.attempts + 1, later)
                return


class TestState:
    @pytest.mark.parametrize(
        ("reports", "expected"),
        [
            ((CACHED, CACHED, CACHED), NodeState.CACHED),
            ((CACHED, FETCHING, failed(9)), NodeState.FETCHING),
            ((CACHED, WAITING, failed(9)), NodeState.FAILED),
            ((CACHED, WAITING), NodeState.PENDING),
            ((), NodeState.PENDING),
        ],
    )
    def test_the_images_of_a_node_say_how_it_stands(self, reports, expected):
        assert state(ORDER, Node(*reports).report("a")) is expected

    def test_one_that_does_not_answer_is_unavailable(self):
        assert state(ORDER, AWAY) is NodeState.UNAVAILABLE

    def test_the_next_retry_is_the_soonest_of_all(self):
        nodes = Nodes(a=Node(failed(90)), b=Node(CACHED, failed(30)), c=None)
        assert next_retry(ORDER, nodes.outcomes().values()) == NOW.timestamp() + 30

    def test_nodes_that_have_a_set_are_known_by_it(self):
        nodes = fresh(3)
        nodes["n1"].set = ORDER.to_set(fetch=False)
        assert leftovers(UID, nodes.outcomes()) == ["n1"]


class TestWindow:
    def test_without_windows_it_is_always_open(self):
        assert window(spec(), NOW) == Window(is_open=True)

    def test_suspended_it_is_closed(self):
        assert not window(spec(suspend=True), NOW).is_open

    def test_it_ends_when_the_window_does(self):
        found = window(spec(windows=[{"schedule": "0 11 * * *", "durationSeconds": 7200}]), NOW)
        assert (found.is_open, found.until) == (True, int(NOW.timestamp()) + 3600)

    def test_of_one_that_never_ends_the_nodes_are_told_anew_once_an_hour(self):
        always = spec(windows=[{"schedule": "0 * * * *", "durationSeconds": 7200}])
        ends = {window(always, NOW + timedelta(minutes=minute)).until for minute in range(60)}
        assert len(ends) <= 2
        assert min(ends) > NOW.timestamp() + 3600
