"""The PodDisruptionBudget of the API: node drains take one pod at a time."""

from imageservice.manifest import Manifest
from imageservice.render.inputs import ImageServiceInputs
from imageservice.render.labels import api_component, api_selector, metadata
from imageservice.render.names import api_name


def pod_disruption_budget(inputs: ImageServiceInputs) -> Manifest | None:
    """Build the budget; None for fewer than two replicas, where a budget could only block every drain.

    `unhealthyPodEvictionPolicy: AlwaysAllow` lets a drain take pods that are not ready anyway: a service that cannot
    start must not hold up the maintenance of nodes.
    """
    if inputs.spec.api.replicas < 2:
        return None
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(inputs, api_name(inputs.name, inputs.edge), api_component(inputs)),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": api_selector(inputs.name, inputs.edge)},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }
