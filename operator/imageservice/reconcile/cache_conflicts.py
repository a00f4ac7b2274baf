"""Which of the CachePolicies of an ImageService has a node: the oldest that asks for it. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from imageservice.manifest import Manifest
from imageservice.render.cache_daemonset import terms

SHOWN = 5
"""So many nodes are named in a message."""


@dataclass(frozen=True)
class Claim:
    """What a policy asks for: nodes with these labels, in front of that ImageService. `since` orders by age."""

    policy: str
    service: str
    node_selector: Mapping[str, str]
    since: tuple[str, str]


def since(policy: Manifest) -> tuple[str, str]:
    """Return by what the age of a policy is told: two of one second are told apart by their names."""
    metadata = policy["metadata"]
    return str(metadata.get("creationTimestamp", "")), str(metadata["name"])


def rivals(mine: Claim, others: Iterable[Claim]) -> list[Claim]:
    """Return the older claims for nodes that this one may ask for too, oldest first."""
    found = [
        other
        for other in others
        if other.service == mine.service and other.since < mine.since and _may_meet(mine, other)
    ]
    return sorted(found, key=lambda claim: claim.since)


def _may_meet(mine: Claim, other: Claim) -> bool:
    """Tell whether a node may have the labels that both ask for."""
    shared = mine.node_selector.keys() & other.node_selector.keys()
    return all(mine.node_selector[key] == other.node_selector[key] for key in shared)


def who_has_all(mine: Claim, older: Sequence[Claim]) -> Claim | None:
    """Return the older claim by which this one can have no node, if there is one."""
    return next((other for other in older if other.node_selector.items() <= mine.node_selector.items()), None)


def can_be_told_apart(older: Sequence[Claim]) -> bool:
    """Tell whether the scheduler can be told to leave out the nodes of all these."""
    return not older or terms([other.node_selector for other in older]) is not None


def in_words(older: Sequence[Claim], nodes: Iterable[Manifest]) -> str:
    """Return which of these nodes, that the policy asks for, others have; empty where it is none."""
    lost: dict[str, list[str]] = {}
    for node in nodes:
        labels = node["metadata"].get("labels") or {}
        owner = next((claim for claim in older if claim.node_selector.items() <= labels.items()), None)
        if owner is not None:
            lost.setdefault(owner.policy, []).append(node["metadata"]["name"])
    return " ".join(
        f"The older CachePolicy `{policy}` has {len(names)} of the nodes: {_shown(sorted(names))}."
        for policy, names in lost.items()
    )


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
