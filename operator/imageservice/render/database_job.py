"""The Jobs that bring the database to the schema of the release, and the Secret that they read."""

from importlib import resources
from typing import Literal

from imageservice.manifest import Manifest
from imageservice.render import ini
from imageservice.render.inputs import ImageServiceInputs
from imageservice.render.labels import COMPONENT_DATABASE, labels, metadata
from imageservice.render.names import child_name, content_hash
from imageservice.render.pods import empty_dir, pod_spec, secret_volume
from imageservice.render.secrets import immutable_secret

Step = Literal["prepare", "sync"]
"""`prepare`: expand and migrate, while older pods still run. `sync`: all that, and contract, where none is left."""

DIRECTORY = "/etc/image-service-database"
SCRIPT = "database.py"
DEADLINE_SECONDS = 3600
"""Longest time for one step; migrating the rows of a large catalogue takes minutes."""

_TEMPORARY = "/tmp"  # noqa: S108 - a volume of the pod


def database_secret(inputs: ImageServiceInputs) -> Manifest:
    """Build the Secret with the URL of the database and the script that works on it; immutable, named by its content.

    Raises ValueError where the URL cannot stand in an ini file.
    """
    url = inputs.database_url.reveal()
    script = resources.files("imageservice.render").joinpath("files", SCRIPT).read_text("utf-8")
    # One try: whether to try again is decided by the operator, which sees more.
    settings = {"DEFAULT": {"use_stderr": "true"}, "database": {"connection": url, "max_retries": "1"}}
    files = {"url": url, "glance-manage.conf": ini.render(settings), SCRIPT: script}
    return immutable_secret(inputs, COMPONENT_DATABASE, files)


def database_job(inputs: ImageServiceInputs, step: Step, secret_name: str) -> Manifest:
    """Build the Job of one step. Its name ends in a hash of all that it does, since a Job cannot be changed."""
    spec: Manifest = {
        "backoffLimit": 0,
        "activeDeadlineSeconds": DEADLINE_SECONDS,
        # A pod that a node drain takes away has not failed: the Job starts another.
        "podFailurePolicy": {
            "rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
        },
        "template": {
            "metadata": {"labels": labels(inputs, COMPONENT_DATABASE)},
            "spec": {
                **pod_spec(
                    inputs,
                    [
                        {
                            "name": "database",
                            "command": ["python3", f"{DIRECTORY}/{SCRIPT}", step],
                            "env": [{"name": "HOME", "value": _TEMPORARY}],
                            "volumeMounts": [
                                {"name": "database", "mountPath": DIRECTORY, "readOnly": True},
                                {"name": "tmp", "mountPath": _TEMPORARY},
                            ],
                        },
                    ],
                    [secret_volume("database", secret_name), empty_dir("tmp")],
                ),
                "restartPolicy": "Never",
            },
        },
    }
    name = child_name(inputs.name, f"database-{step}-{content_hash(spec)}")
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(inputs, name, COMPONENT_DATABASE),
        "spec": spec,
    }
