"""The samples of each type of store: what they refer to is in them, and the operator makes a Glance of them."""

from pathlib import Path

import pytest
import yaml
from tools import manifests

from imageservice import dry_run
from imageservice.manifest import Manifest
from imageservice.render.stores.drivers import DRIVERS

SAMPLES = manifests.ROOT / "manifests" / "samples"
NAMES = ("cinder", "external-secrets", "nfs", "rook", "s3", "swift")
TYPES = {
    "cinder": "Cinder",
    "external-secrets": "Ceph",
    "nfs": "Filesystem",
    "rook": "Ceph",
    "s3": "S3",
    "swift": "Swift",
}
KEY = "AQBQYWlnkH8vBxAAqKq5bLXyM2Zb9sYQm4mJVA=="
FROM_THE_VAULT = {
    "userID": "glance",
    "userKey": KEY,
    "url": "mysql+pymysql://glance:planted@mariadb.example/glance",
    "username": "u",
    "password": "planted",
    "project_name": "p",
}


def files(name: str) -> list[Path]:
    return sorted((SAMPLES / name).glob("*.yaml"))


def documents(paths: list[Path]) -> list[Manifest]:
    return [found for path in paths for found in yaml.safe_load_all(path.read_text()) if found]


def made_by_others(found: Manifest) -> list[Manifest]:
    """Return what Rook and External Secrets make of their own objects."""
    if found["kind"] == "CephClient":
        name = found["metadata"]["name"]
        return [
            secret(f"rook-ceph-client-{name}", userID=name, userKey=KEY, **{name: KEY}),
            {
                "kind": "ConfigMap",
                "metadata": {"name": "rook-ceph-mon-endpoints"},
                "data": {"data": "a=192.0.2.1:6789", "mapping": "{}"},
            },
        ]
    if found["kind"] == "ExternalSecret":
        keys = [item["secretKey"] for item in found["spec"]["data"]]
        return [secret(found["spec"]["target"]["name"], **{key: FROM_THE_VAULT[key] for key in keys})]
    return []


def secret(name: str, **values: str) -> Manifest:
    return {"kind": "Secret", "metadata": {"name": name}, "stringData": values}


def others(paths: list[Path], directory: Path) -> Path:
    """Write what others make of the objects in the files, and return where."""
    path = directory / "others.yaml"
    path.write_text(yaml.safe_dump_all(made for found in documents(paths) for made in made_by_others(found)))
    return path


@pytest.mark.parametrize("name", NAMES)
def test_the_sample_renders_to_a_whole_glance_with_its_store(name: str, tmp_path: Path) -> None:
    children = dry_run.render([*files(name), others(files(name), tmp_path)])
    kinds = [child["kind"] for child in children]
    assert {"Service", "Secret", "Job", "Deployment", "PodDisruptionBudget"} <= set(kinds)
    (config,) = (child["stringData"]["glance-api.conf"] for child in children if "glance-api.conf" in str(child))
    assert f":{DRIVERS[TYPES[name]]}\n" in config
    secrets = [child for child in children if child["metadata"]["labels"]["app.kubernetes.io/component"] == "store"]
    assert len(secrets) == (TYPES[name] != "Filesystem")
    assert KEY not in yaml.safe_dump_all(children)


@pytest.mark.parametrize(
    ("name", "file"), [(name, path.name) for name in NAMES for path in files(name)], ids=lambda value: value
)
def test_the_sample_breaks_when_one_of_its_files_is_left_out(name: str, file: str, tmp_path: Path) -> None:
    left = [path for path in files(name) if path.name != file]
    with pytest.raises(dry_run.NotRenderable):
        dry_run.render([*left, others(left, tmp_path)])


@pytest.mark.parametrize("name", NAMES)
def test_the_sample_names_no_namespace_and_every_password_asks_to_be_changed(name: str) -> None:
    assert all("namespace" not in found["metadata"] for found in documents(files(name)))
    for found in documents(files(name)):
        if found["kind"] == "Secret":
            assert any("CHANGE-ME" in value for value in found["stringData"].values())


@pytest.mark.parametrize("name", NAMES)
def test_the_readme_of_the_sample_names_only_files_that_exist(name: str) -> None:
    text = (SAMPLES / name / "README.md").read_text()
    words = {word.strip("`.,:;()") for word in text.split()}
    named = {word for word in words if word.endswith(".yaml")}
    assert named
    assert named <= {path.name for path in files(name)}
    assert f"manifests/samples/{name}" in text
