"""The Service in front of the API pods."""

from imageservice.manifest import Manifest
from imageservice.render.inputs import ImageServiceInputs
from imageservice.render.labels import COMPONENT_API, metadata, pod_selector
from imageservice.render.names import api_name

API_PORT = 9292
"""Port of the Image API, on the pods and on the Service (the port the Image API has had from its beginning)."""
API_PORT_NAME = "http"


def service_url(inputs: ImageServiceInputs) -> str:
    """Return the URL of the API inside the cluster.

    It is fully qualified because Glance resolves names without search domains.
    """
    return f"http://{api_name(inputs.name)}.{inputs.namespace}.svc.{inputs.cluster_domain}:{API_PORT}"


def service(inputs: ImageServiceInputs) -> Manifest:
    """Build the ClusterIP Service of the API."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(inputs, api_name(inputs.name), COMPONENT_API),
        "spec": {
            "type": "ClusterIP",
            "selector": pod_selector(inputs.name, COMPONENT_API),
            "ports": [
                {
                    "name": API_PORT_NAME,
                    "port": API_PORT,
                    "targetPort": API_PORT_NAME,
                    "protocol": "TCP",
                    "appProtocol": "http",
                }
            ],
        },
    }
