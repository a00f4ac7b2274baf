"""What the schema cannot say: values that mean something in the namespace where the objects are tried.

By label (`schema.Place.label`, shell patterns allowed). A field without a line here takes what its schema allows. So a
new field needs a line only where most of what is allowed would keep the object from working.
"""

import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from functools import cache

from hypothesis import strategies as st
from tests.transitions.schema import ABSENT, Manifest, changed

from imageservice.api.v1alpha1.store_ceph import CHUNK_SIZES
from imageservice.releases import RELEASES
from imageservice.render.options import OWNED, OWNED_SECTIONS, known_options, store_options
from imageservice.render.stores.drivers import DRIVERS

AUTH_URL = "http://keystone.placeholder/v3"
"""Stands for the Keystone of the namespace until the object is applied."""

DATABASE_SECRETS = ("glance-db", "glance-db.2")
DATABASE_KEYS = ("url", "other_url", "UPPER.case-key")
USER_SECRETS = ("glance-user", "glance-user-2")
ADMIN_SECRETS = ("keystone-admin",)
STORE_CLAIMS = ("images", "more-images")
STAGING_CLAIMS = ("staging",)
CLAIMS = (*STORE_CLAIMS, *STAGING_CLAIMS)
CEPH_SECRETS = ("ceph-key", "ceph-key-2")
CEPH_CONFIG_MAPS = ("ceph-etc",)
S3_SECRETS = ("bucket-key",)
STORE_USER_SECRETS = ("store-user",)
NODE_LABELS = {"kubernetes.io/os": "linux", "type": "kwok"}
NODES = ("fake-1", "fake-2", "fake-3")
HOST_PORT = 9292
"""Stands for a port of the nodes that is free in the namespace where the object is applied."""
LABELS = {"tier": "gold"}
"""What generated objects are labelled with, and selectors ask for."""

IMAGE_ID = "3f0e7f1e-5d0c-4c5e-8f6a-2a1c9d7b6e54"

AT_MOST: Mapping[str, tuple[int, int]] = {
    "ImageService": (1, 1),
    "ImageStore": (1, 3),
    "CachePolicy": (0, 1),  # of two that want one node the older has it: the way would show in the end
    "ImagePrecache": (0, 2),
}
"""Fewest and most objects of a kind in one namespace; a kind without a line has up to two."""


@dataclass(frozen=True)
class Names:
    """The names of the objects of one namespace: kind -> names, and that of the object in question."""

    of: Mapping[str, tuple[str, ...]]
    own: str = ""


Hint = Callable[[Names], st.SearchStrategy[object]]


def _any(*values: object) -> Hint:
    return lambda _names: st.sampled_from(values)


def _named(kind: str) -> Hint:
    return lambda names: st.sampled_from(names.of[kind])


@cache
def _text_options() -> dict[str, tuple[str, ...]]:
    """Return section -> options that every release knows, that are ours to set, and that take any text."""
    per_release = [known_options(release) for release in RELEASES.values()]
    found: dict[str, tuple[str, ...]] = {}
    for section in sorted(set(per_release[0]) - set(OWNED_SECTIONS)):
        options = [
            name
            for name, option in per_release[0][section].items()
            if option["type"] == "string" and "choices" not in option and name not in OWNED.get(section, {})
        ]
        everywhere = [name for name in sorted(options) if all(name in known.get(section, {}) for known in per_release)]
        if everywhere:
            found[section] = tuple(everywhere)
    return found


_LINE = st.one_of(
    st.sampled_from(
        ["", "1", "a$b", "100%", "x # y", '"quoted"', " [DEFAULT]", "%(host)s ${HOME}", "é日\U0001f680", "\\$x"]
    ),
    st.text(st.characters(exclude_categories=["C", "Z"]), max_size=40),
)


def _extra_config(_names: Names) -> st.SearchStrategy[object]:
    sections = st.sampled_from(sorted(_text_options()))

    def with_options(section: str) -> st.SearchStrategy[tuple[str, dict[str, str]]]:
        names = st.sampled_from(_text_options()[section])
        return st.tuples(st.just(section), st.dictionaries(names, _LINE, max_size=3))

    return st.lists(sections.flatmap(with_options), max_size=3).map(dict)


def _store_options(_names: Names) -> st.SearchStrategy[object]:
    """Return options of any driver; `usable` leaves those of the store's own."""
    return st.dictionaries(st.sampled_from(sorted(STORE_OPTIONS)), st.integers(1, 9).map(str), max_size=4)


STORE_OPTIONS = ("filesystem_store_chunk_size", "swift_store_retry_get_count", "cinder_http_retries")
"""Options without a field, numbers all of them. The drivers for Ceph and S3 have none that every release knows."""


def _a_node(names: Names) -> st.SearchStrategy[object]:
    """Return the labels of a node that no other CachePolicy of the namespace asks for, while there are enough."""
    number = names.of["CachePolicy"].index(names.own)
    return st.just({"kubernetes.io/hostname": NODES[number % len(NODES)]})


