"""What is remembered of images over restarts."""

import json
import os
import uuid
from pathlib import Path

import pytest

from imageservice.prefetcher.scan import MOST_QUEUED, drop_wish, scan, wish
from imageservice.prefetcher.state import INTERRUPTED, Memory, Outcome

NOW = 1_800_000_000.0
A, B = (str(uuid.UUID(int=number)) for number in (1, 2))
FAILED = Outcome("DataMissing", "gone", 2, NOW + 60, 5)


def memory(directory: Path) -> Memory:
    return Memory(directory / "images.json", lambda attempts: 100.0 * attempts, lambda: NOW)


def test_outcomes_and_what_is_cached_are_there_again_after_a_restart(tmp_path: Path) -> None:
    before = memory(tmp_path)
    before.fail(A, FAILED)
    before.note_cached({B: 7})
    after = memory(tmp_path)
    assert (after.outcomes, after.cached) == ({A: FAILED}, {B: 7})
    after.succeed(A, 5)
    assert (memory(tmp_path).outcomes, memory(tmp_path).cached) == ({}, {A: 5, B: 7})


def test_an_attempt_in_which_the_agent_ended_counts_and_the_second_one_has_a_pause(tmp_path: Path) -> None:
    memory(tmp_path).begin(A)
    assert memory(tmp_path).outcomes == {A: Outcome("WorkerFailed", INTERRUPTED, 1, NOW)}
    memory(tmp_path).begin(A)
    assert memory(tmp_path).outcomes == {A: Outcome("WorkerFailed", INTERRUPTED, 2, NOW + 100)}
    # It is counted once for each attempt, not for each start.
    assert memory(tmp_path).attempts(A) == 2


def test_an_attempt_that_was_stopped_says_nothing_of_the_image(tmp_path: Path) -> None:
    before = memory(tmp_path)
    before.begin(A)
    before.stop()
    assert memory(tmp_path).outcomes == {}


def test_images_are_hurried_and_forgotten(tmp_path: Path) -> None:
    kept = memory(tmp_path)
    kept.fail(A, FAILED)
    kept.fail(B, FAILED)
    kept.hurry([A, str(uuid.UUID(int=9))])
    assert kept.outcomes[A].retry_at == NOW
    assert kept.outcomes[A].attempts == 2
    assert kept.outcomes[B].retry_at == NOW + 60
    kept.keep_only([A])
    assert memory(tmp_path).outcomes.keys() == {A}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "null",
        "[]",
        "{}",
        '{"outcomes": {}, "cached": []}',
        json.dumps({"outcomes": {A: {"reason": "x"}}, "cached": {}, "begun": None}),
        json.dumps({"outcomes": {}, "cached": {A: "many"}, "begun": None}),
    ],
)
def test_a_file_that_makes_no_sense_is_nothing_remembered(tmp_path: Path, content: str) -> None:
    (tmp_path / "images.json").write_text(content)
    found = memory(tmp_path)
    assert (found.outcomes, found.cached) == ({}, {})
    found.fail(A, FAILED)
    assert memory(tmp_path).outcomes == {A: FAILED}


def test_without_a_disk_to_write_to_the_agent_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "images.json.new").mkdir()
    found = memory(tmp_path)
    found.fail(A, FAILED)
    found.fail(B, FAILED)
    assert found.outcomes.keys() == {A, B}
    assert capsys.readouterr().out.count("StateNotKept") == 1


def test_a_scan_counts_all_files_and_knows_images_by_their_names(tmp_path: Path) -> None:
    cache = tmp_path / "images"
    assert scan(cache).images == {}
    for name, size in {A: 10, f"incomplete/{B}": 20, f"incomplete/{B}.part": 5, f"invalid/{B}": 3, "odd": 2}.items():
        (cache / name).parent.mkdir(exist_ok=True)
        (cache / name).write_bytes(bytes(size))
    (cache / "lock.db").write_bytes(bytes(1000))
    (cache / str(uuid.UUID(int=3))).symlink_to("/etc/passwd")
    found = scan(cache)
    assert (found.images, found.used_bytes) == ({A: 10}, 40)
    assert 0 < found.free_bytes < found.volume_bytes


def test_wishes_are_read_in_their_order_and_no_more_than_can_be_kept(tmp_path: Path) -> None:
    for age, image in enumerate((A, B)):
        wish(tmp_path, image)
        os.utime(tmp_path / "queue" / image, (NOW - age, NOW - age))
    (tmp_path / "queue" / "not-an-id").touch()
    assert scan(tmp_path).queued == (B, A)
    assert drop_wish(tmp_path, B)
    assert not drop_wish(tmp_path, B)
    for number in range(MOST_QUEUED + 5):
        wish(tmp_path, str(uuid.UUID(int=number)))
    assert len(scan(tmp_path).queued) == MOST_QUEUED


def test_a_directory_that_was_made_anew_is_another_one(tmp_path: Path) -> None:
    before = scan(tmp_path / "images").identity
    assert scan(tmp_path / "images").identity == before
    (tmp_path / "images").rename(tmp_path / "old")
    assert scan(tmp_path / "images").identity != before
