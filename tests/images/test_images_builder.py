"""Builds without a registry: what is left when one ends, however it ends."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster.errors import Unavailable
from tests.cluster.images import build_lock
from tests.cluster.images_archive import read_reference
from tests.cluster.images_builder import Buildah, Recipe, find_builder
from tests.cluster.locks import only_one
from tests.cluster.state import cache_folder
from tests.waiting import wait_for

pytestmark = [pytest.mark.nodes]

FOLDER = cache_folder() / "container-images"
REPOSITORY = Path(__file__).resolve().parents[2]
SLOW = """\
ARG BASE=debian:bookworm-slim
FROM ${BASE}
RUN touch /begun && sleep 1031
"""
BUILD = """
import sys
from pathlib import Path
from tests.cluster.images_builder import Recipe, find_builder
context = Path(sys.argv[1])
builder = find_builder(Path(sys.argv[2]))
builder.build(Recipe(context), "localhost/slow:1", context / "slow.tar", context / "slow.log")
"""


@pytest.fixture(scope="module")
def builder() -> Iterator[Buildah]:
    try:
        found = find_builder(FOLDER)
    except Unavailable as reason:
        pytest.skip(str(reason))
    if not isinstance(found, Buildah):
        pytest.skip("docker builds here, and cleans up by itself")
    with only_one(build_lock(), "tests of the image builder", seconds=3600):
        yield found


def _sleeping() -> list[str]:
    """Processes of the slow build."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:  # it ended
            continue
        if words[:2] == [b"sleep", b"1031"]:
            found.append(process.name)
    return found


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_build_that_is_ended_leaves_no_process_and_no_mount(builder: Buildah, tmp_path: Path, ending: int) -> None:
    (tmp_path / "Dockerfile").write_text(SLOW)
    command = [sys.executable, "-c", BUILD, str(tmp_path), str(FOLDER)]
    build = subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.DEVNULL)
    try:
        wait_for(lambda: _sleeping() or build.poll() is not None, 300, "the build is in its slow step")
        assert build.poll() is None, (tmp_path / "slow.log").read_text()
        build.send_signal(ending)
        build.wait(60)
    finally:
        build.kill()
    wait_for(lambda: not _sleeping(), 20, "the slow step is ended")
    assert str(FOLDER) not in Path("/proc/self/mountinfo").read_text()


def test_the_next_build_after_one_that_was_killed_works(builder: Buildah, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("ARG BASE=debian:bookworm-slim\nFROM ${BASE}\nRUN true\n")
    builder.build(Recipe(tmp_path), "localhost/quick:1", tmp_path / "quick.tar", tmp_path / "quick.log")
    assert read_reference(tmp_path / "quick.tar") == "localhost/quick:1"


def test_a_failing_step_is_told_with_its_output(builder: Buildah, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        "ARG BASE=debian:bookworm-slim\nFROM ${BASE}\nRUN echo the cause >&2; exit 7\n"
    )
    with pytest.raises(Exception, match="cause"):
        builder.build(Recipe(tmp_path), "localhost/broken:1", tmp_path / "broken.tar", tmp_path / "broken.log")
