"""Which Events a change of conditions is worth: trouble, its end, and that all is well; none for a repetition.

They follow from the difference between the status that the object has and the status about to be written, so that a
restarted operator emits nothing twice.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from imageservice.api.v1alpha1 import READY
from imageservice.manifest import Manifest
from imageservice.status.conditions import OPTIONAL_TYPES
from imageservice.status.reasons import REASONS, Nature, nature


@dataclass(frozen=True)
class Event:
    """An Event to be recorded about an object."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


EVENT_TYPES: dict[Nature, Literal["Normal", "Warning"]] = {
    Nature.IDLE: "Normal",
    Nature.WAITING: "Warning",
    Nature.FAULT: "Warning",
    Nature.BAD_INPUT: "Warning",
}
_ENDS_WITH_A_WORD = {Nature.FAULT, Nature.BAD_INPUT}
"""What was only waited for ends with `Ready`."""


def transitions(before: Sequence[Manifest], after: Sequence[Manifest]) -> list[Event]:
    """Return one Event for every condition whose status or reason changed to something worth telling.

    Trouble is told, the end of what was wrong, and when all is `Ready`. The way there is not: the conditions show it.
    What `Ready` says while it is not True repeats the words of the condition behind it.
    """
    return list(_changes({item.get("type"): item for item in before}, after))


def _changes(known: Mapping[object, Manifest], after: Sequence[Manifest]) -> Iterable[Event]:
    for condition in after:
        before = known.get(condition["type"], {})
        is_ready = condition["type"] == READY
        if condition["type"] in OPTIONAL_TYPES or (is_ready and condition["status"] != "True"):
            continue
        if (condition["status"], condition["reason"]) == (before.get("status"), before.get("reason")):
            continue
        found = nature(condition["reason"])
        ends_trouble = found is Nature.GOOD and REASONS.get(str(before.get("reason"))) in _ENDS_WITH_A_WORD
        event_type = "Normal" if is_ready or ends_trouble else EVENT_TYPES.get(found)
        if event_type:
            yield Event(event_type, condition["reason"], condition["message"])
