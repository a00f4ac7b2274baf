"""The work queue, on a clock that the test turns."""

import asyncio
import math

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from imageservice.runtime.kinds import IMAGE_SERVICE, IMAGE_STORE, Key
from imageservice.runtime.metrics import Metrics
from imageservice.runtime.queue import LONGEST_BACKOFF_SECONDS, Urgency, WorkQueue


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def service(name: str) -> Key:
    return Key(IMAGE_SERVICE, "ns", name)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> WorkQueue:
    return WorkQueue(clock, jitter=lambda: 0.0)


def drain(queue: WorkQueue) -> list[str]:
    names = []
    while (key := queue.take()) is not None:
        names.append(key.name)
        queue.done(key)
    return names


def test_a_key_added_many_times_is_taken_once(queue: WorkQueue) -> None:
    for _ in range(3):
        queue.add(service("a"))
    assert drain(queue) == ["a"]


def test_a_key_with_a_worker_is_handed_to_no_other_and_comes_back_afterwards(queue: WorkQueue) -> None:
    queue.add(service("a"))
    key = queue.take()
    assert key is not None
    queue.add(service("a"))
    assert queue.take() is None
    queue.done(key)
    assert drain(queue) == ["a"]


def test_a_key_is_not_taken_again_when_nothing_was_added_meanwhile(queue: WorkQueue) -> None:
    queue.add(service("a"))
    assert drain(queue) == ["a"]
    assert drain(queue) == []


def test_of_two_delays_the_earlier_counts(queue: WorkQueue, clock: Clock) -> None:
    queue.add(service("a"), after=60)
    queue.add(service("a"), after=5)
    queue.add(service("a"), after=30)
    clock.now += 4.9
    assert drain(queue) == []
    clock.now += 0.2
    assert drain(queue) == ["a"]


def test_a_look_that_is_taken_now_makes_the_delayed_one_needless(queue: WorkQueue, clock: Clock) -> None:
    queue.add(service("a"), after=60)
    queue.add(service("a"))
    assert drain(queue) == ["a"]
    clock.now += 61
    assert drain(queue) == []


def test_a_delay_asked_for_during_a_reconcile_outlives_it(queue: WorkQueue, clock: Clock) -> None:
    queue.add(service("a"))
    key = queue.take()
    assert key is not None
    queue.add(key, after=10)
    queue.done(key)
    assert drain(queue) == []
    clock.now += 10
    assert drain(queue) == ["a"]


def test_what_is_missing_comes_before_what_is_to_be_confirmed_and_second_passes_before_first_ones(
    queue: WorkQueue,
) -> None:
    queue.add(service("confirm"), Urgency.CONFIRM)
    queue.add(service("change"), Urgency.CHANGE)
    queue.add(service("progress"), Urgency.PROGRESS)
    queue.add(service("missing"), Urgency.MISSING)
    assert drain(queue) == ["missing", "progress", "change", "confirm"]


def test_a_waiting_key_moves_up_when_it_becomes_urgent(queue: WorkQueue) -> None:
    queue.add(service("a"), Urgency.CHANGE)
    queue.add(service("b"), Urgency.CONFIRM)
    queue.add(service("b"), Urgency.MISSING)
    queue.add(service("b"), Urgency.CONFIRM)
    assert drain(queue) == ["b", "a"]


def test_equally_urgent_keys_are_served_in_the_order_of_their_coming(queue: WorkQueue, clock: Clock) -> None:
    for name in "cab":
        queue.add(service(name))
        clock.now += 0.01
    assert drain(queue) == ["c", "a", "b"]


def test_a_stream_of_urgent_keys_does_not_keep_a_patient_one_waiting_for_ever(queue: WorkQueue, clock: Clock) -> None:
    queue.add(service("patient"), Urgency.CONFIRM)
    taken: list[str] = []
    for second in range(90):
        queue.add(service(f"urgent-{second}"), Urgency.MISSING)
        queue.add(service(f"urgent-too-{second}"), Urgency.MISSING)
        key = queue.take()  # one a second, where two come: the backlog grows
        assert key is not None
        taken.append(key.name)
        queue.done(key)
        clock.now += 1
    assert taken.index("patient") <= 2 * Urgency.CONFIRM.value


def test_errors_back_off_from_one_second_to_five_minutes(queue: WorkQueue) -> None:
    delays = [queue.retry(service("a")) for _ in range(12)]
    assert delays[:4] == [1, 2, 4, 8]
    assert delays[-1] == LONGEST_BACKOFF_SECONDS
    assert delays == sorted(delays)


def test_jitter_makes_a_backoff_longer_by_half_at_most(clock: Clock) -> None:
    queue = WorkQueue(clock, jitter=lambda: 1.0)
    assert [queue.retry(service("a")) for _ in range(3)] == [1.5, 3, 6]
    assert max(queue.retry(service("a")) for _ in range(20)) == LONGEST_BACKOFF_SECONDS


