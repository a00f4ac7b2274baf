"""However an object came to its spec, the end is that of one created so. Every spec here is generated from the CRDs.

There are at least 200 transitions, the same ones each time; for more, or for others:

    IMAGE_SERVICE_TRANSITIONS=2000 IMAGE_SERVICE_TRANSITIONS_SEED=2 .venv/bin/pytest tests/transitions

and for some trials of a seed again, by the numbers that they are told by: IMAGE_SERVICE_TRANSITIONS_NUMBERS=27,45.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from multiprocessing import get_context

import pytest
from tests.transitions import schema as schemas
from tests.transitions.conftest import Effort
from tests.transitions.edges import edges
from tests.transitions.generator import Journey, World, full_world, journey, repaired, world
from tests.transitions.hints import usable
from tests.transitions.oracle import Oracle
from tests.transitions.schema import ABSENT, shown
from tests.transitions.trial import HASTY, PER_JOURNEY, Homes, Tried, chain, run_through, side_by_side, travel

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

Tell = Callable[[str], None]
CHAIN = 10
"""Removals in one namespace, one after the other."""
RUNS = 12
"""Namespaces that the values at the edges are shared by."""


def sentence(tried: Tried) -> str:
    """Return all that went wrong, to be read by people."""
    return f"{len(tried.failures)} of {tried.transitions}:\n\n" + "\n\n".join(tried.failures)


@cache
def surrounded(key: str) -> World:
    """Return an object of the fullest world, and of the others those that it takes: each costs processor time.

    An ImageService has a store, an edge and a cache with images; a store is one more of its service, a cache and wanted
    images have what they are for.
    """
    objects = full_world().objects
    of_kind = {kind: [name for name in objects if name.startswith(f"{kind}/")] for kind in schemas.KINDS}
    (service,) = of_kind["ImageService"]
    chosen = {key, service, f"ImageStore/{objects[service]['spec']['defaultStore']}"}
    if key == service:
        edge = next(name for name in of_kind["ImageStore"] if "edge" in objects[name]["spec"])
        chosen |= {edge, of_kind["ImagePrecache"][0]}
    if any(name.startswith("ImagePrecache/") for name in chosen):
        chosen.add(of_kind["CachePolicy"][0])
    for name in [name for name in chosen if name.startswith("CachePolicy/")]:
        target = objects[name]["spec"]["targetRef"]
        chosen.add(f"{target['kind']}/{target['name']}")
    return world(usable(found for name, found in objects.items() if name in chosen))


@cache
def removals() -> dict[str, list[tuple[str, World]]]:
    """Return each object's world with each of its optional fields and items taken out, one at a time, by its key.

    What an object keeps while it lives stays in it: that it cannot be taken out is tried among the refusals.
    """
    found: dict[str, list[tuple[str, World]]] = {}
    for key in full_world().objects:
        start = surrounded(key)
        manifest = start.objects[key]
        lasting = schemas.immutable(schemas.KINDS[manifest["kind"]])
        for place in schemas.places(manifest):
            if (
                place.removable
                and place.steps not in lasting
                and (without := repaired(schemas.changed(manifest, place.steps, ABSENT)))
            ):
                changed = world(usable((start.objects | {key: without}).values()))
                found.setdefault(key, []).append((f"{key} without {shown(place.steps)}", changed))
    return found


Task = tuple[str, Callable[[Homes], Tried], Callable[[], str]]
"""What is tried, how, and what gives the specs of it in words."""


def taken_away() -> list[Task]:
    """Return the trials in which each optional field and each item is taken away, some of them in one namespace."""
    found: list[Task] = []
    for key, following in removals().items():
        start = surrounded(key)
        for at in range(0, len(following), CHAIN):
            work = partial(chain, start=start, following=following[at : at + CHAIN])
            found.append((f"{key}, something taken away from number {at} on", work, partial(str, start)))
    return found


@contextmanager
def travels(numbers: Sequence[int], seed: int) -> Iterator[list[Task]]:
    """Give trials with worlds that are generated at random, in a process beside the trials."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as generator:
        yield [
            (f"seed {seed}, number {number}", partial(set_out, made=made, number=number), partial(told_worlds, made))
            for number, made in [(number, generator.submit(journey, number, seed)) for number in numbers]
        ]


def set_out(homes: Homes, made: "Future[Journey]", number: int) -> Tried:
    """Go on a journey as soon as it is generated."""
    return travel(homes, made.result(), hasty=number % HASTY == 0)


def told_worlds(made: "Future[Journey]") -> str:
    """Return the specs of a journey in words."""
    return "\n".join(f"-- {name} --\n{found}" for name, found in zip("ABC", made.result(), strict=True))


@pytest.mark.timeout(6 * 3600)
def test_a_change_ends_as_if_created_so_and_so_does_the_way_back(
    homes: Homes, oracle: Oracle, tell: Tell, progress: Tell, effort: Effort
) -> None:
    began = time.monotonic()
    removed = sum(map(len, removals().values()))
    missing = max(0, effort.transitions - removed)
    away = [] if effort.numbers else taken_away()
    with travels(effort.numbers or range(-(-missing // PER_JOURNEY)), effort.seed) as others:
        tried = side_by_side(
            [*away, *others],
            lambda task: task[1](homes),
            effort.at_once,
            lambda task: f"{task[0]}\n{task[2]()}",
            progress,
        )
    tell(
        f"{tried.transitions} generated transitions in {time.monotonic() - began:.0f} s: {removed if away else 0} "
        f"take a field or an item away, {len(away)} give all back, the others go between {3 * len(others)} states "
        f"at random (seed {effort.seed})"
    )
    assert not tried.failures, sentence(tried)
    assert removed >= 250
    assert effort.numbers or tried.transitions >= effort.transitions
    assert oracle.errors() == 0


@pytest.mark.timeout(3600)
def test_values_at_every_edge_are_taken_and_do_no_lasting_harm(
    homes: Homes, oracle: Oracle, tell: Tell, progress: Tell, effort: Effort
) -> None:
    found = edges()
    runs = [found[at::RUNS] for at in range(RUNS)]

    def told(odd: Sequence[tuple[str, World]]) -> str:
        return f"from\n{full_world()}\nthrough {len(odd)} odd ones"

    tried = side_by_side(runs, lambda odd: run_through(homes, full_world(), odd), effort.at_once, told, progress)
    values = sum(what.count("; ") + 1 for what, _ in found)
    tell(f"{values} values at the edge of what is allowed, in {len(found)} specs")
    assert not tried.failures, sentence(tried)
    assert values >= 150
    assert oracle.errors() == 0
