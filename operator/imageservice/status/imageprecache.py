"""The status of an ImagePrecache, from what one reconcile observed. Its size does not grow with the nodes."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice

from imageservice.agent_report import AgentFailure, AgentReport, ImageReason, ImageReport, ImageState
from imageservice.api.v1alpha1 import MAX_FAILING_NODES, MAX_IMAGE_ROWS, MOST_BYTES
from imageservice.api.vocabulary import ACCEPTED, RESOLVED_REFS
from imageservice.found_images import FoundImage
from imageservice.manifest import Manifest
from imageservice.sensitive import Sensitive
from imageservice.status.conditions import Condition, complete, false, merge, shorten, summarise, true
from imageservice.status.masking import redact

ORDER = (ACCEPTED, RESOLVED_REFS)
CACHED = "Cached"
"""Not shown: what it says is what Ready says."""
MESSAGE_LIMIT = 256
MOST_SECONDS = 31_536_000
NO_PROGRESS = AgentFailure("NoProgress", "the node was let fetch, and gets no further")


@dataclass
class Seen:
    """What one pass found.

    `outcomes` are what nodes say, or why they say nothing; `states` counts the nodes by how they stand, and
    `missing_nodes` have no agent yet; `awaits_nodes` where it is not known yet which nodes there are; `idle` were let
    fetch and do not. `tables` are made of these (`tables`), empty where no node was asked. What nodes say is shown
    without the values of `secrets`.
    """

    conditions: dict[str, Condition] = field(default_factory=dict)
    images: Sequence[FoundImage] = ()
    outcomes: Mapping[str, AgentReport | AgentFailure] = field(default_factory=dict)
    states: Counter[str] = field(default_factory=Counter)
    missing_nodes: int = 0
    awaits_nodes: bool = False
    idle: Collection[str] = ()
    tables: Manifest = field(default_factory=dict)
    revision: str = ""
    seconds_left: int | None = None
    next_window: datetime | None = None
    secrets: Sequence[Sensitive] = ()

    def set(self, condition: Condition) -> None:
        """Note a condition."""
        self.conditions[condition.type] = condition


@dataclass
class _Row:
    image: FoundImage
    cached: int = 0
    failed: int = 0
    size: int = 0


def status(live: Manifest, seen: Seen, now: str) -> Manifest:
    """Return the whole status to write for the ImagePrecache `live`. `now` is an RFC 3339 time in UTC."""
    generation = live["metadata"]["generation"]
    shown = complete(ORDER, seen.conditions)
    cached = [seen.conditions[CACHED]] if CACHED in seen.conditions else []
    previous = live.get("status", {}).get("conditions", [])
    result: Manifest = {
        "observedGeneration": generation,
        "conditions": merge(previous, [*shown, *summarise([*shown, *cached])], generation, now),
    }
    if seen.revision:
        result["revision"] = seen.revision
    if seen.next_window is not None:
        result["nextWindow"] = seen.next_window.strftime("%Y-%m-%dT%H:%M:%SZ")
    if seen.seconds_left is not None:
        result["estimatedSecondsLeft"] = min(seen.seconds_left, MOST_SECONDS)
    return result | seen.tables


def tables(seen: Seen) -> Manifest:
    """Return the counts and tables of the status, from what the nodes say."""
    rows = {image.id: _Row(image, size=image.size_bytes or 0) for image in seen.images}
    done, nodes = 0, len(seen.outcomes) + seen.missing_nodes
    for found in seen.outcomes.values():
        for row, report in _reports(found, rows):
            row.size = row.size or report.size_bytes or 0
            row.cached += report.state is ImageState.CACHED
            row.failed += report.state is ImageState.FAILED
            done += row.size if report.state is ImageState.CACHED else min(report.done_bytes, row.size)
    total = nodes * sum(row.size for row in rows.values())
    is_whole = all(row.cached == nodes for row in rows.values())
    return {
        "nodes": {
            "desired": nodes,
            **{name: seen.states[name] for name in ("cached", "fetching", "pending", "failed")},
            "unavailable": seen.states["unavailable"] + seen.missing_nodes,
        },
        "images": [_image(row, seen.secrets) for row in sorted(rows.values(), key=_worst_first)[:MAX_IMAGE_ROWS]],
        "imagesTotal": len(rows),
        "bytesDone": min(done, MOST_BYTES),
        "bytesTotal": min(total, MOST_BYTES),
        "progressPercent": 100 if is_whole else min(99, done * 100 // total) if total else 0,
        "failingNodes": [*islice(_failing(seen, rows), MAX_FAILING_NODES)],
    }


def _reports(found: AgentReport | AgentFailure, rows: Mapping[str, _Row]) -> Iterator[tuple[_Row, ImageReport]]:
    """Yield what a node says of the wanted images, and of no others."""
    if isinstance(found, AgentReport):
        for image_id, row in rows.items():
            report = found.images.get(image_id)
            if report is not None:
                yield row, report


def _failing(seen: Seen, rows: Mapping[str, _Row]) -> Iterator[Manifest]:
    """Yield a row for each image that a node could not fetch, and then for each node that does or says nothing.

    While a node tries again, the row stays: how that ends is not known.
    """
    by_node, by_id = sorted(seen.outcomes.items()), dict(sorted(rows.items()))
    for node, found in by_node:
        for row, report in _reports(found, by_id):
            if report.state is ImageState.FAILED or (report.state is ImageState.FETCHING and report.attempts):
                message = shorten(redact(report.message, seen.secrets), MESSAGE_LIMIT)
                reason = str(report.reason or ImageReason.WORKER_FAILED)
                row_of = {"node": node, "imageID": row.image.id, "attempts": report.attempts}
                yield row_of | {"reason": reason, "message": message}
    for node, found in by_node:
        failure = NO_PROGRESS if node in seen.idle else found
        if isinstance(failure, AgentFailure):
            message = shorten(failure.message, MESSAGE_LIMIT)
            yield {"node": node, "reason": failure.reason, "message": message, "attempts": 0}


def _worst_first(row: _Row) -> tuple[int, int]:
    return -row.failed, row.cached


def _image(row: _Row, secrets: Sequence[Sensitive]) -> Manifest:
    name = redact(row.image.name, secrets)
    return {
        "id": row.image.id,
        **({"name": name} if name else {}),
        **({"sizeBytes": row.size} if row.size else {}),
        "cachedNodes": row.cached,
        "failedNodes": row.failed,
    }


def cached(seen: Seen, why_closed: str) -> Condition:
    """Return whether every image is on every node. `why_closed` is the reason why no node may fetch now, if any."""
    nodes = sum(seen.states.values()) + seen.missing_nodes
    told = f"{seen.states['cached']} of {nodes} nodes have all of {len(seen.images)} images"
    if not nodes and seen.awaits_nodes:
        return false(CACHED, "PodsNotReady", "The CachePolicies have no pods yet.")
    if not nodes:
        return false(CACHED, "NoNodeMatches", "No node with a cache has the labels that `nodeSelector` asks for.")
    if not seen.images:
        return false(CACHED, "NoImages", "No active image has the tags and properties of `imageSelector`.")
    if seen.states["failed"]:
        return false(CACHED, "FetchFailed", f"{told}; {seen.states['failed']} could not fetch one: {_why(seen)}")
    if seen.states["cached"] == nodes:
        return true(CACHED, "Cached", f"{told}.")
    if seen.states["fetching"] or (seen.states["pending"] and not why_closed):
        return false(CACHED, "Fetching", f"{told}; {seen.states['fetching']} fetch, {seen.states['pending']} wait.")
    if seen.states["pending"]:
        return false(CACHED, why_closed, f"{told}; no more are fetched now.")
    away = seen.states["unavailable"] + seen.missing_nodes
    failures = (found.reason for found in seen.outcomes.values() if isinstance(found, AgentFailure))
    why = _counted([*failures, *["PodMissing"] * seen.missing_nodes])
    return false(CACHED, "NodesUnavailable", f"{told}; {away} give no answer to use: {why}")


def _why(seen: Seen) -> str:
    """Return why images could not be fetched."""
    answering = [found for found in seen.outcomes.values() if isinstance(found, AgentReport)]
    reports = (found.images.get(image.id) for found in answering for image in seen.images)
    return _counted(str(report.reason) for report in reports if report and report.state is ImageState.FAILED)


def _counted(found: Iterable[str]) -> str:
    """Return reasons with how often each is there, the most frequent first."""
    reasons = Counter(found)
    return ", ".join(f"{reason} ({count})" for reason, count in reasons.most_common(3)) + "."
