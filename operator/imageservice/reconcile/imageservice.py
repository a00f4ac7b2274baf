"""One reconcile of an ImageService, from top to bottom: observe -> resolve -> render -> act -> status.

It keeps no memory: whatever was missed, whoever ran before, one pass after another ends in the same state.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from imageservice.api.reading import InvalidObject, read
from imageservice.api.v1alpha1 import ImageService, ImageServiceSpec
from imageservice.api.vocabulary import ACCEPTED, API_AVAILABLE, CONFIG_RENDERED, DATABASE_READY, RESOLVED_REFS
from imageservice.errors import Blocked, Retry
from imageservice.manifest import Manifest
from imageservice.reconcile import children
from imageservice.reconcile.again import MISSING_SECONDS, POLL_SECONDS, LookAgain, utc_now
from imageservice.reconcile.catalog import CatalogKeeper, identity_ready
from imageservice.reconcile.database import DatabaseSteps, StepResult
from imageservice.reconcile.observe import (
    World,
    accept,
    catalog_credentials,
    observe,
    resolve_inputs,
)
from imageservice.reconcile.sites import SiteWork, Workloads, render_site
from imageservice.reconcile.stores import rows as store_rows
from imageservice.reconcile.together import together
from imageservice.reconcile.writing import StatusWriter
from imageservice.releases import RELEASES, Release
from imageservice.render.agent_token import token_of
from imageservice.render.api_pod import CONTAINER
from imageservice.render.inputs import Credentials, ImageServiceInputs
from imageservice.render.labels import (
    COMPONENT_CACHE,
    COMPONENT_EDGE,
    EDGE_LABEL,
    api_selector,
    selector_text,
    service_labels,
)
from imageservice.render.names import api_name
from imageservice.render.service import service_url, site_url
from imageservice.render.sites import edge_sites
from imageservice.render.store_secret import store_secret
from imageservice.runtime.cached import CachedKube
from imageservice.runtime.events import EventRecorder
from imageservice.runtime.kinds import DAEMON_SET, DEPLOYMENT, IMAGE_SERVICE, POD
from imageservice.runtime.loop import Result
from imageservice.runtime.settings import Settings
from imageservice.sensitive import Sensitive
from imageservice.status import daemonset, pods, rollout
from imageservice.status import imageservice as status
from imageservice.status import sites as site_status
from imageservice.status.conditions import Condition, false, told, true
from imageservice.status.daemonset import NodeCounts
from imageservice.status.reasons import Nature, nature
from imageservice.status.sites import SiteState

PATIENCE_SECONDS = 4.0
"""How long a roll-out may go without progress before its pods are asked why."""
AGAIN = {"NameTaken": MISSING_SECONDS, "RefusedByAPIServer": 60.0}
"""How soon to look again, by reason, though only the user can mend it: no watch shows what stood in the way."""


@dataclass
class Pass(LookAgain):
    """One pass over one ImageService: the object, and what was found about it so far.

    `deployments` are those that are there, by edge (None: the centre); `default` is the name of the default store.
    """

    live: Manifest
    seen: status.Seen
    secrets: list[Sensitive] = field(default_factory=list)
    deployments: dict[str | None, Manifest] = field(default_factory=dict)
    world: World | None = None
    default: str | None = None
    sites: list[SiteWork] = field(default_factory=list)


class ImageServiceReconciler:
    """Brings one ImageService to what its spec asks for."""

    kind = IMAGE_SERVICE

    def __init__(
        self, kube: CachedKube, recorder: EventRecorder, settings: Settings, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self._kube = kube
        self._settings = settings
        self._clock = clock
        self._status = StatusWriter(kube, recorder, IMAGE_SERVICE)
        self._catalog = CatalogKeeper(kube, recorder, clock)

    async def reconcile(self, namespace: str, name: str) -> Result:
        """Make one pass. Errors of the API server and bugs are raised, for the loop to back off."""
        live = await self._kube.get(IMAGE_SERVICE, namespace, name)
        if live is None:
            return Result(None)
        if live["metadata"].get("deletionTimestamp"):
            return Result(await self._catalog.release(live))
        current = Pass(live, status.Seen())
        try:
            await self._bring_forward(current)
        except Blocked as blocked:
            current.seen.set(false(blocked.condition, blocked.reason, blocked.message))
            current.look_again(
                MISSING_SECONDS if nature(blocked.reason) is Nature.WAITING else AGAIN.get(blocked.reason)
            )
        except Retry as retry:
            current.seen.set(false(retry.condition, retry.reason, retry.message))
            current.look_again(retry.after_seconds)
        await self._judge_sites(current)
        now = self._clock().strftime("%Y-%m-%dT%H:%M:%SZ")
        current.look_again(await self._status.write(live, status.status(live, current.seen, now)))
        return Result(current.requeue_after)

    async def _bring_forward(self, current: Pass) -> None:
        """Go as far as the world allows; raise Blocked or Retry where it does not."""
        live, seen = current.live, current.seen
        current.deployments = await self._deployed(live)
        spec = _read_spec(live)
        current.default = spec.default_store
        release = RELEASES[spec.release]
        world = await observe(self._kube, live, spec, release)
        current.secrets = world.confidential
        current.world = world
        accept(spec, release, world.verdicts)
        seen.set(true(ACCEPTED, "Accepted", "The spec is valid."))
        inputs = resolve_inputs(live, spec, world, self._settings)
        current.secrets.append(token_of(inputs))
        current.default = inputs.stores[0].name
        admin = catalog_credentials(spec, world.secrets)
        seen.set(true(RESOLVED_REFS, "ResolvedRefs", "All that the spec refers to is there."))
        seen.endpoints = _endpoints(spec, inputs)
        seen.selector = selector_text(api_selector(inputs.name))
        identity, _ = await together(identity_ready(spec, inputs.credentials), self._workload(current, inputs, world))
        seen.set(identity)
        if identity.status != "True":
            current.look_again(MISSING_SECONDS)
        await self._keep_catalog(current, spec, admin, service_url(inputs))

    async def _deployed(self, live: Manifest) -> dict[str | None, Manifest]:
        """Return the Deployments that there are, by edge (None: the centre).

        The one at the centre is asked for by its name, but not before it was ever seen or is about to be made.
        """
        metadata = live["metadata"]
        namespace, name = metadata["namespace"], api_name(metadata["name"])
        labels = service_labels(metadata["name"], COMPONENT_EDGE)
        of_edges = await self._kube.list(DEPLOYMENT, namespace, labels=labels)
        found: dict[str | None, Manifest] = {
            edge: deployed
            for deployed in of_edges
            if children.is_controlled_by(deployed, live)
            and (edge := deployed["metadata"].get("annotations", {}).get(EDGE_LABEL))
        }
        if live.get("status", {}).get("release") or self._kube.known(DEPLOYMENT, namespace, name) is not None:
            central = await children.read_own(self._kube, DEPLOYMENT, live, name)
            found |= {None: central} if central is not None else {}
        return found

    async def _workload(self, current: Pass, inputs: ImageServiceInputs, world: World) -> None:
        """Bring the children forward: the schema first, then the pods, then what only the old pods needed."""
        live, seen = current.live, current.seen
        sites = [render_site(site, current.secrets) for site in (inputs, *edge_sites(inputs))]
        current.sites = sites
        workloads = Workloads(self._kube, live)
        await workloads.lay_ground(sites, _store_secrets(inputs))
        seen.set(true(CONFIG_RENDERED, "Rendered", "The configuration is written."))
        steps = DatabaseSteps(self._kube, live, inputs, current.secrets)
        caches_follow = await self._caches_follow(live, inputs)
        is_alone = caches_follow and _all_run(inputs.release, current.deployments.values(), rollout.read)
        usable = await steps.make_usable(self._clock(), is_alone=is_alone)
        current.look_again(usable.requeue_after)
        if not usable.done:
            seen.set(_database(usable))
            return
        seen.set(_schema(usable))
        await workloads.deploy(sites)
        current.deployments |= {site.inputs.edge: site.deployment for site in sites if site.deployment is not None}
        await workloads.clear_sites(sites, world.edges)
        if not all(site.rolled_out for site in sites):
            return
        if not caches_follow:
            # They belong to their CachePolicies: no change of theirs wakes this object.
            current.look_again(MISSING_SECONDS)
            return
        await workloads.clear_credentials({verdict.store_id for verdict in world.verdicts})
        synced = usable if usable.step == "sync" else await steps.run("sync", self._clock())
        current.look_again(synced.requeue_after)
        if synced.done:
            seen.set(_schema(synced))
            await steps.clear()
        elif synced.condition and nature(synced.condition.reason) is not Nature.PROGRESS:
            seen.set(synced.condition)

    async def _caches_follow(self, live: Manifest, inputs: ImageServiceInputs) -> bool:
        """Tell whether no pod of a cache runs another release: it needs the schema that the contraction ends."""
        labels = service_labels(inputs.name, COMPONENT_CACHE)
        found = await self._kube.list(DAEMON_SET, live["metadata"]["namespace"], labels=labels)
        return _all_run(inputs.release, found, daemonset.read)

    async def _judge_sites(self, current: Pass) -> None:
        """Set ApiAvailable, and the rows of sites and stores, from the Deployments as they are, whatever happened."""
        seen, now = current.seen, self._clock()
        seen.deployment = current.deployments.get(None)
        if seen.deployment is not None:
            labels = seen.deployment["metadata"].get("labels", {})
            seen.release = labels.get("app.kubernetes.io/version", "")
            containers = seen.deployment["spec"]["template"]["spec"]["containers"]
            seen.image = next((one.get("image", "") for one in containers if one["name"] == CONTAINER), "")
        troubles = {site.inputs.edge: site.trouble for site in current.sites}
        edges = sorted(edge for edge in {*current.deployments, *troubles} if edge is not None)
        states = await together(*(self._state(current, edge, troubles.get(edge)) for edge in (None, *edges)))
        seen.set(states[0].available(now))
        seen.sites = site_status.rows(states, now)
        if current.world is not None:
            found, rolled_out = current.world, {site.inputs.edge for site in current.sites if site.rolled_out}
            seen.stores = store_rows(current.live, found.verdicts, current.default, rolled_out, found.stores)

    async def _state(self, current: Pass, edge: str | None, trouble: Blocked | Retry | None) -> SiteState:
        """Look at one site; where its pods are not ready, at why."""
        metadata = current.live["metadata"]
        url = site_url(metadata["name"], metadata["namespace"], self._settings.cluster_domain, edge)
        deployed = current.deployments.get(edge)
        problem = None
        if deployed is not None:
            counts = rollout.read(deployed)
            if not counts.complete:
                current.look_again(POLL_SECONDS if edge is None else MISSING_SECONDS)
                if counts.lasts(PATIENCE_SECONDS, self._clock(), _told_before(current.live, edge)):
                    problem = await self._diagnose(current, edge)
        if trouble is not None:
            current.look_again(AGAIN.get(trouble.reason, MISSING_SECONDS))
        return SiteState(edge, url, deployed, problem, trouble)

    async def _diagnose(self, current: Pass, edge: str | None) -> pods.Problem | None:
        metadata = current.live["metadata"]
        selector = selector_text(api_selector(metadata["name"], edge))
        found = await self._kube.list(POD, metadata["namespace"], labels=selector)
        return pods.diagnose(found, current.secrets)

    async def _keep_catalog(
        self, current: Pass, spec: ImageServiceSpec, admin: Credentials | None, internal_url: str
    ) -> None:
        deployed = current.deployments.get(None)
        available = rollout.api_available(deployed, None, self._clock()).status == "True"
        condition = await self._catalog.keep(current.live, spec, admin, internal_url, api_available=available)
        current.seen.set(condition)
        if condition.nature in {Nature.FAULT, Nature.BAD_INPUT}:
            current.look_again(MISSING_SECONDS)


def _all_run(
    release: Release, workloads: Iterable[Manifest], read_counts: Callable[[Manifest], rollout.Rollout | NodeCounts]
) -> bool:
    """Tell whether no pod of another release may be left, also of those that are on their way out."""
    return all(
        one["metadata"].get("labels", {}).get("app.kubernetes.io/version") == release.name
        and read_counts(one).newest_everywhere
        for one in workloads
    )


def _told_before(live: Manifest, edge: str | None) -> Manifest:
    """Return what was written last about the API at the centre; nothing is remembered of edges."""
    return told(live.get("status", {}), API_AVAILABLE) if edge is None else {}


def _read_spec(live: Manifest) -> ImageServiceSpec:
    found = read(ImageService, live)
    if isinstance(found, InvalidObject):
        raise Blocked(ACCEPTED, "InvalidSpec", found.message)
    return found.spec


def _store_secrets(inputs: ImageServiceInputs) -> list[Manifest]:
    """Return the Secrets of all stores that have one; raise Blocked where a value cannot stand in its file."""
    try:
        found = [store_secret(inputs, store) for store in inputs.stores]
    except ValueError as error:  # ours say no values
        raise Blocked(CONFIG_RENDERED, "InvalidValue", str(error)) from error
    return [secret for secret in found if secret is not None]


def _schema(step: StepResult) -> Condition:
    if step.step == "sync":
        return true(DATABASE_READY, "SchemaCurrent", "The schema is that of the release.")
    return true(DATABASE_READY, "SchemaUsable", "The schema is expanded and migrated.")


def _database(step: StepResult) -> Condition:
    return step.condition or false(DATABASE_READY, "Preparing", "The database schema is being prepared.")


def _endpoints(spec: ImageServiceSpec, inputs: ImageServiceInputs) -> dict[str, str]:
    catalog = spec.identity.catalog
    endpoints = {"Internal": catalog.internal_url or service_url(inputs)}
    return endpoints | ({"Public": catalog.public_url} if catalog.public_url else {})
