"""Where the agents of a CachePolicy are, from the EndpointSlices of its Service. Pods would be too many and too big."""

from collections.abc import Sequence

from imageservice.glance.agents import Agent
from imageservice.manifest import Manifest
from imageservice.render.cache_labels import agents_slices
from imageservice.runtime.cached import CachedKube
from imageservice.runtime.kinds import ENDPOINT_SLICE
from imageservice.runtime.settings import Settings
from imageservice.sensitive import Sensitive


async def read_agents(
    kube: CachedKube, settings: Settings, namespace: str, policy: str, token: Sensitive
) -> list[Agent]:
    """Return the agents of a policy, one a node. A pod that is on its way out counts only where no other is there."""
    found = await kube.list(ENDPOINT_SLICE, namespace, labels=agents_slices(policy))
    return [
        Agent(node, settings.agent(address, node, policy, namespace), token)
        for node, address in sorted(addresses(found).items())
    ]


def addresses(slices: Sequence[Manifest]) -> dict[str, str]:
    """Return node -> IP address of the pod there."""
    best: dict[str, tuple[int, str]] = {}
    for endpoint in (endpoint for found in slices for endpoint in found.get("endpoints") or []):
        node, places = endpoint.get("nodeName"), endpoint.get("addresses")
        if not node or not places:
            continue
        conditions = endpoint.get("conditions") or {}
        rank = 2 * (not conditions.get("terminating", False)) + bool(conditions.get("serving", True))
        # Of two with equal right the same one each time.
        best[node] = max(best.get(node, (-1, "")), (rank, places[0]))
    return {node: address for node, (_, address) in best.items()}
