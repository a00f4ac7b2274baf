"""The sites of an ImageService: the centre, which serves every store, and the edges, which serve their own.

An edge serves its own store first, with the highest weight and as its default, and the default store of the service:
copies between edges go through it. It knows no other edge's store, and so needs no other edge's secret.
"""

import dataclasses

from imageservice.api.v1alpha1 import Staging
from imageservice.render.inputs import ImageServiceInputs, StoreInputs


def edge_sites(inputs: ImageServiceInputs) -> list[ImageServiceInputs]:
    """Return the service as each of its edges is to have it, by the names of their stores."""
    edges = [store for store in inputs.stores if store.spec.edge is not None]
    return [edge_site(inputs, store) for store in sorted(edges, key=lambda store: store.name)]


def edge_site(inputs: ImageServiceInputs, store: StoreInputs) -> ImageServiceInputs:
    """Return the service as the edge of `store` is to have it. Raises ValueError where the store has no edge.

    A default store that pods on different nodes cannot have at once stays at the centre.
    """
    edge = store.spec.edge
    if edge is None:
        raise ValueError(f"ImageStore {store.name} has no edge")
    default = inputs.stores[0]
    stores = (store, default) if default.shared and default.store_id != store.store_id else (store,)
    placement = {name: getattr(edge, name) for name in ("replicas", "node_selector", "tolerations")}
    placement["topology_spread_constraints"] = edge.topology_spread_constraints
    placement["resources"] = edge.resources or inputs.spec.api.resources
    elsewhere = {other.store_id for other in inputs.stores} - {served.store_id for served in stores}
    changes = {
        "api": inputs.spec.api.model_copy(update=placement),
        "extra_config": {name: found for name, found in inputs.spec.extra_config.items() if name not in elsewhere},
        # A claim for staging is one of the centre: there, every pod of a site shares it.
        "imports": inputs.spec.imports.model_copy(update={"staging": _own_directory(inputs.spec.imports.staging)}),
    }
    return dataclasses.replace(
        inputs,
        spec=inputs.spec.model_copy(update=changes),
        stores=stores,
        default_store_id=store.store_id,
        edge=store.name,
        staging_is_shared=True,
    )


def _own_directory(staging: Staging | None) -> Staging | None:
    """Return how an edge stages: as the centre does, but for a claim, in a directory of each pod."""
    return None if staging and staging.persistent_volume_claim else staging
