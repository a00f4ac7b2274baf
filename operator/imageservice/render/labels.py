"""Labels, selectors and ownership of every child, in one place."""

from imageservice.manifest import Manifest
from imageservice.render.inputs import ImageServiceInputs
from imageservice.render.names import label_value

API_VERSION = "imageservice.dev/v1alpha1"
IMAGE_SERVICE_LABEL = "imageservice.dev/image-service"
"""On every child: the ImageService it belongs to, made a legal label value (`names.label_value`)."""
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "image-service-operator"

COMPONENT_API = "api"
COMPONENT_CONFIG = "config"
COMPONENT_DATABASE = "database"
COMPONENT_STORE = "store"


def pod_selector(service: str, component: str) -> dict[str, str]:
    """Return the labels that select the pods of a component; they never change while the ImageService lives."""
    return {
        "app.kubernetes.io/name": "glance",
        "app.kubernetes.io/instance": label_value(service),
        "app.kubernetes.io/component": component,
    }


def selector_text(service: str, component: str = COMPONENT_API) -> str:
    """Return `pod_selector` in the form of `status.selector` of the scale subresource."""
    return ",".join(f"{key}={value}" for key, value in sorted(pod_selector(service, component).items()))


def labels(inputs: ImageServiceInputs, component: str) -> dict[str, str]:
    """Return the labels of a child and of its pods."""
    return {
        **pod_selector(inputs.name, component),
        "app.kubernetes.io/part-of": "image-service",
        MANAGED_BY_LABEL: MANAGED_BY,
        "app.kubernetes.io/version": inputs.release.name,
        IMAGE_SERVICE_LABEL: label_value(inputs.name),
    }


def owner_reference(inputs: ImageServiceInputs) -> Manifest:
    """Return the reference by which Kubernetes deletes a child with its ImageService."""
    return {
        "apiVersion": API_VERSION,
        "kind": "ImageService",
        "name": inputs.name,
        "uid": inputs.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def metadata(inputs: ImageServiceInputs, name: str, component: str) -> Manifest:
    """Return the `metadata` of a child called `name`."""
    return {
        "name": name,
        "namespace": inputs.namespace,
        "labels": labels(inputs, component),
        "ownerReferences": [owner_reference(inputs)],
    }
