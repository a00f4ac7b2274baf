"""`image-service-operator render`: what would be made, without a cluster, without a secret."""

from pathlib import Path

import pytest
import yaml

from imageservice.cli import main
from imageservice.dry_run import NotRenderable, render

QUICKSTART = sorted((Path(__file__).parents[2] / "manifests" / "samples" / "quickstart").glob("*.yaml"))


def test_the_quickstart_renders_to_every_child_in_the_order_of_their_making(capsys):
    arguments = [word for path in QUICKSTART for word in ("--file", str(path))]
    assert main(["render", *arguments]) == 0
    printed = list(yaml.safe_load_all(capsys.readouterr().out))
    assert [item["kind"] for item in printed] == [
        "Service",
        "Secret",
        "PodDisruptionBudget",
        "Secret",
        "Job",
        "Deployment",
    ]


def test_the_configuration_is_shown_and_the_secrets_in_it_are_not(tmp_path):
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "glance-db"}}
    secret["stringData"] = {"url": "mysql+pymysql://glance:planted-1@db.example/glance"}
    files = [path for path in QUICKSTART if path.name != "secrets.yaml"]
    users = [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name},
            "stringData": {"username": "u", "password": f"planted-{name}", "project_name": "p"},
        }
        for name in ("glance-service-user", "keystone-admin")
    ]
    extra = tmp_path / "secrets.yaml"
    extra.write_text(yaml.safe_dump_all([secret, *users]))
    text = yaml.safe_dump_all(render([*files, extra]))
    assert "planted" not in text
    assert "enabled_backends" in text
    assert "***" in text


def test_a_missing_secret_is_named(tmp_path):
    files = [path for path in QUICKSTART if path.name != "secrets.yaml"]
    with pytest.raises(NotRenderable, match="`glance-db`"):
        render(files)


def test_files_without_an_image_service_are_told(tmp_path, capsys):
    nothing = tmp_path / "nothing.yaml"
    nothing.write_text("{}")
    assert main(["render", "-f", str(nothing)]) == 1
    assert "no ImageService" in capsys.readouterr().err
