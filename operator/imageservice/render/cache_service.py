"""The Services of a CachePolicy: to the cache of the own node, and to the agents of all."""

from imageservice.manifest import Manifest
from imageservice.render.cache_inputs import CacheInputs
from imageservice.render.cache_labels import agents_name, cache_metadata, cache_name, cache_selector
from imageservice.render.ports import AGENT_PORT, AGENT_PORT_NAME, API_PORT, API_PORT_NAME


def cache_url(policy: str, namespace: str, cluster_domain: str) -> str:
    """Return the URL at which pods reach the cache of the node that they run on."""
    return f"http://{cache_name(policy)}.{namespace}.svc.{cluster_domain}:{API_PORT}"


def cache_service(inputs: CacheInputs) -> Manifest:
    """Build the Service that leads each client to its own node, and nowhere where that has no cache that serves."""
    port = {"name": API_PORT_NAME, "port": API_PORT, "targetPort": API_PORT_NAME, "protocol": "TCP"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": cache_metadata(inputs, cache_name(inputs.name)),
        "spec": {
            "type": "ClusterIP",
            "internalTrafficPolicy": "Local",
            "selector": cache_selector(inputs.name),
            "ports": [{**port, "appProtocol": "http"}],
        },
    }


def agents_service(inputs: CacheInputs) -> Manifest:
    """Build the headless Service whose EndpointSlices tell where the agents are, also before the pods serve."""
    port = {"name": AGENT_PORT_NAME, "port": AGENT_PORT, "targetPort": AGENT_PORT_NAME, "protocol": "TCP"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": cache_metadata(inputs, agents_name(inputs.name)),
        "spec": {
            "type": "ClusterIP",
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": cache_selector(inputs.name),
            "ports": [{**port, "appProtocol": "http"}],
        },
    }
