"""What rendering a CachePolicy needs, with every reference resolved."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING

from imageservice.api.quantities import amount
from imageservice.api.v1alpha1 import CachePolicySpec
from imageservice.render.imports import METHODS
from imageservice.render.inputs import ImageServiceInputs

NodeLabels = Mapping[str, str]

STAGED_METHODS = frozenset(("glance-direct",))
"""Imports for which clients bring the data to one pod: those go to the API pods of the site."""


@dataclass(frozen=True)
class CacheInputs:
    """One CachePolicy. `site` is the ImageService as the nodes of the policy have it (`at_nodes`).

    `node_selector` are the labels of the nodes that it asks for. `older` are those of older policies of the same
    ImageService, whose nodes are not this policy's.
    """

    name: str
    namespace: str
    uid: str
    spec: CachePolicySpec
    site: ImageServiceInputs
    node_selector: NodeLabels
    older: tuple[NodeLabels, ...] = ()


def at_nodes(site: ImageServiceInputs, spec: CachePolicySpec, node_selector: NodeLabels) -> ImageServiceInputs:
    """Return a site as it is on the nodes of a cache: its stores, but for those that only one pod can have.

    Raises ValueError where the default store is such a one.
    """
    stores = tuple(store for store in site.stores if store.shared)
    if not any(store.store_id == site.default_store_id for store in stores):
        raise ValueError(f"the store `{site.default_store_id}` is one that only one pod can have")
    api = site.spec.api.model_copy(
        update={
            "node_selector": dict(node_selector),
            "tolerations": spec.tolerations or (site.spec.api.tolerations if site.edge is not None else []),
            "resources": spec.resources,
            "processes": spec.processes,
            "termination_grace_period_seconds": spec.termination_grace_period_seconds,
        }
    )
    methods = [method for method in site.spec.imports.methods or METHODS if method not in STAGED_METHODS]
    imports = site.spec.imports.model_copy(update={"methods": methods, "staging": None})
    known = {store.store_id for store in stores}
    elsewhere = {store.store_id for store in site.stores} - known
    extra = {name: options for name, options in site.spec.extra_config.items() if name not in elsewhere}
    changes = {"api": api, "imports": imports, "extra_config": extra}
    return dataclasses.replace(site, spec=site.spec.model_copy(update=changes), stores=stores, staging_is_shared=True)


def size_in_bytes(quantity: str) -> int:
    """Return a quantity as a whole number of bytes, rounded up."""
    return int(amount(quantity).to_integral_value(ROUND_CEILING))
