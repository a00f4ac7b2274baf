"""Which nodes make nothing of their turn to fetch, while others wait for it."""

from collections.abc import Mapping
from dataclasses import dataclass

from imageservice.agent_report import AgentReport, ImageState
from imageservice.reconcile.precache_plan import Order, Outcome, is_at_work, reports

BEGIN_SECONDS = 120.0
"""How long a node may take to begin: its agent may have to repair a large cache before."""

_Progress = tuple[tuple[ImageState, int], ...]


@dataclass(frozen=True, slots=True)
class _Turn:
    progress: _Progress
    since: float


class Turns:
    """What is remembered of the nodes at work; when it is lost, somebody waits a little longer."""

    def __init__(self) -> None:
        self._turns: dict[str, dict[str, _Turn]] = {}

    def idle(self, wanted: Order, outcomes: Mapping[str, Outcome], now: float) -> frozenset[str]:
        """Return the nodes that got no further in all the time that a turn may take, until they do.

        `now` is in seconds of a clock that never goes back.
        """
        before = self._turns.pop(wanted.uid, {})
        turns: dict[str, _Turn] = {}
        for node, found in outcomes.items():
            turn = before.get(node)
            if not isinstance(found, AgentReport) or not (turn or is_at_work(wanted, found)):
                continue
            progress = tuple((report.state, report.done_bytes) for report in reports(wanted, found))
            if turn is not None and turn.progress == progress:
                turns[node] = turn
            elif is_at_work(wanted, found):
                turns[node] = _Turn(progress, now)
        if turns:
            self._turns[wanted.uid] = turns
        return frozenset(node for node, turn in turns.items() if now - turn.since > _patience(wanted, turn.progress))


def _patience(wanted: Order, progress: _Progress) -> float:
    """Return how long a node may stay as it is: one that fetches gives up by itself before."""
    fetches = any(state is ImageState.FETCHING for state, _ in progress)
    return wanted.timeout_seconds + BEGIN_SECONDS if fetches else BEGIN_SECONDS
