"""How each figure grows with the number of instances: small charts in one SVG."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2

from bench.results import Figure, Results
from bench.table import number

_TEMPLATE = Path(__file__).with_name("templates") / "picture.svg.j2"
_COLORS = ("#1a62b5", "#c4551b", "#2e8540", "#7a3fa0")
COLUMNS = 3
WIDTH, HEIGHT = 330, 210
_LEFT, _TOP, _RIGHT, _BOTTOM = 50, 44, 16, 30
_HEAD = 56


@dataclass(frozen=True)
class Mark:
    """One value in a chart."""

    x: float
    y: float
    text: str


@dataclass(frozen=True)
class Line:
    """The values of one subject."""

    color: str
    marks: list[Mark]

    @property
    def points(self) -> str:
        """The line as SVG wants it."""
        return " ".join(f"{mark.x:.1f},{mark.y:.1f}" for mark in self.marks)


@dataclass(frozen=True)
class Chart:
    """One figure. Places are in pixels from the corner of the chart."""

    x: int
    y: int
    group: str
    title: str
    ticks: list[Mark]
    grid: list[Mark]
    lines: list[Line]
    target: list[Mark]
    peer: list[Mark]


def picture(all_results: Sequence[Results], figures: Sequence[Figure]) -> str:
    """Return the SVG."""
    counts = sorted({count for results in all_results for count in results.counts() if count})
    shown = [f for f in figures if f.picture and any(set(r.figures.get(f.id, {})) & set(counts) for r in all_results)]
    charts = [_chart(index, figure, all_results, counts) for index, figure in enumerate(shown)]
    rows = -(-len(charts) // COLUMNS)
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_TEMPLATE.read_text()).render(
        width=COLUMNS * WIDTH,
        height=_HEAD + rows * HEIGHT,
        inner_left=_LEFT,
        inner_right=WIDTH - _RIGHT,
        charts=charts,
        legend=[(results.subject, _COLORS[i % len(_COLORS)]) for i, results in enumerate(all_results)],
    )


def _chart(index: int, figure: Figure, all_results: Sequence[Results], counts: Sequence[int]) -> Chart:
    values = [results.figures.get(figure.id, {}) for results in all_results]
    targets = {count: target for count in counts if (target := figure.target_at(count)) is not None}
    peers = {count: sum(peer) / 2 for count in counts if (peer := figure.peer_at(count)) is not None}
    largest = max([*(v for found in values for v in found.values()), *targets.values(), *peers.values()]) or 1.0
    top = _round_up(largest)

    def place(count: int, value: float, text: str = "") -> Mark:
        step = (WIDTH - _LEFT - _RIGHT) / max(len(counts), 1)
        x = _LEFT + step * (counts.index(count) + 0.5)
        return Mark(x, HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * value / top, text or number(value))

    return Chart(
        x=index % COLUMNS * WIDTH,
        y=_HEAD + index // COLUMNS * HEIGHT,
        group=figure.group,
        title=figure.title + (f" ({figure.unit})" if figure.unit else ""),
        ticks=[place(count, 0, f"N={count}") for count in counts],
        grid=[place(counts[0], top * part, number(top * part)) for part in (0, 0.5, 1)],
        lines=[
            Line(_COLORS[i % len(_COLORS)], [place(count, found[count]) for count in counts if count in found])
            for i, found in enumerate(values)
        ],
        target=[place(count, value) for count, value in targets.items()],
        peer=[place(count, value) for count, value in peers.items()],
    )


def _round_up(value: float) -> float:
    """Return the next of 1, 1.5, 2, 3, 5, 7.5 times a power of ten."""
    power = 1e-6
    while power * 10 <= value:
        power *= 10
    return next((power * step for step in (1, 1.5, 2, 3, 5, 7.5) if power * step >= value), power * 10)
