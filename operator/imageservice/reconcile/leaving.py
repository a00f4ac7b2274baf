"""How an ImageStore leaves: not while it holds images, unless the user says so.

Without this, deleting the object would cut off every image in the store at the next roll-out. The finalizer is on a
store from when its service is about to serve it. It never outlives the service: where that is gone or going, as in a
namespace that is deleted, there is nothing to cut off.
"""

from imageservice.glance.monitor import MonitorError, Reason
from imageservice.glance.sites import SiteMonitors
from imageservice.manifest import Manifest
from imageservice.reconcile.stores import FINALIZER, is_held
from imageservice.runtime.cached import CachedKube
from imageservice.runtime.kinds import IMAGE_STORE
from imageservice.status.conditions import Condition
from imageservice.status.imagestore import deletion_blocked

FORCE_ANNOTATION = "imageservice.dev/delete-with-images"
"""Set to `true`, a store is let go with its images: they stay where they are, and Glance cannot reach them any more."""
LOOK_AGAIN_SECONDS = 15.0


async def hold(kube: CachedKube, live: Manifest) -> None:
    """Put our finalizer on a store that is about to be served."""
    if not is_held(live):
        await kube.apply_finalizers(IMAGE_STORE, live, [FINALIZER])


async def blocked(
    live: Manifest, service: Manifest | None, store_id: str, monitors: SiteMonitors, url: str
) -> Condition | None:
    """Return why the store `live`, which is being deleted, has to stay, or None where it may go.

    `url` is that of the store monitor at the centre, which counts in Glance's database.
    """
    if service is None or service["metadata"].get("deletionTimestamp"):
        return None
    annotations = live["metadata"].get("annotations", {})
    if annotations.get(FORCE_ANNOTATION) == "true" or not _ever_deployed(service):
        return None
    cure = f"The annotation {FORCE_ANNOTATION}=true lets the store go all the same, and cuts its images off."
    try:
        found = await monitors.images(url, store_id)
    except MonitorError as error:
        if error.reason is Reason.STORE_UNKNOWN:
            return None
        return deletion_blocked(
            "ImagesNotCounted", f"Nobody can tell how many images are in the store: {error.message} {cure}"
        )
    if found.images == 0:
        return None
    number = "1 image is" if found.images == 1 else f"{found.images} images are"
    return deletion_blocked(
        "HoldsImages",
        f"{number} in the store, {found.only_here} of them nowhere else. Delete them, or copy them to another store "
        f"and delete them from this one. {cure}",
    )


async def release(kube: CachedKube, live: Manifest) -> None:
    """Take our finalizer off."""
    await kube.apply_finalizers(IMAGE_STORE, live, [])


def _ever_deployed(service: Manifest) -> bool:
    """Tell whether pods of the service have ever run: before, nobody can have put an image anywhere."""
    return bool(service.get("status", {}).get("release"))
