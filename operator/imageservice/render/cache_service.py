"""The Services of a CachePolicy: to the cache of the own node, and to the agents of all."""

from typing import Any

from imageservice.manifest import Manifest
from imageservice.render.cache_inputs import CacheInputs
from imageservice.render.cache_labels import agents_name, cache_metadata, cache_name, cache_selector
from imageservice.render.ports import AGENT_PORT, AGENT_PORT_NAME, API_PORT, API_PORT_NAME


def cache_url(policy: str, namespace: str, cluster_domain: str) -> str:
    """Return the URL at which pods reach the cache of the node that they run on."""
    return f"http://{cache_name(policy)}.{namespace}.svc.{cluster_domain}:{API_PORT}"


def cache_service(inputs: CacheInputs) -> Manifest:
    """Build the Service that leads each client to its own node, and nowhere where that has no cache.

    Whether the pod is ready does not matter: it is not while its agent is started again, and serves all the same. There
    is no other pod to lead clients to, and where it does not serve they are refused at once, instead of left to wait.
    """
    local = {"internalTrafficPolicy": "Local", "publishNotReadyAddresses": True}
    return _service(inputs, cache_name(inputs.name), API_PORT_NAME, API_PORT, **local)


def agents_service(inputs: CacheInputs) -> Manifest:
    """Build the headless Service whose EndpointSlices tell where the agents are, also before the pods serve."""
    headless = {"clusterIP": "None", "publishNotReadyAddresses": True}
    return _service(inputs, agents_name(inputs.name), AGENT_PORT_NAME, AGENT_PORT, **headless)


def _service(inputs: CacheInputs, name: str, port_name: str, port: int, **spec: Any) -> Manifest:
    ports = {"name": port_name, "port": port, "targetPort": port_name, "protocol": "TCP", "appProtocol": "http"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": cache_metadata(inputs, name),
        "spec": {"type": "ClusterIP", **spec, "selector": cache_selector(inputs.name), "ports": [ports]},
    }
