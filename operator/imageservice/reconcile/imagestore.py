"""One reconcile of an ImageStore: whether it is accepted, what it refers to is there, and its service serves it.

It makes nothing: the ImageService mounts and configures its stores. This pass tells how that stands.
"""

from collections.abc import Callable
from datetime import datetime

from imageservice.api.reading import InvalidObject, read
from imageservice.api.v1alpha1 import ImageService
from imageservice.manifest import Manifest
from imageservice.reconcile import stores
from imageservice.reconcile.imageservice import MISSING_SECONDS, POLL_SECONDS, utc_now
from imageservice.reconcile.observe import read_claims
from imageservice.reconcile.together import together
from imageservice.reconcile.writing import StatusWriter
from imageservice.releases import RELEASES, Release
from imageservice.runtime.cached import CachedKube
from imageservice.runtime.events import EventRecorder
from imageservice.runtime.kinds import IMAGE_SERVICE, IMAGE_STORE
from imageservice.runtime.loop import Result
from imageservice.status import imagestore as status
from imageservice.status.conditions import Condition, false, true
from imageservice.status.reasons import Nature


class ImageStoreReconciler:
    """Keeps the status of one ImageStore."""

    kind = IMAGE_STORE

    def __init__(self, kube: CachedKube, recorder: EventRecorder, clock: Callable[[], datetime] = utc_now) -> None:
        self._kube = kube
        self._status = StatusWriter(kube, recorder, IMAGE_STORE)
        self._clock = clock

    async def reconcile(self, namespace: str, name: str) -> Result:
        """Make one pass. Errors of the API server and bugs are raised, for the loop to back off."""
        live = await self._kube.get(IMAGE_STORE, namespace, name)
        if live is None or live["metadata"].get("deletionTimestamp"):
            return Result(None)
        service_name = stores.service_of(live)
        service, found = await together(
            self._service(namespace, service_name),
            self._kube.list(IMAGE_STORE, namespace),
        )
        mine = stores.referring(service_name, found)
        claims = await read_claims(self._kube, namespace, mine)
        release, replicas = _read_service(service)
        verdict = next((v for v in stores.judge(mine, claims, release, replicas) if v.name == name), None)
        if verdict is None:
            return Result(POLL_SECONDS)  # deleted or re-created between the two reads
        conditions = {condition.type: condition for condition in judge(verdict, service, service_name)}
        now = self._clock().strftime("%Y-%m-%dT%H:%M:%SZ")
        wanted = status.status(live, conditions, verdict.store_id, now)
        wait = await self._status.write(live, wanted)
        waiting = any(condition.nature is Nature.WAITING for condition in conditions.values())
        return Result(wait or (MISSING_SECONDS if waiting else None))

    async def _service(self, namespace: str, name: str) -> Manifest | None:
        """Return the service. Its absence is believed where services are watched: its coming brings the store back."""
        if not name or self._kube.synced(IMAGE_SERVICE, namespace):
            return self._kube.known(IMAGE_SERVICE, namespace, name)
        return await self._kube.get(IMAGE_SERVICE, namespace, name)


def judge(verdict: stores.StoreVerdict, service: Manifest | None, service_name: str) -> list[Condition]:
    """Return the conditions of a store, as far as they can be judged."""
    accepted = true(status.ACCEPTED, "Accepted", "The spec is valid.")
    resolved = true(status.RESOLVED_REFS, "ResolvedRefs", "All that the spec refers to is there.")
    problem = verdict.problem
    if problem:
        found = false(problem.condition, problem.reason, problem.message)
        return [found] if problem.condition == status.ACCEPTED else [accepted, found]
    if service is None:
        message = f"There is no ImageService `{service_name}` in this namespace (spec.imageServiceRef). Create it."
        return [accepted, false(status.RESOLVED_REFS, "ImageServiceNotFound", message)]
    return [accepted, resolved, status.attached(service, verdict.name)]


def _read_service(service: Manifest | None) -> tuple[Release | None, int]:
    """Return what of the service bears on its stores: its release, None where unknown, and its replicas."""
    if service is None:
        return None, 1
    found = read(ImageService, service)
    if isinstance(found, InvalidObject):
        return None, 1
    return RELEASES.get(found.spec.release), found.spec.api.replicas
