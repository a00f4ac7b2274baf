"""What the operator is made to do while things go wrong: changes by the user, step by step, as plain data.

A kind that comes later gets its line in OWN_KINDS, its children theirs in CHILD_KINDS, and a scenario, or a step in
one, in which it is created, changed and deleted.
"""

import base64
import json
from dataclasses import dataclass
from typing import Any

from tests.api_client import Manifest
from tests.integration.objects import API, image_service, image_store, secret, secrets

OWN_KINDS = ("ImageService", "ImageStore", "CachePolicy", "ImagePrecache")
"""The kinds that the operator serves."""
CHILD_KINDS = ("Deployment", "DaemonSet", "Job", "Service", "Secret", "PodDisruptionBudget")
"""The kinds of what it makes."""
USER_KINDS = ("ConfigMap", "PersistentVolumeClaim")
"""Kinds of the user's that it must leave alone."""
KINDS = (*OWN_KINDS, *CHILD_KINDS, *USER_KINDS)

CLAIM = "images"
"""A PersistentVolumeClaim that many nodes can mount, in every namespace before a scenario begins."""
_AUTH_URL = "http://keystone.invalid/v3"
_REGION = "RegionOne"
_DATABASE = "mysql+pymysql://glance:late@mariadb:3306/glance"
_MORE = {"DEFAULT": {"debug": "true"}}


@dataclass(frozen=True)
class Step:
    """One thing that the user does. `ready` names the objects that are Ready in the end, all others of ours are not.

    Nobody is killed in a step that is `told_elsewhere`: another story has the same.
    """

    name: str
    apply: tuple[Manifest, ...] = ()
    delete: tuple[tuple[str, str], ...] = ()
    ready: tuple[str, ...] = ()
    told_elsewhere: bool = False

    def manifests(self, auth_url: str) -> list[Manifest]:
        """Return the objects to apply, with the Keystone that is really there."""
        found: list[Manifest] = json.loads(json.dumps(self.apply).replace(_AUTH_URL, auth_url))
        return found


@dataclass(frozen=True)
class Scenario:
    """A story from an empty namespace to an empty one: the last step must delete all that the others made."""

    name: str
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        return self.name


def _service(
    *, catalog: Manifest | None = None, replicas: int = 1, database: str = "glance-db", **spec: Any
) -> Manifest:
    manifest = image_service(None, defaultStore="central", api={"replicas": replicas}, **spec)
    manifest["spec"]["database"]["secretRef"]["name"] = database
    identity = manifest["spec"]["identity"] | {"authURL": _AUTH_URL, "region": _REGION}
    identity["catalog"] = {"register": False} if catalog is None else identity["catalog"] | catalog
    manifest["spec"]["identity"] = identity
    return manifest


def _nfs_store(name: str, path: str = "/exports/images", **spec: Any) -> Manifest:
    volume = {"type": "NFS", "nfs": {"server": "nfs.example", "path": path}}
    return image_store(name, filesystem={"volume": volume}, **spec)


def _ceph_store(name: str, **spec: Any) -> Manifest:
    ceph = {"pool": "images", "monitors": ["192.0.2.1:6789"], "secretRef": {"name": f"{name}-key"}}
    wanted = {"imageServiceRef": {"name": "glance"}, "type": "Ceph", "ceph": ceph}
    return {"apiVersion": API, "kind": "ImageStore", "metadata": {"name": name}, "spec": wanted | spec}


def _bucket_store(name: str) -> Manifest:
    s3 = {"endpointURL": "https://s3.example", "bucket": "images", "secretRef": {"name": f"{name}-key"}}
    wanted = {"imageServiceRef": {"name": "glance"}, "type": "S3", "s3": s3}
    return {"apiVersion": API, "kind": "ImageStore", "metadata": {"name": name}, "spec": wanted}


