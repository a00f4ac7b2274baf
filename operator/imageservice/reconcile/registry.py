"""All reconcilers, one a kind."""

from imageservice.glance.fleet import Fleet
from imageservice.glance.sites import SiteMonitors
from imageservice.runtime.cached import CachedKube
from imageservice.runtime.events import EventRecorder
from imageservice.runtime.loop import Reconciler
from imageservice.runtime.process import MakeReconcilers
from imageservice.runtime.settings import Settings


def reconcilers(monitors: SiteMonitors, fleet: Fleet) -> MakeReconcilers:
    """Return what makes a reconciler for every kind that the operator serves.

    `monitors` are asked about stores, the agents of `fleet` about caches.
    """

    def make(kube: CachedKube, recorder: EventRecorder, settings: Settings) -> list[Reconciler]:
        # Read while the API server writes the first lists: a seventh of all that is imported at a start.
        from imageservice.reconcile.cachepolicy import CachePolicyReconciler  # noqa: PLC0415
        from imageservice.reconcile.imageprecache import ImagePrecacheReconciler  # noqa: PLC0415
        from imageservice.reconcile.imageservice import ImageServiceReconciler  # noqa: PLC0415
        from imageservice.reconcile.imagestore import ImageStoreReconciler  # noqa: PLC0415

        return [
            ImageServiceReconciler(kube, recorder, settings),
            ImageStoreReconciler(kube, recorder, settings, monitors),
            CachePolicyReconciler(kube, recorder, settings, fleet),
            ImagePrecacheReconciler(kube, recorder, settings, monitors, fleet),
        ]

    return make
