"""All phases with all numbers of instances, for one subject on a cluster of its own."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.local import LocalCluster

from bench import site
from bench.api import ApiError, connect
from bench.observer import observing
from bench.phases import PHASES, Phase, grow
from bench.process import Others
from bench.results import Results
from bench.run import OperatorEndedError, Problem, Run, role_of
from bench.subject import Subject

_AFTER_START_SECONDS = 5.0


@dataclass(frozen=True)
class Plan:
    """What to measure: with how many instances, which phases, and how long to look on while idle."""

    levels: tuple[int, ...]
    phases: tuple[str, ...]
    idle_seconds: float
    keep_logs: bool

    def chosen(self) -> list[Phase]:
        """Return the phases in the order in which they are measured."""
        return [phase for phase in PHASES if phase.name in self.phases]


async def measure(subject: Subject, made: LocalCluster, plan: Plan, results: Results, folder: Path) -> None:
    """Measure everything; what cannot be measured is told in `results.problems`."""
    plane = made.control_plane
    async with connect(plane.server, plane.certificates) as api, site.prepared(subject, api, made, folder) as place:
        kinds = {"job": api.resource("batch/v1", "Job")}
        parts = (subject.parts.kind,) if subject.parts else ()
        for kind in (*parts, *subject.repaired, subject.workload, subject.instance):
            kinds[role_of(subject, kind)] = api.resource(kind.api_version, kind.kind)
        async with observing(api, kinds, subject.ready) as observer:
            run = Run(place, observer, results, plan.levels, plan.idle_seconds)
            try:
                await _all_levels(run, plan)
            except OperatorEndedError as error:
                results.problems.append(str(error))
            finally:
                run.stop_operator(kill=True)


async def _all_levels(run: Run, plan: Plan) -> None:
    await run.prepare(_namespaces(run, plan))
    await asyncio.sleep(_AFTER_START_SECONDS)  # the controllers of the cluster see to the new namespaces
    await _perform(run, "start", _start)
    for level in plan.levels:
        run.level = level
        others = Others()
        if not await _perform(run, "creation", grow):
            return
        for phase in plan.chosen():
            if phase.applies(run):
                await _perform(run, phase.sentence, phase.measure)
        run.record("machine.others", others.processors())


def _namespaces(run: Run, plan: Plan) -> int:
    """Return how many namespaces all phases at all levels use."""
    needed = plan.levels[-1]
    for level in plan.levels:
        run.level = level
        needed += sum(phase.namespaces(run) for phase in plan.chosen() if phase.applies(run))
    run.level = 0
    return needed


async def _perform(run: Run, what: str, act: Callable[[Run], Awaitable[None]]) -> bool:
    """Do one phase; a problem ends it and is noted. Return whether it went through."""
    run.say(what)
    try:
        await act(run)
    except OperatorEndedError:
        raise
    except (Problem, ApiError, LookupError) as problem:
        run.results.problems.append(f"N={run.level}, {what}: {problem}")
        run.say(f"problem: {problem}")
        return False
    return True


async def _start(run: Run) -> None:
    """Start the operator with nothing to do."""
    operator = run.start_operator()
    await run.first_request()
    await run.quiet()
    run.record("start.cpu", operator.cpu_seconds())
    run.record("start.rss", operator.rss_mib())


def subjects(files: Sequence[Path]) -> list[Subject]:
    """Read the subjects. Raise BadSubject on one that cannot be used, or where two have one name."""
    found = [Subject.from_file(file) for file in files]
    if len({subject.name for subject in found}) < len(found):
        raise Problem("two subjects have the same name")
    return found
