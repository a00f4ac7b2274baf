"""The command line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from imageservice.cli import main

ROOT = Path(__file__).parents[3]

IMAGE_SERVICE = """
apiVersion: imageservice.dev/v1alpha1
kind: ImageService
metadata: {name: glance, namespace: openstack}
spec:
  release: "2026.1"
  database: {secretRef: {name: glance-db}}
  identity:
    authURL: http://keystone.example:5000/v3
    secretRef: {name: glance-user}
    catalog: {register: false}
---
apiVersion: imageservice.dev/v1alpha1
kind: ImageStore
metadata: {name: central, namespace: openstack}
spec:
  imageServiceRef: {name: glance}
  type: Filesystem
  filesystem: {volume: {type: NFS, nfs: {server: nfs.example, path: /images}}}
"""
SECRETS = """
apiVersion: v1
kind: Secret
metadata: {name: glance-db, namespace: openstack}
stringData: {url: "mysql+pymysql://glance:planted-password@db/glance"}
---
apiVersion: v1
kind: Secret
metadata: {name: glance-user, namespace: openstack}
stringData: {username: glance, password: planted-password, project_name: service}
"""


def test_crds_are_written_checked_and_repaired(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "crds"
    assert main(["crds", str(folder), "--check"]) == 1
    assert not folder.exists()
    assert main(["crds", str(folder)]) == 0
    assert main(["crds", str(folder), "--check"]) == 0
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in (ROOT / "crds").iterdir())
    changed = folder / "imageservice.dev_imagestores.yaml"
    changed.write_text("other")
    (folder / "imageservice.dev_outdated.yaml").write_text("x")
    (folder / "of-somebody-else.yaml").write_text("x")
    capsys.readouterr()
    assert main(["crds", str(folder), "--check"]) == 1
    told = capsys.readouterr().err
    assert "imageservice.dev_imagestores.yaml" in told
    assert "imageservice.dev_outdated.yaml" in told
    assert main(["crds", str(folder)]) == 0
    assert main(["crds", str(folder), "--check"]) == 0
    assert (folder / "of-somebody-else.yaml").exists()
    assert not (folder / "imageservice.dev_outdated.yaml").exists()


def test_the_committed_crds_are_those_of_the_models() -> None:
    assert main(["crds", str(ROOT / "crds"), "--check"]) == 0


def test_render_prints_the_children_and_no_secret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    objects, secrets = tmp_path / "objects.yaml", tmp_path / "secrets.yaml"
    objects.write_text(IMAGE_SERVICE)
    secrets.write_text(SECRETS)
    assert main(["render", "-f", str(objects), "-f", str(secrets)]) == 0
    printed = capsys.readouterr().out
    assert "planted-password" not in printed
    kinds = [manifest["kind"] for manifest in yaml.safe_load_all(printed)]
    assert {"Deployment", "Service", "Secret", "Job", "PodDisruptionBudget"} == set(kinds)


@pytest.mark.parametrize("content", ["kind: ConfigMap\nmetadata: {name: a}\n", "a: [", None, IMAGE_SERVICE])
def test_render_says_what_is_wrong_with_its_input(
    content: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.yaml"
    if content is not None:
        path.write_text(content)
    assert main(["render", "-f", str(path)]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("image-service-operator: ")
    assert len(output.err.splitlines()) <= 3


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [("IMAGE_SERVICE_OPERATOR_WORKERS", "none", "IMAGE_SERVICE_OPERATOR_WORKERS"), ("X", "", "--kubeconfig")],
)
def test_run_refuses_to_start_with_a_sentence(variable: str, value: str, told: str) -> None:
    unwanted = ("KUBECONFIG", "KUBERNETES_SERVICE_HOST")
    environment = {name: text for name, text in os.environ.items() if name not in unwanted}
    ran = subprocess.run(
        [sys.executable, "-m", "imageservice", "run"],
        env={**environment, variable: value},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 1
    assert told in ran.stderr
    assert "Traceback" not in ran.stderr


def test_without_a_command_the_usage_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
    assert "COMMAND" in capsys.readouterr().err
