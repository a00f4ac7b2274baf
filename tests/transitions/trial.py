"""What is done with generated worlds, and what is counted.

Three worlds are made fresh in three namespaces, and each namespace then becomes the others in turn:

    x: create A -> B -> A -> C        y: create B -> C -> B -> A        z: create C -> A -> C -> B

Each of the nine transitions must end like the namespace where the world was created so: there, and back again.
"""

import queue
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from tests.api_client import Refused
from tests.transitions.generator import Journey, World
from tests.transitions.home import Home, Restless, Surroundings

ROUTES = ((0, 1, 0, 2), (1, 2, 1, 0), (2, 0, 2, 1))
"""The worlds that each namespace goes through, by number; it is created as the first."""
PER_JOURNEY = sum(len(route) - 1 for route in ROUTES)
HASTY = 4
"""Every so many journeys, one more way is gone: to the second world and at once on to the first."""
SNAPSHOT_SECONDS = 10.0
"""How long a namespace may differ from how another was at one moment, before it is compared with one that lives."""
MOST_LINES = 12
PROGRESS_SECONDS = 30
_Task = TypeVar("_Task")


@dataclass
class Tried:
    """How many transitions were compared, and what was wrong, in words."""

    transitions: int = 0
    failures: list[str] = field(default_factory=list)

    def __add__(self, other: "Tried") -> "Tried":
        return Tried(self.transitions + other.transitions, self.failures + other.failures)

    def compared(self, what: str, lines: Sequence[str]) -> None:
        """Count a transition, and note how its end differs from what it should be."""
        self.transitions += 1
        if lines:
            told = list(lines)
            if len(told) > MOST_LINES:
                told[MOST_LINES:-2] = [f"... and {len(told) - MOST_LINES - 2} more"]
            self.failures.append("\n  ".join([what, *told]))


class Homes:
    """Namespaces to borrow. One that is given back has been cleared, which must leave nothing behind."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._free: queue.SimpleQueue[Home] = queue.SimpleQueue()

    @contextmanager
    def borrowed(self) -> Iterator[Home]:
        """Give a namespace where nothing of ours is."""
        try:
            home = self._free.get_nowait()
        except queue.Empty:
            home = Home(self._around).make()
        try:
            yield home
        except BaseException:
            home.abandon()
            raise
        home.clear()
        self._free.put(home)

    def close(self) -> None:
        """Delete the namespaces, all of which have been cleared, without waiting for it."""
        while not self._free.empty():
            self._free.get_nowait().close()


class Fresh:
    """A world as it is where it was created so: at one moment, or, where that may have been too early, live."""

    def __init__(self, homes: Homes, world: World, home: Home) -> None:
        self._homes = homes
        self._world = world
        self._name = home.name
        self._objects = home.rest()

    def differences(self, home: Home) -> list[str]:
        """Return in words how a namespace that was changed to the world differs from this one."""
        lines = home.differences(lambda: self._objects, self._name, SNAPSHOT_SECONDS)
        if not lines:
            return []
        with self._homes.borrowed() as another:
            another.become(self._world)
            another.rest()
            return home.differences(another.objects, another.name)


def travel(homes: Homes, worlds: Journey, *, hasty: bool) -> Tried:
    """Try three worlds: from each to each."""
    tried = Tried()
    with ExitStack() as lent:
        travellers = [lent.enter_context(homes.borrowed()) for _ in worlds]
        for home, world in zip(travellers, worlds, strict=True):
            home.become(world)
        fresh = [Fresh(homes, world, home) for home, world in zip(travellers, worlds, strict=True)]
        for step in range(1, len(ROUTES[0])):
            for home, route in zip(travellers, ROUTES, strict=True):
                home.become(worlds[route[step]])
            for home, route in zip(travellers, ROUTES, strict=True):
                way = " -> ".join("ABC"[number] for number in route[: step + 1])
                tried.compared(way, fresh[route[step]].differences(home))
        if hasty:
            travellers[0].become(worlds[1])
            travellers[0].become(worlds[0])
            tried.compared("in haste by B to A", fresh[0].differences(travellers[0]))
    return tried


def chain(homes: Homes, start: World, following: Sequence[tuple[str, World]]) -> Tried:
    """Change one namespace from world to world, each compared with one that was created so, and back to the start."""
    tried = Tried()
    with homes.borrowed() as home:
        home.become(start)
        beginning = Fresh(homes, start, home)
        for what, world in following:
            with homes.borrowed() as other:
                other.become(world)
                home.become(world)
                fresh = Fresh(homes, world, other)
                tried.compared(what, fresh.differences(home))
        home.become(start)
        tried.compared("back to the beginning", beginning.differences(home))
    return tried


def run_through(homes: Homes, start: World, odd: Sequence[tuple[str, World]]) -> Tried:
    """Change one namespace to one odd world after another; each must be taken and seen, the last change undoes all."""
    tried = Tried()
    with homes.borrowed() as home:
        home.become(start)
        beginning = Fresh(homes, start, home)
        for what, world in odd:
            try:
                home.become(world)
                home.seen()
            except (Refused, Restless) as problem:
                tried.failures.append(f"{what}\n  {problem}")
            tried.transitions += 1
        home.become(start)
        tried.compared("back to the beginning", beginning.differences(home))
    return tried


def side_by_side(
    tasks: Sequence[_Task],
    work: Callable[[_Task], Tried],
    at_once: int,
    shown: Callable[[_Task], str],
    progress: Callable[[str], None],
) -> Tried:
    """Do all tasks, some at once; what goes wrong in one is told with the task and ends no other.

    `progress` is told every now and then how far it is, and at once what went wrong.
    """

    def guarded(task: _Task) -> Tried:
        try:
            tried = work(task)
        except Exception as problem:  # noqa: BLE001 - told with the task that it happened in
            tried = Tried(0, [f"{type(problem).__name__}: {problem}"])
        if tried.failures:
            tried.failures.append(shown(task))
        return tried

    with ThreadPoolExecutor(at_once) as pool:
        under_way = [pool.submit(guarded, task) for task in tasks]
        for line in _how_far(under_way):
            progress(line)
        return sum((each.result() for each in under_way), Tried())


def _how_far(under_way: "Sequence[Future[Tried]]") -> Iterator[str]:
    """Give a line every PROGRESS_SECONDS, until all have ended, and all that went wrong as soon as it is known."""
    began = told = time.monotonic()
    tried = Tried()
    for ended, each in enumerate(as_completed(under_way), 1):
        yield from each.result().failures
        tried += each.result()
        if (now := time.monotonic()) - told >= PROGRESS_SECONDS:
            told = now
            yield (
                f"{ended} of {len(under_way)} trials in {now - began:.0f} s: {tried.transitions} transitions, "
                f"{len(tried.failures)} failures"
            )
