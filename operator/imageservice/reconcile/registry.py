"""All reconcilers, one a kind."""

from imageservice.reconcile.imageservice import ImageServiceReconciler
from imageservice.reconcile.imagestore import ImageStoreReconciler
from imageservice.runtime.cached import CachedKube
from imageservice.runtime.events import EventRecorder
from imageservice.runtime.loop import Reconciler
from imageservice.runtime.settings import Settings


def reconcilers(kube: CachedKube, recorder: EventRecorder, settings: Settings) -> list[Reconciler]:
    """Return a reconciler for every kind that the operator serves."""
    return [ImageServiceReconciler(kube, recorder, settings), ImageStoreReconciler(kube, recorder)]
