"""What was measured, and what it is held against."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

FIGURES_FILE = Path(__file__).with_name("figures.yaml")
Values = dict[int, float]
"""By number of instances."""
Bounds = Mapping[int, tuple[float, float]]
"""By number of instances: the lowest and the highest value of several runs. Under 0: for any number."""


@dataclass(frozen=True)
class Figure:
    """One figure: what it is, the most that it may be (`target`), what the peer needs, and whether it is drawn."""

    id: str
    group: str
    title: str
    unit: str
    target: Bounds
    peer: Bounds
    picture: bool

    def target_at(self, count: int) -> float | None:
        """Return the most that it may be with that many instances; None where nothing is asked."""
        bounds = self.target.get(count) or self.target.get(0)
        return bounds[1] if bounds else None

    def peer_at(self, count: int) -> tuple[float, float] | None:
        """Return the lowest and the highest of the peer's values with that many instances."""
        return self.peer.get(count) or self.peer.get(0)

    def verdict(self, count: int, value: float) -> bool | None:
        """Tell whether a value is within the target; None where there is none."""
        target = self.target_at(count)
        return None if target is None else value <= target


@dataclass
class Neighbour:
    """How the good instances fared beside one that is stuck: medians in seconds, alone and beside it."""

    name: str
    reason: str
    alone: dict[str, float]
    beside: dict[str, float]
    noise: dict[str, float]
    """How much the medians of the rounds alone differ, as a part of their median."""
    requests_a_minute: float
    """What the stuck instance costs while it is stuck."""


@dataclass
class Results:
    """All that was measured of one subject."""

    subject: str
    description: str
    figures: dict[str, Values] = field(default_factory=dict)
    samples: dict[str, dict[int, list[float]]] = field(default_factory=dict)
    """What the figures are made of, by phase."""
    requests: dict[str, dict[int, dict[str, float]]] = field(default_factory=dict)
    """Phase -> number of instances -> `verb resource` -> requests an instance."""
    programs: dict[int, dict[str, float]] = field(default_factory=dict)
    """Number of instances -> program -> processor time in seconds that it took for each instance of the burst."""
    neighbours: list[Neighbour] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def record(self, figure: str, count: int, value: float) -> None:
        """Note one value."""
        self.figures.setdefault(figure, {})[count] = round(value, 4)

    def counts(self) -> list[int]:
        """Return all numbers of instances that something was measured with, in order."""
        return sorted({count for values in self.figures.values() for count in values})


def figures(file: Path = FIGURES_FILE) -> list[Figure]:
    """Return all figures in the order of the table."""
    found = []
    for group in yaml.safe_load(file.read_text())["groups"]:
        for entry in group["figures"]:
            found.append(
                Figure(
                    id=entry["id"],
                    group=group["title"],
                    title=entry["title"],
                    unit=entry.get("unit", ""),
                    target=_bounds(entry.get("target")),
                    peer=_bounds(entry.get("peer")),
                    picture=entry.get("picture", False),
                )
            )
    return found


def _bounds(given: Any) -> Bounds:
    """Read `3`, `[3, 4]` or either of them by number of instances."""
    if given is None:
        return {}
    by_count = given if isinstance(given, dict) else {0: given}
    return {
        count: (float(value[0]), float(value[-1])) if isinstance(value, list) else (float(value), float(value))
        for count, value in by_count.items()
    }


def missed(results: Results, known: Sequence[Figure]) -> list[str]:
    """Return a sentence for each value that is over its target."""
    sentences = []
    for figure in known:
        for count, value in results.figures.get(figure.id, {}).items():
            if figure.verdict(count, value) is False:
                said = f"{figure.title}: {value:g} {figure.unit}, wanted at most {figure.target_at(count):g}"
                sentences.append(f"{results.subject}, N={count}: {said}")
    return sentences


def write(file: Path, machine: Mapping[str, Any], all_results: Sequence[Results], known: Sequence[Figure]) -> None:
    """Write everything as JSON."""
    content = {
        "machine": machine,
        "subjects": [asdict(results) for results in all_results],
        "figures": [asdict(figure) for figure in known],
        "missed": [sentence for results in all_results for sentence in missed(results, known)],
    }
    file.write_text(json.dumps(content, indent=1))
