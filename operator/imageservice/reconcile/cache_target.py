"""What a CachePolicy is in front of: the ImageService of its target, resolved as the nodes of the policy need it."""

from dataclasses import dataclass

from imageservice.api.reading import InvalidObject, read
from imageservice.api.v1alpha1 import PROGRAMMED, CachePolicySpec, ImageService, ImageStore
from imageservice.api.vocabulary import DATABASE_READY, RESOLVED_REFS
from imageservice.errors import Blocked, Retry
from imageservice.manifest import Manifest
from imageservice.reconcile import stores
from imageservice.reconcile.observe import accept, observe, resolve_inputs
from imageservice.releases import RELEASES
from imageservice.render.agent_token import token_of
from imageservice.render.cache_inputs import NodeLabels, at_nodes
from imageservice.render.inputs import ImageServiceInputs
from imageservice.render.sites import edge_sites
from imageservice.runtime.cached import CachedKube
from imageservice.runtime.kinds import IMAGE_SERVICE, IMAGE_STORE
from imageservice.runtime.settings import Settings
from imageservice.sensitive import Sensitive
from imageservice.status import conditions


@dataclass(frozen=True)
class Target:
    """The ImageService `service`, and the site whose stores the cache is in front of."""

    service: Manifest
    site: ImageServiceInputs
    node_selector: NodeLabels
    secrets: list[Sensitive]


async def service_name(kube: CachedKube, namespace: str, spec: CachePolicySpec) -> str:
    """Return the name of the ImageService that the target is, or belongs to; raise Blocked where it is not there."""
    target = spec.target_ref
    if target.kind == "ImageService":
        return target.name
    return stores.service_of(await _edge(kube, namespace, target.name))


async def node_selector(kube: CachedKube, namespace: str, spec: CachePolicySpec) -> NodeLabels:
    """Return the labels of the nodes that a policy asks for: those of the edge where it names none."""
    if spec.node_selector or spec.target_ref.kind == "ImageService":
        return dict(spec.node_selector)
    return nodes_of_edge(await _edge(kube, namespace, spec.target_ref.name))


def nodes_of_edge(store: Manifest) -> NodeLabels:
    """Return the labels of the nodes of an edge."""
    found = read(ImageStore, store)
    if isinstance(found, InvalidObject) or found.spec.edge is None:
        return {}
    return dict(found.spec.edge.node_selector)


async def resolve(kube: CachedKube, settings: Settings, namespace: str, spec: CachePolicySpec) -> Target:
    """Read the target and all that it depends on. Raise Blocked or Retry where pods cannot serve it now."""
    name = await service_name(kube, namespace, spec)
    live = await kube.follow(IMAGE_SERVICE, namespace, name)
    if live is None or live["metadata"].get("deletionTimestamp"):
        raise Blocked(
            RESOLVED_REFS, "TargetNotFound", f"There is no ImageService `{name}` in this namespace. Create it."
        )
    inputs, secrets = await _inputs(kube, settings, live)
    selector = await node_selector(kube, namespace, spec)
    return Target(live, site_at_nodes(inputs, spec, selector), selector, secrets)


def site_at_nodes(inputs: ImageServiceInputs, spec: CachePolicySpec, selector: NodeLabels) -> ImageServiceInputs:
    """Return the target of a policy as its nodes are to have it; raise Blocked where they cannot. Pure."""
    edge = spec.target_ref.name if spec.target_ref.kind == "ImageStore" else None
    site = inputs if edge is None else next((one for one in edge_sites(inputs) if one.edge == edge), None)
    if site is None:
        raise service_blocked(inputs.name, "the store of the edge cannot be served now")
    try:
        return at_nodes(site, spec, selector)
    except ValueError as error:
        message = f"The nodes cannot have the stores of the target: {error}. Use a store that many pods can have."
        raise Blocked(RESOLVED_REFS, "StoreNotShared", message) from error


def wait_for_schema(service: Manifest) -> None:
    """Raise Blocked where the database is not yet, or no longer, that of the release in the spec of the service."""
    told = service.get("status", {})
    ready = conditions.told(told, DATABASE_READY)
    is_newest = told.get("observedGeneration") == service["metadata"].get("generation")
    if not is_newest or ready.get("status") != "True":
        name = service["metadata"]["name"]
        raise Blocked(
            PROGRAMMED, "WaitingForImageService", f"The database of the ImageService `{name}` is being prepared."
        )


async def _edge(kube: CachedKube, namespace: str, name: str) -> Manifest:
    found = await kube.follow(IMAGE_STORE, namespace, name)
    if found is None:
        raise Blocked(RESOLVED_REFS, "TargetNotFound", f"There is no ImageStore `{name}` in this namespace. Create it.")
    if not found.get("spec", {}).get("edge"):
        raise Blocked(
            RESOLVED_REFS,
            "TargetNotAnEdge",
            f"The ImageStore `{name}` has no edge (spec.edge). Target its ImageService "
            f"`{stores.service_of(found)}`, or give the store an edge.",
        )
    return found


async def _inputs(kube: CachedKube, settings: Settings, live: Manifest) -> tuple[ImageServiceInputs, list[Sensitive]]:
    name = live["metadata"]["name"]
    found = read(ImageService, live)
    if isinstance(found, InvalidObject):
        raise service_blocked(name, found.message)
    release = RELEASES[found.spec.release]
    try:
        world = await observe(kube, live, found.spec, release)
        accept(found.spec, release, world.verdicts)
        inputs = resolve_inputs(live, found.spec, world, settings)
    except (Blocked, Retry) as problem:
        raise service_blocked(name, problem.reason) from problem
    return inputs, [*world.confidential, token_of(inputs)]


def service_blocked(name: str, why: str) -> Blocked:
    """Return what to raise where the ImageService itself does not go on."""
    return Blocked(RESOLVED_REFS, "ImageServiceBlocked", f"The ImageService `{name}` does not go on: {why}.")
