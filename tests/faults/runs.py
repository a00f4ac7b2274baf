"""A scenario carried out once without disturbance, for the end state of each step, and then with one after another."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from tests.end_state import EndState, differences, key_of
from tests.faults.faults import AtWrite, DelayEvents, Moment, OldLists
from tests.faults.forked import ForkedOperator
from tests.faults.lane import Died, Lane
from tests.faults.proxy import Fault
from tests.faults.scenarios import OWN_KINDS, Scenario, Step
from tests.waiting import wait_for

from imageservice.reconcile.writing import COUNTS_SECONDS

STRAIGHT_SECONDS = 120.0
"""How long a step may take when nothing goes wrong."""
SETTLE_SECONDS = 150.0
"""How long it may take with a disturbance: requests that time out and pauses that grow included."""
SETTLED_SECONDS = COUNTS_SECONDS + 0.5
"""So long without a write a straight run is over: longer than a look at a roll-out or what it counts is put off."""
QUIET_SECONDS = 1.0
LOOK_SECONDS = 0.25
LAST_REQUESTS = 25
WHOLE_LOOK_SECONDS = 3.0


class Reference:
    """How a scenario goes without disturbance: the end state and the number of writes of each step."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.states: list[EndState] = []
        self.writes: list[int] = []
        self._problem: BaseException | None = None
        self._known = [threading.Event() for _ in scenario.steps]

    def state(self, number: int) -> EndState:
        """Return the end state of a step; wait for it where the straight run is not that far."""
        self._known[number].wait(STRAIGHT_SECONDS * (number + 1))
        if number >= len(self.states):
            raise AssertionError(f"the straight run of {self.scenario} has not come that far: {self._problem}")
        return self.states[number]

    def run(self, lane: Lane) -> None:
        """Carry the scenario out in a lane. Raise AssertionError where a step does not end as it says it does."""
        try:
            lane.start_operator()
            for number, step in enumerate(self.scenario.steps):
                position = len(lane.proxy.log)
                lane.carry_out(step)
                self._settle(lane, step)
                self.states.append(lane.state())
                self.writes.append(len(lane.proxy.log.writes(position)))
                self._known[number].set()
            lane.wait_empty()
            lane.kill_operators()
        except BaseException as problem:
            self._problem = problem
            raise
        finally:
            for known in self._known:
                known.set()

    def _settle(self, lane: Lane, step: Step) -> None:
        """Wait until nothing moves any more, and check that this is the end that the step is to have."""
        began = time.monotonic()
        while True:
            _nobody_died(lane)
            ready = ready_objects(lane)
            quiet = min(lane.proxy.log.quiet_seconds(), time.monotonic() - began)
            if quiet > SETTLED_SECONDS and ready == set(step.ready):
                return
            if time.monotonic() - began > STRAIGHT_SECONDS:
                problem = f"Ready are {sorted(ready)}, quiet since {quiet:.1f} s"
                raise AssertionError(f"{self.scenario}, {step.name}: {problem}\n{_words_of(lane)}")
            time.sleep(LOOK_SECONDS)


def ready_objects(lane: Lane) -> set[str]:
    """Return `Kind/name` of the objects that are Ready as they are now."""
    ready = set()
    for manifest in lane.objects(OWN_KINDS):
        conditions = {entry["type"]: entry for entry in manifest.get("status", {}).get("conditions", [])}
        found = conditions.get("Ready", {})
        if (found.get("status"), found.get("observedGeneration")) == ("True", manifest["metadata"]["generation"]):
            ready.add(f"{manifest['kind']}/{manifest['metadata']['name']}")
    return ready


def wait_ready(lane: Lane, wanted: set[str], seconds: float, what: str) -> None:
    """Wait until just these objects are Ready; say what the objects are instead where it takes too long."""
    try:
        wait_for(lambda: ready_objects(lane) == wanted, seconds, what, pause=LOOK_SECONDS)
    except AssertionError as error:
        lines = [
            f"{key_of(manifest)}: {entry['type']}={entry['status']} {entry['reason']}: {entry['message']}"
            for manifest in lane.objects(OWN_KINDS)
            for entry in manifest.get("status", {}).get("conditions", [])
        ]
        raise AssertionError("\n".join([f"{lane.namespace}: {error}", *lines])) from None


