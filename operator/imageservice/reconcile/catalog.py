"""The service's entries in Keystone's catalogue, and the finalizer that is there only while we hold some."""

from collections.abc import Callable
from datetime import datetime

from imageservice.api.reading import InvalidObject, read
from imageservice.api.v1alpha1 import ImageService, ImageServiceSpec
from imageservice.api.vocabulary import CATALOG_REGISTERED, IDENTITY_READY
from imageservice.errors import Blocked
from imageservice.identity.catalog import CatalogEntry, Owner
from imageservice.identity.errors import IdentityError
from imageservice.identity.registration import ensure_catalog, remove_catalog
from imageservice.identity.service_user import check_service_user
from imageservice.manifest import Manifest
from imageservice.reconcile.observe import catalog_credentials
from imageservice.render.inputs import Credentials
from imageservice.runtime.cached import CachedKube
from imageservice.runtime.events import EventRecorder
from imageservice.runtime.kinds import IMAGE_SERVICE, SECRET
from imageservice.status.conditions import Condition, false, true

FINALIZER = "imageservice.dev/keystone-catalog"
RELEASE_DEADLINE_SECONDS = 60.0
RELEASE_RETRY_SECONDS = 5.0


async def identity_ready(spec: ImageServiceSpec, credentials: Credentials) -> Condition:
    """Return the condition IdentityReady: whether Keystone takes the user that Glance runs as."""
    try:
        await check_service_user(spec.identity.auth_url, credentials)
    except IdentityError as error:
        return false(IDENTITY_READY, error.reason.value, error.message)
    return true(IDENTITY_READY, "Authenticated", "Keystone takes the service user.")


class CatalogKeeper:
    """Keeps the catalogue entries of ImageServices right, and takes them out again when one is deleted."""

    def __init__(self, kube: CachedKube, recorder: EventRecorder, clock: Callable[[], datetime]) -> None:
        self._kube = kube
        self._recorder = recorder
        self._clock = clock

    async def keep(
        self,
        live: Manifest,
        spec: ImageServiceSpec,
        admin: Credentials | None,
        internal_url: str,
        *,
        api_available: bool,
    ) -> Condition:
        """Bring the catalogue to what the spec asks for and return the condition CatalogRegistered.

        `admin` is None where the catalogue is not ours to keep; then what is in it stays as it is. A new service is
        entered once its API answers.
        """
        holding = FINALIZER in live["metadata"].get("finalizers", [])
        if admin is None:
            if holding:
                await self._kube.apply_finalizers(IMAGE_SERVICE, live, [])
            return true(CATALOG_REGISTERED, "NotManaged", "spec.identity.catalog.register is false.")
        if not holding and not api_available:
            return false(CATALOG_REGISTERED, "WaitingForAPI", "The endpoints are entered once the API is available.")
        await self._hold(live, wanted=spec.identity.catalog.deletion_policy == "Delete", holding=holding)
        try:
            state = await ensure_catalog(spec.identity.auth_url, admin, _entries(spec, internal_url), owner_of(live))
        except IdentityError as error:
            return false(CATALOG_REGISTERED, error.reason.value, error.message)
        if state.changes:
            await self._recorder.emit(live, "Normal", "CatalogChanged", "; ".join(state.changes))
        return true(CATALOG_REGISTERED, "Registered", "The service and its endpoints are in Keystone's catalogue.")

    async def _hold(self, live: Manifest, *, wanted: bool, holding: bool) -> None:
        """Have the finalizer before the first entry is made, and not where the entries are to outlive the object."""
        if wanted != holding:
            await self._kube.apply_finalizers(IMAGE_SERVICE, live, [FINALIZER] if wanted else [])

    async def release(self, live: Manifest) -> float | None:
        """Take the entries of a deleted ImageService out and let it go; return the seconds to the next try, if any.

        What cannot be taken out within the deadline is left behind, with an Event: a Keystone that is gone must not
        keep a namespace from going.
        """
        if FINALIZER not in live["metadata"].get("finalizers", []):
            return None
        try:
            removed = await self._remove(live)
        except (Blocked, IdentityError) as error:
            deleted_at = datetime.fromisoformat(live["metadata"]["deletionTimestamp"])
            if (self._clock() - deleted_at).total_seconds() < RELEASE_DEADLINE_SECONDS:
                return RELEASE_RETRY_SECONDS
            message = f"Catalogue entries may be left in Keystone; remove them by hand. {error}"
            await self._recorder.emit(live, "Warning", "CatalogEntriesLeft", message)
        else:
            if removed:
                await self._recorder.emit(live, "Normal", "CatalogRemoved", "; ".join(removed))
        await self._kube.apply_finalizers(IMAGE_SERVICE, live, [])
        return None

    async def _remove(self, live: Manifest) -> list[str]:
        found = read(ImageService, live)
        if isinstance(found, InvalidObject):
            raise Blocked(CATALOG_REGISTERED, "InvalidSpec", found.message)
        spec, catalog = found.spec, found.spec.identity.catalog
        if catalog.deletion_policy == "Retain" or catalog.secret_ref is None:
            return []
        name = catalog.secret_ref.name
        secret = await self._kube.get(SECRET, live["metadata"]["namespace"], name)
        admin = catalog_credentials(spec, {name: secret})
        return [] if admin is None else await remove_catalog(spec.identity.auth_url, admin, owner_of(live))


def owner_of(live: Manifest) -> Owner:
    """Return the mark of this ImageService in the catalogue."""
    metadata = live["metadata"]
    return Owner(uid=metadata["uid"], name=f"{metadata['namespace']}/{metadata['name']}")


def _entries(spec: ImageServiceSpec, internal_url: str) -> list[CatalogEntry]:
    catalog, region = spec.identity.catalog, spec.identity.region
    entries = [CatalogEntry("internal", region, catalog.internal_url or internal_url)]
    if catalog.public_url:
        entries.append(CatalogEntry("public", region, catalog.public_url))
    return entries
