"""The sets of images that the operator wants on this node, one for each ImagePrecache; kept on disk.

The agent goes on with them while the operator is away, and after each restart.
"""

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from . import durable

ID = re.compile("[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
"""An id of an image in Glance, or a uid of Kubernetes."""
MOST_SETS = 256
MOST_IMAGES = 10_000
"""How many sets there may be, and images in one of them."""
LONGEST_TEXT = 256
LONGEST_SECONDS = 30 * 24 * 3600.0
"""An upper limit for whatever is a duration."""
LARGEST_NUMBER = 1e12


class BadSet(ValueError):  # noqa: N818 - what a client sent
    """A set is not as it has to be; the text says in which member."""


class TooManySets(Exception):  # noqa: N818 - a limit
    """There is no room for one more set."""


@dataclass(frozen=True)
class DesiredSet:
    """What one ImagePrecache wants; `until` is an epoch, None where fetching is never over."""

    uid: str
    name: str
    revision: str
    images: tuple[str, ...]
    fetch: bool
    until: float | None
    timeout_seconds: float
    backoff_seconds: float
    max_backoff_seconds: float

    @cached_property
    def members(self) -> frozenset[str]:
        """The images, to look one up in."""
        return frozenset(self.images)

    def grants(self, now: float) -> bool:
        """Tell whether images may be fetched for this set."""
        return self.fetch and (self.until is None or now < self.until)

    def to_json(self) -> dict[str, Any]:
        """Return the set as a client sends it."""
        return {
            "name": self.name,
            "revision": self.revision,
            "images": list(self.images),
            "fetch": self.fetch,
            "until": self.until,
            "timeoutSeconds": self.timeout_seconds,
            "backoffSeconds": self.backoff_seconds,
            "maxBackoffSeconds": self.max_backoff_seconds,
        }


def is_id(text: Any) -> bool:
    """Tell whether this is an id, which may become part of a path."""
    return isinstance(text, str) and ID.fullmatch(text) is not None


def parse_set(uid: str, content: Any) -> DesiredSet:
    """Return the set that JSON describes; raise BadSet. Members that are not known are left out."""
    if not isinstance(content, dict):
        raise BadSet("The set is no JSON object.")
    backoff_seconds = _seconds(content, "backoffSeconds")
    return DesiredSet(
        uid=uid,
        name=_text(content, "name"),
        revision=_text(content, "revision"),
        images=_images(content),
        fetch=_flag(content, "fetch"),
        until=_epoch(content, "until"),
        timeout_seconds=_seconds(content, "timeoutSeconds"),
        backoff_seconds=backoff_seconds,
        max_backoff_seconds=max(backoff_seconds, _seconds(content, "maxBackoffSeconds")),
    )


def _text(content: Mapping[str, Any], key: str) -> str:
    value = content.get(key)
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_TEXT or not value.isprintable():
        raise BadSet(f"{key} is no line of 1 to {LONGEST_TEXT} characters.")
    return value


def _flag(content: Mapping[str, Any], key: str) -> bool:
    value = content.get(key)
    if not isinstance(value, bool):
        raise BadSet(f"{key} is neither true nor false.")
    return value


def _number(content: Mapping[str, Any], key: str) -> float | None:
    value = content.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if -LARGEST_NUMBER < value < LARGEST_NUMBER else None


def _seconds(content: Mapping[str, Any], key: str) -> float:
    value = _number(content, key)
    if value is None or not 0 < value <= LONGEST_SECONDS:
        raise BadSet(f"{key} is no number of seconds, more than 0 and at most {LONGEST_SECONDS:.0f}.")
    return value


def _epoch(content: Mapping[str, Any], key: str) -> float | None:
    value = _number(content, key)
    if value is None and content.get(key) is not None:
        raise BadSet(f"{key} is neither null nor seconds since 1970.")
    return value


def _images(content: Mapping[str, Any]) -> tuple[str, ...]:
    value = content.get("images")
    if not isinstance(value, list) or len(value) > MOST_IMAGES or not all(map(is_id, value)):
        raise BadSet(f"images is no list of at most {MOST_IMAGES} UUIDs.")
    return tuple(dict.fromkeys(value))


class Sets:
    """All sets, in memory and on disk. `all` never changes in place: whoever has read it has one state of it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._writing = threading.Lock()
        self.all: tuple[DesiredSet, ...] = _in_order(self._read())

    def put(self, new: DesiredSet) -> None:
        """Keep a set; it is on the disk when this returns. Raises OSError and TooManySets."""
        with self._writing:
            others = [one for one in self.all if one.uid != new.uid]
            if new in self.all:
                return
            if len(others) >= MOST_SETS:
                raise TooManySets
            durable.write(self._file(new.uid), new.to_json())
            self.all = _in_order([*others, new])

    def delete(self, uid: str) -> bool:
        """Forget a set, and tell whether there was one. Raises OSError."""
        with self._writing:
            others = tuple(one for one in self.all if one.uid != uid)
            durable.remove(self._file(uid))
            was_there = len(others) < len(self.all)
            self.all = others
            return was_there

    def _file(self, uid: str) -> Path:
        return self._directory / f"{uid}.json"

    def _read(self) -> list[DesiredSet]:
        found = []
        for path in sorted(self._directory.glob("*.json"))[:MOST_SETS]:
            try:
                if is_id(path.stem) and (content := durable.read(path)) is not None:
                    found.append(parse_set(path.stem, content))
            except BadSet as error:
                durable.set_aside(path, str(error))
        return found


def _in_order(sets: list[DesiredSet]) -> tuple[DesiredSet, ...]:
    return tuple(sorted(sets, key=lambda one: (one.name, one.uid)))
