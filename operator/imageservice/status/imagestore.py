"""The status of an ImageStore, from what one reconcile observed."""

from collections.abc import Mapping

from imageservice.api.v1alpha1 import DELETION_BLOCKED
from imageservice.api.vocabulary import ACCEPTED, ATTACHED, CREDENTIALS_VALID, REACHABLE, RESOLVED_REFS
from imageservice.manifest import Manifest
from imageservice.status import conditions
from imageservice.status.conditions import Condition, complete, false, merge, summarise, true

ORDER = (ACCEPTED, RESOLVED_REFS, CREDENTIALS_VALID, ATTACHED, REACHABLE)


def status(live: Manifest, found: Mapping[str, Condition], store_id: str, now: str, fsid: str = "") -> Manifest:
    """Return the whole status to write for the ImageStore `live`. `now` is an RFC 3339 time in UTC.

    `fsid` is the id of the Ceph cluster that the pods reach, empty where that is not known.
    """
    generation = live["metadata"]["generation"]
    conditions = complete(ORDER, found)
    conditions += summarise(conditions)
    conditions += [found[DELETION_BLOCKED]] if DELETION_BLOCKED in found else []
    previous = live.get("status", {}).get("conditions", [])
    result: Manifest = {
        "observedGeneration": generation,
        "conditions": merge(previous, conditions, generation, now),
    }
    texts = {"storeID": store_id, "fsid": fsid}
    return result | {name: text for name, text in texts.items() if text}


def attached(service: Manifest | None, store_name: str, *, is_edge: bool) -> Condition:
    """Return the condition Attached, from the rows of the store and of its edge in the status of its ImageService."""
    told = (service or {}).get("status", {})
    row = _row(told, "stores", store_name)
    site = next((row for row in told.get("sites", []) if row.get("edge") and row.get("name") == store_name), None)
    if is_edge and site is not None and not site.get("ready"):
        return false(ATTACHED, str(site.get("reason")), f"The edge does not serve: {site.get('message', '')}")
    if row.get("attached") and (site is not None or not is_edge):
        return true(ATTACHED, "Attached", "Every API replica that is to serve this store does so.")
    stalled = conditions.told(told, "Stalled")
    if stalled:
        return false(ATTACHED, "ImageServiceBlocked", f"The ImageService does not go on: {stalled.get('reason')}.")
    return false(ATTACHED, "Attaching", "The API replicas do not all serve this store yet.")


def reachable(reason: str, message: str) -> Condition:
    """Return the condition Reachable from what the store monitor of the pods says."""
    status_of = {"Reachable": "True", "Checking": "Unknown"}
    return Condition(REACHABLE, status_of.get(reason, "False"), reason, message)  # type: ignore[arg-type]


def not_probed(why: str) -> Condition:
    """Return the condition Reachable where nobody can tell: nothing is known to be wrong, so it holds up nothing."""
    return Condition(REACHABLE, "Unknown", "NotProbed", why)


def deletion_blocked(reason: str, message: str) -> Condition:
    """Return the condition that says why a store that is being deleted is still there."""
    return Condition(DELETION_BLOCKED, "True", reason, message)


def _row(status: Manifest, table: str, name: str) -> Manifest:
    return next((row for row in status.get(table, []) if row.get("name") == name), {})
