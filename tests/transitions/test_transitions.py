"""However an object came to its spec, the end is that of one created so. Every spec here is generated from the CRDs.

There are at least 200 transitions, the same ones each time; for more, or for others:

    IMAGE_SERVICE_TRANSITIONS=2000 IMAGE_SERVICE_TRANSITIONS_SEED=2 .venv/bin/pytest tests/transitions
"""

import time
from collections.abc import Callable, Sequence
from functools import cache, partial

import pytest
from tests.transitions import schema as schemas
from tests.transitions.conftest import Effort
from tests.transitions.edges import edges
from tests.transitions.generator import World, full_world, journeys, repaired, world
from tests.transitions.hints import usable
from tests.transitions.oracle import Oracle
from tests.transitions.schema import ABSENT, shown
from tests.transitions.texts import varied
from tests.transitions.trial import HASTY, PER_JOURNEY, Homes, Tried, chain, run_through, side_by_side, travel

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

Tell = Callable[[str], None]
CHAIN = 5
"""Removals in one namespace, one after the other."""
RUNS = 12
"""Namespaces that the values at the edges are shared by."""


def sentence(tried: Tried) -> str:
    """Return all that went wrong, to be read by people."""
    return f"{len(tried.failures)} of {tried.transitions}:\n\n" + "\n\n".join(tried.failures)


@cache
def removals() -> list[tuple[str, World]]:
    """Return the fullest world with each optional field and each item taken out, one at a time.

    What an object keeps while it lives stays in it: that it cannot be taken out is tried among the refusals.
    """
    start = full_world()
    found = []
    for key, manifest in start.objects.items():
        lasting = schemas.immutable(schemas.KINDS[manifest["kind"]])
        for place in schemas.places(manifest):
            if (
                place.removable
                and place.steps not in lasting
                and (without := repaired(schemas.changed(manifest, place.steps, ABSENT)))
            ):
                changed = world(usable((start.objects | {key: without}).values()))
                found.append((f"{key} without {shown(place.steps)}", changed))
    return found


Task = tuple[str, Callable[[Homes], Tried], str]
"""What is tried, how, and the specs of it in words."""


def taken_away() -> list[Task]:
    """Return the trials in which each optional field and each item is taken away, some of them in one namespace."""
    following = removals()
    found: list[Task] = []
    for at in range(0, len(following), CHAIN):
        part = following[at : at + CHAIN]
        name = f"number {at // CHAIN} of those with something taken away"
        found.append(
            (name, partial(chain, start=full_world(), following=part), f"-- the fullest world --\n{full_world()}")
        )
    return found


def travels(count: int, seed: int) -> list[Task]:
    """Return trials with worlds that are generated at random."""
    found: list[Task] = []
    for number, worlds in enumerate(varied(journeys(), count, seed)):
        specs = (f"-- {name} --\n{made}" for name, made in zip("ABC", worlds, strict=True))
        work = partial(travel, worlds=worlds, hasty=number % HASTY == 0)
        found.append((f"seed {seed}, number {number}", work, "\n".join(specs)))
    return found


@pytest.mark.timeout(6 * 3600)
def test_a_change_ends_as_if_created_so_and_so_does_the_way_back(
    homes: Homes, oracle: Oracle, tell: Tell, effort: Effort
) -> None:
    began = time.monotonic()
    away = taken_away()
    others = travels(-(-max(0, effort.transitions - len(removals())) // PER_JOURNEY), effort.seed)
    tried = [
        side_by_side(tasks, lambda task: task[1](homes), effort.at_once, lambda task: f"{task[0]}\n{task[2]}")
        for tasks in (away, others)
    ]
    tell(
        f"{tried[0].transitions + tried[1].transitions} generated transitions in {time.monotonic() - began:.0f} s: "
        f"{tried[0].transitions} take a field or an item away, {tried[1].transitions} go between "
        f"{3 * len(others)} states at random (seed {effort.seed})"
    )
    both = tried[0] + tried[1]
    assert not both.failures, sentence(both)
    assert len(removals()) >= 40
    assert both.transitions >= effort.transitions
    assert oracle.errors() == 0


@pytest.mark.timeout(3600)
def test_values_at_every_edge_are_taken_and_do_no_lasting_harm(
    homes: Homes, oracle: Oracle, tell: Tell, effort: Effort
) -> None:
    found = edges()
    runs = [found[at::RUNS] for at in range(RUNS)]

    def told(odd: Sequence[tuple[str, World]]) -> str:
        return f"from\n{full_world()}\nthrough {len(odd)} odd ones"

    tried = side_by_side(runs, lambda odd: run_through(homes, full_world(), odd), effort.at_once, told)
    values = sum(what.count("; ") + 1 for what, _ in found)
    tell(f"{values} values at the edge of what is allowed, in {len(found)} specs")
    assert not tried.failures, sentence(tried)
    assert values >= 150
    assert oracle.errors() == 0
