"""One reconcile of an ImagePrecache: each node is told what it is to have, and the status tells how far that is."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from imageservice.agent_report import AgentFailure, AgentReport
from imageservice.api.reading import InvalidObject, read
from imageservice.api.v1alpha1 import READY, ImagePrecache, ImagePrecacheSpec, ImageService
from imageservice.api.vocabulary import ACCEPTED, RESOLVED_REFS
from imageservice.errors import Blocked
from imageservice.glance.agents import Agent
from imageservice.glance.fleet import Fleet
from imageservice.glance.monitor import MonitorError
from imageservice.glance.sites import SiteMonitors
from imageservice.manifest import Manifest
from imageservice.reconcile import precache_images, precache_plan, resolve
from imageservice.reconcile.again import MISSING_SECONDS, LookAgain, utc_now
from imageservice.reconcile.cache_target import service_blocked
from imageservice.reconcile.endpoints import read_agents
from imageservice.reconcile.precache_plan import Order
from imageservice.reconcile.precache_turns import Turns
from imageservice.reconcile.writing import StatusWriter
from imageservice.render.agent_token import agent_token
from imageservice.render.labels import selector_text
from imageservice.render.names import api_name
from imageservice.runtime.cached import CachedKube
from imageservice.runtime.events import EventRecorder
from imageservice.runtime.kinds import CACHE_POLICY, IMAGE_PRECACHE, IMAGE_SERVICE, SECRET
from imageservice.runtime.loop import Result
from imageservice.runtime.settings import Settings
from imageservice.sensitive import Sensitive
from imageservice.status import conditions
from imageservice.status import imageprecache as status
from imageservice.status.conditions import false, true
from imageservice.status.reasons import Nature, nature
from imageservice.status.windows import next_opening

BUSY_SECONDS = 5.0
"""How often nodes are asked that have something to do, or wait for it, while nothing comes of it."""
QUICK_SECONDS = 1.0
"""How often they are asked at most: when so many are done that others could have begun."""
DONE_SHARE = 0.1
"""Which part of the nodes at work may be done before the next ones begin."""
IDLE_SECONDS = 60.0
"""How often all nodes are asked: a disk may have been wiped."""
SHOWN = 5
LEAST_SAMPLE_SECONDS = 4.0


@dataclass
class Pass(LookAgain):
    """One pass over one ImagePrecache."""

    live: Manifest
    seen: status.Seen = field(default_factory=status.Seen)
    look: float = BUSY_SECONDS


@dataclass(frozen=True)
class _Sample:
    """How much was done at a moment, and how fast it goes (bytes a second); an estimate is lost without harm."""

    at: float
    done: int
    pace: float


class ImagePrecacheReconciler:
    """Has the images of one ImagePrecache on its nodes."""

    kind = IMAGE_PRECACHE

    def __init__(
        self,
        kube: CachedKube,
        recorder: EventRecorder,
        settings: Settings,
        monitors: SiteMonitors,
        fleet: Fleet,
        *,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._kube = kube
        self._settings = settings
        self._monitors = monitors
        self._fleet = fleet
        self._clock = clock
        self._status = StatusWriter(kube, recorder, IMAGE_PRECACHE)
        self._samples: dict[str, _Sample] = {}
        self._looks: dict[str, float] = {}
        self._turns = Turns()

    async def reconcile(self, namespace: str, name: str) -> Result:
        """Make one pass. Errors of the API server and bugs are raised, for the loop to back off."""
        live = await self._kube.get(IMAGE_PRECACHE, namespace, name)
        if live is None or live["metadata"].get("deletionTimestamp"):
            return Result(None)  # the passes over the CachePolicies tell their nodes
        current = Pass(live, requeue_after=IDLE_SECONDS)
        try:
            await self._bring_forward(current)
        except Blocked as blocked:
            current.seen.set(false(blocked.condition, blocked.reason, blocked.message))
            if nature(blocked.reason) in (Nature.WAITING, Nature.FAULT):
                current.look_again(MISSING_SECONDS)
        now = self._clock().strftime("%Y-%m-%dT%H:%M:%SZ")
        current.look_again(await self._status.write(live, status.status(live, current.seen, now)))
        return Result(current.requeue_after)

    async def _bring_forward(self, current: Pass) -> None:
        live, seen = current.live, current.seen
        found = read(ImagePrecache, live)
        if isinstance(found, InvalidObject):
            raise Blocked(ACCEPTED, "InvalidSpec", found.message)
        spec, namespace = found.spec, live["metadata"]["namespace"]
        seen.set(true(ACCEPTED, "Accepted", "The spec is valid."))
        token = await self._token(namespace, spec.image_service_ref.name)
        seen.secrets = (token,)
        everywhere, here = await self._agents(namespace, spec, token, current)
        wanted = await self._images(namespace, spec, token)
        seen.images = wanted.images
        now = self._clock()
        opened = precache_plan.window(spec, now)
        order = precache_plan.order(live["metadata"]["name"], live["metadata"]["uid"], spec, wanted.images, opened)
        await self._hand_out(current, spec, order, opened, here)
        chosen = {agent.node for agent in here}
        await self._take_back(order, [agent for agent in everywhere if agent.node not in chosen])
        self._judge(current, spec, order, opened)
        if wanted.missing:
            names = ", ".join(wanted.missing[:SHOWN])
            more = f" and {len(wanted.missing) - SHOWN} more" if len(wanted.missing) > SHOWN else ""
            raise Blocked(
                RESOLVED_REFS,
                "ImagesNotFound",
                f"There are no active images {names}{more}. Without `owner`, only public images are found by name. The "
                "others are fetched all the same.",
            )
        seen.set(true(RESOLVED_REFS, "ResolvedRefs", _resolved(wanted)))

    # ---------------------------------------------------------------------------------------------------------- reading

    async def _token(self, namespace: str, service: str) -> Sensitive:
        live = await self._kube.follow(IMAGE_SERVICE, namespace, service)
        if live is None:
            message = f"There is no ImageService `{service}` in this namespace (spec.imageServiceRef). Create it."
            raise Blocked(RESOLVED_REFS, "ImageServiceNotFound", message)
        found = read(ImageService, live)
        if isinstance(found, InvalidObject):
            raise service_blocked(service, "InvalidSpec")
        reference = found.spec.database.secret_ref
        secret = await self._kube.get(SECRET, namespace, reference.name)
        try:
            return agent_token(resolve.database_url(reference, secret), namespace, service)
        except Blocked as blocked:
            raise service_blocked(service, blocked.reason) from blocked

    async def _agents(
        self, namespace: str, spec: ImagePrecacheSpec, token: Sensitive, current: Pass
    ) -> tuple[list[Agent], list[Agent]]:
        """Return the agents of all caches of the ImageService, and those that are to have the images."""
        service = spec.image_service_ref.name
        everywhere: dict[str, Agent] = {}
        here: dict[str, Agent] = {}
        chosen = missing = without_address = 0
        for policy in await self._kube.list(CACHE_POLICY, namespace):
            name = policy["metadata"]["name"]
            # Also one that is not yet known to be of the service.
            await self._kube.follow(CACHE_POLICY, namespace, name)
            if policy.get("status", {}).get("imageServiceName") != service:
                continue
            found = {a.node: a for a in await read_agents(self._kube, self._settings, namespace, name, token)}
            everywhere |= found
            selector = spec.cache_policy_selector
            if selector is None or selector.matches(policy["metadata"].get("labels") or {}):
                chosen += 1
                nodes = policy["status"].get("nodes", {})
                missing += max(0, nodes.get("desired", 0) - len(found))
                without_address += max(0, nodes.get("ready", 0) - len(found))
                current.seen.awaits_nodes |= _is_under_way(policy)
                here |= found
        if missing:  # their pods are on their way, or have no address yet, which does not last: neither is watched
            current.look_again(BUSY_SECONDS if without_address else MISSING_SECONDS)
        if not chosen:
            message = f"No CachePolicy of the ImageService `{service}` is chosen. Create one."
            raise Blocked(RESOLVED_REFS, "NoCachePolicy", message)
        if spec.node_selector:
            selected = await self._kube.nodes(selector_text(spec.node_selector))
            names = {node["metadata"]["name"] for node in selected}
            here = {node: agent for node, agent in here.items() if node in names}
            # Of pods that have no address yet, nobody can tell whether they are on these nodes.
            current.seen.missing_nodes = min(without_address, len(names - everywhere.keys()))
        else:
            current.seen.missing_nodes = missing
        return list(everywhere.values()), list(here.values())

    async def _images(self, namespace: str, spec: ImagePrecacheSpec, token: Sensitive) -> precache_images.Wanted:
        url = self._settings.monitor(api_name(spec.image_service_ref.name), namespace)
        try:
            found = await self._monitors.lookup(url, token, precache_images.queries(spec))
        except MonitorError as error:
            message = f"Which images are meant cannot be found out: {error.message}. What nodes were told stays."
            raise Blocked(RESOLVED_REFS, "ImageLookupFailed", message) from error
        return precache_images.wanted(spec, found)

    # ----------------------------------------------------------------------------------------------------------- acting

    async def _hand_out(
        self,
        current: Pass,
        spec: ImagePrecacheSpec,
        order: Order,
        opened: precache_plan.Window,
        here: list[Agent],
    ) -> None:
        """Ask the nodes, those at work oftener, and tell those that have to know otherwise."""
        outcomes = await self._fleet.reports(here, IDLE_SECONDS / 2)
        at_work = [agent for agent in here if precache_plan.is_at_work(order, outcomes[agent.node])]
        outcomes |= await self._fleet.reports(at_work, QUICK_SECONDS / 2)
        idle = self._turns.idle(order, outcomes, time.monotonic())
        told = precache_plan.grants(order, outcomes, spec.parallelism, opened, self._clock(), idle)
        # Grants are taken back before others get them.
        for fetch in (False, True):
            part = {node: one for node, one in told.items() if one.fetch is fetch}
            await self._fleet.hand_out(order.uid, part, here)
        outcomes |= await self._fleet.reports([agent for agent in here if agent.node in told], IDLE_SECONDS / 2)
        current.look = self._next_look(order.uid, sum(one.fetch for one in told.values()), len(at_work))
        current.seen.idle = idle
        current.seen.revision = order.revision
        current.seen.states = Counter(precache_plan.state(order, outcome).value for outcome in outcomes.values())
        current.seen.outcomes = {
            node: outcome if isinstance(outcome, AgentReport) else AgentFailure(outcome.reason, outcome.message)
            for node, outcome in outcomes.items()
        }

    async def _take_back(self, order: Order, elsewhere: list[Agent]) -> None:
        """Tell nodes that are not to have the images any more."""
        outcomes = await self._fleet.reports(elsewhere, IDLE_SECONDS / 2)
        left = set(precache_plan.leftovers(order.uid, outcomes))
        await self._fleet.take_back(order.uid, [agent for agent in elsewhere if agent.node in left])

    def _next_look(self, uid: str, begun: int, at_work: int) -> float:
        if not (begun or at_work):
            self._looks.pop(uid, None)
            return BUSY_SECONDS
        self._looks[uid] = next_look(self._looks.get(uid), begun, at_work)
        return self._looks[uid]

    # ----------------------------------------------------------------------------------------------------------- status

    def _judge(self, current: Pass, spec: ImagePrecacheSpec, order: Order, opened: precache_plan.Window) -> None:
        seen, now = current.seen, self._clock()
        seen.tables = status.tables(seen)
        seen.set(status.cached(seen, _why_closed(spec, opened)))
        if spec.windows and not spec.suspend and not opened.is_open:
            seen.next_window = next_opening(spec.windows, now)
            if seen.next_window is not None:
                current.look_again(max(1.0, (seen.next_window - now).total_seconds()))
        if opened.until is not None:
            current.look_again(max(1.0, opened.until - now.timestamp() + 1.0))
        if opened.is_open and (seen.states["fetching"] or seen.states["pending"]):
            current.look_again(current.look)
        retry = precache_plan.next_retry(order, seen.outcomes.values())
        if opened.is_open and retry is not None:
            current.look_again(max(BUSY_SECONDS, retry - now.timestamp()))
        seen.seconds_left = self._seconds_left(current)
        if seen.seconds_left is not None:
            current.look_again(max(QUICK_SECONDS, seen.seconds_left))

    def _seconds_left(self, current: Pass) -> int | None:
        """Return how long the rest will take at the pace of the last passes; None while nothing comes in."""
        uid, seen = current.live["metadata"]["uid"], current.seen
        done, total = seen.tables["bytesDone"], seen.tables["bytesTotal"]
        last, now = self._samples.get(uid), time.monotonic()
        if done >= total or not seen.states["fetching"]:
            self._samples.pop(uid, None)
            return None
        if last is None or done < last.done:
            self._samples[uid] = _Sample(now, done, 0.0)
            return None
        if now - last.at < LEAST_SAMPLE_SECONDS:
            return int((total - done) / last.pace) if last.pace else None
        fresh = (done - last.done) / (now - last.at)
        pace = fresh if last.pace == 0 else (last.pace + fresh) / 2
        self._samples[uid] = _Sample(now, done, pace)
        return int((total - done) / pace) if pace else None


def _is_under_way(policy: Manifest) -> bool:
    """Tell whether a policy has yet to say how many nodes it has."""
    return conditions.told(policy["status"], READY).get("status") not in ("True", "False")


def next_look(last: float | None, begun: int, at_work: int) -> float:
    """Return after how many seconds to ask the nodes at work again, when it was `last` seconds before.

    `begun` nodes were let fetch now, in the place of as many of `at_work` that are done. At this pace the next look is
    due when a tenth of them will be; without any, it is put off more and more.
    """
    pause = last or QUICK_SECONDS
    pause = pause * DONE_SHARE * at_work / begun if begun else pause * 2
    return min(BUSY_SECONDS, max(QUICK_SECONDS, pause))


def _why_closed(spec: ImagePrecacheSpec, opened: precache_plan.Window) -> str:
    if spec.suspend:
        return "Suspended"
    if not opened.is_open:
        return "WindowClosed"
    return "Paused" if spec.parallelism in ("0", "0%") else ""


def _resolved(wanted: precache_images.Wanted) -> str:
    if wanted.truncated:
        return "More images are meant than can be: the newest are taken."
    return "All that the spec refers to is there."
