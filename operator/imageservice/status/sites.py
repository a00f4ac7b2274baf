"""The sites of an ImageService as rows of its status: who serves, and what keeps the others from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from imageservice.api.vocabulary import API_AVAILABLE
from imageservice.errors import Blocked, Retry
from imageservice.manifest import Manifest
from imageservice.status import rollout
from imageservice.status.conditions import Condition, shorten
from imageservice.status.pods import Problem

CENTRAL = "central"
MAX_MESSAGE_LENGTH = 256
"""Shorter than in a condition: a service may have more than a hundred sites."""


@dataclass(frozen=True)
class SiteState:
    """What was seen of one site. `problem` is what keeps its pods from getting ready, `trouble` what keeps us from it.

    `edge` is the name of the ImageStore whose edge it is, None at the centre.
    """

    edge: str | None
    url: str
    deployment: Manifest | None = None
    problem: Problem | None = None
    trouble: Blocked | Retry | None = None

    def available(self, now: datetime) -> Condition:
        """Return the condition ApiAvailable of this site alone."""
        if self.trouble is not None:
            return Condition(API_AVAILABLE, "False", self.trouble.reason, self.trouble.message)
        return rollout.api_available(self.deployment, self.problem, now)


def rows(sites: Sequence[SiteState], now: datetime) -> list[Manifest]:
    """Return `status.sites`: the centre, then the edges by name."""
    ordered = sorted(sites, key=lambda site: (site.edge is not None, site.edge or ""))
    return [_row(site, now) for site in ordered]


def ready_of(found: Sequence[Manifest]) -> str:
    """Return how many of these rows are ready, as in `2/3`."""
    return f"{sum(row['ready'] for row in found)}/{len(found)}"


def _row(site: SiteState, now: datetime) -> Manifest:
    condition = site.available(now)
    counts = rollout.read(site.deployment) if site.deployment is not None else None
    row: Manifest = {
        "name": site.edge or CENTRAL,
        "edge": site.edge is not None,
        "url": site.url,
        "replicas": counts.desired if counts else 0,
        "readyReplicas": counts.ready if counts else 0,
        "ready": condition.status == "True",
        "rolledOut": counts is not None and counts.newest_everywhere,
        "reason": condition.reason,
    }
    return row if condition.status == "True" else row | {"message": shorten(condition.message, MAX_MESSAGE_LENGTH)}
