"""The Service in front of the API pods of a site."""

from imageservice.manifest import Manifest
from imageservice.render.inputs import ImageServiceInputs
from imageservice.render.labels import api_component, metadata, site_service_selector
from imageservice.render.names import api_name
from imageservice.render.ports import API_PORT, API_PORT_NAME, MONITOR_PORT, MONITOR_PORT_NAME


def service_url(inputs: ImageServiceInputs) -> str:
    """Return the URL of the API of a site inside the cluster."""
    return site_url(inputs.name, inputs.namespace, inputs.cluster_domain, inputs.edge)


def site_url(service: str, namespace: str, cluster_domain: str, edge: str | None = None) -> str:
    """Return the URL inside the cluster of an ImageService's API, at the centre or at the edge of that ImageStore.

    It is fully qualified because Glance resolves names without search domains.
    """
    return f"http://{api_name(service, edge)}.{namespace}.svc.{cluster_domain}:{API_PORT}"


def service(inputs: ImageServiceInputs) -> Manifest:
    """Build the ClusterIP Service of the API."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(inputs, api_name(inputs.name, inputs.edge), api_component(inputs)),
        "spec": {
            "type": "ClusterIP",
            "selector": site_service_selector(inputs),
            "ports": [
                {
                    "name": API_PORT_NAME,
                    "port": API_PORT,
                    "targetPort": API_PORT_NAME,
                    "protocol": "TCP",
                    "appProtocol": "http",
                },
                {
                    "name": MONITOR_PORT_NAME,
                    "port": MONITOR_PORT,
                    "targetPort": MONITOR_PORT_NAME,
                    "protocol": "TCP",
                    "appProtocol": "http",
                },
            ],
        },
    }
