"""The status of an ImageService, from what one reconcile observed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from imageservice.api.v1alpha1 import MAX_STORES
from imageservice.api.vocabulary import (
    ACCEPTED,
    API_AVAILABLE,
    CATALOG_REGISTERED,
    CONFIG_RENDERED,
    DATABASE_READY,
    IDENTITY_READY,
    RESOLVED_REFS,
)
from imageservice.manifest import Manifest
from imageservice.status import rollout, sites
from imageservice.status.conditions import Condition, complete, merge, summarise

ORDER = (ACCEPTED, RESOLVED_REFS, CONFIG_RENDERED, DATABASE_READY, IDENTITY_READY, API_AVAILABLE, CATALOG_REGISTERED)


@dataclass(frozen=True)
class StoreState:
    """One row of status.stores. `reason` is empty where the store is ready."""

    name: str
    id: str
    type: str
    default: bool
    attached: bool
    ready: bool
    reason: str = ""


@dataclass
class Seen:
    """What one reconcile of an ImageService found, filled step by step; what was not reached stays empty."""

    conditions: dict[str, Condition] = field(default_factory=dict)
    deployment: Manifest | None = None
    release: str = ""
    image: str = ""
    selector: str = ""
    endpoints: Mapping[str, str] = field(default_factory=dict)
    stores: Sequence[StoreState] = ()
    sites: Sequence[Manifest] = ()

    def set(self, condition: Condition) -> None:
        """Record the verdict on one condition; a later one replaces it."""
        self.conditions[condition.type] = condition


def status(live: Manifest, seen: Seen, now: str) -> Manifest:
    """Return the whole status to write for the ImageService `live`. `now` is an RFC 3339 time in UTC."""
    generation = live["metadata"]["generation"]
    conditions = complete(ORDER, seen.conditions)
    conditions += summarise(conditions)
    previous = live.get("status", {}).get("conditions", [])
    result: Manifest = {
        "observedGeneration": generation,
        "conditions": merge(previous, conditions, generation, now),
        "stores": [_store(store) for store in sorted(seen.stores, key=lambda store: store.name)],
        "endpoints": [{"interface": name, "url": url} for name, url in sorted(seen.endpoints.items())],
        **_counts(seen.deployment),
    }
    texts = {"release": seen.release, "image": seen.image, "selector": seen.selector}
    if seen.sites:
        result |= {"sites": list(seen.sites)[: MAX_STORES + 1]}  # the API server would refuse the whole status
        texts["sitesReady"] = sites.ready_of(seen.sites)
    return result | {name: text for name, text in texts.items() if text}


def _counts(deployment: Manifest | None) -> Manifest:
    if deployment is None:
        return {"replicas": 0, "readyReplicas": 0, "updatedReplicas": 0}
    counts = rollout.read(deployment)
    return {"replicas": counts.replicas, "readyReplicas": counts.ready, "updatedReplicas": counts.updated}


def _store(store: StoreState) -> Manifest:
    row = {
        "name": store.name,
        "id": store.id,
        "type": store.type,
        "default": store.default,
        "attached": store.attached,
        "ready": store.ready,
    }
    return row | ({"reason": store.reason} if store.reason else {})
