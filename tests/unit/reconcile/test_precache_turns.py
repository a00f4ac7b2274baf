"""A node that makes nothing of its turn does not keep it from the others."""

import pytest
from tests.unit.reconcile.test_precache_plan import CACHED, FETCHING, ORDER, WAITING, Node, Nodes, failed

from imageservice.agent_report import ImageReport, ImageState
from imageservice.reconcile.precache_turns import BEGIN_SECONDS, Turns

LATER = BEGIN_SECONDS + 1


@pytest.fixture
def nodes():
    """Two nodes of which the first has the only turn."""
    found = Nodes({"n0": Node(WAITING), "n1": Node(WAITING)})
    found.tell("1")
    return found


def idle(turns, nodes, now):
    return turns.idle(ORDER, nodes.outcomes(), now)


def test_a_node_that_does_not_begin_gives_its_turn_to_the_next_and_is_last_in_line(nodes):
    turns = Turns()
    assert idle(turns, nodes, 0.0) == set()
    assert idle(turns, nodes, BEGIN_SECONDS) == set()
    assert idle(turns, nodes, LATER) == {"n0"}
    nodes.tell("1", idle={"n0"})
    assert nodes.granted() == {"n1"}
    # Also when the other one waits for its turn again.
    assert idle(turns, nodes, LATER + 1) == {"n0"}
    assert nodes.tell("1", idle={"n0"}) == {}
    nodes["n1"].images = dict.fromkeys(ORDER.images, CACHED)
    nodes.tell("1", idle=idle(turns, nodes, LATER + 2))
    assert nodes.granted() == {"n0"}


def test_one_that_comes_round_is_idle_no_more(nodes):
    turns = Turns()
    idle(turns, nodes, 0.0)
    assert idle(turns, nodes, LATER) == {"n0"}
    nodes["n0"].images[ORDER.images[0]] = FETCHING
    assert idle(turns, nodes, LATER + 1) == set()


def test_one_that_gets_further_keeps_its_turn(nodes):
    turns = Turns()
    for step in range(5):
        nodes["n0"].images[ORDER.images[0]] = ImageReport(ImageState.FETCHING, 10, step)
        assert idle(turns, nodes, step * ORDER.timeout_seconds) == set()


def test_one_that_fetches_for_longer_than_it_may_is_idle(nodes):
    turns = Turns()
    nodes["n0"].images[ORDER.images[0]] = FETCHING
    idle(turns, nodes, 0.0)
    assert idle(turns, nodes, LATER) == set()
    assert idle(turns, nodes, ORDER.timeout_seconds + LATER) == {"n0"}
    nodes.tell("1", idle={"n0"})
    assert nodes.granted() == {"n1"}


def test_two_that_do_nothing_do_not_take_turns_for_ever(nodes):
    turns = Turns()
    idle(turns, nodes, 0.0)
    nodes.tell("1", idle=idle(turns, nodes, LATER))
    idle(turns, nodes, LATER)
    assert idle(turns, nodes, 3 * LATER) == {"n0", "n1"}
    assert nodes.tell("1", idle={"n0", "n1"}) == {}


def test_one_that_waits_after_a_failure_is_not_idle(nodes):
    turns = Turns()
    idle(turns, nodes, 0.0)
    nodes["n0"].images = dict.fromkeys(ORDER.images, failed(in_seconds=3600))
    nodes.tell("1")
    assert idle(turns, nodes, LATER) == set()
    assert nodes.granted() == {"n1"}


def test_nothing_is_remembered_of_what_is_done(nodes):
    turns = Turns()
    idle(turns, nodes, 0.0)
    for node in nodes.values():
        node.images = dict.fromkeys(ORDER.images, CACHED)
    assert idle(turns, nodes, LATER) == set()
    assert turns._turns == {}