def _target(names: Names) -> st.SearchStrategy[object]:
    """Return what a cache may be in front of; `usable` sees to it that a store has an edge."""
    return st.sampled_from(
        [{"kind": kind, "name": name} for kind in ("ImageService", "ImageStore") for name in names.of[kind]]
    )


def _since_yesterday() -> str:
    """Return the schedule of a window that opened yesterday, and once a year."""
    yesterday = datetime.now(UTC) - timedelta(days=1)
    return f"0 0 {yesterday.day} {yesterday.month} *"


_WEEK_SECONDS = 604_800
OPEN = {"schedule": _since_yesterday(), "durationSeconds": _WEEK_SECONDS}
CLOSED = {"schedule": "0 0 29 2 *", "durationSeconds": 60, "timeZone": "Europe/Berlin"}
"""Windows that stay as they are while the tests run: else the end would depend on the hour."""

ALWAYS: Mapping[str, Hint] = {
    "CachePolicy.spec.exposure.hostPort": _any(HOST_PORT),
    "CachePolicy.spec.nodeSelector": _a_node,
    "ImagePrecache.spec.windows": _any([OPEN], [CLOSED], [CLOSED, OPEN]),
    "ImageService.spec.identity.authURL": _any(AUTH_URL),
    "ImageService.spec.api.replicas": _any(0, 0, 0, 0, 1, 1, 2),  # pods cost processor time
    "ImageStore.spec.edge.replicas": _any(1, 1, 2),
    "ImageStore.spec.ceph.chunkSize": _any(*CHUNK_SIZES),  # few numbers are powers of two
    "*.imageServiceRef.name": _named("ImageService"),
}
"""For every object that reaches the operator: nothing outside of this machine is asked, and few pods are made."""

USABLE: Mapping[str, Hint] = {
    "ImageService.spec.database.secretRef.name": _any(*DATABASE_SECRETS),
    "ImageService.spec.database.secretRef.key": _any(*DATABASE_KEYS),
    "ImageService.spec.identity.secretRef.name": _any(*USER_SECRETS),
    "ImageService.spec.identity.catalog.secretRef.name": _any(*ADMIN_SECRETS),
    "ImageService.spec.defaultStore": _named("ImageStore"),
    "ImageService.spec.extraConfig": _extra_config,
    "ImageService.spec.formats.disk": _any(["raw", "qcow2", "vmdk"], ["vmdk", "iso", "qcow2", "raw"]),
    "ImageService.spec.formats.container": _any(["bare", "ovf"]),
    "ImageService.spec.imports.conversion.outputFormat": _any("raw", "qcow2", "vmdk"),
    "ImageStore.spec.storeID": lambda names: st.just(f"id_{zlib.crc32(names.own.encode()):x}"),  # never that of another
    "ImageStore.spec.filesystem.volume.type": _any("PersistentVolumeClaim", "PersistentVolumeClaim", "NFS", "EmptyDir"),
    "ImageStore.spec.filesystem.volume.persistentVolumeClaim.claimName": _any(*STORE_CLAIMS),
    "ImageService.spec.imports.staging.persistentVolumeClaim.claimName": _any(*STAGING_CLAIMS),
    "ImageStore.spec.ceph.secretRef.name": _any(*CEPH_SECRETS),
    "ImageStore.spec.ceph.configMapRef.name": _any(*CEPH_CONFIG_MAPS),
    "ImageStore.spec.s3.secretRef.name": _any(*S3_SECRETS),
    "ImageStore.spec.swift.secretRef.name": _any(*STORE_USER_SECRETS),
    "ImageStore.spec.cinder.secretRef.name": _any(*STORE_USER_SECRETS),
    "ImageStore.spec.extraConfig": _store_options,
    "ImageStore.spec.edge.nodeSelector": lambda _names: st.sampled_from(
        [{key: value} for key, value in NODE_LABELS.items()] + [NODE_LABELS]
    ),
    "CachePolicy.spec.targetRef": _target,
    "CachePolicy.spec.volume.type": _any("EmptyDir", "HostPath"),
    "ImagePrecache.spec.images": _any(
        [{"id": IMAGE_ID}, {"name": "ubuntu-26.04", "owner": "0b8900c9640f4c0e9d5c5a2ff0d4a9b1"}], [{"name": "debian"}]
    ),
    "ImagePrecache.spec.cachePolicySelector.matchLabels": _any(LABELS),
    "ImagePrecache.spec.cachePolicySelector.matchExpressions": _any(
        [
            {"key": "tier", "operator": "In", "values": ["gold", "silver"]},
            {"key": "another", "operator": "DoesNotExist"},
        ],
        [{"key": "tier", "operator": "Exists"}],
    ),
    "*.nodeSelector": lambda _names: st.sets(st.sampled_from(sorted(NODE_LABELS))).map(
        lambda keys: {key: NODE_LABELS[key] for key in sorted(keys)}
    ),
    "*.topologySpreadConstraints[[]].topologyKey": _any(*NODE_LABELS, "kubernetes.io/hostname"),
    "*esources.*.cpu": _any("250m", "0.5", 0, "0.001", "1000m", "1"),
    "*esources.*.memory": _any("64Mi", "0.5Gi", 0, "1024Ki", "1000000", "1.5M"),
}
"""For objects that are to become Ready: what they refer to is there, and their pods find a node."""

