"""What each site of an ImageService is made of: a config Secret, a Service, a budget and the Deployment of its pods.

What goes wrong at an edge is told in its row and holds up nothing else; at the centre it is raised.
"""

from collections.abc import Collection, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from imageservice.api.vocabulary import CONFIG_RENDERED
from imageservice.errors import Blocked, Retry
from imageservice.manifest import Manifest
from imageservice.reconcile import children
from imageservice.reconcile.together import together
from imageservice.render.config_secret import config_secret
from imageservice.render.deployment import deployment
from imageservice.render.inputs import ImageServiceInputs
from imageservice.render.labels import COMPONENT_CONFIG, COMPONENT_EDGE, COMPONENT_STORE, EDGE_LABEL, service_labels
from imageservice.render.names import api_name, label_value, store_secret_name
from imageservice.render.poddisruptionbudget import pod_disruption_budget
from imageservice.render.service import service
from imageservice.runtime.cached import CachedKube
from imageservice.runtime.kinds import DEPLOYMENT, POD_DISRUPTION_BUDGET, SECRET, SERVICE
from imageservice.sensitive import Sensitive
from imageservice.status import rollout
from imageservice.status.masking import redact


@dataclass
class SiteWork:
    """One site in one pass: what is wanted, what is there of it, and what stands in the way, if anything does."""

    inputs: ImageServiceInputs
    service: Manifest
    config: Manifest
    budget: Manifest | None
    wanted: Manifest
    deployment: Manifest | None = None
    trouble: Blocked | Retry | None = None

    @property
    def rolled_out(self) -> bool:
        """Whether no pod of an older revision is left."""
        return self.deployment is not None and rollout.read(self.deployment).newest_everywhere


def render_site(inputs: ImageServiceInputs, secrets: Sequence[Sensitive]) -> SiteWork:
    """Render all children of a site. Raise Blocked where a value cannot stand in a configuration file."""
    try:
        config = config_secret(inputs)
        wanted = deployment(inputs, config["metadata"]["name"])
        return SiteWork(inputs, service(inputs), config, pod_disruption_budget(inputs), wanted)
    except ValueError as error:
        # Ours say no values. What a library raises may quote its input.
        message = redact(str(error), secrets)
        raise Blocked(CONFIG_RENDERED, "InvalidValue", message) from error


class Workloads:
    """Brings the children of all sites of one ImageService, `owner`, to what is wanted."""

    def __init__(self, kube: CachedKube, owner: Manifest) -> None:
        self._kube = kube
        self._owner = owner

    async def lay_ground(self, sites: Sequence[SiteWork], credentials: Sequence[Manifest]) -> None:
        """Make or repair all that pods need before they start. `credentials` are the Secrets of the stores."""
        await together(
            *(children.ensure(self._kube, SECRET, self._owner, secret) for secret in credentials),
            *(self._at(site, self._ground(site)) for site in sites),
        )

    async def deploy(self, sites: Sequence[SiteWork]) -> None:
        """Make or repair the Deployments, and note in each site what is there then."""
        await together(*(self._at(site, self._pods(site)) for site in sites if site.trouble is None))

    async def clear_sites(self, sites: Sequence[SiteWork], edges: Collection[str]) -> None:
        """Delete what belongs to older configurations of sites that have rolled out, and to edges that are no more.

        Only after the roll-out: an old pod that restarts needs its files. `edges` are the stores that may have an edge,
        also those that cannot be served just now: their pods go on with what they have.
        """
        used = {_edge_label(site.inputs.edge): site.config["metadata"]["name"] for site in sites if site.rolled_out}
        known = {"", *map(label_value, edges)}

        def is_needed(config: Manifest) -> bool:
            edge = _edge_of(config)
            return edge in known and used.get(edge, config["metadata"]["name"]) == config["metadata"]["name"]

        def is_known(child: Manifest) -> bool:
            return _edge_of(child) in known

        name = self._owner["metadata"]["name"]
        of_edges = service_labels(name, COMPONENT_EDGE)
        gone = (children.prune(self._kube, kind, self._owner, of_edges, is_known) for kind in _EDGE_KINDS)
        configs = service_labels(name, COMPONENT_CONFIG)
        await together(*gone, children.prune(self._kube, SECRET, self._owner, configs, is_needed))

    async def clear_credentials(self, stores: Collection[str]) -> None:
        """Delete the Secrets of stores that are no more: no pod mounts them now. `stores` are the ids of all others."""
        name = self._owner["metadata"]["name"]
        names = {store_secret_name(name, store_id) for store_id in stores}
        labels = service_labels(name, COMPONENT_STORE)
        await children.prune(self._kube, SECRET, self._owner, labels, lambda live: live["metadata"]["name"] in names)

    async def _at(self, site: SiteWork, act: Coroutine[Any, Any, None]) -> None:
        try:
            await act
        except (Blocked, Retry) as trouble:
            if site.inputs.edge is None:
                raise
            site.trouble = trouble

    async def _ground(self, site: SiteWork) -> None:
        await together(
            children.ensure(self._kube, SERVICE, self._owner, site.service),
            children.ensure(self._kube, SECRET, self._owner, site.config, unique=True),
            self._budget(site),
        )

    async def _budget(self, site: SiteWork) -> None:
        if site.budget is not None:
            await children.ensure(self._kube, POD_DISRUPTION_BUDGET, self._owner, site.budget)
            return
        name = api_name(site.inputs.name, site.inputs.edge)
        await children.remove(self._kube, POD_DISRUPTION_BUDGET, self._owner, name)

    async def _pods(self, site: SiteWork) -> None:
        site.deployment = await children.ensure(self._kube, DEPLOYMENT, self._owner, site.wanted)


_EDGE_KINDS = (DEPLOYMENT, SERVICE, POD_DISRUPTION_BUDGET)


def _edge_label(edge: str | None) -> str:
    return "" if edge is None else label_value(edge)


def _edge_of(child: Manifest) -> str:
    return str(child["metadata"].get("labels", {}).get(EDGE_LABEL, ""))
