"""Meddles with the children of our objects, one change at a time, and tells what did not end as it should."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.api_client import Manifest, Refused
from tests.end_state import key_of
from tests.integration.drift_fields import ONLY_VALUE, Field, alone, in_table, other_values, owned, sort_of
from tests.integration.drift_world import MEDDLER, OPERATOR, World, holds, intent

MOST_FAILURES = 3
"""After so many the rest is not tried: each takes as long as the bound."""

OWNERS = "metadata.ownerReferences"
"""Not a field like others: without it a child is not ours any more."""

_Excuse = Callable[[Refused], str | None]


class Meddler:
    """What is done to a child, and whether the operator made it good. `wrong` says what it did not."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.wrong: list[str] = []

    def edit(self, child: Manifest, field: Field, value: Any) -> None:
        """Have another field manager take a field by force and give it another value."""

        def excuse(refusal: Refused) -> str | None:
            if "immutable" in refusal.message:
                return "immutable"
            return "no other value is legal" if in_table(ONLY_VALUE, sort_of(child), field) else None

        what = f"{field} changed to {value}"
        self._try(child, what, lambda: self._world.api.apply(alone(child, {field: value}), manager=MEDDLER), excuse)

    def remove(self, child: Manifest, part: Field) -> None:
        """Take away a field, or all that is below it."""
        live = self._live(child)
        steps = [{"op": "remove", "path": part.pointer(live)}]
        self._try(child, f"{part} removed", lambda: self._world.api.patch(live, steps, manager=MEDDLER), _refused)

    def replace(self, child: Manifest, part: Field, value: Any) -> None:
        """Put something else in the place of a field and all that is below it."""
        live = self._live(child)
        steps = [{"op": "replace", "path": part.pointer(live), "value": value}]
        what = f"{part} replaced by {value}"
        self._try(child, what, lambda: self._world.api.patch(live, steps, manager=MEDDLER), _refused)

    def start_over(self, child: Manifest) -> None:
        """Have a child made anew, without what was done to it."""
        self._world.api.delete(self._live(child))
        self._world.wait_back(child)

    def _live(self, child: Manifest) -> Manifest:
        live: Manifest = self._world.wait(lambda: self._world.now(child), f"{key_of(child)} is there")
        return live

    def _try(self, child: Manifest, what: str, change: Callable[[], Manifest], excuse: _Excuse) -> None:
        try:
            answer = change()
        except Refused as refusal:
            reason = excuse(refusal)
            if reason is None:
                self._note(f"{key_of(child)}: {what}: {refusal}")
            else:
                self._world.ledger.outcomes[f"refused by the API server ({reason})"] += 1
            return
        if holds(answer, intent(child)):
            self._world.ledger.outcomes["undone by the API server (its default is our value)"] += 1
            return
        try:
            self._world.wait_repaired(child)
        except AssertionError as error:
            self._note(f"{key_of(child)}: {what}: {error}")
            self.start_over(child)

    def _note(self, text: str) -> None:
        self.wrong.append(text)
        assert len(self.wrong) < MOST_FAILURES, self.report()

    def report(self) -> str:
        return "\n".join(self.wrong)


def _refused(refusal: Refused) -> str | None:
    return "required or immutable" if refusal.status == 422 else None


def fields_of(child: Manifest) -> list[Field]:
    """Return the fields of a child that the operator owns, but for its owner."""
    return [field for field in owned(child, OPERATOR) if field.place != OWNERS]


def parts_of(child: Manifest) -> list[Field]:
    """Return these fields, and every item and group of fields that holds some; outer ones last."""
    ways = {field.steps[:length] for field in fields_of(child) for length in range(2, len(field.steps) + 1)}
    return [Field(way) for way in sorted(ways, key=lambda way: (-len(way), str(way)))]


def changes_of(child: Manifest) -> list[tuple[Field, Any]]:
    """Return the fields of a child that are not the key of an item, each with every other value that is tried."""
    fields = [field for field in fields_of(child) if not field.is_key]
    return [(field, value) for field in fields for value in other_values(sort_of(child), field, field.value(child))]


@contextmanager
def no_roll_out(world: World) -> Iterator[None]:
    """Have the Deployment's controller replace no pods meanwhile: all would wait for that, and it is not ours."""

    def pause(*, paused: bool | None) -> None:
        for child in world.children():
            if child["kind"] == "Deployment":
                world.api.merge(child, {"spec": {"paused": paused}})
        world.settle()

    pause(paused=True)
    yield
    pause(paused=None)
