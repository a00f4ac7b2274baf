"""What the operator's image leaves out, the operator does without."""

import ast
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCES = sorted((REPOSITORY / "operator").rglob("*.py"))

# What may be imported from the client: its settings and its HTTP layer.
KEPT = ("kubernetes.aio.config", "kubernetes.aio.client.configuration", "kubernetes.aio.client.rest")

LOAD_WITHOUT = """
import importlib, importlib.abc, pkgutil, sys

class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        package = name.rpartition(".")[0]
        # As the Dockerfile deletes them: the modules, not the packages.
        if package.startswith("kubernetes.") and package.endswith(("client.api", "client.models")):
            raise ImportError(f"not in the image: {name}")

sys.meta_path.insert(0, Missing())
import imageservice
for module in pkgutil.walk_packages(imageservice.__path__, "imageservice."):
    # These two run in the pods of Glance.
    elsewhere = module.name.startswith(("imageservice.render.files.", "imageservice.prefetcher."))
    if not elsewhere and not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""


def _imported(source: Path) -> set[str]:
    """The modules of the Kubernetes client that a file names."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in found if name == "kubernetes" or name.startswith("kubernetes.")}


def test_the_operator_imports_nothing_of_the_client_that_may_be_left_out() -> None:
    packages = {kept[:end] for kept in KEPT for end in range(len(kept)) if kept[end] == "."}
    named = {(source.relative_to(REPOSITORY), name) for source in SOURCES for name in _imported(source)}
    assert {(source, name) for source, name in named if name not in packages and not name.startswith(KEPT)} == set()


def test_the_operator_loads_without_the_generated_classes() -> None:
    done = subprocess.run([sys.executable, "-c", LOAD_WITHOUT], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
