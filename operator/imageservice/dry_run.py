"""Render without a cluster: manifests in, the children that the operator would make out, with no secret shown.

It goes the same way as a reconcile: the same verdicts on stores, the same resolution of references, the same builders.
"""

import base64
from collections.abc import Iterable, Sequence
from pathlib import Path

import yaml

from imageservice.api.reading import InvalidObject, read
from imageservice.api.v1alpha1 import CachePolicy, ImageService, ImageServiceSpec
from imageservice.errors import Blocked
from imageservice.manifest import Manifest
from imageservice.reconcile import cache_conflicts, cache_target, store_credentials, stores
from imageservice.reconcile.cache_conflicts import Claim
from imageservice.reconcile.observe import World, accept, claim_names, resolve_inputs, secret_names
from imageservice.reconcile.sites import render_site
from imageservice.releases import RELEASES, Release
from imageservice.render import ini
from imageservice.render.agent_token import token_of
from imageservice.render.cache_config import cache_config_secret
from imageservice.render.cache_daemonset import daemon_set
from imageservice.render.cache_inputs import CacheInputs
from imageservice.render.cache_service import agents_service, cache_service
from imageservice.render.database_job import database_job, database_secret
from imageservice.render.imports import staging_claim
from imageservice.render.inputs import ImageServiceInputs
from imageservice.render.sites import edge_sites
from imageservice.render.store_secret import store_secret
from imageservice.runtime.settings import Settings
from imageservice.sensitive import Sensitive
from imageservice.status.masking import redact


class NotRenderable(Exception):  # noqa: N818 - a verdict on the input
    """The manifests cannot be rendered; the message says what is wrong and how to mend it."""


def render(files: Iterable[Path], settings: Settings | None = None) -> list[Manifest]:
    """Return the children of every ImageService in the files, and of the CachePolicies in front of it.

    The files hold the ImageServices, their ImageStores, the Secrets, ConfigMaps and claims that they refer to.
    Raise NotRenderable where something is missing or wrong.
    """
    manifests = [document for path in files for document in yaml.safe_load_all(path.read_text()) if document]
    found = [item for item in manifests if item.get("kind") == "ImageService"]
    if not found:
        raise NotRenderable("The files hold no ImageService.")
    return [child for item in found for child in _render_one(item, manifests, settings or Settings())]


def _render_one(item: Manifest, manifests: Sequence[Manifest], settings: Settings) -> list[Manifest]:
    live = _as_live(item)
    try:
        found = read(ImageService, live)
        if isinstance(found, InvalidObject):
            raise NotRenderable(found.message)
        release = RELEASES[found.spec.release]
        namespaced = [_as_live(other) for other in manifests if _namespace(other) == _namespace(item)]
        world = _world(live, found.spec, release, namespaced)
        accept(found.spec, release, world.verdicts)
        inputs = resolve_inputs(live, found.spec, world, settings)
        confidential = [*world.confidential, token_of(inputs)]
        children = _children(inputs, confidential) + cache_children(inputs, namespaced)
    except (Blocked, ValueError) as error:
        raise NotRenderable(f"ImageService {_namespace(item)}/{live['metadata']['name']}: {error}") from error
    return [redacted(child, confidential) for child in children]


def _world(live: Manifest, spec: ImageServiceSpec, release: Release, namespaced: Sequence[Manifest]) -> World:
    """Return what a reconcile would read. Raise Blocked for a store with a fault: it would be left out."""
    image_stores = [other for other in namespaced if other.get("kind") == "ImageStore"]
    mine = stores.referring(live["metadata"]["name"], image_stores)
    referred = [store_credentials.references(store) for store in mine]
    named: dict[str, list[str | None]] = {
        "PersistentVolumeClaim": [*claim_names(mine, staging_claim(spec))],
        "Secret": [*secret_names(spec), *(found.secret for found in referred)],
        "ConfigMap": [found.config_map for found in referred],
    }
    claims, secrets, config_maps = (
        {name: _find(namespaced, kind, name) for name in names if name} for kind, names in named.items()
    )
    credentials = store_credentials.resolve_all(mine, secrets, config_maps, release)
    verdicts = stores.judge(mine, claims, release, spec.api.replicas, credentials)
    for verdict in verdicts:
        if verdict.problem is not None:
            problem = verdict.problem
            raise Blocked(problem.condition, problem.reason, f"ImageStore {verdict.name}: {problem.message}")
    return World(image_stores, verdicts, secrets, claims)


