"""What to tell which node, and how the nodes stand: from the reports of their agents. Pure.

Nothing is remembered here: which nodes may fetch is what their agents were told last. So an operator that starts anew
lets no node too many fetch, and one that is away holds up nobody who may.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from imageservice.agent_report import AgentReport, ImageReport, ImageState
from imageservice.api.shares import part_of
from imageservice.api.v1alpha1 import ImagePrecacheSpec
from imageservice.found_images import FoundImage
from imageservice.glance.agents import AgentError, WantedSet
from imageservice.render.names import text_hash
from imageservice.status.windows import HORIZON, open_until

UNTIL_STEP_SECONDS = 3600
"""The end of windows that never close is told in such steps, so that nodes are told anew only so often."""

Outcome = AgentReport | AgentError


class NodeState(StrEnum):
    """How a node stands."""

    CACHED = "cached"
    FETCHING = "fetching"
    PENDING = "pending"
    FAILED = "failed"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True)
class Window:
    """Whether nodes may fetch now, and until when (seconds since 1970; None: without end)."""

    is_open: bool
    until: int | None = None


@dataclass(frozen=True)
class Order:
    """What all nodes are told alike."""

    name: str
    uid: str
    images: tuple[str, ...]
    until: int | None
    timeout_seconds: int
    backoff_seconds: int
    max_backoff_seconds: int

    @property
    def revision(self) -> str:
        """A hash of all that nodes are told, but for whether they may fetch."""
        told = (self.images, self.until, self.timeout_seconds, self.backoff_seconds, self.max_backoff_seconds)
        return text_hash(json.dumps(told))

    def to_set(self, *, fetch: bool) -> WantedSet:
        """Return it as an agent takes it."""
        return WantedSet(
            name=self.name,
            revision=self.revision,
            images=self.images,
            fetch=fetch,
            until=self.until,
            timeout_seconds=self.timeout_seconds,
            backoff_seconds=self.backoff_seconds,
            max_backoff_seconds=self.max_backoff_seconds,
        )


def window(spec: ImagePrecacheSpec, now: datetime) -> Window:
    """Return whether the spec lets nodes fetch now."""
    if spec.suspend:
        return Window(is_open=False)
    if not spec.windows:
        return Window(is_open=True)
    end = open_until(spec.windows, now)
    if end is None:
        return Window(is_open=False)
    until = int(end.timestamp())
    if end >= now + HORIZON:
        until -= until % UNTIL_STEP_SECONDS
    return Window(is_open=True, until=until)


def order(name: str, uid: str, spec: ImagePrecacheSpec, images: Sequence[FoundImage], opened: Window) -> Order:
    """Return what all nodes are told."""
    return Order(
        name=name,
        uid=uid,
        images=tuple(image.id for image in images),
        until=opened.until,
        timeout_seconds=spec.timeout_seconds,
        backoff_seconds=spec.backoff.initial_seconds,
        max_backoff_seconds=spec.backoff.max_seconds,
    )


def state(wanted: Order, outcome: Outcome) -> NodeState:
    """Return how a node stands with the images."""
    if isinstance(outcome, AgentError):
        return NodeState.UNAVAILABLE
    states = {report.state for report in reports(wanted, outcome)}
    if states <= {ImageState.CACHED}:
        return NodeState.CACHED
    if ImageState.FETCHING in states:
        return NodeState.FETCHING
    return NodeState.FAILED if ImageState.FAILED in states else NodeState.PENDING


def grants(  # noqa: PLR0917 - one for each thing that decides
    wanted: Order,
    outcomes: Mapping[str, Outcome],
    parallelism: str,
    opened: Window,
    now: datetime,
    idle: Collection[str] = (),
) -> dict[str, WantedSet]:
    """Return what is to be told to whom: only to nodes that were told otherwise, or nothing, last.

    No more nodes than `parallelism` says may fetch at once. One that has a grant keeps it while it has something to do;
    one that waits after a failure has none, and gets the next that is free once its time has come. Nodes that are
    `idle`, which made nothing of theirs, come after all others. Where there are as many grants as nodes, all have one
    for good, and need no operator to fill a disk again.
    """
    answering = {node: outcome for node, outcome in outcomes.items() if isinstance(outcome, AgentReport)}
    limit = part_of(parallelism, len(outcomes)) if opened.is_open else 0
    if limit >= len(outcomes):
        allowed = set(answering)
    else:
        busy = {node for node, found in answering.items() if node not in idle and _fetches(wanted, found)}
        # What runs is not stopped because the limit was lowered; a closed window stops it.
        allowed = busy if opened.is_open else set()
        line = _in_line(wanted, answering, now)
        have = sorted(node for node in line if _may_fetch(wanted, answering[node]))
        for node in sorted((*have, *line), key=lambda node: node in idle):
            if len(allowed) < limit:
                allowed.add(node)
    return {
        node: wanted.to_set(fetch=node in allowed)
        for node, found in answering.items()
        if _was_told(wanted, found) != (wanted.revision, node in allowed)
    }


def _in_line(wanted: Order, answering: Mapping[str, AgentReport], now: datetime) -> list[str]:
    """Return the nodes that have something to do, those that failed least often first."""
    waiting = [node for node, found in answering.items() if _is_due(wanted, found, now)]
    return sorted(waiting, key=lambda node: (_attempts(wanted, answering[node]), node))


def _was_told(wanted: Order, found: AgentReport) -> tuple[str, bool] | None:
    told = found.sets.get(wanted.uid)
    return None if told is None else (told.revision, told.fetch)


def _may_fetch(wanted: Order, found: AgentReport) -> bool:
    told = found.sets.get(wanted.uid)
    return told is not None and told.fetch


def _fetches(wanted: Order, found: AgentReport) -> bool:
    return _may_fetch(wanted, found) and any(report.state is ImageState.FETCHING for report in reports(wanted, found))


def _is_due(wanted: Order, found: AgentReport, now: datetime) -> bool:
    """Tell whether the node would fetch something now if it may."""
    return any(_may_begin(report, now) for report in reports(wanted, found))


def _may_begin(image: ImageReport, now: datetime) -> bool:
    if image.state is ImageState.FAILED:
        return image.retry_at is None or image.retry_at <= now.timestamp()
    return image.state in (ImageState.WAITING, ImageState.FETCHING)


def _attempts(wanted: Order, found: AgentReport) -> int:
    return max((report.attempts for report in reports(wanted, found)), default=0)


_UNTOLD = ImageReport(ImageState.WAITING)


def reports(wanted: Order, found: AgentReport) -> Iterator[ImageReport]:
    """Yield what a node says of each of the images."""
    return (_report(found, image) for image in wanted.images)


def _report(found: AgentReport, image: str) -> ImageReport:
    return found.images.get(image, _UNTOLD)


def is_at_work(wanted: Order, outcome: Outcome) -> bool:
    """Tell whether a node may have got further by itself since it was asked: it is told to fetch and has not all."""
    return (
        isinstance(outcome, AgentReport)
        and _may_fetch(wanted, outcome)
        and state(wanted, outcome) is not NodeState.CACHED
    )


def next_retry(wanted: Order, outcomes: Iterable[object]) -> float | None:
    """Return when the next failed image may be tried again, in seconds since 1970."""
    times = (
        report.retry_at
        for found in outcomes
        if isinstance(found, AgentReport)
        for report in reports(wanted, found)
        if report.state is ImageState.FAILED and report.retry_at is not None
    )
    return min(times, default=None)


def leftovers(uid: str, outcomes: Mapping[str, Outcome]) -> list[str]:
    """Return the nodes that still have a set of the ImagePrecache."""
    return [node for node, found in outcomes.items() if isinstance(found, AgentReport) and uid in found.sets]
