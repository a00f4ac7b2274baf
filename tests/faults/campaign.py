"""Many runs side by side: each worker has a lane of its own, and takes one run after another."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from tests.api_client import ApiClient
from tests.faults.forked import Nursery
from tests.faults.lane import Lane, open_lane
from tests.faults.runs import Disturbance, Killed, KillPoints, Reference, carry_out
from tests.faults.scenarios import Scenario
from tests.keystone import KeystoneServer

MOST_FAILURES = 2
"""So many failed runs of one trial are enough to see what is wrong."""


class Trial:
    """A set of runs that are judged together. `runs` and `hits` count what was done when all its futures are done."""

    def __init__(self, name: str, scenario: Scenario) -> None:
        self.name = name
        self.scenario = scenario
        self.runs = 0
        self.hits = 0
        self.seconds = 0.0
        self.failures: list[str] = []

    def __str__(self) -> str:
        return self.name

    def start(self, campaign: "Campaign") -> list[Future[None]]:
        """Hand the runs to the workers of a campaign."""
        raise NotImplementedError

    def run(self, campaign: "Campaign", lane: Lane, disturbance: Disturbance) -> None:
        """Carry out one run and note how it went."""
        began = time.monotonic()
        self.runs += 1
        try:
            carry_out(self.scenario, campaign.references[self.scenario.name], disturbance, lane)
        except AssertionError as error:
            self.failures.append(str(error))
            campaign.tell(f"{self}: {error}")
            raise
        finally:
            self.hits += sum(disturbance.hits.values())
            self.seconds += time.monotonic() - began


class Campaign:
    """The workers, the straight runs that all others are compared with, and how each trial stands.

    With a Keystone that is no stand-in `lanes` must be 1: a lane takes the whole catalogue for its own.
    """

    def __init__(self, api: ApiClient, keystone: KeystoneServer, nursery: Nursery, directory: Path, lanes: int) -> None:
        self.references: dict[str, Reference] = {}
        self._api = api
        self._keystone = keystone
        self._nursery = nursery
        self._directory = directory
        self._workers = ThreadPoolExecutor(lanes, thread_name_prefix="lane")
        self._own = threading.local()
        self._open: list[ExitStack] = []
        self._trials: dict[str, list[Future[None]]] = {}
        self._stopping = False

    def start(self, trials: list[Trial]) -> None:
        """Begin with all trials at once; what they are compared with comes first."""
        self.references = {trial.scenario.name: Reference(trial.scenario) for trial in trials}
        for reference in self.references.values():
            self.submit(reference.run)
        for trial in trials:
            self._trials[trial.name] = trial.start(self)

    def tell(self, failure: str) -> None:
        """Write a failure to a file beside the logs of the operators at once: the tests tell of it only in the end."""
        with (self._directory / "failures").open("a") as file:
            file.write(f"{failure}\n\n")

    def submit(self, run: Callable[[Lane], None]) -> Future[None]:
        """Let a worker do something in its lane when its turn has come."""
        return self._workers.submit(self._in_lane, run)

    def wait(self, trial: Trial) -> None:
        """Wait for all runs of a trial; raise what went wrong in them, unless the trial itself has noted it."""
        futures = self._trials[trial.name]
        for future in futures:  # it grows while it is walked through
            error = future.exception()
            if error is not None and not isinstance(error, AssertionError):
                raise error
        assert not trial.failures, f"{len(trial.failures)} of {trial.runs} runs:\n\n" + "\n\n".join(trial.failures)

    def stop(self) -> None:
        """Let what runs end, and take all lanes away."""
        self._stopping = True
        self._workers.shutdown(wait=True, cancel_futures=True)
        for lane in self._open:
            lane.close()

    @property
    def stopping(self) -> bool:
        """Whether nothing more is to be begun."""
        return self._stopping

    def _in_lane(self, run: Callable[[Lane], None]) -> None:
        stack: ExitStack | None = getattr(self._own, "stack", None)
        if stack is None:
            stack = self._own.stack = ExitStack()
            self._open.append(stack)
            directory = self._directory / threading.current_thread().name
            lane = open_lane(self._api, self._keystone, self._nursery, directory)
            self._own.lane = stack.enter_context(lane)
        own: Lane = self._own.lane
        try:
            run(own)
        except BaseException:
            self._own.stack = None
            self._open.remove(stack)
            stack.close()
            raise


class KillTrial(Trial):
    """The operator killed at every write of a scenario: runs until one ends in which nothing is left to kill."""

    def __init__(self, points: KillPoints, chains: int) -> None:
        super().__init__(f"{points.scenario}, killed {points.moment}", points.scenario)
        self.points = points
        self._chains = chains

    def start(self, campaign: Campaign) -> list[Future[None]]:
        futures: list[Future[None]] = []

        def next_run(lane: Lane) -> None:
            number = self.points.take()
            if number is None or campaign.stopping or len(self.failures) >= MOST_FAILURES:
                return
            try:
                self.run(campaign, lane, Killed(self.points, number))
            finally:
                futures.append(campaign.submit(next_run))

        futures += [campaign.submit(next_run) for _ in range(self._chains)]
        return futures


class DisturbedTrial(Trial):
    """One run of a scenario with one disturbance."""

    def __init__(self, scenario: Scenario, disturbance: Disturbance) -> None:
        super().__init__(disturbance.name, scenario)
        self._disturbance = disturbance

    def start(self, campaign: Campaign) -> list[Future[None]]:
        return [campaign.submit(lambda lane: self.run(campaign, lane, self._disturbance))]
