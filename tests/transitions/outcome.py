"""Whether the objects of a namespace are at rest, and whether two namespaces came to the same rest.

Where everything works, the two states must be the same in all that counts (`tests/end_state.py`). Where something is
wrong, pods of an earlier, working spec may go on serving: that is the promise to the user and no difference. Then what
is told to be wrong must be the same, and what was made for the newest spec must be there and be the same.
"""

from collections.abc import Iterable, Mapping

from tests.api_client import Manifest
from tests.end_state import EndState, differences, end_state, key_of, versions
from tests.transitions.schema import KINDS

from imageservice.status.reasons import REASONS, Nature

GOOD = (Nature.GOOD, Nature.IDLE)
RUNNING = frozenset(("ApiAvailable", "Attached", "Ready", "Reconciling", "Stalled"))
"""Conditions that speak of what runs, or sum up others that do."""
FOR_ONE_SPEC = ("Job",)
"""Kinds of children that come and go on the way to a state that works."""


def conditions(manifest: Manifest) -> dict[str, Manifest]:
    """Return the conditions of an object by type."""
    return {condition["type"]: condition for condition in manifest.get("status", {}).get("conditions", [])}


def reasons(objects: Iterable[Manifest]) -> str:
    """Return the reasons of all conditions of our objects, for a message."""
    told = []
    for manifest in ours(objects):
        words = (f"{type_}={condition['reason']}" for type_, condition in conditions(manifest).items())
        told.append(f"{key_of(manifest)[:60]}: {' '.join(words)}")
    return "; ".join(told)


def ours(objects: Iterable[Manifest]) -> list[Manifest]:
    """Return the objects of our kinds."""
    return [manifest for manifest in objects if manifest["kind"] in KINDS]


def why_not_at_rest(objects: list[Manifest]) -> str | None:
    """Return what is still under way, None where all that can come to rest has done so."""
    held_up = any(conditions(manifest).get("Ready", {}).get("status") == "False" for manifest in ours(objects))
    for manifest in objects:
        if problem := _under_way(manifest, held_up=held_up):
            return f"{manifest['kind']} {manifest['metadata']['name'][:40]}: {problem}"
    if not works(objects):
        return None
    for manifest in objects:
        if problem := _unfinished(manifest):
            return f"{manifest['kind']} {manifest['metadata']['name'][:40]}: {problem}"
    return None


def _under_way(manifest: Manifest, *, held_up: bool) -> str | None:
    """Return what is under way; where one of our objects is in trouble, others may wait for it for good."""
    metadata, status = manifest["metadata"], manifest.get("status") or {}
    if metadata.get("deletionTimestamp"):
        return "it is being deleted"
    if manifest["kind"] in KINDS:
        if not is_observed(manifest):
            return "the operator has not seen its newest spec"
        ready = conditions(manifest).get("Ready", {})
        if ready.get("status") == "Unknown" and not held_up:
            return f"Ready is Unknown: {ready.get('reason')}: {ready.get('message')}"
    if manifest["kind"] == "PersistentVolumeClaim" and status.get("phase") != "Bound":
        return "it is not bound"
    return None


def is_observed(manifest: Manifest) -> bool:
    """Tell whether the operator has told how the newest spec of an object of ours fares."""
    return bool((manifest.get("status") or {}).get("observedGeneration") == manifest["metadata"]["generation"])


def _unfinished(manifest: Manifest) -> str | None:
    status = manifest.get("status") or {}
    seen = manifest["metadata"].get("generation")
    if status.get("observedGeneration", None if manifest["kind"] == "DaemonSet" else seen) != seen:
        return "its controller has not seen its newest spec"
    if manifest["kind"] == "Deployment":
        wanted = manifest["spec"]["replicas"]
        counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")]
        if counts != [wanted] * 3:
            return f"{wanted} replicas are wanted, there are {counts} (all, updated, available)"
    if conditions(manifest).get("DatabaseReady", {}).get("reason") == "SchemaUsable":
        return "its schema is to be contracted when no pod of before is left"
    if manifest["kind"] == "DaemonSet":
        wanted = status.get("desiredNumberScheduled")
        counts = [status.get(name, 0) for name in ("updatedNumberScheduled", "numberAvailable")]
        if counts != [wanted] * 2:
            return f"{wanted} nodes are to have a pod, there are {counts} (updated, available)"
    if manifest["kind"] == "Job" and "Complete" not in conditions(manifest):
        return "it is at work"
    return None


def works(objects: list[Manifest]) -> bool:
    """Tell whether every object of ours that made something is as it should be, and so all it made.

    What pods run for an edge's store belongs to the ImageService; so a fault of any store counts.
    """
    if any(REASONS.get(c["reason"]) is Nature.FAULT for m in ours(objects) for c in conditions(m).values()):
        return False
    owners = {reference["uid"] for m in objects for reference in m["metadata"].get("ownerReferences", [])}
    found = [manifest for manifest in ours(objects) if manifest["metadata"]["uid"] in owners]
    natures = {REASONS[c["reason"]] for m in found for c in conditions(m).values() if c["reason"] in REASONS}
    return bool(found) and natures <= {*GOOD}


def told_wrong(objects: list[Manifest]) -> dict[str, str]:
    """Return the reasons of what is wrong for good, by object and condition. Words may name others by their age."""
    return {
        f"{key_of(manifest)} {type_}": condition["reason"]
        for manifest in ours(objects)
        for type_, condition in conditions(manifest).items()
        if REASONS.get(condition["reason"]) in (Nature.BAD_INPUT, Nature.WAITING) and type_ not in RUNNING
    }


def compare(changed: list[Manifest], home: str, fresh: list[Manifest], fresh_home: str) -> list[str]:
    """Return in words how a namespace that was changed to a state differs from one that was created so."""
    if works(fresh):
        return differences(_state(changed, home), _state(fresh, fresh_home), CHANGED, FRESH)
    lines = differences({"Wrong:": told_wrong(changed)}, {"Wrong:": told_wrong(fresh)}, CHANGED, FRESH)
    made, wanted = _settings(changed, home), _settings(fresh, fresh_home)
    return lines + differences({key: item for key, item in made.items() if key in wanted}, wanted, CHANGED, FRESH)


CHANGED, FRESH = "changed to it", "created so"
_MOST_REMEMBERED = 100


def _state(objects: list[Manifest], namespace: str, *, numbered: bool = True) -> EndState:
    """Return the end state of objects; that of a fresh namespace is asked for again and again."""
    key = (namespace, numbered, frozenset(versions(objects).items()))
    found = _REMEMBERED.get(key)
    if found is None:
        if len(_REMEMBERED) >= _MOST_REMEMBERED:
            _REMEMBERED.clear()
        found = _REMEMBERED[key] = end_state(objects, namespace, numbered=numbered)
    return found


_REMEMBERED: dict[tuple[str, bool, frozenset[tuple[str, str]]], EndState] = {}


def _settings(objects: list[Manifest], namespace: str) -> Mapping[str, Manifest]:
    """Return what is wanted, without how far it has come."""
    kept = [manifest for manifest in objects if manifest["kind"] not in FOR_ONE_SPEC]
    states = _state(kept, namespace, numbered=False)
    return {
        key: {
            part: {name: v for name, v in value.items() if name != "finalizers"} if part == "metadata" else value
            for part, value in manifest.items()
            if part != "status"
        }
        for key, manifest in states.items()
    }
