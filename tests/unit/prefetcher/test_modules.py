"""The agent runs elsewhere than the operator: on an older Python, alone, and its supervisor without Glance."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import imageservice.prefetcher

SOURCES = sorted(Path(imageservice.prefetcher.__file__).parent.glob("*.py"))
FEATURES = (3, 10)


def imports(path: Path) -> list[ast.Import | ast.ImportFrom]:
    found = ast.walk(ast.parse(path.read_text(), feature_version=FEATURES))
    return [node for node in found if isinstance(node, ast.Import | ast.ImportFrom)]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_a_module_is_of_the_oldest_python_and_finds_the_others_by_relative_imports(path: Path) -> None:
    for node in imports(path):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        assert not any(name.split(".")[0] in ("imageservice", "prefetcher") for name in names)


def test_the_supervisor_brings_the_standard_library_alone(tmp_path: Path) -> None:
    (tmp_path / "prefetcher").symlink_to(SOURCES[0].parent)
    # Without site-packages: what is not in the standard library cannot be imported.
    command = [
        sys.executable,
        "-ISB",
        "-c",
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import prefetcher.__main__",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
