"""The fullest world there is, with values at the edges of what is allowed in every place of it."""

from dataclasses import dataclass
from typing import Any

from tests.transitions import schema as schemas
from tests.transitions.boundaries import boundaries
from tests.transitions.generator import World, faults, full_world, repaired, with_what_must_stay, world
from tests.transitions.hints import has_hint, keeps_to_hint
from tests.transitions.schema import ABSENT, Steps

BATCH = 6
"""How many values are tried at once in one world."""


@dataclass(frozen=True)
class Edge:
    """A value at the edge of what is allowed, for a place of an object (`Kind/name`) of the fullest world."""

    key: str
    steps: Steps
    value: Any

    def collides(self, other: "Edge") -> bool:
        """Tell whether one of two places is within the other."""
        common = min(len(self.steps), len(other.steps))
        return self.key == other.key and self.steps[:common] == other.steps[:common]


def edges() -> list[tuple[str, World]]:
    """Return the fullest world with values at the edge of what is allowed, and in words where those are.

    A reference that leads nowhere holds all else up, so values that have a hint are tried one at a time; of the others,
    several at once, each in a field of its own.
    """
    start = full_world()
    alone, together = [], []
    for key, manifest in start.objects.items():
        tried = set()
        for place in schemas.places(manifest):
            for number, value in enumerate(boundaries(place.schema, place.value)):
                if (place.label, number) not in tried and not keeps_to_hint(place.label):
                    tried.add((place.label, number))
                    (alone if has_hint(place.label) else together).append(Edge(key, place.steps, value))
    batches = [*([edge] for edge in alone), *_batches(together)]
    return [found for batch in batches if (found := _with_edges(start, batch))]


def _batches(found: list[Edge]) -> list[list[Edge]]:
    """Return the edges in few groups, no two of one group in one place."""
    batches: list[list[Edge]] = []
    for edge in found:
        free = (batch for batch in batches if len(batch) < BATCH and not any(map(edge.collides, batch)))
        fitting = next(free, None)
        if fitting is None:
            batches.append([edge])
        else:
            fitting.append(edge)
    return batches


def _with_edges(start: World, batch: list[Edge]) -> tuple[str, World] | None:
    """Return the world with these edges; None where the rules on changes or over several fields leave none of them."""
    changed = dict(start.objects)
    told = []
    for edge in batch:
        if schemas.value_at(changed[edge.key], edge.steps) is ABSENT:
            continue  # repairing for an earlier edge took it out
        bent = repaired(schemas.changed(changed[edge.key], edge.steps, edge.value))
        bent = bent and with_what_must_stay(start.objects[edge.key], bent)
        if bent and bent != changed[edge.key] and not faults(bent):
            changed[edge.key] = bent
            told.append(f"{edge.key} {schemas.shown(edge.steps)} = {str(edge.value)[:60]!r}")
    return ("; ".join(told), world(changed.values())) if told else None
