"""What a watch showed of the objects of one instance, and what follows from it: when, and whose turn it was.

Times are in seconds since 1970, as in the audit log.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Role = Literal["instance", "workload", "job"] | str
"""`instance`: the object that a user makes. `part`: what one of them may have many of. `workload`: what runs its pods.
`job`: any Job. Others by their kind.
"""


@dataclass(frozen=True)
class Sight:
    """One look at one object.

    `done`: an instance or a part says that it is ready, and means its newest spec; all pods of a workload are of its
    newest template and ready; a Job has ended. Objects of other kinds are never done. `present`: it was not deleted.
    """

    at: float
    role: Role
    name: str
    uid: str
    generation: int
    done: bool
    present: bool = True
    spec: str = ""
    """A hash of its spec; only of objects that are neither instance, part, workload nor Job."""


def first(
    sights: Iterable[Sight], role: Role, since: float, *, done: bool = False, generation: int = 0
) -> float | None:
    """Return when an object of that role was first seen after `since`; None where it was not.

    With `done` only looks at which it was done count, with `generation` only those at that generation or a later one.
    """
    return next(
        (
            sight.at
            for sight in sights
            if sight.role == role
            and sight.at >= since
            and sight.present
            and (sight.done or not done)
            and sight.generation >= generation
        ),
        None,
    )


def came_back(sights: Iterable[Sight], role: Role, old_uid: str, since: float) -> float | None:
    """Return when another object was seen in the place of the one with `old_uid`; None where there is none yet."""
    return next(
        (s.at for s in sights if s.role == role and s.present and s.uid != old_uid and s.at >= since),
        None,
    )


def undone(sights: Iterable[Sight], role: Role, spec: str, since: float) -> float | None:
    """Return when the spec of an object was again what it had been, once it had been another; None where it was not."""
    edited = False
    for sight in sights:
        if sight.role == role and sight.at >= since:
            if edited and sight.spec == spec:
                return sight.at
            edited = edited or sight.spec != spec
    return None


def waits(sights: Iterable[Sight], until: float) -> list[tuple[float, float]]:
    """Return the intervals in which a Job ran or a workload was on its way: when others than the operator had to act.

    One that has not ended lasts until `until`.
    """
    began: dict[str, float] = {}
    intervals: list[tuple[float, float]] = []
    for sight in sights:
        if sight.role not in ("workload", "job"):
            continue
        if sight.present and not sight.done:
            began.setdefault(sight.uid, sight.at)
        elif sight.uid in began:
            intervals.append((began.pop(sight.uid), sight.at))
    return intervals + [(start, until) for start in began.values()]


def covered(intervals: Sequence[tuple[float, float]], start: float, end: float) -> float:
    """Return how much of the time from `start` to `end` lies in at least one of the intervals."""
    total, reached = 0.0, start
    for begin, finish in sorted(intervals):
        counted = min(finish, end) - max(begin, reached)
        if counted > 0:
            total += counted
            reached = min(finish, end)
    return total


def own_seconds(sights: Sequence[Sight], start: float, end: float) -> float:
    """Return how long between `start` and `end` the next move was the operator's.

    That is all the time in which no Job ran and no workload was on its way to its newest template: from the user's
    request to the first Job or workload, from a Job's end to what comes next, from the last pod that became ready to
    the status that says so. What the operator does while others are at work anyway costs the user nothing.
    """
    return (end - start) - covered(waits(sights, end), start, end)
