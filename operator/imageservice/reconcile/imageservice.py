"""One reconcile of an ImageService, from top to bottom: observe -> resolve -> render -> act -> status.

It keeps no memory: whatever was missed, whoever ran before, one pass after another ends in the same state.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from imageservice.api.reading import InvalidObject, read
from imageservice.api.v1alpha1 import MAX_STORES, ImageService, ImageServiceSpec
from imageservice.errors import Blocked, Retry
from imageservice.manifest import Manifest
from imageservice.reconcile import children
from imageservice.reconcile.catalog import CatalogKeeper, identity_ready
from imageservice.reconcile.database import DatabaseSteps, StepResult
from imageservice.reconcile.observe import (
    World,
    accept,
    catalog_credentials,
    observe,
    resolve_inputs,
    secret_values,
)
from imageservice.reconcile.together import together
from imageservice.reconcile.writing import StatusWriter
from imageservice.releases import RELEASES
from imageservice.render.config_secret import config_secret
from imageservice.render.deployment import CONTAINER, deployment
from imageservice.render.inputs import Credentials, ImageServiceInputs
from imageservice.render.labels import COMPONENT_API, IMAGE_SERVICE_LABEL, selector_text
from imageservice.render.names import api_name, label_value
from imageservice.render.poddisruptionbudget import pod_disruption_budget
from imageservice.render.service import service, service_url
from imageservice.runtime.cached import CachedKube
from imageservice.runtime.events import EventRecorder
from imageservice.runtime.kinds import DEPLOYMENT, IMAGE_SERVICE, JOB, POD, POD_DISRUPTION_BUDGET, SECRET, SERVICE
from imageservice.runtime.loop import Result
from imageservice.runtime.settings import Settings
from imageservice.sensitive import Sensitive
from imageservice.status import imageservice as status
from imageservice.status import pods, rollout
from imageservice.status.conditions import Condition, false, true
from imageservice.status.masking import redact
from imageservice.status.reasons import Nature, nature

POLL_SECONDS = 5.0
"""How soon to look again at pods, which are not watched, while a roll-out goes on. More than the patience."""
PATIENCE_SECONDS = 4.0
"""How long a roll-out may go without progress before its pods are asked why."""
MISSING_SECONDS = 15.0
"""How soon to look again for something that is referred to and was not there, or is not in Kubernetes."""

AGAIN = {"NameTaken": MISSING_SECONDS, "RefusedByAPIServer": 60.0}
"""How soon to look again, by reason, though only the user can mend it: no watch shows what stood in the way."""


@dataclass
class Pass:
    """One pass over one ImageService: the object, what was found about it so far, and when to look again."""

    live: Manifest
    seen: status.Seen
    secrets: list[Sensitive]
    requeue_after: float | None = None

    def look_again(self, seconds: float | None) -> None:
        """Come back after `seconds`, or earlier where an earlier look was asked for."""
        if seconds is not None:
            self.requeue_after = min(seconds, self.requeue_after or seconds)


def utc_now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(UTC)


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
        current = Pass(live, status.Seen(), [])
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
        await self._judge_api(current)
        now = self._clock().strftime("%Y-%m-%dT%H:%M:%SZ")
        current.look_again(await self._status.write(live, status.status(live, current.seen, now)))
        return Result(current.requeue_after)

    async def _bring_forward(self, current: Pass) -> None:
        """Go as far as the world allows; raise Blocked or Retry where it does not."""
        live, seen = current.live, current.seen
        seen.deployment = await self._deployed(live)
        spec = _read_spec(live)
        release = RELEASES[spec.release]
        world = await observe(self._kube, live, spec, release)
        current.secrets = secret_values(world.secrets)
        seen.stores = _rows(live, world, spec.default_store, rolled_out=False)
        accept(spec, release, world.verdicts)
        seen.set(true(status.ACCEPTED, "Accepted", "The spec is valid."))
        inputs = resolve_inputs(live, spec, world, self._settings)
        admin = catalog_credentials(spec, world.secrets)
        seen.set(true(status.RESOLVED_REFS, "ResolvedRefs", "All that the spec refers to is there."))
        seen.endpoints = _endpoints(spec, inputs)
        seen.selector = selector_text(inputs.name, COMPONENT_API)
        identity, _ = await together(identity_ready(spec, inputs.credentials), self._workload(current, inputs))
        seen.set(identity)
        if identity.status != "True":
            current.look_again(MISSING_SECONDS)
        rolled_out = seen.deployment is not None and rollout.read(seen.deployment).newest_everywhere
        default = inputs.stores[0].name
        seen.stores = _rows(live, world, default, rolled_out=rolled_out)
        await self._keep_catalog(current, spec, admin, service_url(inputs))

    async def _deployed(self, live: Manifest) -> Manifest | None:
        """Return the Deployment. Where none was ever seen, it is not asked for before it is about to be made."""
        namespace, name = live["metadata"]["namespace"], api_name(live["metadata"]["name"])
        if not live.get("status", {}).get("release") and self._kube.known(DEPLOYMENT, namespace, name) is None:
            return None
        return await children.read_own(self._kube, DEPLOYMENT, live, name)

    async def _workload(self, current: Pass, inputs: ImageServiceInputs) -> None:
        """Bring the children forward: the schema first, then the pods, then what only the old pods needed."""
        live, seen = current.live, current.seen
        try:
            config, api_service, budget = config_secret(inputs), service(inputs), pod_disruption_budget(inputs)
            wanted = deployment(inputs, config["metadata"]["name"])
        except ValueError as error:
            # Ours say no values. What a library raises may quote its input.
            message = redact(str(error), current.secrets)
            raise Blocked(status.CONFIG_RENDERED, "InvalidValue", message) from error
        await together(
            children.ensure(self._kube, SERVICE, live, api_service),
            children.ensure(self._kube, SECRET, live, config),
            self._ensure_budget(live, budget),
        )
        seen.set(true(status.CONFIG_RENDERED, "Rendered", "The configuration is written."))
        steps = DatabaseSteps(self._kube, live, inputs, current.secrets)
        prepare = await steps.run("prepare", self._clock())
        current.look_again(prepare.requeue_after)
        if not prepare.done:
            seen.set(_database(prepare))
            return
        seen.set(true(status.DATABASE_READY, "SchemaUsable", "The schema is expanded and migrated."))
        seen.deployment = await children.ensure(self._kube, DEPLOYMENT, live, wanted)
        counts = rollout.read(seen.deployment)
        if not counts.newest_everywhere:
            return
        contract = await steps.run("contract", self._clock())
        current.look_again(contract.requeue_after)
        if contract.done:
            seen.set(true(status.DATABASE_READY, "SchemaCurrent", "The schema is that of the release."))
            await self._prune(live, {config["metadata"]["name"], prepare.secret}, {prepare.job, contract.job})
        elif contract.condition and nature(contract.condition.reason) is not Nature.PROGRESS:
            seen.set(contract.condition)

    async def _ensure_budget(self, live: Manifest, budget: Manifest | None) -> None:
        if budget is None:
            name = api_name(live["metadata"]["name"])
            await children.remove(self._kube, POD_DISRUPTION_BUDGET, live, name)
        else:
            await children.ensure(self._kube, POD_DISRUPTION_BUDGET, live, budget)

    async def _prune(self, live: Manifest, secrets: set[str], jobs: set[str]) -> None:
        """Delete what belongs to older specs. Only after the roll-out: an old pod that restarts needs its files."""
        labels = f"{IMAGE_SERVICE_LABEL}={label_value(live['metadata']['name'])}"
        await together(
            children.prune(self._kube, SECRET, live, labels, secrets),
            children.prune(self._kube, JOB, live, labels, jobs),
        )

    async def _judge_api(self, current: Pass) -> None:
        """Set ApiAvailable from the Deployment as it is, whatever else stands in the way."""
        seen = current.seen
        deployed = seen.deployment
        problem = None
        if deployed is not None:
            labels = deployed["metadata"].get("labels", {})
            seen.release = labels.get("app.kubernetes.io/version", "")
            containers = deployed["spec"]["template"]["spec"]["containers"]
            seen.image = next((one.get("image", "") for one in containers if one["name"] == CONTAINER), "")
            counts = rollout.read(deployed)
            if not counts.complete:
                current.look_again(POLL_SECONDS)
                if counts.lasts(PATIENCE_SECONDS, self._clock(), _condition(current.live, status.API_AVAILABLE)):
                    problem = await self._diagnose(current)
        seen.set(rollout.api_available(deployed, problem, self._clock()))

    async def _diagnose(self, current: Pass) -> pods.Problem | None:
        metadata = current.live["metadata"]
        selector = selector_text(metadata["name"], COMPONENT_API)
        found = await self._kube.list(POD, metadata["namespace"], labels=selector)
        return pods.diagnose(found, current.secrets)

    async def _keep_catalog(
        self, current: Pass, spec: ImageServiceSpec, admin: Credentials | None, internal_url: str
    ) -> None:
        deployed = current.seen.deployment
        available = deployed is not None and rollout.api_available(deployed, None, self._clock()).status == "True"
        condition = await self._catalog.keep(current.live, spec, admin, internal_url, api_available=available)
        current.seen.set(condition)
        if condition.nature in {Nature.FAULT, Nature.BAD_INPUT}:
            current.look_again(MISSING_SECONDS)


def _condition(live: Manifest, type_: str) -> Manifest | None:
    """Return a condition as it was written last."""
    written = live.get("status", {}).get("conditions", [])
    return next((condition for condition in written if condition["type"] == type_), None)


def _read_spec(live: Manifest) -> ImageServiceSpec:
    found = read(ImageService, live)
    if isinstance(found, InvalidObject):
        raise Blocked(status.ACCEPTED, "InvalidSpec", found.message)
    return found.spec


def _database(step: StepResult) -> Condition:
    return step.condition or false(status.DATABASE_READY, "Preparing", "The database schema is being prepared.")


def _endpoints(spec: ImageServiceSpec, inputs: ImageServiceInputs) -> dict[str, str]:
    catalog = spec.identity.catalog
    endpoints = {"Internal": catalog.internal_url or service_url(inputs)}
    return endpoints | ({"Public": catalog.public_url} if catalog.public_url else {})


def _rows(live: Manifest, world: World, default: str | None, *, rolled_out: bool) -> list[status.StoreState]:
    """Return one row for each store. One once attached stays so in later roll-outs: its volume stays mounted."""
    before = {row["name"] for row in live.get("status", {}).get("stores", []) if row.get("attached")}
    rows = []
    for verdict in world.verdicts[:MAX_STORES]:
        if verdict.spec is None:
            continue  # it has no id to be listed by; its own status tells why
        attached = verdict.problem is None and (rolled_out or verdict.name in before)
        reason = verdict.problem.reason if verdict.problem else ("" if attached else "Attaching")
        is_default = verdict.name == default
        rows.append(status.StoreState(verdict.name, verdict.store_id, verdict.spec.type, is_default, attached, reason))
    return rows
