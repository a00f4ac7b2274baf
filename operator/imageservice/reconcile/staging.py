"""Whether imports can be staged in the volume that the spec asks for. Pure: manifests in, a verdict or Blocked out."""

from collections.abc import Iterable, Mapping

from imageservice.api.v1alpha1 import ImageServiceSpec
from imageservice.api.vocabulary import ACCEPTED, RESOLVED_REFS
from imageservice.errors import Blocked
from imageservice.manifest import Manifest
from imageservice.reconcile.stores import SHARED_ACCESS_MODE, claim_name
from imageservice.render.imports import staging_claim

FIELD = "spec.imports.staging.persistentVolumeClaim.claimName"


def staging_is_shared(
    spec: ImageServiceSpec, stores: Iterable[Manifest], claims: Mapping[str, Manifest | None]
) -> bool:
    """Tell whether pods on several nodes can have the staging volume at once; a directory of each pod is no hindrance.

    `stores` are all ImageStores of the namespace, `claims` has the claim that the spec names. Raise Blocked where it is
    not there, holds images, or is to be shared by several replicas though one node alone can mount it.
    """
    name = staging_claim(spec)
    if name is None:
        return True
    _accept_beside(stores, name)
    claim = claims.get(name)
    if claim is None:
        raise Blocked(
            RESOLVED_REFS,
            "ClaimNotFound",
            f"There is no PersistentVolumeClaim `{name}` in this namespace ({FIELD}). Create it.",
        )
    shared = SHARED_ACCESS_MODE in claim.get("spec", {}).get("accessModes", [])
    if not shared and spec.api.replicas > 1:
        raise Blocked(
            ACCEPTED,
            "StoreNotShared",
            f"{spec.api.replicas} API replicas cannot share the PersistentVolumeClaim `{name}` ({FIELD}). Use one with "
            f"access mode {SHARED_ACCESS_MODE}, let each pod stage in an EmptyDir, or set spec.api.replicas to 1.",
        )
    return shared


def _accept_beside(stores: Iterable[Manifest], name: str) -> None:
    """Raise Blocked where a store keeps images in the claim: both name a file by the id of its image."""
    store = next((store["metadata"]["name"] for store in stores if claim_name(store) == name), None)
    if store is not None:
        raise Blocked(
            ACCEPTED,
            "InvalidSpec",
            f"The ImageStore `{store}` keeps images in the PersistentVolumeClaim `{name}` ({FIELD}). Name another one "
            "for staging.",
        )