class Disturbance:
    """What goes wrong in one run of a scenario. `hits` counts how often it did, by step."""

    def __init__(self, name: str, settings: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.settings = dict(settings or {})
        self.hits: dict[str, int] = {}

    def enter(self, lane: Lane) -> None:
        """Begin, in an empty namespace."""
        lane.start_operator(**self.settings)

    def begin(self, lane: Lane, step: Step) -> None:
        """Make ready to disturb a step that is about to be carried out."""

    def look(self, lane: Lane, step: Step) -> None:
        """Act while the step goes on; called several times a second."""
        _nobody_died(lane)

    def is_over(self, lane: Lane) -> bool:
        """Tell whether the disturbance of this step lies behind, so that its end state may be compared."""
        return True

    def end(self, lane: Lane, step: Step) -> None:
        """Take the disturbance away: the step is over."""

    def wants(self, number: int) -> bool:
        """Tell whether there is anything to try at the step of this number or at a later one."""
        return True


@dataclass
class KillPoints:
    """Which kill points of a scenario are still to be tried: in each step every write, until there is no k-th one.

    `server` is the name of the one server whose writes count; None for all.
    """

    scenario: Scenario
    moment: Moment
    server: str | None = None
    tried: Counter[str] = field(default_factory=Counter)
    """How many there were, by step."""
    _next: int = 1
    _writes: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self) -> int | None:
        """Return the next k; None where every step is known to end before its k-th write."""
        with self._lock:
            number = self._next
            if not any(self.is_open(step, number) for step in self.scenario.steps):
                return None
            self._next += 1
            return number

    def is_open(self, step: Step, number: int) -> bool:
        """Tell whether the step may have a write of this number, as far as is known."""
        return not step.told_elsewhere and number < self._writes.get(step.name, number + 1)

    def note(self, step: Step, number: int, *, killed: bool) -> None:
        """Note whether the step had a write of this number."""
        with self._lock:
            if killed:
                self.tried[step.name] += 1
            else:
                self._writes[step.name] = min(number, self._writes.get(step.name, number))


class Killed(Disturbance):
    """In every step the operator is killed at its k-th write, and started again."""

    def __init__(self, points: KillPoints, number: int) -> None:
        super().__init__(f"killed at write {number}, {points.moment}")
        self._points = points
        self._number = number
        self._fault: AtWrite | None = None
        self._restarted_at: int | None = None

    def begin(self, lane: Lane, step: Step) -> None:
        self._restarted_at = None
        operator = lane.operators[-1]
        self._fault = AtWrite(self._number, operator.kill, self._points.moment, self._points.server)
        if not step.told_elsewhere:
            lane.proxy.inject(self._fault)

    def look(self, lane: Lane, step: Step) -> None:
        assert self._fault is not None
        dead = lane.dead()
        if dead and self._fault.happened is None:
            _raise_died(dead[0])
        if dead:
            self._restarted_at = len(lane.proxy.log)
            lane.start_operator()

    def is_over(self, lane: Lane) -> bool:
        """Tell whether nobody was killed as yet, or the one that came after has watched for long enough to act."""
        assert self._fault is not None
        if self._fault.happened is None:
            return True
        if self._restarted_at is None:
            return False
        watches = [request for request in lane.proxy.log.since(self._restarted_at) if request.verb == "watch"]
        return bool(watches) and time.monotonic() - watches[-1].began > QUIET_SECONDS

    def end(self, lane: Lane, step: Step) -> None:
        assert self._fault is not None
        lane.proxy.heal()
        killed = self._fault.happened is not None
        self.hits[step.name] = int(killed)
        self._points.note(step, self._number, killed=killed)

    def wants(self, number: int) -> bool:
        return any(self._points.is_open(step, self._number) for step in self._points.scenario.steps[number:])


class Faulty(Disturbance):
    """In every step some faults, for a few seconds or as often as they are to come; then all is well again."""

    def __init__(self, name: str, make: Callable[[], list[Fault]], seconds: float, settings: Mapping[str, str]) -> None:
        super().__init__(name, settings)
        self._make = make
        self._seconds = seconds
        self._faults: list[Fault] = []
        self._healthy_at = 0.0

    def begin(self, lane: Lane, step: Step) -> None:
        self._faults = self._make()
        lane.proxy.inject(*self._faults)
        self._healthy_at = time.monotonic() + self._seconds

    def look(self, lane: Lane, step: Step) -> None:
        _nobody_died(lane)
        if time.monotonic() > self._healthy_at:
            lane.proxy.heal()

    def end(self, lane: Lane, step: Step) -> None:
        lane.proxy.heal()
        self.hits[step.name] = sum(int(getattr(fault, "done", 0)) for fault in self._faults)


