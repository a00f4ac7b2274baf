"""The status of an ImagePrecache, from what one reconcile observed. Its size does not grow with the nodes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from imageservice.agent_report import AgentReport, ImageReport, ImageState
from imageservice.api.v1alpha1 import MAX_FAILING_NODES, MAX_IMAGE_ROWS
from imageservice.found_images import FoundImage
from imageservice.manifest import Manifest
from imageservice.sensitive import Sensitive
from imageservice.status.conditions import Condition, complete, false, merge, shorten, summarise, true
from imageservice.status.imagestore import ACCEPTED, RESOLVED_REFS
from imageservice.status.masking import redact

ORDER = (ACCEPTED, RESOLVED_REFS)
CACHED = "Cached"
"""Not shown: what it says is what Ready says."""
MESSAGE_LIMIT = 256
MOST_SECONDS = 31_536_000


@dataclass
class Seen:
    """What one pass found.

    `outcomes` are what nodes say, None where one does not answer; `states` counts the nodes by how they stand, and
    `missing_nodes` have no agent yet; `awaits_nodes` where it is not known yet which nodes there are. `tables` are made
    of these (`tables`), empty where no node was asked. `secrets` are masked in what is repeated of the words of others.
    """

    conditions: dict[str, Condition] = field(default_factory=dict)
    images: Sequence[FoundImage] = ()
    outcomes: Mapping[str, AgentReport | None] = field(default_factory=dict)
    states: Counter[str] = field(default_factory=Counter)
    missing_nodes: int = 0
    awaits_nodes: bool = False
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
    failing, done, nodes = [], 0, len(seen.outcomes) + seen.missing_nodes
    for node, found in seen.outcomes.items():
        if found is None:
            continue
        for image_id, row in rows.items():
            report = found.images.get(image_id)
            if report is None:
                continue
            row.size = row.size or report.size_bytes or 0
            if report.state is ImageState.CACHED:
                row.cached += 1
                done += row.size
                continue
            done += min(report.done_bytes, row.size)
            if report.state is ImageState.FAILED:
                row.failed += 1
                failing.append((node, image_id, report))
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
        "bytesDone": done,
        "bytesTotal": total,
        "progressPercent": 100 if is_whole else min(99, done * 100 // total) if total else 0,
        "failingNodes": [
            _failing(*one, seen.secrets) for one in sorted(failing, key=lambda one: one[:2])[:MAX_FAILING_NODES]
        ],
    }


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


def _failing(node: str, image_id: str, report: ImageReport, secrets: Sequence[Sensitive]) -> Manifest:
    return {
        "node": node,
        "imageID": image_id,
        "reason": str(report.reason),
        "message": shorten(redact(report.message, secrets), MESSAGE_LIMIT),
        "attempts": report.attempts,
    }


def cached(seen: Seen, why_closed: str) -> Condition:
    """Return whether every image is on every node. `why_closed` is the reason why no node may fetch now, if any."""
    nodes = sum(seen.states.values()) + seen.missing_nodes
    told = f"{seen.states['cached']} of {nodes} nodes have all of {len(seen.images)} images"
    if not nodes and seen.awaits_nodes:
        return false(CACHED, "PodsNotReady", "The CachePolicies have no pods yet.")
    if not nodes:
        return false(CACHED, "NoNodeMatches", "No node with a cache has the labels that `nodeSelector` asks for.")
    if seen.states["failed"]:
        return false(CACHED, "FetchFailed", f"{told}; {seen.states['failed']} could not fetch one: {_why(seen)}")
    if seen.states["cached"] == nodes:
        return true(CACHED, "Cached", f"{told}.")
    if seen.states["fetching"] or (seen.states["pending"] and not why_closed):
        return false(CACHED, "Fetching", f"{told}; {seen.states['fetching']} fetch, {seen.states['pending']} wait.")
    if seen.states["pending"]:
        return false(CACHED, why_closed, f"{told}; no more are fetched now.")
    away = seen.states["unavailable"] + seen.missing_nodes
    return false(CACHED, "NodesUnavailable", f"{told}; {away} do not answer.")


def _why(seen: Seen) -> str:
    """Return the reasons of the failures, the most frequent first."""
    reasons: Counter[str] = Counter()
    for found in seen.outcomes.values():
        if found is not None:
            reports = (found.images.get(image.id) for image in seen.images)
            reasons.update(str(report.reason) for report in reports if report and report.state is ImageState.FAILED)
    return ", ".join(f"{reason} ({count})" for reason, count in reasons.most_common(3)) + "."
