"""The Deployment of the API pods of a site."""

from imageservice.manifest import Manifest
from imageservice.render import glance_config
from imageservice.render.api_pod import CONFIG_MOUNT, CONTAINER, api_container, working_volumes
from imageservice.render.inputs import ImageServiceInputs
from imageservice.render.labels import EDGE_LABEL, api_component, api_selector, labels, metadata, site_service_selector
from imageservice.render.names import api_name
from imageservice.render.pods import pod_spec, secret_volume
from imageservice.render.store_monitor import monitor_container
from imageservice.render.store_mounts import store_mounts, with_store_privileges
from imageservice.render.store_secret import content_annotations

SPREAD_OVER_NODES = {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
"""Where the user says nothing: spread, but rather run two pods on one node than none."""


def deployment(inputs: ImageServiceInputs, config_secret_name: str) -> Manifest:
    """Build the Deployment. Its pods read the config Secret of that name, so that another config rolls them."""
    grace = inputs.spec.api.termination_grace_period_seconds
    served = glance_config.in_order(inputs)
    pod = pod_spec(inputs, _containers(inputs), [secret_volume("config", config_secret_name), *working_volumes(inputs)])
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            **metadata(inputs, api_name(inputs.name, inputs.edge), api_component(inputs)),
            **({"annotations": {EDGE_LABEL: inputs.edge}} if inputs.edge else {}),
        },
        "spec": {
            "replicas": inputs.spec.api.replicas,
            "selector": {"matchLabels": api_selector(inputs.name, inputs.edge)},
            "strategy": _strategy(inputs),
            "minReadySeconds": 5,
            "progressDeadlineSeconds": 600,
            "revisionHistoryLimit": 3,
            "template": {
                "metadata": {
                    "labels": {**labels(inputs, api_component(inputs)), **site_service_selector(inputs)},
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
    if not inputs.volumes_are_shared:
        return {"type": "Recreate"}
    return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


def _containers(inputs: ImageServiceInputs) -> list[Manifest]:
    stores = store_mounts(glance_config.in_order(inputs))
    return [api_container(inputs), monitor_container([CONFIG_MOUNT, *stores])]


def _spread(inputs: ImageServiceInputs) -> list[Manifest]:
    """Return how the pods are spread: only pods of one revision are counted, or a roll would crowd the last node."""
    wanted = [constraint.to_manifest() for constraint in inputs.spec.api.topology_spread_constraints]
    return [
        {
            **constraint,
            "labelSelector": {"matchLabels": api_selector(inputs.name, inputs.edge)},
            "matchLabelKeys": ["pod-template-hash"],
        }
        for constraint in wanted or [SPREAD_OVER_NODES]
    ]