NOT_HERE = ("CachePolicy.spec.volume.ephemeral",)
"""Places that nothing fills, with all below them: no fake node has a provisioner (tests/e2e tries it on real ones)."""


def hint(label: str, names: Names, *, usable: bool) -> st.SearchStrategy[object] | None:
    """Return the values for a place; None where the schema says it all."""
    for table in (ALWAYS, USABLE) if usable else (ALWAYS,):
        for pattern, found in table.items():
            if fnmatchcase(label, pattern):
                return found(names)
    return None


def has_hint(label: str) -> bool:
    """Tell whether there is a hint for a place, or one around it, that is left aside where anything may be tried."""
    return _is_in(USABLE, label)


def keeps_to_hint(label: str) -> bool:
    """Tell whether a place never has any other value than its hint says."""
    return _is_in(ALWAYS, label)


def _is_in(table: Mapping[str, Hint], label: str) -> bool:
    return any(fnmatchcase(label, pattern) or fnmatchcase(label, f"{pattern}[.{{]*") for pattern in table)


def pods(manifest: Manifest) -> int:
    """Return how many pods an object asks for. Where it does not matter, fewer are better: they cost processor time."""
    if manifest["kind"] == "ImageService":
        return int(manifest["spec"].get("api", {}).get("replicas", 2))
    return int(manifest["spec"]["edge"].get("replicas", 1)) if "edge" in manifest["spec"] else 0


def usable(manifests: Iterable[Manifest]) -> list[Manifest]:
    """Return objects that can work together: what no schema of a single object can say.

    One of several stores is named as the default one, stores that one pod alone can have are served by one, and where
    the service is to be entered in the catalogue, which takes an API that answers, there is a pod. A store has options
    of its own driver only, and an edge only where several pods can have it. A cache is in front of what is there and
    can be had by many nodes, and images are wanted only where there is a cache.
    """
    objects = [_as_it_can_be(found) if found["kind"] == "ImageStore" else found for found in manifests]
    stores = [manifest for manifest in objects if manifest["kind"] == "ImageStore"]
    objects = [_with_its_stores(found, stores) if found["kind"] == "ImageService" else found for found in objects]
    services = [manifest for manifest in objects if manifest["kind"] == "ImageService"]
    return _with_caches_in_front(objects, services[0], stores) if services and stores else objects


def _as_it_can_be(store: Manifest) -> Manifest:
    if "edge" in store["spec"] and _of_one_pod(store):
        store = changed(store, ("spec", "edge"), ABSENT)
    options = store["spec"].get("extraConfig")
    if options is None:
        return store
    known = store_options(RELEASES["2025.1"], DRIVERS[store["spec"]["type"]])
    return changed(store, ("spec", "extraConfig"), {name: options[name] for name in options if name in known})


def _with_its_stores(service: Manifest, stores: list[Manifest]) -> Manifest:
    spec = service["spec"]
    names = [store["metadata"]["name"] for store in stores]
    if names and spec.get("defaultStore", "") not in (names if len(names) > 1 else ["", *names]):
        service = changed(service, ("spec", "defaultStore"), names[0])
    replicas, registered = pods(service), spec["identity"]["catalog"].get("register", True)
    if (replicas > 1 and any(map(_of_one_pod, stores))) or (replicas == 0 and registered):
        service = changed(service, ("spec", "api", "replicas"), 1)
    return service


def _of_one_pod(store: Manifest) -> bool:
    return bool(store["spec"].get("filesystem", {}).get("volume", {}).get("type") == "EmptyDir")


def _with_caches_in_front(objects: list[Manifest], service: Manifest, stores: list[Manifest]) -> list[Manifest]:
    """Return the objects with caches that have a target, or without any where there is nothing to be had by nodes."""
    edges = [{"kind": "ImageStore", "name": found["metadata"]["name"]} for found in stores if "edge" in found["spec"]]
    default = service["spec"].get("defaultStore", stores[0]["metadata"]["name"])
    alone = any(_of_one_pod(found) for found in stores if found["metadata"]["name"] == default)
    targets = [*([] if alone else [{"kind": "ImageService", "name": service["metadata"]["name"]}]), *edges]
    if not targets:
        return [found for found in objects if found["kind"] not in ("CachePolicy", "ImagePrecache")]
    aimed = [_aimed(found, targets) if found["kind"] == "CachePolicy" else found for found in objects]
    any_cache = any(found["kind"] == "CachePolicy" for found in aimed)
    return [found for found in aimed if any_cache or found["kind"] != "ImagePrecache"]


def _aimed(policy: Manifest, targets: list[Manifest]) -> Manifest:
    return policy if policy["spec"]["targetRef"] in targets else changed(policy, ("spec", "targetRef"), targets[0])