def _key_of(store: str, **values: str) -> Manifest:
    """Return a store's Secret. Its values are in `data`, so that applying others takes the earlier ones away."""
    data = {name: base64.b64encode(text.encode()).decode() for name, text in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": f"{store}-key"}, "data": data}


GLANCE, CENTRAL, SECOND = "ImageService/glance", "ImageStore/central", "ImageStore/second"
_BOTH = (("ImageService", "glance"), ("ImageStore", "central"))

CATALOGUE_AND_STORES = Scenario(
    "catalogue and stores",
    (
        Step("created", apply=(image_store(), _service(catalog={})), ready=(GLANCE, CENTRAL)),
        Step(
            "public URL changed",
            apply=(_service(catalog={"publicURL": "https://other.example"}),),
            ready=(GLANCE, CENTRAL),
        ),
        Step("a store added", apply=(_nfs_store("second"),), ready=(GLANCE, CENTRAL, SECOND)),
        Step("the store deleted", delete=(("ImageStore", "second"),), ready=(GLANCE, CENTRAL)),
        Step("all deleted", delete=(*_BOTH, ("ImageStore", "second"))),
    ),
)

CATALOGUE = Scenario("catalogue", (*CATALOGUE_AND_STORES.steps[:2], CATALOGUE_AND_STORES.steps[-1]))
"""The part with an effect outside of the cluster."""

RELEASES_AND_ERRORS = Scenario(
    "releases and errors",
    (
        Step("created without its Secret", apply=(_nfs_store("central"), _service(database="late", release="2025.2"))),
        Step("its Secret made", apply=(secret("late", url=_DATABASE),), ready=(GLANCE, CENTRAL)),
        Step("upgraded", apply=(_service(database="late", replicas=2),), ready=(GLANCE, CENTRAL)),
        Step("all deleted", delete=(*_BOTH, ("Secret", "late"))),
    ),
)

NO_REPLICA = Scenario(
    "no replica",
    (
        Step("a store alone", apply=(_nfs_store("central"),)),
        Step("its service made", apply=(_service(replicas=0),), ready=(CENTRAL,)),
        Step("an option changed", apply=(_service(replicas=0, extraConfig=_MORE),), ready=(CENTRAL,)),
        Step("the store described", apply=(_nfs_store("central", description="Images of all."),), ready=(CENTRAL,)),
        Step("the service deleted", delete=(_BOTH[0],)),
        Step("all deleted", delete=_BOTH),
    ),
)

FAR, BUCKET = "ImageStore/far", "ImageStore/bucket"
_EDGE = {"replicas": 1, "nodeSelector": {"kubernetes.io/os": "linux"}}
_KEY, _ANOTHER_KEY = "AQBQYWlnkH8vBxAAqKq5bLXyM2Zb9sYQm4mJVA==", "AQBQYWlnkH8vBxAAqKq5bLXyM2Zb9sYQm4mJVB=="
_ALL_STORES = (GLANCE, CENTRAL, FAR, BUCKET)
_ALL_BUT_FAR = (GLANCE, CENTRAL, BUCKET)

CREDENTIALS_AND_EDGE = Scenario(
    "credentials and edge",
    (
        Step(
            "created without the Secret of a store",
            apply=(
                _key_of("bucket", access_key="a-key", secret_key="a-secret"),
                *(_nfs_store("central"), _ceph_store("far"), _bucket_store("bucket")),
                _service(),
            ),
            ready=_ALL_BUT_FAR,
        ),
        Step("its Secret made", apply=(_key_of("far", userID="glance", userKey=_KEY),), ready=_ALL_STORES),
        Step(
            "keys changed",
            apply=(
                _key_of("far", userID="glance", userKey=_ANOTHER_KEY),
                _key_of("bucket", access_key="a-key", secret_key="another-secret"),
            ),
            ready=_ALL_STORES,
        ),
        Step(
            "the Secret swapped for one of another shape",  # the pods go on with what they have
            apply=(_key_of("far", access_key="a-key", secret_key="a-secret"),),
            ready=_ALL_BUT_FAR,
        ),
        Step("mended", apply=(_key_of("far", key=_KEY),), ready=_ALL_STORES),
        Step("an edge added", apply=(_ceph_store("far", edge=_EDGE),), ready=_ALL_STORES),
        Step("the edge taken out of the spec", apply=(_ceph_store("far"),), ready=_ALL_STORES),
        Step(
            "all deleted",
            delete=(
                *_BOTH,
                *(("ImageStore", name) for name in ("far", "bucket")),
                *(("Secret", f"{name}-key") for name in ("far", "bucket")),
            ),
        ),
    ),
)


def _policy(max_size: str = "10Gi") -> Manifest:
    target = {"kind": "ImageService", "name": "glance"}
    spec = {"targetRef": target, "nodeSelector": {"kubernetes.io/os": "linux"}, "maxSize": max_size}
    spec |= {"updateStrategy": {"maxUnavailable": "100%"}}  # all nodes at once: it takes less time
    return {"apiVersion": API, "kind": "CachePolicy", "metadata": {"name": "nodes"}, "spec": spec}


def _precache(*names: str, **spec: Any) -> Manifest:
    wanted = {"imageServiceRef": {"name": "glance"}, "images": [{"name": name} for name in names], "parallelism": 2}
    return {"apiVersion": API, "kind": "ImagePrecache", "metadata": {"name": "golden"}, "spec": wanted | spec}


POLICY, PRECACHE = "CachePolicy/nodes", "ImagePrecache/golden"
_CACHES = (("CachePolicy", "nodes"), ("ImagePrecache", "golden"))
_SERVED, _FILLED = (CENTRAL, POLICY), (CENTRAL, POLICY, PRECACHE)

_ALREADY_THERE = Step(
    "a service with its store",
    apply=(_nfs_store("central"), _service(replicas=0)),
    ready=(CENTRAL,),
    told_elsewhere=True,
)
_NO_CACHES = Step("all deleted", delete=(*_BOTH, *_CACHES))

CACHES = Scenario(
    "caches",
    (
        Step("images wanted of no cache", apply=(_precache("ubuntu"),)),
        _ALREADY_THERE,
        Step("a cache made", apply=(_policy(),), ready=_FILLED),
        Step("the policy edited", apply=(_policy("20Gi"),), ready=_FILLED),
        Step("an image added", apply=(_precache("ubuntu", "debian"),), ready=_FILLED),
        Step("suspended with one more", apply=(_precache("ubuntu", "debian", "fedora", suspend=True),), ready=_SERVED),
        Step("taken up again", apply=(_precache("ubuntu", "debian", "fedora"),), ready=_FILLED),
        Step("the cache deleted", delete=_CACHES[:1], ready=(CENTRAL,)),
        Step("the cache made again", apply=(_policy(),), ready=_FILLED),
        Step("images wanted no more", delete=_CACHES[1:], ready=_SERVED),
        _NO_CACHES,
    ),
)

CACHES_IN_SHORT = Scenario(
    "caches in short",
    (
        _ALREADY_THERE,
        Step("a cache made with images", apply=(_policy(), _precache("ubuntu")), ready=_FILLED),
        Step("both edited", apply=(_policy("20Gi"), _precache("ubuntu", "debian")), ready=_FILLED),
        _NO_CACHES,
    ),
)

SCENARIOS = (CATALOGUE_AND_STORES, RELEASES_AND_ERRORS, NO_REPLICA, CREDENTIALS_AND_EDGE, CACHES)


def prepared(namespace: str) -> list[Manifest]:
    """Return what has to be there before a scenario begins: the user's Secrets, and a claim with its volume."""
    home = {"namespace": namespace}
    size = {"storage": "1Gi"}
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"{namespace}-{CLAIM}"},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "capacity": size,
            "claimRef": {"namespace": namespace, "name": CLAIM},
            "hostPath": {"path": "/mnt/shared"},
            "persistentVolumeReclaimPolicy": "Retain",
        },
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": CLAIM} | home,
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "resources": {"requests": size},
            "storageClassName": "",
            "volumeName": f"{namespace}-{CLAIM}",
        },
    }
    theirs = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "theirs"}, "data": {"left": "alone"}}
    named = [manifest | {"metadata": manifest["metadata"] | home} for manifest in (*secrets(), theirs)]
    return [volume, claim, *named]
