"""What the pods that serve the Image API are made of, whoever runs them: containers, probes, volumes."""

from imageservice.manifest import Manifest
from imageservice.render import glance_config
from imageservice.render.imports import STAGING_VOLUME, staging_volume
from imageservice.render.inputs import ImageServiceInputs
from imageservice.render.pods import empty_dir
from imageservice.render.ports import API_PORT, API_PORT_NAME
from imageservice.render.store_mounts import store_mounts, store_variables, store_volumes

CONTAINER = "glance-api"
HEALTHCHECK = "/healthcheck"
RUN_SIZE = "64Mi"

TEMPORARY = "/tmp"  # noqa: S108 - a volume of the pod


def api_container(inputs: ImageServiceInputs) -> Manifest:
    """Return the container that serves the API of a site, without what all containers have."""
    served = glance_config.in_order(inputs)
    container: Manifest = {
        "name": CONTAINER,
        "command": ["gunicorn"],
        "args": [
            "--config",
            f"{glance_config.CONFIG_DIR}/{glance_config.GUNICORN_CONF}",
            "glance.wsgi.api:application",
        ],
        "env": [
            {"name": "OS_GLANCE_CONFIG_DIR", "value": glance_config.CONFIG_DIR},
            {"name": "HOME", "value": TEMPORARY},
            {"name": "POD_IPS", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIPs"}}},
            *store_variables(served),
        ],
        "ports": [{"name": API_PORT_NAME, "containerPort": API_PORT, "protocol": "TCP"}],
        "lifecycle": {"preStop": {"exec": {"command": ["/bin/sh", "-c", _LEAVE_THE_SERVICE]}}},
        **_PROBES,
        "volumeMounts": [CONFIG_MOUNT, *WORKING_DIRECTORIES, *store_mounts(served)],
    }
    if inputs.spec.api.resources is not None:
        container["resources"] = inputs.spec.api.resources.to_manifest()
    return container


_LEAVE_THE_SERVICE = f"touch {glance_config.DISABLE_FILE}; sleep {glance_config.DRAIN_PAUSE_SECONDS}"
"""Before SIGTERM, which ends listening at once: until then requests may still arrive, and all are served."""

_HTTP = {"httpGet": {"path": HEALTHCHECK, "port": API_PORT_NAME, "scheme": "HTTP"}}

_PROBES: Manifest = {
    # Loading Glance takes seconds on a good day; a slow node gets five minutes.
    "startupProbe": {**_HTTP, "periodSeconds": 2, "timeoutSeconds": 5, "failureThreshold": 150, "successThreshold": 1},
    # A pod whose threads are all taken by transfers is full: others should get the next request.
    "readinessProbe": {**_HTTP, "periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 3, "successThreshold": 1},
    # But full is not dead: a probe over HTTP would wait behind the transfers, fail, and kill them all.
    "livenessProbe": {
        "tcpSocket": {"port": API_PORT_NAME},
        "periodSeconds": 20,
        "timeoutSeconds": 5,
        "failureThreshold": 6,
        "successThreshold": 1,
    },
}


def working_volumes(inputs: ImageServiceInputs) -> list[Manifest]:
    """Return the volumes that the container works with, but for its configuration."""
    return [
        empty_dir("tmp"),
        empty_dir("run", medium="Memory", sizeLimit=RUN_SIZE),
        staging_volume(inputs.spec),
        empty_dir("tasks"),
        *store_volumes(inputs.name, glance_config.in_order(inputs)),
    ]


CONFIG_MOUNT: Manifest = {"name": "config", "mountPath": glance_config.CONFIG_DIR, "readOnly": True}

WORKING_DIRECTORIES: list[Manifest] = [
    {"name": "tmp", "mountPath": TEMPORARY},
    {"name": "run", "mountPath": glance_config.RUN_DIR},
    {"name": STAGING_VOLUME, "mountPath": glance_config.STAGING_DIR},
    {"name": "tasks", "mountPath": glance_config.TASKS_DIR},
]
