"""When a status is written, and when not yet."""

from datetime import UTC, datetime, timedelta

import pytest
from tests.unit.reconcile.world import Events, image_service, quickstart

from imageservice.reconcile.writing import (
    COUNTS_SECONDS,
    PACE_SECONDS,
    TOGETHER_SECONDS,
    StatusWriter,
    is_written,
)
from imageservice.runtime.kinds import IMAGE_SERVICE
from imageservice.runtime.kube import Conflict


def condition(type_="Ready", status="Unknown", reason="Progressing", message="", generation=1):
    told = {"type": type_, "status": status, "reason": reason, "message": message}
    return told | {"observedGeneration": generation, "lastTransitionTime": "2026-01-01T00:00:00Z"}


def written(*conditions, **fields):
    return {"observedGeneration": 1, "conditions": list(conditions or [condition()])} | fields


class World:
    def __init__(self):
        self.kube, self.events, self.now = quickstart(), Events(), 100.0
        self.time = datetime.now(UTC)
        self.writer = StatusWriter(self.kube, self.events, IMAGE_SERVICE, lambda: self.now, lambda: self.time)

    async def write(self, status):
        live = self.kube.find(IMAGE_SERVICE, "glance")
        return await self.writer.write(live, status)

    @property
    def status(self):
        return self.kube.find(IMAGE_SERVICE, "glance")["status"]


@pytest.fixture
def world():
    return World()


async def test_counts_are_written_once_in_a_while_and_the_last_ones_always(world):
    await world.write(written(readyReplicas=0))
    world.now += COUNTS_SECONDS / 4
    assert await world.write(written(readyReplicas=1)) == pytest.approx(COUNTS_SECONDS * 3 / 4)
    assert world.status["readyReplicas"] == 0
    world.now += COUNTS_SECONDS * 3 / 4
    assert await world.write(written(readyReplicas=2)) is None
    assert world.status["readyReplicas"] == 2


async def test_a_count_that_somebody_else_wrote_is_put_back_soon(world):
    await world.write(written(readyReplicas=1))
    world.status["readyReplicas"] = 99
    world.now += PACE_SECONDS / 4
    assert await world.write(written(readyReplicas=1)) == pytest.approx(PACE_SECONDS * 3 / 4)
    world.now += PACE_SECONDS * 3 / 4
    assert await world.write(written(readyReplicas=1)) is None
    assert world.status["readyReplicas"] == 1


async def test_a_status_that_was_not_taken_because_others_wrote_is_soon_tried_again(world):
    world.kube.refusals.append(Conflict(409, "Conflict", "the object has been modified"))
    again = await world.write(written())
    assert again == PACE_SECONDS
    assert "status" not in world.kube.find(IMAGE_SERVICE, "glance")
    world.now += again
    assert await world.write(written()) is None
    assert world.status == written()


@pytest.mark.parametrize(
    ("table", "row"),
    [
        ("stores", {"name": "central", "attached": True, "ready": True}),
        ("sites", {"name": "dcn0", "ready": False, "rolledOut": True, "reason": "NoNodeMatches"}),
    ],
)
async def test_what_a_row_says_is_written_at_once(world, table, row):
    await world.write(written())
    assert await world.write(written(**{table: [row]})) is None
    assert world.status[table] == [row]


@pytest.mark.parametrize(
    "news", [condition(status="True", reason="Ready"), condition(reason="Other"), condition(generation=2)]
)
async def test_what_a_condition_says_is_written_at_once(world, news):
    await world.write(written())
    assert await world.write(written(news)) is None
    assert world.status["conditions"] == [news]


async def test_another_object_does_not_wait(world):
    await world.write(written())
    other = world.kube.put(IMAGE_SERVICE, image_service("other"))
    assert await world.writer.write(other, written(readyReplicas=1)) is None


def test_a_condition_of_others_is_theirs_and_one_of_ours_that_ended_is_not():
    wanted = written(condition())
    assert is_written(wanted, written(condition("Theirs"), condition()))
    assert not is_written(wanted, written(condition(), condition("Stalled", "True")))


@pytest.mark.parametrize(
    ("age", "reason", "is_told"),
    [(0.5, "NoStore", False), (2.5, "NoStore", True), (0.5, "InvalidSpec", True), (-3600, "NoStore", True)],
)
async def test_of_an_object_as_young_as_what_it_waits_for_may_be_nothing_is_told(world, age, reason, is_told):
    live = world.kube.find(IMAGE_SERVICE, "glance")
    live["status"] = {"conditions": [condition(reason="NotEvaluated")]}  # the default of the CRD
    world.time = datetime.fromisoformat(live["metadata"]["creationTimestamp"]) + timedelta(seconds=age)
    rest = await world.write(written(condition(status="False", reason=reason)))
    assert rest == (None if is_told else pytest.approx(TOGETHER_SECONDS - age))
    assert ("observedGeneration" in world.status) == is_told


async def test_what_an_object_waits_for_that_has_told_before_is_told_at_once(world):
    await world.write(written())
    assert await world.write(written(condition(status="False", reason="NoStore"))) is None
    assert world.status["conditions"][0]["reason"] == "NoStore"
