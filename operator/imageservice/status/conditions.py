"""Conditions: build, merge with what the object has, summarise.

The rules are the Kubernetes API conventions ("Typical status properties") and kstatus: conditions that speak of the
normal state are always there, `Reconciling` and `Stalled` only while True, `lastTransitionTime` moves only when the
status flips.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from imageservice.api.vocabulary import CONDITIONS_ONLY_WHEN_TRUE, READY, RECONCILING, STALLED
from imageservice.manifest import Manifest
from imageservice.status.reasons import Nature, nature

MAX_MESSAGE_LENGTH = 1024

ConditionStatus = Literal["True", "False", "Unknown"]

OPTIONAL_TYPES = frozenset(CONDITIONS_ONLY_WHEN_TRUE)
"""Conditions that are there only while they hold."""


@dataclass(frozen=True)
class Condition:
    """One observation. Its `status` says whether the adjective in `type` holds."""

    type: str
    status: ConditionStatus
    reason: str
    message: str = ""

    @property
    def nature(self) -> Nature:
        """What the reason means for the object as a whole."""
        return nature(self.reason)


def true(type_: str, reason: str, message: str = "") -> Condition:
    """Build a condition that holds."""
    return Condition(type_, "True", reason, message)


def false(type_: str, reason: str, message: str) -> Condition:
    """Build a condition that does not hold."""
    return Condition(type_, "False", reason, message)


def not_evaluated(type_: str, because: Condition) -> Condition:
    """Build a condition that cannot be judged before another one holds."""
    return Condition(type_, "Unknown", "NotEvaluated", f"Waits until {because.type} is True.")


def complete(order: Sequence[str], found: Mapping[str, Condition]) -> list[Condition]:
    """Return the conditions of `order`, in it; those that were not reached wait for the first that does not hold."""
    blocking = next((found[type_] for type_ in order if type_ in found and found[type_].status != "True"), None)
    waits_for = blocking or true(order[0], order[0])
    return [found.get(type_) or not_evaluated(type_, waits_for) for type_ in order]


def summarise(conditions: Sequence[Condition]) -> list[Condition]:
    """Return `Ready` and, where they hold, `Reconciling` and `Stalled`, from all other conditions of an object.

    Ready is False where somebody should look (a fault, bad input, something missing), Unknown while the operator is at
    work and nothing is wrong, True when every condition is True and nothing rolls. The first condition that is not
    good, in the order given, lends its words, after the worse ones: bad input before faults before progress.
    """
    bad = _first(conditions, Nature.BAD_INPUT)
    wrong = _first(conditions, Nature.FAULT, Nature.WAITING, Nature.IDLE)
    working = _first(conditions, Nature.PROGRESS)
    if bad:
        return [false(READY, bad.reason, bad.message), Condition(STALLED, "True", bad.reason, bad.message)]
    if wrong:
        summary = [false(READY, wrong.reason, wrong.message)]
        if wrong.nature is Nature.WAITING or working:
            summary.append(Condition(RECONCILING, "True", wrong.reason, wrong.message))
        return summary
    if working:
        return [
            Condition(READY, "Unknown", "Progressing", working.message),
            Condition(RECONCILING, "True", working.reason, working.message),
        ]
    return [true(READY, "Ready", "All conditions hold.")]


def _first(conditions: Sequence[Condition], *natures: Nature) -> Condition | None:
    return next((condition for condition in conditions if condition.nature in natures), None)


def told(status: Manifest, type_: str) -> Manifest:
    """Return the condition of this type in the status of an object as it was read; an empty one where there is none."""
    return next((item for item in status.get("conditions") or [] if item.get("type") == type_), {})


def merge(previous: Sequence[Manifest], wanted: Sequence[Condition], generation: int, now: str) -> list[Manifest]:
    """Return the conditions to write: `wanted`, with the transition times of `previous` where the status stayed.

    `generation` is the metadata.generation that was observed; `now` is an RFC 3339 time in UTC.
    """
    before = {condition.get("type"): condition for condition in previous}
    return [_merge_one(before.get(condition.type), condition, generation, now) for condition in wanted]


def _merge_one(before: Manifest | None, condition: Condition, generation: int, now: str) -> Manifest:
    stayed = before is not None and before.get("status") == condition.status
    since = before.get("lastTransitionTime") if before is not None and stayed else None
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": shorten(condition.message),
        "observedGeneration": generation,
        "lastTransitionTime": since or now,
    }


def shorten(message: str, limit: int = MAX_MESSAGE_LENGTH) -> str:
    """Cut a message to `limit` characters, visibly."""
    return message if len(message) <= limit else message[: limit - 3] + "..."
