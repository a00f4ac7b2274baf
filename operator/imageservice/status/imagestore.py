"""The status of an ImageStore, from what one reconcile observed."""

from collections.abc import Mapping

from imageservice.manifest import Manifest
from imageservice.status.conditions import Condition, complete, merge, summarise, true

ACCEPTED = "Accepted"
RESOLVED_REFS = "ResolvedRefs"
ATTACHED = "Attached"
ORDER = (ACCEPTED, RESOLVED_REFS, ATTACHED)


def status(live: Manifest, found: Mapping[str, Condition], store_id: str, now: str) -> Manifest:
    """Return the whole status to write for the ImageStore `live`. `now` is an RFC 3339 time in UTC."""
    generation = live["metadata"]["generation"]
    conditions = complete(ORDER, found)
    conditions += summarise(conditions)
    previous = live.get("status", {}).get("conditions", [])
    result: Manifest = {
        "observedGeneration": generation,
        "conditions": merge(previous, conditions, generation, now),
    }
    return result | ({"storeID": store_id} if store_id else {})


def attached(service: Manifest | None, store_name: str) -> Condition:
    """Return the condition Attached from the row that the store has in the status of its ImageService."""
    rows = (service or {}).get("status", {}).get("stores", [])
    row = next((row for row in rows if row.get("name") == store_name), None)
    if row is not None and row.get("attached"):
        return true(ATTACHED, "Attached", "Every API replica serves this store.")
    ready = next(
        (c for c in (service or {}).get("status", {}).get("conditions", []) if c.get("type") == "Stalled"), None
    )
    if ready is not None:
        return Condition(
            ATTACHED, "False", "ImageServiceBlocked", f"The ImageService does not go on: {ready.get('reason')}."
        )
    return Condition(ATTACHED, "False", "Attaching", "The API replicas do not all serve this store yet.")
