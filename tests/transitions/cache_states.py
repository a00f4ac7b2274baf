"""The reasons that a CachePolicy or an ImagePrecache can give for not going on, and how a user gets there.

The good state has one of each beside what `error_states.GOOD` has.
"""

from collections.abc import Callable
from typing import Any

from tests.api_client import Manifest
from tests.caches_stand_in import Behaviour
from tests.transitions.error_states import (
    API,
    DATABASE,
    NOWHERE,
    SERVICE,
    STORE,
    ErrorState,
    Overlay,
    ceph_store,
    having,
    service,
    store,
)
from tests.transitions.hints import CLOSED, IMAGE_ID, NODES
from tests.transitions.home import Home, secret
from tests.transitions.schema import ABSENT, changed

POLICY, SECOND, PRECACHE = "CachePolicy/nodes", "CachePolicy/second", "ImagePrecache/golden"
ANOTHER_IMAGE = {"id": "9d3b0c7e-2f64-4b0f-9a53-6f0e4f7f2c11"}
NO_SUCH_TAG = {"tags": ["no-such-tag"]}
ASKED_ANEW_SECONDS = 130.0
"""An agent that did not answer is asked again after a minute; then the status follows."""


def policy(name: str = "nodes", node: str = NODES[0], **spec: Any) -> Manifest:
    """Return a CachePolicy that is as it should be, on one node, with more in its spec."""
    head = {"targetRef": {"kind": "ImageService", "name": "glance"}, "maxSize": "10Gi"}
    wanted = head | {"nodeSelector": {"kubernetes.io/hostname": node}} | spec
    return {"apiVersion": API, "kind": "CachePolicy", "metadata": {"name": name}, "spec": wanted}


def precache(*more: Manifest, **spec: Any) -> Manifest:
    """Return an ImagePrecache that is as it should be, with more images and more in its spec."""
    wanted = {"imageServiceRef": {"name": "glance"}, "images": [{"id": IMAGE_ID}, *more]} | spec
    return {"apiVersion": API, "kind": "ImagePrecache", "metadata": {"name": "golden"}, "spec": wanted}


CACHES = having(policy(), precache())


def of_policy(reason: str, overlay: Overlay, **more: Any) -> ErrorState:
    """Return a row about the CachePolicy."""
    return ErrorState(reason, overlay, **({"on": POLICY} | more), beside=CACHES)


def of_precache(reason: str, overlay: Overlay, **more: Any) -> ErrorState:
    """Return a row about the ImagePrecache."""
    return ErrorState(reason, overlay, **({"on": PRECACHE} | more), beside=CACHES)


def agents_are(behaviour: Behaviour) -> Callable[[Home], None]:
    """Return a step that has the agents of the namespace behave otherwise."""
    return lambda home: home.have_agents(behaviour)


def with_agents(
    reason: str, behaviour: Behaviour, *, name: str = "", patience: float = 40.0, **spec: Any
) -> ErrorState:
    """Return a row about an ImagePrecache that wants one more image of agents that behave in a way."""
    overlay = having(precache(ANOTHER_IMAGE, **spec))
    steps = {"arrange": agents_are(behaviour), "undo": agents_are("full")}
    return of_precache(reason, overlay, name=name, patience=patience, **steps)


def aimed_at(kind: str, name: str) -> Overlay:
    """Return the overlay in which the CachePolicy has another target."""
    return having(policy(targetRef={"kind": kind, "name": name}))


WITHOUT_DATABASE = having(secret("glance-db", uri=DATABASE))
BOTH = {**CACHES, **having(policy("second", NODES[1]))}
ONLY_CEPH = {STORE: None, **having(ceph_store(), changed(service(), ("spec", "defaultStore"), "other"))}

CACHE_STATES = (
    of_policy("TargetNotFound", aimed_at("ImageService", "another")),
    of_policy("TargetNotFound", aimed_at("ImageStore", "nowhere"), name="of an edge"),
    of_policy("TargetNotFound", {SERVICE: None}, serves=False, name="when its ImageService goes"),
    of_policy("TargetNotAnEdge", aimed_at("ImageStore", "central")),
    of_policy("StoreNotShared", having(store(claim=None)), name="on nodes"),
    of_policy("ImageServiceBlocked", WITHOUT_DATABASE, name="under a cache"),
    of_policy("NoNodeMatches", having(policy(nodeSelector=NOWHERE)), serves=False, name="of a cache"),
    of_policy("OnlyCephStores", ONLY_CEPH, condition="Effective"),
    ErrorState("Conflicted", having(policy("second")), on=SECOND, serves=False, beside=BOTH),
    of_precache("ImageServiceNotFound", having(precache(imageServiceRef={"name": "another"})), name="of images"),
    of_precache("ImageServiceBlocked", WITHOUT_DATABASE, name="under images"),
    of_precache("NoCachePolicy", having(precache(cachePolicySelector={"matchLabels": NOWHERE}))),
    of_precache("NoCachePolicy", {POLICY: None}, serves=False, name="when it goes"),
    of_precache("NoNodeMatches", having(precache(nodeSelector=NOWHERE)), name="of images"),
    of_precache("NoImages", having(changed(precache(imageSelector=NO_SUCH_TAG), ("spec", "images"), ABSENT))),
    of_precache("ImagesNotFound", having(precache({"name": "no-such-image"}))),
    with_agents("ImageLookupFailed", "ignorant"),
    with_agents("FetchFailed", "failing", patience=ASKED_ANEW_SECONDS),
    with_agents("NodesUnavailable", "silent", patience=ASKED_ANEW_SECONDS),
    with_agents("NodesUnavailable", "refusing", name="by refusal", patience=ASKED_ANEW_SECONDS),
    with_agents("NodesUnavailable", "babbling", name="by nonsense", patience=ASKED_ANEW_SECONDS),
    with_agents("Suspended", "quick", suspend=True),
    with_agents("Paused", "quick", parallelism=0),
    with_agents("WindowClosed", "quick", windows=[CLOSED]),
)