def _children(inputs: ImageServiceInputs, confidential: Sequence[Sensitive]) -> list[Manifest]:
    """Return every child, in the order of their making."""
    sites = [render_site(site, confidential) for site in (inputs, *edge_sites(inputs))]
    database = database_secret(inputs)
    database_name = database["metadata"]["name"]
    children = [
        *(store_secret(inputs, store) for store in inputs.stores),
        *(child for site in sites for child in (site.service, site.config, site.budget)),
        database,
        database_job(inputs, "sync", database_name),
        *(site.wanted for site in sites),
    ]
    return [child for child in children if child is not None]


def cache_children(inputs: ImageServiceInputs, namespaced: Sequence[Manifest]) -> list[Manifest]:
    """Return every child of the CachePolicies whose target is this service, or an edge of it."""
    edges = {store.name for store in inputs.stores if store.spec.edge is not None}
    claims: list[Claim] = []
    children: list[Manifest] = []
    for live in sorted((one for one in namespaced if one.get("kind") == "CachePolicy"), key=cache_conflicts.since):
        found = read(CachePolicy, live)
        if isinstance(found, InvalidObject):
            raise NotRenderable(found.message)
        spec, name = found.spec, live["metadata"]["name"]
        kind, of = spec.target_ref.kind, spec.target_ref.name
        if of not in (edges if kind == "ImageStore" else {inputs.name}):
            continue
        selector = dict(spec.node_selector)
        if kind == "ImageStore" and not selector:
            selector = dict(cache_target.nodes_of_edge(_find(namespaced, kind, of) or {}))
        mine = Claim(name, inputs.name, selector, cache_conflicts.since(live))
        older = cache_conflicts.rivals(mine, claims)
        claims.append(mine)
        site = cache_target.site_at_nodes(inputs, spec, selector)
        metadata = live["metadata"]
        policy = CacheInputs(
            name, metadata["namespace"], metadata["uid"], spec, site, selector, tuple(c.node_selector for c in older)
        )
        config = cache_config_secret(policy)
        children += [cache_service(policy), agents_service(policy), config, daemon_set(policy, config)]
    return children


def redacted(manifest: Manifest, confidential: Sequence[Sensitive]) -> Manifest:
    """Return the manifest; a Secret as plain text, with every confidential value in it hidden."""
    if manifest.get("kind") != "Secret":
        return manifest
    plain = dict(manifest.get("stringData") or {})
    plain |= {key: base64.b64decode(text).decode() for key, text in (manifest.get("data") or {}).items()}
    as_in_files = [Sensitive(ini.escaped(secret.reveal())) for secret in confidential]
    shown = {key: redact(text, [*confidential, *as_in_files]) for key, text in plain.items()}
    return {key: value for key, value in manifest.items() if key != "data"} | {"stringData": shown}


def _as_live(item: Manifest) -> Manifest:
    """Fill in what the API server would have: a namespace, a uid, and the data of a Secret in base64."""
    metadata = {"namespace": "default", "uid": "00000000-0000-0000-0000-000000000000", "generation": 1}
    live = item | {"metadata": metadata | item.get("metadata", {})}
    if item.get("kind") == "Secret":
        plain = item.get("stringData") or {}
        encoded = {key: base64.b64encode(str(text).encode()).decode() for key, text in plain.items()}
        live["data"] = (item.get("data") or {}) | encoded
    return live


def _namespace(item: Manifest) -> str:
    return str(item.get("metadata", {}).get("namespace", "default"))


def _find(manifests: Sequence[Manifest], kind: str, name: str) -> Manifest | None:
    return next((m for m in manifests if m.get("kind") == kind and m["metadata"].get("name") == name), None)
