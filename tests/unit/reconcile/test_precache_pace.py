"""How soon nodes are asked again: the next ones begin when others are done, and nobody is asked for nothing."""

import pytest
from tests.unit.reconcile.test_imageprecache import SIZE, UBUNTU, cached_service

from imageservice.agent_report import ImageReport, ImageState
from imageservice.reconcile import imageprecache
from imageservice.reconcile.imageprecache import next_look

pytestmark = pytest.mark.usefixtures("written_at_once")


@pytest.mark.parametrize(
    ("last", "begun", "at_work", "next_"),
    [
        (None, 3, 0, 1.0),  # those that may fetch now may be done soon
        (1.0, 0, 3, 2.0),
        (4.0, 0, 3, 5.0),
        (5.0, 0, 3, 5.0),
        (5.0, 1, 1, 1.0),
        (1.0, 500, 500, 1.0),
        (1.0, 8, 500, 5.0),  # so few of so many are done: to ask all of them for that is not worth while
        (2.0, 25, 500, 4.0),
    ],
)
def test_nodes_are_asked_again_when_a_part_of_them_may_be_done(last, begun, at_work, next_):
    assert next_look(last, begun, at_work) == next_


async def test_nodes_that_are_done_are_followed_by_others_soon():
    run = await cached_service("a", "b")
    run.precache(parallelism=1)
    assert (await run.fill()).requeue_after == 1.0
    run.have("a", UBUNTU, state=ImageState.FETCHING)
    assert [(await run.fill()).requeue_after for _ in range(3)] == [2.0, 4.0, 5.0]
    run.have("a", UBUNTU)
    assert (await run.fill()).requeue_after == 1.0
    [told] = run.fleet.nodes["b"].sets.values()
    assert told.fetch
    run.have("b", UBUNTU)
    assert (await run.fill()).requeue_after == 60.0


async def test_nodes_are_asked_again_when_the_rest_is_expected(monkeypatch):
    run = await cached_service("a")
    now = 1000.0
    monkeypatch.setattr(imageprecache.time, "monotonic", lambda: now)
    run.precache()
    await run.fill()
    for done, pause in ((100, 2.0), (500, 4.0), (800, 2.0)):
        run.fleet.nodes["a"].images[UBUNTU] = ImageReport(ImageState.FETCHING, SIZE, done)
        waits = (await run.fill()).requeue_after
        assert waits == pause, f"at {done} of {SIZE} bytes"
        now += 4.0
