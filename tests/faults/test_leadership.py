"""Whole processes that want one Lease: who leads dies, or sleeps through its time."""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest
from tests.faults.faults import AtWrite
from tests.faults.forked import ForkedOperator
from tests.faults.lane import Lane, open_lane
from tests.faults.proxy import FaultProxy
from tests.faults.requestlog import LEASES
from tests.faults.runs import wait_ready
from tests.faults.scenarios import CATALOGUE_AND_STORES, CENTRAL, GLANCE
from tests.waiting import wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

TAKEOVER_SECONDS = 20.0
"""The promise: with the Lease's default settings, so long after the leader was killed another one carries on."""
TAKEOVERS = 4
PAUSED_AT_WRITES = range(1, 9)
SHORT_LEASE = {"lease_duration_seconds": "8", "lease_renew_deadline_seconds": "6", "lease_retry_seconds": "1"}
READY_SECONDS = 60
_Outcome = TypeVar("_Outcome")
CREATED = CATALOGUE_AND_STORES.steps[0]


@dataclass
class Candidate:
    """One of two operators that want the same Lease, with a proxy that shows what this one does."""

    proxy: FaultProxy
    operator: ForkedOperator

    @property
    def leads(self) -> bool:
        return any(request.verb == "watch" for request in self.proxy.log)

    def writes_since(self, moment: float) -> list[str]:
        """Return what it asked to be written, Events included, after a moment of the monotonic clock.

        A renewal that was under way when it fell asleep goes out when it wakes, and is refused: the Lease has changed.
        """
        asked = [r for r in self.proxy.log if r.method != "GET" and r.began > moment and r.reached is not None]
        return [f"{r.reached} {r}" for r in asked if (r.resource, r.reached) != (LEASES, 409)]


@contextlib.contextmanager
def two_candidates(lane: Lane, directory: Path, **lease: str) -> Iterator[tuple[Candidate, Candidate]]:
    """Give the leader and the one that stands by."""
    settings = {"namespaces": lane.namespace, "lease_namespace": lane.namespace, "lease_name": "both", **lease}
    with ExitStack() as stack:
        pair = []
        for name in ("first", "second"):
            home = directory / f"{lane.namespace}-{name}"
            proxy = stack.enter_context(FaultProxy(lane.api, home))
            operator = lane.nursery.start(proxy.kubeconfig, home / "log", **settings)
            stack.callback(operator.kill)
            candidate = Candidate(proxy, operator)
            pair.append(candidate)
            if name == "first":
                wait_for(lambda: candidate.leads, READY_SECONDS, "the first one leads")  # noqa: B023 - called at once
        wait_for(lambda: any(r.resource == "leases" for r in pair[1].proxy.log), READY_SECONDS, "the second one asks")
        yield pair[0], pair[1]


def holder(lane: Lane) -> str:
    return str(lane.api.get("Lease", lane.namespace, "both")["spec"]["holderIdentity"])


@pytest.fixture
def side_by_side(api, keystone_clouds, nursery, tmp_path):
    """Carry a story out for each number, all at the same time, each in a lane of its own; return what came of each."""

    def carry_out(story: Callable[[Lane, Path, int], _Outcome], numbers: Sequence[int]) -> list[_Outcome]:
        def one(number: int) -> _Outcome:
            with open_lane(api, keystone_clouds, nursery, tmp_path / str(number)) as lane:
                return story(lane, tmp_path, number)

        with ThreadPoolExecutor(len(numbers)) as threads:
            return list(threads.map(one, numbers))

    return carry_out


def killed_leader(lane: Lane, directory: Path, number: int) -> tuple[float, float]:
    """Kill a leader; return after how many seconds the other one held the Lease, and had made what was asked for."""
    with two_candidates(lane, directory) as (leader, standby):
        time.sleep(number * 0.5)  # the renewals of the leaders are at different times before their end
        first = holder(lane)
        leader.operator.kill()
        killed = time.monotonic()
        lane.carry_out(CREATED)
        wait_for(lambda: holder(lane) != first, READY_SECONDS, "the second one has the Lease")
        taken = time.monotonic() - killed
        wait_for(lambda: lane.api.find("Service", lane.namespace, "glance-api"), READY_SECONDS, "it works")
        working = time.monotonic() - killed
        wait_ready(lane, {GLANCE, CENTRAL}, READY_SECONDS, "what was asked for after the kill is Ready")
        assert standby.operator.running
        return taken, working


def paused_leader(lane: Lane, directory: Path, number: int) -> tuple[str, int]:
    """Stop a leader at its k-th write, wake it when another leads; return how the write ended and its exit status."""
    with two_candidates(lane, directory, **SHORT_LEASE) as (leader, standby):
        first = holder(lane)
        pause = AtWrite(number, lambda: leader.operator.send(signal.SIGSTOP), "answered")
        leader.proxy.inject(pause)
        lane.carry_out(CREATED)
        wait_for(lambda: pause.happened, READY_SECONDS, f"the leader has made {number} writes")
        wait_for(lambda: holder(lane) != first, READY_SECONDS, "the second one has the Lease")
        wait_ready(lane, {GLANCE, CENTRAL}, READY_SECONDS, "the second one has finished what the first began")
        woken = time.monotonic()
        leader.operator.send(signal.SIGCONT)
        status = leader.operator.wait()
        assert leader.writes_since(woken) == []
        assert standby.operator.running
        assert holder(lane) != first
        return str(pause.happened), status


def test_a_killed_leader_is_followed_within_twenty_seconds(side_by_side, figure):
    times = side_by_side(killed_leader, range(TAKEOVERS))
    taken, working = zip(*times, strict=True)
    figure(
        f"leader killed {TAKEOVERS} times: the Lease was taken after {', '.join(f'{s:.1f}' for s in sorted(taken))} s, "
        f"a change made meanwhile was begun after {', '.join(f'{s:.1f}' for s in sorted(working))} s"
    )
    assert max(working) < TAKEOVER_SECONDS


def test_a_leader_that_slept_through_its_lease_writes_no_more_and_ends(side_by_side, figure):
    ends = side_by_side(paused_leader, PAUSED_AT_WRITES)
    figure(f"leader paused at each of {len(ends)} writes and woken when another led: it wrote nothing more")
    assert {status for _, status in ends} == {1}
