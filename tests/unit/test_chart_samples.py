"""The samples: what they refer to is in them, and the operator makes a Glance of them."""

import pytest
import yaml
from tools import manifests

from imageservice import dry_run

QUICKSTART = manifests.ROOT / "manifests" / "samples" / "quickstart"
FILES = sorted(QUICKSTART.glob("*.yaml"))


def test_the_quickstart_renders_to_a_whole_glance() -> None:
    kinds = sorted(child["kind"] for child in dry_run.render(FILES))
    assert kinds.count("Deployment") == 1
    assert {"Service", "Secret", "Job", "PodDisruptionBudget"} <= set(kinds)


@pytest.mark.parametrize("file", [path.name for path in FILES])
def test_the_quickstart_breaks_when_one_of_its_files_is_left_out(file: str) -> None:
    with pytest.raises(dry_run.NotRenderable):
        dry_run.render(path for path in FILES if path.name != file)


def test_no_sample_names_a_namespace_and_every_password_asks_to_be_changed() -> None:
    documents = [found for path in FILES for found in yaml.safe_load_all(path.read_text()) if found]
    assert all("namespace" not in found["metadata"] for found in documents)
    secrets = [found["stringData"] for found in documents if found["kind"] == "Secret"]
    assert len(secrets) == 3
    assert all(any("CHANGE-ME" in value for value in values.values()) for values in secrets)


def test_the_readme_names_only_files_that_exist() -> None:
    text = (QUICKSTART / "README.md").read_text()
    for path in FILES:
        assert f"`{path.name}`" in text or path.name == "imagestore.yaml"