def test_a_success_ends_the_backoff_and_one_keys_errors_are_not_anothers(queue: WorkQueue) -> None:
    for _ in range(5):
        queue.retry(service("bad"))
    assert queue.retry(service("good")) == 1
    queue.forget(service("bad"))
    assert queue.retries(service("bad")) == 0
    assert queue.retry(service("bad")) == 1
    assert queue.retries(service("bad")) == 1


def test_an_event_wakes_a_key_that_is_backed_off(queue: WorkQueue) -> None:
    for _ in range(8):
        queue.retry(service("a"))
    queue.add(service("a"))
    assert drain(queue) == ["a"]


def test_depth_adds_retries_and_waiting_time_are_measured(clock: Clock) -> None:
    metrics = Metrics()
    queue = WorkQueue(clock, metrics=metrics, jitter=lambda: 0.0)
    store = Key(IMAGE_STORE, "ns", "s")
    queue.add(service("a"))
    queue.add(service("a"))
    queue.add(store)
    queue.retry(store)

    def value(name: str, controller: str) -> float | None:
        return metrics.registry.get_sample_value(f"image_service_operator_workqueue_{name}", {"controller": controller})

    assert value("depth", "ImageService") == 1
    assert value("adds_total", "ImageService") == 1
    assert value("retries_total", "ImageStore") == 1
    clock.now += 0.2
    drain(queue)
    assert value("depth", "ImageService") == 0
    assert value("queue_duration_seconds_sum", "ImageService") == pytest.approx(0.2)


async def test_get_waits_for_a_delayed_key_and_every_waiter_gets_another(clock: Clock) -> None:
    loop = asyncio.get_running_loop()
    queue = WorkQueue(loop.time)
    waiters = [asyncio.create_task(queue.get()) for _ in range(2)]
    await asyncio.sleep(0)
    started = loop.time()
    queue.add(service("a"), after=0.05)
    queue.add(service("b"), after=0.1)
    async with asyncio.timeout(5):
        keys = await asyncio.gather(*waiters)
    assert sorted(key.name for key in keys if key) == ["a", "b"]
    assert loop.time() - started >= 0.1


async def test_closing_frees_the_waiters_and_takes_no_more_keys(queue: WorkQueue) -> None:
    waiter = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.close()
    queue.add(service("late"))
    async with asyncio.timeout(5):
        assert await waiter is None
        assert await queue.get() is None


KEYS = [service(name) for name in "abc"]


class PromisesAreKept(RuleBasedStateMachine):
    """Against the promise in the module's docstring: what was added is taken in time, by one worker at a time."""

    @initialize()
    def start(self) -> None:
        self.clock = Clock()
        self.queue = WorkQueue(self.clock, jitter=lambda: 0.0)
        self.promised: dict[Key, float] = {}  # key -> from when on it must be on offer
        self.with_worker: set[Key] = set()

    @rule(key=st.sampled_from(KEYS), urgency=st.sampled_from(Urgency), after=st.sampled_from([0, 0.5, 3, 70]))
    def add(self, key: Key, urgency: Urgency, after: float) -> None:
        self.queue.add(key, urgency, after=after)
        self.promised[key] = min(self.promised.get(key, math.inf), self.clock.now + after)

    @rule(key=st.sampled_from(KEYS))
    def fail(self, key: Key) -> None:
        delay = self.queue.retry(key)
        assert 1 <= delay <= LONGEST_BACKOFF_SECONDS
        self.promised[key] = min(self.promised.get(key, math.inf), self.clock.now + delay)

    @rule(key=st.sampled_from(KEYS))
    def succeed(self, key: Key) -> None:
        self.queue.forget(key)

    @rule(seconds=st.sampled_from([0.1, 1, 40, 400]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule()
    def take(self) -> None:
        due = {key for key, since in self.promised.items() if since <= self.clock.now} - self.with_worker
        key = self.queue.take()
        if key is None:
            assert not due, "a key is lost"
            return
        assert key not in self.with_worker, "two workers have one key"
        assert key in due, "a key is taken that nobody asked for, or before its time"
        del self.promised[key]
        self.with_worker.add(key)

    @precondition(lambda self: bool(self.with_worker))
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.with_worker, key=lambda key: key.name)))
        self.queue.done(key)
        self.with_worker.remove(key)

    @invariant()
    def length_is_what_can_be_taken(self) -> None:
        due = {key for key, since in self.promised.items() if since <= self.clock.now} - self.with_worker
        assert len(self.queue) == len(due)

    def teardown(self) -> None:
        """However it went, everything promised is taken in the end."""
        for key in list(self.with_worker):
            self.queue.done(key)
        self.with_worker.clear()
        self.clock.now += 1000
        assert set(drain(self.queue)) == {key.name for key in self.promised}


TestPromisesAreKept = PromisesAreKept.TestCase
TestPromisesAreKept.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