class RestartedBeforeOldLists(Disturbance):
    """In every step the operator is started anew and sees, for some seconds, the world as it was before the first.

    It is an API server that lags behind: old lists, and events that come late from there on.
    """

    def __init__(self, name: str, seconds: float) -> None:
        super().__init__(name)
        self._old = OldLists()
        self._done = 0
        self._seconds = seconds

    def enter(self, lane: Lane) -> None:
        lane.proxy.inject(self._old)
        super().enter(lane)
        deadline = time.monotonic() + STRAIGHT_SECONDS
        while not lane.proxy.log.open_watches():
            assert time.monotonic() < deadline, "the operator does not watch"
            time.sleep(LOOK_SECONDS)

    def begin(self, lane: Lane, step: Step) -> None:
        lane.kill_operators()
        self._old.serve()
        lane.proxy.inject(self._old, DelayEvents(seconds=self._seconds))
        lane.start_operator()

    def end(self, lane: Lane, step: Step) -> None:
        lane.proxy.heal()
        self.hits[step.name] = self._old.done - self._done
        self._done = self._old.done


class TwoOperators(Disturbance):
    """Two operators that both think that they alone serve the namespace. Nothing moves when both are content."""

    def enter(self, lane: Lane) -> None:
        super().enter(lane)
        lane.start_operator()

    def end(self, lane: Lane, step: Step) -> None:
        before = lane.versions()
        position = len(lane.proxy.log)
        time.sleep(SETTLED_SECONDS)
        moved = sorted(key for key, version in lane.versions().items() if before.get(key) != version)
        writes = [str(write) for write in lane.proxy.log.writes(position)]
        assert not moved, f"{step.name}: after settling two operators still moved {moved} by {writes}"
        self.hits[step.name] = len(lane.operators)


def carry_out(scenario: Scenario, reference: Reference, disturbance: Disturbance, lane: Lane) -> None:
    """Carry out a scenario in a lane with a disturbance.

    Raise AssertionError where a step ends otherwise than in the straight run; the lane is of no use then.
    """
    disturbance.enter(lane)
    for number, step in enumerate(scenario.steps):
        if not disturbance.wants(number):  # but the namespace is to be empty again
            lane.carry_out(scenario.steps[-1])
            break
        disturbance.begin(lane, step)
        lane.carry_out(step)
        _settle(lane, scenario, reference, number, disturbance)
        disturbance.end(lane, step)
    lane.wait_empty()
    lane.kill_operators()


def _settle(lane: Lane, scenario: Scenario, reference: Reference, number: int, disturbance: Disturbance) -> None:
    step, began = scenario.steps[number], time.monotonic()
    wanted = reference.state(number)
    own = {key: state for key, state in wanted.items() if key.partition("/")[0] in OWN_KINDS}
    whole_look = 0.0
    while True:
        disturbance.look(lane, step)
        now = time.monotonic()
        if min(lane.proxy.log.quiet_seconds(), now - began) > QUIET_SECONDS and (
            lane.own_state() == own or now - whole_look > WHOLE_LOOK_SECONDS
        ):
            whole_look = now
            found = lane.state()
            if found == wanted and disturbance.is_over(lane):
                return
            if now - began > SETTLE_SECONDS:
                told = "\n".join(differences(wanted, found, "straight", disturbance.name))
                raise AssertionError(f"{scenario}, {step.name}, {disturbance.name}:\n{told}\n{_words_of(lane)}")
        elif now - began > 2 * SETTLE_SECONDS:
            last = "\n".join(map(str, lane.proxy.log.since(len(lane.proxy.log) - 30)))
            raise AssertionError(f"{scenario}, {step.name}, {disturbance.name}: it writes and writes:\n{last}")
        time.sleep(LOOK_SECONDS)


def _nobody_died(lane: Lane) -> None:
    for operator in lane.dead():
        _raise_died(operator)


def _raise_died(operator: ForkedOperator) -> NoReturn:
    """Tell how an operator ended that should not have."""
    raise Died(f"an operator ended by itself ({operator.wait()}):\n{operator.last_words()}")


def _words_of(lane: Lane) -> str:
    """Return the last that was heard of the operators of a lane, for whoever has to find out what went wrong."""
    words = [operator.last_words() for operator in lane.operators[:1]]
    now, asked = time.monotonic(), lane.proxy.log.since(max(0, len(lane.proxy.log) - LAST_REQUESTS))
    requests = [f"{now - request.began:.1f} s ago: {request}" for request in asked]
    return "\n".join([f"namespace {lane.namespace}", *requests, *words])
