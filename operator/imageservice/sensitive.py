"""Text that must never be shown: it prints as `***` wherever it is formatted, logged or raised."""

from typing import final


@final
class Sensitive:
    """A secret value. `reveal()` is the only way to its content; equality and hash work on the content."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret itself, to be put into a Secret or sent to the service it belongs to."""
        return self._value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sensitive) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__
