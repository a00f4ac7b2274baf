"""Labels, names and ownership of the children of a CachePolicy."""

from imageservice.api.vocabulary import API_VERSION
from imageservice.manifest import Manifest
from imageservice.render.cache_inputs import CacheInputs
from imageservice.render.labels import (
    CACHE_POLICY_LABEL,
    COMPONENT_CACHE,
    labels,
    selector_text,
)
from imageservice.render.names import child_name, label_value


def cache_name(policy: str) -> str:
    """Return the name of the DaemonSet of a CachePolicy, and of the Service that leads to the pod of the own node."""
    return child_name(policy, "cache")


def agents_name(policy: str) -> str:
    """Return the name of the Service whose EndpointSlices tell where the agents of a CachePolicy are."""
    return child_name(policy, "agents")


def agents_slices(policy: str) -> str:
    """Return the label selector of these EndpointSlices."""
    return f"kubernetes.io/service-name={agents_name(policy)}"


def cache_selector(policy: str) -> dict[str, str]:
    """Return the labels that select the pods of a CachePolicy; they never change while it lives."""
    return {
        "app.kubernetes.io/name": "glance",
        "app.kubernetes.io/component": COMPONENT_CACHE,
        CACHE_POLICY_LABEL: label_value(policy),
    }


def policy_labels(policy: str, component: str) -> str:
    """Return the label selector of the children of one component."""
    return selector_text({CACHE_POLICY_LABEL: label_value(policy), "app.kubernetes.io/component": component})


def cache_labels(inputs: CacheInputs, component: str = COMPONENT_CACHE) -> dict[str, str]:
    """Return the labels of a child, and of the pods."""
    return {**labels(inputs.site, component), CACHE_POLICY_LABEL: label_value(inputs.name)}


def cache_metadata(inputs: CacheInputs, name: str, component: str = COMPONENT_CACHE) -> Manifest:
    """Return the `metadata` of a child called `name`."""
    owner = {
        "apiVersion": API_VERSION,
        "kind": "CachePolicy",
        "name": inputs.name,
        "uid": inputs.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {
        "name": name,
        "namespace": inputs.namespace,
        "labels": cache_labels(inputs, component),
        "ownerReferences": [owner],
    }
