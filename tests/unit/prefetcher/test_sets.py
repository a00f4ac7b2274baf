"""What clients may want, and how it is kept on disk."""

import json
import os
import uuid
from pathlib import Path
from typing import Any

import pytest

from imageservice.prefetcher import durable
from imageservice.prefetcher.sets import MOST_IMAGES, MOST_SETS, BadSet, Sets, TooManySets, parse_set

UID = str(uuid.UUID(int=7))
GOOD: dict[str, Any] = {
    "name": "golden",
    "revision": "abc",
    "images": [str(uuid.UUID(int=1)), str(uuid.UUID(int=2))],
    "fetch": True,
    "until": None,
    "timeoutSeconds": 3600,
    "backoffSeconds": 30,
    "maxBackoffSeconds": 3600,
}


def test_a_set_is_read_and_written_as_it_was_sent() -> None:
    assert parse_set(UID, GOOD).to_json() == GOOD
    assert parse_set(UID, {**GOOD, "until": 1.5, "more": 1}).to_json() == {**GOOD, "until": 1.5}
    assert parse_set(UID, {**GOOD, "images": GOOD["images"] * 2}).to_json() == GOOD
    assert parse_set(UID, {**GOOD, "maxBackoffSeconds": 1}).max_backoff_seconds == 30


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        {},
        *(
            {**GOOD, **wrong}
            for wrong in (
                {"name": ""},
                {"name": "x" * 257},
                {"name": "a\nb"},
                {"name": 5},
                {"revision": None},
                {"images": "all"},
                {"images": ["../../etc/passwd"]},
                {"images": [str(uuid.UUID(int=1)) + "\n"]},
                {"images": [1]},
                {"images": [[]]},
                {"images": [str(uuid.UUID(int=number)) for number in range(MOST_IMAGES + 1)]},
                {"fetch": 1},
                {"fetch": None},
                {"until": "tomorrow"},
                {"until": True},
                {"until": float("nan")},
                {"until": float("inf")},
                {"until": 10**400},
                {"timeoutSeconds": 0},
                {"timeoutSeconds": -1},
                {"timeoutSeconds": None},
                {"timeoutSeconds": float("nan")},
                {"backoffSeconds": 10**9},
                {"maxBackoffSeconds": False},
            )
        ),
    ],
)
def test_what_is_no_set_is_refused(content: Any) -> None:
    with pytest.raises(BadSet):
        parse_set(UID, content)


def test_sets_are_there_again_after_a_restart(tmp_path: Path) -> None:
    sets = Sets(tmp_path / "sets")
    sets.put(parse_set(UID, GOOD))
    other = str(uuid.UUID(int=8))
    sets.put(parse_set(other, {**GOOD, "name": "a"}))
    assert [one.uid for one in Sets(tmp_path / "sets").all] == [other, UID]
    assert Sets(tmp_path / "sets").all == sets.all
    assert sets.delete(other)
    assert not sets.delete(other)
    assert [one.uid for one in Sets(tmp_path / "sets").all] == [UID]


def test_a_set_that_is_what_it_was_is_not_written_again(tmp_path: Path) -> None:
    sets = Sets(tmp_path)
    sets.put(parse_set(UID, GOOD))
    before = (tmp_path / f"{UID}.json").stat().st_ino
    sets.put(parse_set(UID, GOOD))
    assert (tmp_path / f"{UID}.json").stat().st_ino == before


def test_a_write_that_fails_leaves_the_old_set_in_place_on_disk_and_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = Sets(tmp_path)
    sets.put(parse_set(UID, GOOD))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        sets.put(parse_set(UID, {**GOOD, "revision": "new"}))
    monkeypatch.undo()
    assert [one.revision for one in sets.all] == ["abc"]
    assert Sets(tmp_path).all == sets.all
    assert [path.name for path in tmp_path.iterdir()] == [f"{UID}.json"]


def test_what_cannot_be_read_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / f"{UID}.json").write_text(json.dumps(GOOD)[:-5])
    (tmp_path / f"{uuid.UUID(int=8)}.json").write_text("[" * 10**6)
    (tmp_path / f"{uuid.UUID(int=9)}.json").mkdir()
    (tmp_path / f"{uuid.UUID(int=10)}.json.new").write_text("half")
    (tmp_path / "notes.json").write_text("{}")
    assert Sets(tmp_path).all == ()
    assert Sets(tmp_path).all == ()
    assert len(list(tmp_path.glob("*.unreadable"))) == 3


def test_there_are_no_more_sets_than_can_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "write", lambda *_: None)
    sets = Sets(tmp_path)
    for number in range(MOST_SETS):
        sets.put(parse_set(str(uuid.UUID(int=number)), GOOD))
    with pytest.raises(TooManySets):
        sets.put(parse_set(str(uuid.UUID(int=MOST_SETS)), GOOD))
    sets.put(parse_set(str(uuid.UUID(int=0)), {**GOOD, "revision": "new"}))
