"""Leader election by a Lease (coordination.k8s.io/v1), for replicas of which just one may write.

No clock but our own is trusted: whether the leader is alive is judged by how long its Lease has not changed before our
eyes, and how long we may write is counted from before our last successful renewal was sent. As the renewal deadline is
shorter than the duration, a leader that cannot renew, or was paused, knows that it has lost before any other replica
takes over. `still_leading` answers from the clock alone, so it is right at the first instruction after a pause.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from imageservice.manifest import Manifest
from imageservice.runtime.clock import boottime
from imageservice.runtime.kinds import LEASE
from imageservice.runtime.kube import ApiError, Conflict, KubeApi
from imageservice.runtime.metrics import Metrics
from imageservice.runtime.settings import LeaseSettings

logger = logging.getLogger(__name__)

_JITTER = 0.2


class LeaseLost(Exception):  # noqa: N818 - what happened
    """The process leads no more. It must end: what it believes about the cluster may be out of date."""


@dataclass(frozen=True)
class _Observed:
    """The Lease of another as it was when it last changed before our eyes, at `since` by our own clock."""

    spec: dict[str, Any]
    since: float


class LeaseElector:
    """One candidate. `kube` must be allowed to write without leading, as taking the Lease is a write itself."""

    def __init__(
        self,
        kube: KubeApi,
        settings: LeaseSettings,
        *,
        metrics: Metrics | None = None,
        clock: Callable[[], float] = boottime,
    ) -> None:
        self._kube = kube
        self._settings = settings
        self._clock = clock
        self._lease: Manifest | None = None
        self._observed: _Observed | None = None
        self._valid_until = float("-inf")
        self._leader = (metrics or Metrics()).leader.labels(name=settings.name)
        self._leader.set(0)

    def still_leading(self) -> bool:
        """Tell whether this process surely is the only leader at this moment."""
        return self._clock() < self._valid_until

    def sees_leader(self) -> bool:
        """Tell whether another process was found to hold the Lease when it was looked at last."""
        return self._observed is not None

    async def acquire(self) -> None:
        """Wait until this process is the leader; errors of the API server are waited out."""
        while True:
            try:
                async with asyncio.timeout(self._settings.renew_deadline):
                    if await self._try_to_take():
                        logger.info("Leading", extra={"lease": self._settings.identity})
                        return
            except (ApiError, TimeoutError) as error:
                logger.warning("Cannot ask for the lease: %s", error or "no answer in time")
            await asyncio.sleep(self._until_next_try())

    async def hold(self) -> None:
        """Renew until that fails for too long or another has the Lease; then raise LeaseLost. Never returns."""
        try:
            pause = self._settings.retry
            while True:
                await asyncio.sleep(pause)
                if not self.still_leading():
                    raise LeaseLost(f"not renewed within {self._settings.renew_deadline:g} s")
                renewed = await self._renew()
                pause = self._settings.retry if renewed else self._settings.retry / 4
        finally:
            self._leader.set(0)

    async def release(self) -> None:
        """Give the Lease back, so that another replica need not wait; a failure is no harm."""
        leading, self._valid_until = self.still_leading(), float("-inf")
        self._leader.set(0)
        if not leading or self._lease is None:
            return
        spec = {**self._lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _now()}
        try:
            async with asyncio.timeout(self._settings.retry):
                await self._kube.replace(LEASE, {**self._lease, "spec": spec})
        except (ApiError, TimeoutError) as error:
            logger.warning("The lease could not be released and will run out: %s", error or "no answer in time")

    async def _try_to_take(self) -> bool:
        """Take the Lease if nobody has it. Raise ApiError where the API server cannot be asked."""
        settings = self._settings
        live = await self._kube.get(LEASE, settings.namespace, settings.name)
        sent = self._clock()
        if live is None:
            metadata = {"name": settings.name, "namespace": settings.namespace}
            manifest = {"apiVersion": LEASE.api_version, "kind": LEASE.kind, "metadata": metadata}
            with suppress(Conflict):
                self._won(await self._kube.create(LEASE, {**manifest, "spec": self._spec(None)}), sent)
        elif self._is_free(live.get("spec") or {}):
            with suppress(Conflict):
                self._won(await self._kube.replace(LEASE, {**live, "spec": self._spec(live.get("spec") or {})}), sent)
        return self.still_leading()

    def _is_free(self, spec: dict[str, Any]) -> bool:
        """Tell whether nobody holds the Lease, or its holder has not renewed it for its duration by our clock."""
        if spec.get("holderIdentity") in ("", None, self._settings.identity):
            return True
        now = self._clock()
        if self._observed is None or self._observed.spec != spec:
            self._observed = _Observed(spec, now)
        return now >= self._free_at(self._observed)

    def _free_at(self, observed: _Observed) -> float:
        return observed.since + float(observed.spec.get("leaseDurationSeconds") or self._settings.duration)

    def _until_next_try(self) -> float:
        """Return how long to sleep: a retry period with jitter, less if the leader's time runs out before."""
        pause = self._settings.retry * random.uniform(1.0, 1.0 + _JITTER)  # noqa: S311
        if self._observed is None:
            return pause
        return max(0.05, min(pause, self._free_at(self._observed) - self._clock()))

    async def _renew(self) -> bool:
        """Renew once; tell whether it worked. Raise LeaseLost where another has the Lease."""
        if self._lease is None:
            raise LeaseLost("it was never held")
        sent = self._clock()
        left = self._valid_until - sent
        try:
            async with asyncio.timeout(min(left, self._settings.renew_deadline / 2)):
                spec = {**self._lease["spec"], "renewTime": _now()}
                self._won(await self._kube.replace(LEASE, {**self._lease, "spec": spec}), sent)
                return True
        except Conflict:
            await self._look_who_has_it()
        except (ApiError, TimeoutError) as error:
            logger.warning("The lease could not be renewed yet: %s", error or "no answer in time")
        return False

    async def _look_who_has_it(self) -> None:
        """After a conflict: go on if the Lease is ours still (an answer of ours was lost, or others touched labels)."""
        settings = self._settings
        try:
            async with asyncio.timeout(max(0.0, self._valid_until - self._clock())):
                live = await self._kube.get(LEASE, settings.namespace, settings.name)
        except (ApiError, TimeoutError) as error:
            logger.warning("The lease could not be read: %s", error or "no answer in time")
            return
        holder = (live or {}).get("spec", {}).get("holderIdentity")
        if live is None or holder != settings.identity:
            self._valid_until = float("-inf")
            raise LeaseLost(f"held by {holder or 'nobody'}")
        self._lease = live

    def _won(self, lease: Manifest, sent: float) -> None:
        """Note a successful write of the Lease whose request was made at `sent`."""
        self._lease = lease
        self._observed = None
        self._valid_until = sent + self._settings.renew_deadline
        self._leader.set(1)

    def _spec(self, before: dict[str, Any] | None) -> dict[str, Any]:
        """Return the spec that makes this process the holder, after the holder in `before` (None: the first ever)."""
        now = _now()
        return {
            "holderIdentity": self._settings.identity,
            "leaseDurationSeconds": max(1, round(self._settings.duration)),
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": 0 if before is None else int(before.get("leaseTransitions") or 0) + 1,
        }


def _now() -> str:
    """Return the time as a MicroTime of the Kubernetes API: for people to read, never compared with another clock."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
