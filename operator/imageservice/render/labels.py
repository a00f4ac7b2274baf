"""Labels, selectors and ownership of every child, in one place."""

from collections.abc import Mapping

from imageservice.api.vocabulary import API_VERSION, MANAGED_BY, MANAGED_BY_LABEL
from imageservice.manifest import Manifest
from imageservice.render.inputs import ImageServiceInputs
from imageservice.render.names import api_name, label_value

IMAGE_SERVICE_LABEL = "imageservice.dev/image-service"
"""On every child: the ImageService it belongs to, made a legal label value (`names.label_value`)."""
EDGE_LABEL = "imageservice.dev/edge"
"""On the children of an edge, and its pods: the ImageStore whose edge it is, made a legal label value.

As an annotation of its Deployment: the name of that ImageStore as it is.
"""
SITE_SERVICE_LABEL = "imageservice.dev/site-service"
"""On pods: the Service of the site whose clients they serve, which selects them by it."""

COMPONENT_API = "api"
COMPONENT_EDGE = "edge"
"""The API at an edge: another component, or the Service of the centre would lead to its pods too."""
COMPONENT_CONFIG = "config"
COMPONENT_DATABASE = "database"
COMPONENT_STORE = "store"
COMPONENT_CACHE = "cache"
"""The API with a cache on each node of a CachePolicy."""
COMPONENT_CACHE_CONFIG = "cache-config"
CACHE_POLICY_LABEL = "imageservice.dev/cache-policy"
"""On the children of a CachePolicy, and its pods: its name, made a legal label value."""


def pod_selector(service: str, component: str) -> dict[str, str]:
    """Return the labels that select the pods of a component; they never change while the ImageService lives."""
    return {
        "app.kubernetes.io/name": "glance",
        "app.kubernetes.io/instance": label_value(service),
        "app.kubernetes.io/component": component,
    }


def api_selector(service: str, edge: str | None = None) -> dict[str, str]:
    """Return the labels that select the API pods at the centre, or at the edge of that ImageStore."""
    if edge is None:
        return pod_selector(service, COMPONENT_API)
    return {**pod_selector(service, COMPONENT_EDGE), EDGE_LABEL: label_value(edge)}


def site_service_selector(inputs: ImageServiceInputs) -> dict[str, str]:
    """Return the labels of the pods that serve the clients of a site's Service: its API pods, and caches that join."""
    return {"app.kubernetes.io/name": "glance", SITE_SERVICE_LABEL: api_name(inputs.name, inputs.edge)}


def selector_text(selector: Mapping[str, str]) -> str:
    """Return a selector in the form of `status.selector` of the scale subresource."""
    return ",".join(f"{key}={value}" for key, value in sorted(selector.items()))


def service_labels(service: str, component: str | None = None) -> str:
    """Return the label selector of all children of an ImageService, or of those of one component."""
    chosen = {IMAGE_SERVICE_LABEL: label_value(service)}
    return selector_text(chosen if component is None else {**chosen, "app.kubernetes.io/component": component})


def labels(inputs: ImageServiceInputs, component: str) -> dict[str, str]:
    """Return the labels of a child and of its pods."""
    found = {
        **pod_selector(inputs.name, component),
        "app.kubernetes.io/part-of": "image-service",
        MANAGED_BY_LABEL: MANAGED_BY,
        "app.kubernetes.io/version": inputs.release.name,
        IMAGE_SERVICE_LABEL: label_value(inputs.name),
    }
    return found if inputs.edge is None else {**found, EDGE_LABEL: label_value(inputs.edge)}


def api_component(inputs: ImageServiceInputs) -> str:
    """Return the component that the API at this site is."""
    return COMPONENT_API if inputs.edge is None else COMPONENT_EDGE


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
