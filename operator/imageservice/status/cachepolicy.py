"""The status of a CachePolicy, from what one reconcile observed."""

from dataclasses import dataclass, field

from imageservice.agent_report import CacheUse
from imageservice.api.v1alpha1 import CONFLICTED, EFFECTIVE, MOST_BYTES, MOST_COUNTED, PROGRAMMED
from imageservice.api.vocabulary import ACCEPTED, RESOLVED_REFS
from imageservice.manifest import Manifest
from imageservice.status.conditions import Condition, complete, false, merge, summarise, true
from imageservice.status.daemonset import NodeCounts
from imageservice.status.pods import Problem

ORDER = (ACCEPTED, RESOLVED_REFS, PROGRAMMED)
PODS_READY = "PodsReady"
"""Not shown: what it says is what Ready says."""


@dataclass
class Seen:
    """What one pass found. `uses` are the caches of the nodes whose agents told of them."""

    conditions: dict[str, Condition] = field(default_factory=dict)
    nodes: NodeCounts | None = None
    uses: list[CacheUse] = field(default_factory=list)
    service_name: str = ""
    url: str = ""
    conflict: str = ""

    def set(self, condition: Condition) -> None:
        """Note a condition."""
        self.conditions[condition.type] = condition


def status(live: Manifest, seen: Seen, now: str) -> Manifest:
    """Return the whole status to write for the CachePolicy `live`. `now` is an RFC 3339 time in UTC."""
    generation = live["metadata"]["generation"]
    shown = complete(ORDER, seen.conditions)
    pods = [seen.conditions[PODS_READY]] if PODS_READY in seen.conditions else []
    summary = summarise([*shown, *pods])
    effective = seen.conditions.get(EFFECTIVE) or Condition(
        EFFECTIVE, "Unknown", "NotEvaluated", "Waits until the target is known."
    )
    conflict = [Condition(CONFLICTED, "True", "Conflicted", seen.conflict)] if seen.conflict else []
    previous = live.get("status", {}).get("conditions", [])
    result: Manifest = {
        "observedGeneration": generation,
        "conditions": merge(previous, [*shown, effective, *summary, *conflict], generation, now),
    }
    if seen.nodes is not None:
        counts = seen.nodes
        result["nodes"] = {"desired": counts.desired, "ready": counts.ready, "updated": counts.updated}
    if seen.uses:
        result["cache"] = contents(seen.uses)
    texts = {"imageServiceName": seen.service_name, "url": seen.url}
    return result | {name: text for name, text in texts.items() if text}


def contents(uses: list[CacheUse]) -> Manifest:
    """Return what is in several caches together."""
    used, most = sum(use.used_bytes for use in uses), sum(use.max_bytes for use in uses)
    return {
        "usedBytes": min(used, MOST_BYTES),
        "maxBytes": min(most, MOST_BYTES),
        "usedPercent": min(100, used * 100 // most) if most else 0,
        "images": min(sum(use.images for use in uses), MOST_COUNTED),
    }


def programmed(counts: NodeCounts) -> Condition:
    """Return the condition Programmed: whether the pods are those of the spec on every node."""
    if counts.observed and counts.desired == 0:
        message = "No node has the labels that `nodeSelector` asks for and room for a pod: label nodes, or correct it."
        return false(PROGRAMMED, "NoNodeMatches", message)
    told = f"{counts.updated} of {counts.desired} nodes run the newest revision"
    if counts.newest_everywhere:
        return true(PROGRAMMED, "Programmed", f"{told}.")
    return false(PROGRAMMED, "RollingOut", f"{told}.")


def pods_ready(counts: NodeCounts, problem: Problem | None) -> Condition:
    """Return whether every node serves; `problem` is what keeps one from it, if that is known."""
    told = f"{counts.ready} of {counts.desired} nodes serve their cache"
    if counts.ready >= counts.desired:
        return true(PODS_READY, "Available", f"{told}.")
    if problem is not None:
        return false(PODS_READY, problem.reason, f"{told}. {problem.message}")
    return false(PODS_READY, "PodsNotReady", f"{told}.")


def effective(kinds: set[str]) -> Condition:
    """Return the condition Effective, from the types of the stores that the cache is in front of."""
    if kinds == {"Ceph"}:
        return false(
            EFFECTIVE,
            "OnlyCephStores",
            "All stores are in Ceph. Clients that clone there (Nova and Cinder with RBD) read nothing through the API, "
            "so the cache spares them nothing; it serves those that download.",
        )
    return true(EFFECTIVE, "Effective", "Clients that download an image are spared the way to its store.")
