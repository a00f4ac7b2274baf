"""What is measured, in this order, with each number of instances; the good instances stay as they were."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bench.phases.changes import changes
from bench.phases.crash import MANY as MANY_CRASHED
from bench.phases.crash import crash
from bench.phases.creation import ALONE, grow, one_at_a_time
from bench.phases.deletion import MANY, deletion
from bench.phases.idle import idle
from bench.phases.many_parts import many_parts
from bench.phases.neighbours import BESIDE, neighbours
from bench.phases.repair import repair
from bench.phases.restart import restart
from bench.run import Run

__all__ = ["PHASES", "Phase", "grow"]


@dataclass(frozen=True)
class Phase:
    """One thing that is measured. `namespaces`: how many prepared ones it uses up."""

    name: str
    sentence: str
    measure: Callable[[Run], Awaitable[None]]
    namespaces: Callable[[Run], int] = lambda _: 0
    applies: Callable[[Run], bool] = lambda _: True


def _is_last_and_many(run: Run) -> bool:
    return run.level == run.levels[-1] and run.level >= MANY


def _is_first_with_neighbours(run: Run) -> bool:
    return run.level == next((level for level in run.levels if level >= BESIDE), None)


def _is_first_with_parts(run: Run) -> bool:
    return run.level == run.levels[0] and run.subject.parts is not None


PHASES = (
    Phase("one", "creation, one at a time", one_at_a_time, namespaces=lambda _: ALONE),
    Phase("repair", "deleted and edited objects", repair),
    Phase("change", "changes of one, and of all", changes),
    Phase("idle", "nothing to do", idle),
    Phase("restart", "restarts", restart),
    Phase(
        "neighbours",
        "good ones beside one that is stuck",
        neighbours,
        namespaces=lambda run: len(run.subject.stuck),
        applies=_is_first_with_neighbours,
    ),
    Phase("parts", "one with many parts", many_parts, namespaces=lambda _: 1, applies=_is_first_with_parts),
    Phase("crash", "a kill in a burst", crash, namespaces=lambda _: MANY_CRASHED, applies=_is_last_and_many),
    Phase("delete", "deletion of many", deletion, applies=_is_last_and_many),
)
