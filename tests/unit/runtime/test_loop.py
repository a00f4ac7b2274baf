"""The workers, with reconcilers that fail in every way there is."""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from io import StringIO

import pytest

from imageservice.errors import Blocked, Retry
from imageservice.runtime import logs
from imageservice.runtime.kinds import IMAGE_SERVICE, Key
from imageservice.runtime.kube import Conflict, Invalid, Throttled
from imageservice.runtime.loop import Result, Workers
from imageservice.runtime.metrics import Metrics
from imageservice.runtime.queue import WorkQueue

PASSWORD = "planted-password"
ERRORS = "image_service_operator_reconcile_errors_total"


def key(name: str) -> Key:
    return Key(IMAGE_SERVICE, "ns", name)


class Reconciler:
    """Does for each name what `how` says, and counts."""

    kind = IMAGE_SERVICE

    def __init__(self, **how: Callable[[], Awaitable[Result]]) -> None:
        self.how = how
        self.passes: Counter[str] = Counter()
        self.running: Counter[str] = Counter()
        self.most_at_once: Counter[str] = Counter()

    async def reconcile(self, namespace: str, name: str) -> Result:
        assert namespace == "ns"
        self.passes[name] += 1
        self.running[name] += 1
        self.most_at_once[name] = max(self.most_at_once[name], self.running[name])
        try:
            return await self.how[name]() if name in self.how else Result()
        finally:
            self.running[name] -= 1


class Bench:
    """A queue and workers around a reconciler."""

    def __init__(self, reconciler: Reconciler, *, count: int = 4, deadline: float = 5.0, resync: float = 600.0) -> None:
        self.reconciler = reconciler
        self.metrics = Metrics()
        self.clock = asyncio.get_running_loop().time
        self.queue = WorkQueue(self.clock, metrics=self.metrics, jitter=lambda: 0.0)
        self.served: list[Key] = []
        self.existing: set[Key] = set()
        self.workers = Workers(
            self.queue,
            metrics=self.metrics,
            count=count,
            deadline=deadline,
            resync=resync,
            exists=lambda which: which in self.existing,
            served=self.served.append,
        )

    def start(self) -> None:
        self.workers.start([self.reconciler])

    async def serve(self, *names: str) -> None:
        """Put the names in the queue and wait until each was served once more."""
        goal = len(self.served) + len(names)
        for name in names:
            self.queue.add(key(name))
        self.start()
        await until(lambda: len(self.served) >= goal)

    def next_look_in(self) -> float | None:
        due = self.queue.next_due()
        return None if due is None else due - self.clock()

    def results(self, result: str) -> float:
        labels = {"controller": "ImageService", "result": result}
        return self.metrics.registry.get_sample_value("image_service_operator_reconcile_total", labels) or 0


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - a condition on many things, none of which sends an event
            await asyncio.sleep(0.005)


def raising(error: BaseException) -> Callable[[], Awaitable[Result]]:
    async def fail() -> Result:
        raise error

    return fail


def returning(result: Result) -> Callable[[], Awaitable[Result]]:
    async def end() -> Result:
        return result

    return end


def hanging() -> Callable[[], Awaitable[Result]]:
    async def hang() -> Result:
        await asyncio.Event().wait()
        return Result()

    return hang


@pytest.fixture
def log() -> Iterator[StringIO]:
    stream = StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.JsonLines())
    logger = logging.getLogger("imageservice.runtime.loop")
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.INFO)
    yield stream
    logger.setLevel(level)
    logger.removeHandler(handler)


async def test_a_settled_object_is_looked_at_again_after_the_resync_period_give_or_take_a_fifth() -> None:
    bench = Bench(Reconciler(), resync=600)
    bench.existing.add(key("a"))
    await bench.serve("a")
    await bench.workers.stop(1)
    pause = bench.next_look_in()
    assert pause is not None
    assert 479 <= pause <= 720
    assert bench.results("success") == 1


async def test_an_object_that_is_gone_is_not_looked_at_for_ever() -> None:
    bench = Bench(Reconciler())
    await bench.serve("gone")
    assert bench.next_look_in() is None
    await bench.workers.stop(1)


async def test_a_reconcile_says_when_to_look_again() -> None:
    bench = Bench(Reconciler(a=returning(Result(requeue_after=30))))
    await bench.serve("a")
    assert bench.next_look_in() == pytest.approx(30, abs=1)
    assert bench.results("requeue_after") == 1
    await bench.workers.stop(1)


