"""One reconcile of a CachePolicy: its nodes get a pod with a cache each, and its status tells how they are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from imageservice.agent_report import AgentReport, CacheUse
from imageservice.api.reading import InvalidObject, read
from imageservice.api.v1alpha1 import PROGRAMMED, CachePolicy, CachePolicySpec
from imageservice.api.vocabulary import ACCEPTED, RESOLVED_REFS
from imageservice.errors import Blocked, Retry
from imageservice.glance.agents import Agent, AgentError
from imageservice.glance.fleet import Fleet
from imageservice.manifest import Manifest
from imageservice.reconcile import cache_conflicts, cache_target, children, precache_plan
from imageservice.reconcile.again import MISSING_SECONDS, LookAgain, utc_now
from imageservice.reconcile.cache_conflicts import Claim
from imageservice.reconcile.cache_target import Target
from imageservice.reconcile.endpoints import read_agents
from imageservice.reconcile.together import together
from imageservice.reconcile.writing import StatusWriter
from imageservice.render.agent_token import token_of
from imageservice.render.cache_config import cache_config_secret
from imageservice.render.cache_daemonset import daemon_set
from imageservice.render.cache_inputs import CacheInputs
from imageservice.render.cache_labels import cache_name, cache_selector, policy_labels
from imageservice.render.cache_service import agents_service, cache_service, cache_url
from imageservice.render.labels import COMPONENT_CACHE_CONFIG, selector_text
from imageservice.runtime.cached import CachedKube
from imageservice.runtime.events import EventRecorder
from imageservice.runtime.kinds import CACHE_POLICY, DAEMON_SET, IMAGE_PRECACHE, POD, SECRET, SERVICE
from imageservice.runtime.loop import Result
from imageservice.runtime.settings import Settings
from imageservice.sensitive import Sensitive
from imageservice.status import cachepolicy as status
from imageservice.status import daemonset, pods
from imageservice.status.conditions import false, true
from imageservice.status.masking import redact
from imageservice.status.reasons import Nature, nature

LOOK_SECONDS = 60.0
"""How often the agents are asked how full their caches are."""
FRESH_SECONDS = LOOK_SECONDS / 2
"""How old an answer of theirs may be, or that they gave none."""
ROLLING_SECONDS = 10.0
"""How soon to look again while pods are not ready, or have no address yet: they are not watched."""
MOST_DIAGNOSED = 500
"""Of more nodes than this the pods are not read to tell why some are not ready: that would be more work than help."""


@dataclass
class Pass(LookAgain):
    """One pass over one policy."""

    live: Manifest
    seen: status.Seen = field(default_factory=status.Seen)
    secrets: list[Sensitive] = field(default_factory=list)
    daemon_set: Manifest | None = None
    target: Target | None = None


class CachePolicyReconciler:
    """Brings the caches of some nodes to what one CachePolicy asks for."""

    kind = CACHE_POLICY

    def __init__(
        self,
        kube: CachedKube,
        recorder: EventRecorder,
        settings: Settings,
        fleet: Fleet,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._kube = kube
        self._settings = settings
        self._fleet = fleet
        self._clock = clock
        self._status = StatusWriter(kube, recorder, CACHE_POLICY)

    async def reconcile(self, namespace: str, name: str) -> Result:
        """Make one pass. Errors of the API server and bugs are raised, for the loop to back off."""
        live = await self._kube.get(CACHE_POLICY, namespace, name)
        if live is None or live["metadata"].get("deletionTimestamp"):
            return Result(None)
        current = Pass(live, requeue_after=LOOK_SECONDS)
        current.daemon_set = await self._deployed(live)
        try:
            await self._bring_forward(current)
        except Blocked as blocked:
            current.seen.set(false(blocked.condition, blocked.reason, blocked.message))
            if nature(blocked.reason) is Nature.WAITING:
                current.look_again(MISSING_SECONDS)
        except Retry as retry:
            current.seen.set(false(retry.condition, retry.reason, retry.message))
            current.look_again(retry.after_seconds)
        await self._judge(current)
        now = self._clock().strftime("%Y-%m-%dT%H:%M:%SZ")
        current.look_again(await self._status.write(live, status.status(live, current.seen, now)))
        return Result(current.requeue_after)

    async def _deployed(self, live: Manifest) -> Manifest | None:
        """Return the DaemonSet that is there; it is not asked for before it was ever seen or is about to be made.

        None also where it is another's, or on its way out: that is told when it is about to be made.
        """
        name = cache_name(live["metadata"]["name"])
        if self._kube.known(DAEMON_SET, live["metadata"]["namespace"], name) is None and not _was_served(live):
            return None
        try:
            return await children.read_own(self._kube, DAEMON_SET, live, name)
        except (Blocked, Retry):
            return None

    async def _bring_forward(self, current: Pass) -> None:
        live, seen = current.live, current.seen
        namespace, name = live["metadata"]["namespace"], live["metadata"]["name"]
        found = read(CachePolicy, live)
        if isinstance(found, InvalidObject):
            raise Blocked(ACCEPTED, "InvalidSpec", found.message)
        spec = found.spec
        seen.set(true(ACCEPTED, "Accepted", "The spec is valid, and no older policy has all its nodes."))
        mine = await self._claim(live, spec)
        older = await self._older(namespace, mine)
        await self._accept(current, mine, older)
        target = await cache_target.resolve(self._kube, self._settings, namespace, spec)
        current.target, current.secrets = target, target.secrets
        seen.service_name = target.site.name
        seen.set(status.effective({store.spec.type for store in target.site.stores}))
        seen.set(true(RESOLVED_REFS, "ResolvedRefs", "The target is there and can be served."))
        seen.url = cache_url(name, namespace, self._settings.cluster_domain)
        cache_target.wait_for_schema(target.service)
        inputs = CacheInputs(
            name,
            namespace,
            live["metadata"]["uid"],
            spec,
            target.site,
            target.node_selector,
            tuple(claim.node_selector for claim in older),
        )
        await self._apply(current, inputs)

    async def _apply(self, current: Pass, inputs: CacheInputs) -> None:
        kube, live = self._kube, current.live
        try:
            config = cache_config_secret(inputs)
            wanted = daemon_set(inputs, config)
        except ValueError as error:
            message = redact(str(error), current.secrets)
            raise Blocked(ACCEPTED, "InvalidValue", message) from error
        await together(
            children.ensure(kube, SECRET, live, config, unique=True),
            children.ensure(kube, SERVICE, live, cache_service(inputs)),
            children.ensure(kube, SERVICE, live, agents_service(inputs)),
        )
        current.daemon_set = await children.ensure(kube, DAEMON_SET, live, wanted)
        if daemonset.read(current.daemon_set).newest_everywhere:
            keep = config["metadata"]["name"]
            labels = policy_labels(inputs.name, COMPONENT_CACHE_CONFIG)
            await children.prune(kube, SECRET, live, labels, lambda other: other["metadata"]["name"] == keep)

    # -------------------------------------------------------------------------------------------------------- conflicts

    async def _older(self, namespace: str, mine: Claim) -> list[Claim]:
        """Return the older policies of the ImageService that may ask for the same nodes."""
        others = []
        for other in await self._kube.list(CACHE_POLICY, namespace):
            if cache_conflicts.since(other) >= mine.since or other["metadata"].get("deletionTimestamp"):
                continue
            await self._kube.follow(CACHE_POLICY, namespace, other["metadata"]["name"])
            found = read(CachePolicy, other)
            if isinstance(found, InvalidObject):
                continue
            try:
                others.append(await self._claim(other, found.spec))
            except Blocked:
                continue  # it has no nodes while its target is not there
        return cache_conflicts.rivals(mine, others)

    async def _claim(self, policy: Manifest, spec: CachePolicySpec) -> Claim:
        namespace, name = policy["metadata"]["namespace"], policy["metadata"]["name"]
        service = await cache_target.service_name(self._kube, namespace, spec)
        selector = await cache_target.node_selector(self._kube, namespace, spec)
        return Claim(name, service, selector, cache_conflicts.since(policy))

    async def _accept(self, current: Pass, mine: Claim, older: list[Claim]) -> None:
        """Note which nodes older policies have; raise Blocked, without pods, where those are all."""
        if not older:
            return
        owner = cache_conflicts.who_has_all(mine, older)
        if owner is not None:
            why = f"The older CachePolicy `{owner.policy}` of the same ImageService has all these nodes."
        elif not cache_conflicts.can_be_told_apart(older):
            names = ", ".join(f"`{claim.policy}`" for claim in older)
            why = f"The nodes of the older CachePolicies {names} cannot be told from these by few labels."
        else:
            nodes = await self._kube.nodes(selector_text(mine.node_selector))
            current.seen.conflict = cache_conflicts.in_words(older, nodes)
            return
        current.seen.conflict = f"{why} Choose other nodes (spec.nodeSelector)."
        name = cache_name(current.live["metadata"]["name"])
        await children.remove(self._kube, DAEMON_SET, current.live, name)
        current.daemon_set = None
        raise Blocked(ACCEPTED, "Conflicted", current.seen.conflict)

    # ----------------------------------------------------------------------------------------------------------- status

    async def _judge(self, current: Pass) -> None:
        """Tell how the nodes are, whatever happened."""
        seen, deployed = current.seen, current.daemon_set
        if deployed is None:
            return
        counts = seen.nodes = daemonset.read(deployed)
        reached = RESOLVED_REFS in seen.conditions and seen.conditions[RESOLVED_REFS].status == "True"
        if reached and PROGRAMMED not in seen.conditions:
            seen.set(status.programmed(counts))
        if counts.ready < counts.desired or not counts.newest_everywhere:
            current.look_again(ROLLING_SECONDS)
        if counts.desired:
            seen.set(status.pods_ready(counts, await self._diagnose(current, counts)))
        if current.target is not None:
            seen.uses = await self._uses(current, current.target, counts)

    async def _diagnose(self, current: Pass, counts: daemonset.NodeCounts) -> pods.Problem | None:
        if counts.ready >= counts.desired or counts.desired > MOST_DIAGNOSED:
            return None
        metadata = current.live["metadata"]
        selector = selector_text(cache_selector(metadata["name"]))
        return pods.diagnose(await self._kube.list(POD, metadata["namespace"], labels=selector), current.secrets)

    async def _uses(self, current: Pass, target: Target, counts: daemonset.NodeCounts) -> list[CacheUse]:
        metadata = current.live["metadata"]
        found = await read_agents(
            self._kube, self._settings, metadata["namespace"], metadata["name"], token_of(target.site)
        )
        reports = await self._fleet.reports(found, FRESH_SECONDS)
        await self._forget_gone(metadata["namespace"], found, reports)
        uses = [report.cache for report in reports.values() if isinstance(report, AgentReport)]
        if len(found) < counts.ready:
            current.look_again(ROLLING_SECONDS)
        elif len(uses) < len(found):
            current.look_again(FRESH_SECONDS)
        return uses

    async def _forget_gone(
        self, namespace: str, found: Sequence[Agent], reports: Mapping[str, AgentReport | AgentError]
    ) -> None:
        """Tell the nodes which ImagePrecaches are no more: they cannot do it themselves."""
        there = set()
        for item in await self._kube.list(IMAGE_PRECACHE, namespace):
            metadata = item["metadata"]
            await self._kube.follow(IMAGE_PRECACHE, namespace, metadata["name"])  # when it goes, we look again
            if not metadata.get("deletionTimestamp"):
                there.add(metadata["uid"])
        told = {uid for report in reports.values() if isinstance(report, AgentReport) for uid in report.sets}
        for uid in sorted(told - there):
            nodes = set(precache_plan.leftovers(uid, reports))
            await self._fleet.take_back(uid, [agent for agent in found if agent.node in nodes])


def _was_served(live: Manifest) -> bool:
    return "nodes" in live.get("status", {})
