"""The figures as a table for the screen: what was measured, beside what we want and what the peer needs."""

from collections.abc import Iterable, Sequence

from bench.results import Bounds, Figure, Neighbour, Results

_MISSED = "!"
_NOTHING = "-"


def table(all_results: Sequence[Results], figures: Sequence[Figure]) -> str:
    """Return all figures that were measured, a line each. `!` marks a value that is over its target."""
    columns = [(results, count) for results in all_results for count in results.counts()]
    head = ["", "target", "peer", *(f"N={count}" for _, count in columns)]
    names = ["", "", "", *(results.subject for results, _ in columns)] if len(all_results) > 1 else []
    lines: list[list[str]] = [names] if names else []
    lines.append(head)
    group = ""
    for figure in figures:
        cells = [_cell(figure, results, count) for results, count in columns]
        if all(cell == _NOTHING for cell in cells):
            continue
        if figure.group != group:
            group = figure.group
            lines += [[], [group]]
        title = f"  {figure.title}" + (f" ({figure.unit})" if figure.unit else "")
        lines.append([title, _bounds(figure.target), _bounds(figure.peer), *cells])
    return aligned(lines)


def _cell(figure: Figure, results: Results, count: int) -> str:
    value = results.figures.get(figure.id, {}).get(count)
    if value is None:
        return _NOTHING
    return number(value) + (_MISSED if figure.verdict(count, value) is False else " ")


def _bounds(bounds: Bounds) -> str:
    """Return `15` or `44.7-52.5`, with `@N` where it is for a certain number of instances."""
    return " ".join(
        number(low) + (f"-{number(high)}" if high != low else "") + (f"@{count}" if count else "")
        for count, (low, high) in bounds.items()
    )


def number(value: float) -> str:
    """Return a value with three digits that say something: 0.012, 1.25, 44.7, 1480."""
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Return lines of cells as text: the first cell to the left, the others to the right."""
    width = max((len(line) for line in lines), default=0)
    sizes = [max((len(line[i]) for line in lines if len(line) > max(i, 1)), default=0) for i in range(width)]
    text = []
    for line in lines:
        cells = [
            cell.ljust(size) if i == 0 else cell.rjust(size)
            for i, (cell, size) in enumerate(zip(line, sizes, strict=False))
        ]
        text.append("  ".join(cells).rstrip())
    return "\n".join(text)


def neighbours(found: Sequence[Neighbour]) -> str:
    """Return how good instances fared beside one that is stuck, a line for each way to be stuck."""
    if not found:
        return ""
    whats = list(found[0].noise)
    head = ["one is stuck", "Ready says", *(f"{what}: alone" for what in whats), *(f"{what}: beside" for what in whats)]
    lines: list[list[str]] = [[*head, *(f"{what}: ratio" for what in whats), "requests/min"]]
    for one in found:
        cells = [_seconds(one.alone[what] for what in whats), _seconds(one.beside[what] for what in whats)]
        ratios = [f"{one.beside[what] / one.alone[what]:.2f}" if one.alone[what] else _NOTHING for what in whats]
        lines.append([one.name, one.reason, *cells[0], *cells[1], *ratios, f"{one.requests_a_minute:.0f}"])
    noise = ", ".join(f"{what} {found[0].noise[what]:.0%}" for what in whats)
    return f"{aligned(lines)}\nnoise (how much the medians of the rounds alone differ): {noise}"


def _seconds(values: Iterable[float]) -> list[str]:
    return [f"{number(value)} s" for value in values]


def programs(results: Results) -> str:
    """Return which program took how much processor time for each instance of a burst, a line for each burst."""
    lines = []
    for count, shares in results.programs.items():
        told = ", ".join(f"{name} {number(used)}" for name, used in sorted(shares.items(), key=lambda one: -one[1]))
        lines.append(f"processor time (s) for each instance of the burst to N={count}: {told}")
    return "\n".join(lines)


def requests(results: Results, phase: str, count: int, most: int = 12) -> str:
    """Return what a phase asked of the API server, the most frequent first."""
    found = results.requests.get(phase, {}).get(count, {})
    total = sum(found.values())
    lines = [f"{phase}, N={count}: {number(total)} requests an instance"]
    lines += [f"  {number(times):>6}  {what}" for what, times in list(found.items())[:most]]
    return "\n".join(lines)
