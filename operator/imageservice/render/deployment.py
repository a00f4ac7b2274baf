"""The Deployment of the API pods."""

from imageservice.manifest import Manifest
from imageservice.render import glance_config
from imageservice.render.inputs import ImageServiceInputs
from imageservice.render.labels import COMPONENT_API, labels, metadata, pod_selector
from imageservice.render.names import api_name
from imageservice.render.pods import empty_dir, pod_spec, secret_volume
from imageservice.render.service import API_PORT, API_PORT_NAME
from imageservice.render.store_mounts import store_mounts, store_variables, store_volumes, with_store_privileges
from imageservice.render.store_secret import content_annotations

CONTAINER = "glance-api"
HEALTHCHECK = "/healthcheck"
RUN_SIZE = "64Mi"

_TEMPORARY = "/tmp"  # noqa: S108 - a volume of the pod

SPREAD_OVER_NODES = {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
"""Where the user says nothing: spread, but rather run two pods on one node than none."""


def deployment(inputs: ImageServiceInputs, config_secret_name: str) -> Manifest:
    """Build the Deployment. Its pods read the config Secret of that name, so that another config rolls them."""
    grace = inputs.spec.api.termination_grace_period_seconds
    served = glance_config.in_order(inputs)
    pod = pod_spec(inputs, _container(inputs), _volumes(inputs, config_secret_name))
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(inputs, api_name(inputs.name), COMPONENT_API),
        "spec": {
            "replicas": inputs.spec.api.replicas,
            "selector": {"matchLabels": pod_selector(inputs.name, COMPONENT_API)},
            "strategy": _strategy(inputs),
            "minReadySeconds": 5,
            "progressDeadlineSeconds": 600,
            "revisionHistoryLimit": 3,
            "template": {
                "metadata": {
                    "labels": labels(inputs, COMPONENT_API),
                    "annotations": {
                        "kubectl.kubernetes.io/default-container": CONTAINER,
                        **content_annotations(inputs, served),
                    },
                },
                "spec": {
                    **with_store_privileges(pod, served),
                    "terminationGracePeriodSeconds": grace,
                    "topologySpreadConstraints": _spread(inputs),
                },
            },
        },
    }


def _strategy(inputs: ImageServiceInputs) -> Manifest:
    """Return how pods are replaced: one by one with none missing, or all at once where stores cannot be shared."""
    if not inputs.stores_are_shared:
        return {"type": "Recreate"}
    return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


def _container(inputs: ImageServiceInputs) -> Manifest:
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
            {"name": "HOME", "value": _TEMPORARY},
            {"name": "POD_IPS", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIPs"}}},
            *store_variables(glance_config.in_order(inputs)),
        ],
        "ports": [{"name": API_PORT_NAME, "containerPort": API_PORT, "protocol": "TCP"}],
        "lifecycle": {"preStop": {"exec": {"command": ["/bin/sh", "-c", _LEAVE_THE_SERVICE]}}},
        **_PROBES,
        "volumeMounts": _mounts(inputs),
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


def _volumes(inputs: ImageServiceInputs, config_secret_name: str) -> list[Manifest]:
    return [
        secret_volume("config", config_secret_name),
        empty_dir("tmp"),
        empty_dir("run", medium="Memory", sizeLimit=RUN_SIZE),
        empty_dir("staging"),
        empty_dir("tasks"),
        *store_volumes(inputs.name, glance_config.in_order(inputs)),
    ]


def _mounts(inputs: ImageServiceInputs) -> list[Manifest]:
    return [
        {"name": "config", "mountPath": glance_config.CONFIG_DIR, "readOnly": True},
        {"name": "tmp", "mountPath": _TEMPORARY},
        {"name": "run", "mountPath": glance_config.RUN_DIR},
        {"name": "staging", "mountPath": glance_config.STAGING_DIR},
        {"name": "tasks", "mountPath": glance_config.TASKS_DIR},
        *store_mounts(glance_config.in_order(inputs)),
    ]


def _spread(inputs: ImageServiceInputs) -> list[Manifest]:
    """Return how the pods are spread: only pods of one revision are counted, or a roll would crowd the last node."""
    wanted = [constraint.to_manifest() for constraint in inputs.spec.api.topology_spread_constraints]
    return [
        {
            **constraint,
            "labelSelector": {"matchLabels": pod_selector(inputs.name, COMPONENT_API)},
            "matchLabelKeys": ["pod-template-hash"],
        }
        for constraint in wanted or [SPREAD_OVER_NODES]
    ]
