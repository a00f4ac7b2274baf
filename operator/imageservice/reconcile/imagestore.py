"""One reconcile of an ImageStore: whether it is accepted, what it refers to is there, and pods serve and reach it.

It makes nothing: the ImageService mounts and configures its stores. This pass tells how that stands, and keeps a store
that is being deleted for as long as there are images in it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from imageservice.api.reading import InvalidObject, read
from imageservice.api.v1alpha1 import ImageService
from imageservice.api.vocabulary import ACCEPTED, ATTACHED, CREDENTIALS_VALID, REACHABLE, RESOLVED_REFS
from imageservice.glance.monitor import MonitorError
from imageservice.glance.sites import SiteMonitors
from imageservice.manifest import Manifest
from imageservice.reconcile import leaving, stores
from imageservice.reconcile.again import MISSING_SECONDS, POLL_SECONDS, utc_now
from imageservice.reconcile.observe import read_claims, read_credentials
from imageservice.reconcile.stores import StoreVerdict
from imageservice.reconcile.together import together
from imageservice.reconcile.writing import StatusWriter
from imageservice.releases import RELEASES, Release
from imageservice.render.names import api_name
from imageservice.render.store_monitor import is_monitored
from imageservice.runtime.cached import CachedKube
from imageservice.runtime.events import EventRecorder
from imageservice.runtime.kinds import IMAGE_SERVICE, IMAGE_STORE
from imageservice.runtime.loop import Result
from imageservice.runtime.settings import Settings
from imageservice.status import imagestore as status
from imageservice.status.conditions import Condition, false, true
from imageservice.status.reasons import Nature

PROBE_SECONDS = 20.0
"""How often pods are asked whether they reach a store."""


@dataclass(frozen=True)
class Observed:
    """What one pass found about a store. `service` is None where there is none of that name."""

    live: Manifest
    service_name: str
    service: Manifest | None
    verdict: StoreVerdict


class ImageStoreReconciler:
    """Keeps the status of one ImageStore, and the store itself while there are images in it."""

    kind = IMAGE_STORE

    def __init__(
        self,
        kube: CachedKube,
        recorder: EventRecorder,
        settings: Settings,
        monitors: SiteMonitors,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._kube = kube
        self._settings = settings
        self._monitors = monitors
        self._status = StatusWriter(kube, recorder, IMAGE_STORE)
        self._clock = clock

    async def reconcile(self, namespace: str, name: str) -> Result:
        """Make one pass. Errors of the API server and bugs are raised, for the loop to back off."""
        live = await self._kube.get(IMAGE_STORE, namespace, name)
        if live is None:
            return Result(None)
        leaves = bool(live["metadata"].get("deletionTimestamp"))
        if leaves and not stores.is_held(live):
            return Result(None)
        seen = await self._observe(live)
        if seen is None:
            return Result(POLL_SECONDS)  # deleted or re-created between two reads
        conditions = {condition.type: condition for condition in judge(seen)}
        fsid = await self._probe(seen, conditions)
        wait = None
        if leaves:
            blocked = await self._blocked(seen)
            if blocked is None:
                await leaving.release(self._kube, live)
                return Result(None)
            conditions[blocked.type] = blocked
            wait = leaving.LOOK_AGAIN_SECONDS
        elif seen.service is not None and seen.verdict.problem is None:
            await leaving.hold(self._kube, live)
        now = self._clock().strftime("%Y-%m-%dT%H:%M:%SZ")
        wanted = status.status(live, conditions, seen.verdict.store_id, now, fsid)
        again = [await self._status.write(live, wanted), wait, _look_again(seen, conditions)]
        return Result(min((seconds for seconds in again if seconds is not None), default=None))

    async def _observe(self, live: Manifest) -> Observed | None:
        namespace, service_name = live["metadata"]["namespace"], stores.service_of(live)
        service, found = await together(self._service(namespace, service_name), self._kube.list(IMAGE_STORE, namespace))
        # Of the others only those matter that may have the id already: else the work would grow with their square.
        rivals = stores.of_one_id(stores.store_id_of(live), stores.referring(service_name, found))
        release, replicas = _read_service(service)
        claims, credentials = await together(
            read_claims(self._kube, namespace, rivals),
            # Of the rivals nothing is asked that depends on their credentials.
            read_credentials(self._kube, namespace, [live], release),
        )
        verdicts = stores.judge(rivals, claims, release, replicas, credentials)
        verdict = next((verdict for verdict in verdicts if verdict.name == live["metadata"]["name"]), None)
        return None if verdict is None else Observed(live, service_name, service, verdict)

    async def _service(self, namespace: str, name: str) -> Manifest | None:
        """Return the service. Its absence is believed where services are watched: its coming brings the store back."""
        if not name or self._kube.synced(IMAGE_SERVICE, namespace):
            return self._kube.known(IMAGE_SERVICE, namespace, name)
        return await self._kube.get(IMAGE_SERVICE, namespace, name)

    async def _probe(self, seen: Observed, conditions: dict[str, Condition]) -> str:
        """Ask the pods that serve an attached store whether they reach it; return the fsid that they see."""
        if conditions.get(ATTACHED, _NOT_ATTACHED).status != "True":
            return ""
        if seen.verdict.spec is None or not is_monitored(seen.verdict.spec):
            conditions[REACHABLE] = status.not_probed("Nobody can tell for a store of this type.")
            return ""
        try:
            reports = await self._monitors.stores(self._url(seen, at_edge=seen.verdict.is_edge))
        except MonitorError as error:
            conditions[REACHABLE] = status.not_probed(f"The pods do not tell: {error.message}")
            return ""
        report = reports.get(seen.verdict.store_id)
        if report is None:
            conditions[REACHABLE] = status.not_probed("The pods that answer do not serve the store yet.")
            return ""
        conditions[REACHABLE] = status.reachable(report.reason, report.message)
        return report.fsid or ""

    async def _blocked(self, seen: Observed) -> Condition | None:
        url = self._url(seen, at_edge=False)
        return await leaving.blocked(seen.live, seen.service, seen.verdict.store_id, self._monitors, url)

    def _url(self, seen: Observed, *, at_edge: bool) -> str:
        """Return the URL of the store monitor at the edge of the store, or at the centre."""
        edge = seen.verdict.name if at_edge else None
        return self._settings.monitor(api_name(seen.service_name, edge), seen.live["metadata"]["namespace"])


_NOT_ATTACHED = Condition(ATTACHED, "Unknown", "NotEvaluated")


def _look_again(seen: Observed, conditions: dict[str, Condition]) -> float | None:
    if any(condition.nature is Nature.WAITING for condition in conditions.values()):
        return MISSING_SECONDS
    probed = seen.verdict.spec is not None and is_monitored(seen.verdict.spec)
    return PROBE_SECONDS if probed and REACHABLE in conditions else None


def judge(seen: Observed) -> list[Condition]:
    """Return the conditions of a store, as far as they can be judged without asking its pods."""
    problem = seen.verdict.problem
    found = [
        true(ACCEPTED, "Accepted", "The spec is valid."),
        true(RESOLVED_REFS, "ResolvedRefs", "All that the spec refers to is there."),
        true(CREDENTIALS_VALID, "CredentialsValid", "The credentials have the right form, or none are needed."),
    ]
    if problem:
        order = [condition.type for condition in found]
        at = order.index(problem.condition)
        told = [*found[:at], false(problem.condition, problem.reason, problem.message)]
        attached = status.attached(seen.service, seen.verdict.name, is_edge=seen.verdict.is_edge)
        # Pods that have the store go on with the credentials that they have.
        return [*told, attached] if at > 0 and attached.status == "True" else told
    if seen.service is None:
        message = f"There is no ImageService `{seen.service_name}` in this namespace (spec.imageServiceRef). Create it."
        return [found[0], false(RESOLVED_REFS, "ImageServiceNotFound", message)]
    return [*found, status.attached(seen.service, seen.verdict.name, is_edge=seen.verdict.is_edge)]


def _read_service(service: Manifest | None) -> tuple[Release | None, int]:
    """Return what of the service bears on its stores: its release, None where unknown, and its replicas."""
    if service is None:
        return None, 1
    found = read(ImageService, service)
    if isinstance(found, InvalidObject):
        return None, 1
    return RELEASES.get(found.spec.release), found.spec.api.replicas