@pytest.mark.parametrize(
    ("error", "result", "least", "most"),
    [
        (Retry(30, "Ready", "Waiting", "not yet"), "requeue_after", 29, 31),
        (Throttled(429, "TooManyRequests", "slow down", 20), "throttled", 19, 31),
        (Conflict(409, "Conflict", "changed"), "conflict", 0.5, 2),
        (TimeoutError(), "error", 0.5, 2),
        (KeyError("spec"), "error", 0.5, 2),
        (asyncio.CancelledError(), "error", 0.5, 2),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_every_end_of_a_reconcile_leads_to_another_look(
    error: BaseException, result: str, least: float, most: float
) -> None:
    bench = Bench(Reconciler(a=raising(error)))
    await bench.serve("a")
    assert bench.results(result) == 1
    pause = bench.next_look_in()
    assert pause is not None
    assert least <= pause <= most
    await bench.workers.stop(1)


async def test_bad_input_is_no_error_and_waits_for_a_change() -> None:
    bench = Bench(Reconciler(a=raising(Blocked("Accepted", "Bad", "mend it"))))
    await bench.serve("a")
    assert bench.results("blocked") == 1
    assert bench.results("error") == 0
    assert bench.next_look_in() is None
    await bench.workers.stop(1)


async def test_a_reconcile_that_hangs_is_ended_at_its_deadline_and_tried_again() -> None:
    bench = Bench(Reconciler(a=hanging()), deadline=0.1)
    await bench.serve("a")
    assert bench.results("error") == 1
    assert bench.next_look_in() is not None
    await bench.workers.stop(1)


async def test_keys_that_hang_or_fail_hold_up_no_other() -> None:
    bad = {f"bad{number}": hanging() if number % 2 else raising(RuntimeError()) for number in range(6)}
    bench = Bench(Reconciler(**bad), count=4, deadline=0.2)
    for name in bad:
        bench.queue.add(key(name))
    good = [f"good{number}" for number in range(40)]
    for name in good:
        bench.queue.add(key(name))
    bench.start()
    await until(lambda: {served.name for served in bench.served} >= set(good), seconds=3)
    await bench.workers.stop(1)


async def test_no_object_is_reconciled_by_two_workers_at_once() -> None:
    async def slow() -> Result:
        await asyncio.sleep(0.01)
        return Result()

    reconciler = Reconciler(a=slow, b=slow)
    bench = Bench(reconciler, count=8)
    bench.start()
    for _ in range(20):
        bench.queue.add(key("a"))
        bench.queue.add(key("b"))
        await asyncio.sleep(0.003)
    await until(lambda: not reconciler.running.total() and not len(bench.queue))
    assert reconciler.most_at_once == {"a": 1, "b": 1}
    assert reconciler.passes["a"] > 1
    await bench.workers.stop(1)


async def test_stopping_lets_a_running_reconcile_end_and_begins_no_other() -> None:
    finished = []

    async def slow() -> Result:
        await asyncio.sleep(0.1)
        finished.append(True)
        return Result()

    reconciler = Reconciler(a=slow)
    bench = Bench(reconciler, count=1)
    bench.queue.add(key("a"))
    bench.queue.add(key("b"))
    bench.start()
    await until(lambda: reconciler.running["a"] == 1)
    await bench.workers.stop(5)
    assert finished
    assert reconciler.passes["b"] == 0


async def test_stopping_does_not_wait_for_ever() -> None:
    bench = Bench(Reconciler(a=hanging()), deadline=60)
    bench.queue.add(key("a"))
    bench.start()
    await until(lambda: bench.workers.oldest() > 0)
    async with asyncio.timeout(2):
        await bench.workers.stop(0.1)


async def test_an_error_is_one_line_that_names_the_object_and_shows_no_value(log: StringIO) -> None:
    async def bug() -> Result:
        raise ValueError(f"cannot parse {PASSWORD}")

    bench = Bench(Reconciler(a=bug))
    await bench.serve("a")
    await bench.workers.stop(1)
    lines = log.getvalue().splitlines()
    assert len(lines) == 1
    assert PASSWORD not in lines[0]
    line = json.loads(lines[0])
    assert line["object"] == {
        "apiVersion": "imageservice.dev/v1alpha1",
        "kind": "ImageService",
        "namespace": "ns",
        "name": "a",
    }
    assert line["message"] == "Reconcile failed: bug: ValueError"
    assert any(entry.endswith(" bug") for entry in line["origin"])


async def test_an_expected_error_has_no_traceback(log: StringIO) -> None:
    bench = Bench(Reconciler(a=raising(Invalid(422, "Invalid", "spec.replicas: must be a number"))))
    await bench.serve("a")
    await bench.workers.stop(1)
    line = json.loads(log.getvalue())
    assert line["message"] == "Reconcile failed: 422 Invalid: spec.replicas: must be a number"
    assert "origin" not in line


async def test_an_object_that_others_change_is_looked_at_again_and_only_when_that_does_not_end_is_it_an_error(
    log: StringIO,
) -> None:
    bench = Bench(Reconciler(a=raising(Conflict(409, "Conflict", "changed meanwhile"))), count=1)
    bench.start()
    for passes in range(1, 6):
        bench.queue.add(key("a"))
        await until(lambda passes=passes: len(bench.served) == passes)
        assert bench.next_look_in() is not None
    await bench.workers.stop(1)
    assert [json.loads(line)["level"] for line in log.getvalue().splitlines()] == ["info"] * 3 + ["error"] * 2
    assert (bench.results("conflict"), bench.results("error")) == (3, 2)
    assert bench.metrics.registry.get_sample_value(ERRORS, {"controller": "ImageService"}) == 2


async def test_the_age_of_the_oldest_reconcile_is_known_while_it_runs() -> None:
    bench = Bench(Reconciler(a=hanging()), deadline=60)
    bench.queue.add(key("a"))
    bench.start()
    await until(lambda: bench.workers.oldest() > 0.05)
    gauge = "image_service_operator_workqueue_longest_running_processor_seconds"
    assert (bench.metrics.registry.get_sample_value(gauge) or 0) > 0.05
    await bench.workers.stop(0)
    assert bench.workers.oldest() == 0
