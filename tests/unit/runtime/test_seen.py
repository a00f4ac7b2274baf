"""From events to keys: who must look, and how urgently."""

import copy
from typing import Any

import pytest

from imageservice.runtime.kinds import (
    CACHE_POLICY,
    DEPLOYMENT,
    IMAGE_PRECACHE,
    IMAGE_SERVICE,
    IMAGE_STORE,
    JOB,
    POD_DISRUPTION_BUDGET,
    SECRET,
    SERVICE,
    Key,
    Kind,
)
from imageservice.runtime.queue import Urgency
from imageservice.runtime.seen import SeenObjects

NAMESPACE = "ns"


class World:
    """Objects with versions, and the keys that came of what happened to them since the last look."""

    def __init__(self, *, started: bool = True) -> None:
        self.added: list[tuple[Key, Urgency]] = []
        self.seen = SeenObjects(lambda key, urgency, _after: self.added.append((key, urgency)))
        self.version = 0
        if started:
            self.seen.start()

    def make(self, kind: Kind, name: str, **fields: Any) -> dict[str, Any]:
        self.version += 1
        metadata = {"name": name, "namespace": NAMESPACE, "uid": f"{kind.kind}-{name}-{self.version}", "generation": 1}
        manifest = {"metadata": metadata, **fields}
        metadata |= fields.pop("metadata", {})
        manifest["metadata"] = metadata
        return self.bump(manifest)

    def bump(self, manifest: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        changed = copy.deepcopy(manifest)
        changed["metadata"]["resourceVersion"] = str(self.version)
        return changed

    def woken(self) -> list[tuple[str, Urgency]]:
        """Return what was put in the queue since the last call, as `Kind/name`."""
        added, self.added = self.added, []
        return sorted(
            {(f"{key.kind.kind}/{key.name}", urgency) for key, urgency in added},
            key=lambda item: (item[0], item[1].value),
        )

    def names(self) -> list[str]:
        return [name for name, _ in self.woken()]

    def store(self, name: str = "central", service: str = "glance") -> dict[str, Any]:
        return self.make(IMAGE_STORE, name, spec={"imageServiceRef": {"name": service}})

    def child(self, kind: Kind, name: str = "glance-api", owner: str = "glance") -> dict[str, Any]:
        reference = {
            "apiVersion": "imageservice.dev/v1alpha1",
            "kind": "ImageService",
            "name": owner,
            "uid": "u",
            "controller": True,
        }
        return self.make(kind, name, metadata={"ownerReferences": [reference]})


SETTLED = {"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "True"}]}


@pytest.fixture
def world() -> World:
    return World()


def test_a_new_or_changed_object_is_looked_at(world: World) -> None:
    service = world.make(IMAGE_SERVICE, "glance")
    world.seen.saw(IMAGE_SERVICE, "ADDED", service)
    assert world.woken() == [("ImageService/glance", Urgency.CHANGE)]
    for change in (
        {"generation": 2},
        {"labels": {"a": "b"}},
        {"annotations": {"a": "b"}},
        {"finalizers": ["x"]},
        {"deletionTimestamp": "2026-01-01T00:00:00Z"},
    ):
        service["metadata"] |= change
        service = world.bump(service)
        world.seen.saw(IMAGE_SERVICE, "MODIFIED", service)
        assert "ImageService/glance" in world.names(), change


def test_our_own_status_wakes_nobody_and_that_of_a_stranger_is_looked_at_without_haste(world: World) -> None:
    service = world.make(IMAGE_SERVICE, "glance")
    world.seen.saw(IMAGE_SERVICE, "ADDED", service)
    world.names()
    service = world.bump(service | {"status": SETTLED})
    world.seen.saw(IMAGE_SERVICE, "MODIFIED", service, echo=True)
    assert world.names() == []
    service = world.bump(service | {"status": {}})
    world.seen.saw(IMAGE_SERVICE, "MODIFIED", service)
    assert world.woken() == [("ImageService/glance", Urgency.CONFIRM)]


@pytest.mark.parametrize("change", [{"annotations": {"a": "b"}}, {"labels": {"a": "b"}}, {"generation": 2}], ids=str)
def test_what_a_user_changed_just_before_our_write_is_looked_at(world: World, change: dict[str, Any]) -> None:
    service = world.make(IMAGE_SERVICE, "glance")
    world.seen.saw(IMAGE_SERVICE, "ADDED", service)
    world.names()
    service = world.bump(service | {"metadata": service["metadata"] | change, "status": SETTLED})
    world.seen.saw(IMAGE_SERVICE, "MODIFIED", service, echo=True)
    assert world.woken() == [("ImageService/glance", Urgency.CHANGE)]
    service = world.bump(service | {"metadata": service["metadata"] | {"finalizers": ["ours"]}})
    world.seen.saw(IMAGE_SERVICE, "MODIFIED", service, echo=True)
    assert world.names() == [], "nobody but us writes our finalizers"


def test_an_echo_of_our_own_write_wakes_nobody_but_a_later_change_does(world: World) -> None:
    deployment = world.child(DEPLOYMENT)
    world.seen.saw(DEPLOYMENT, "ADDED", deployment, echo=True)
    assert world.names() == []
    world.seen.saw(DEPLOYMENT, "MODIFIED", world.bump(deployment))
    assert world.woken() == [("ImageService/glance", Urgency.PROGRESS)]


@pytest.mark.parametrize("kind", [DEPLOYMENT, JOB, SERVICE, POD_DISRUPTION_BUDGET, SECRET], ids=lambda kind: kind.kind)
def test_a_child_wakes_its_owner_and_a_deleted_one_urgently(world: World, kind: Kind) -> None:
    child = world.child(kind)
    world.seen.saw(kind, "ADDED", child)
    assert world.woken() == [("ImageService/glance", Urgency.PROGRESS)]
    world.seen.saw(kind, "DELETED", world.bump(child))
    assert world.woken() == [("ImageService/glance", Urgency.MISSING)]


def test_a_child_robbed_of_its_owner_wakes_the_owner_it_had(world: World) -> None:
    child = world.child(DEPLOYMENT)
    world.seen.saw(DEPLOYMENT, "ADDED", child)
    world.names()
    del child["metadata"]["ownerReferences"]
    world.seen.saw(DEPLOYMENT, "MODIFIED", world.bump(child))
    assert world.names() == ["ImageService/glance"]


def test_children_of_other_operators_wake_nobody(world: World) -> None:
    child = world.child(DEPLOYMENT)
    child["metadata"]["ownerReferences"][0]["apiVersion"] = "other.dev/v1"
    world.seen.saw(DEPLOYMENT, "ADDED", child)
    assert world.names() == []


def test_a_store_wakes_its_service_when_it_comes_changes_gets_ready_and_goes(world: World) -> None:
    store = world.store()
    world.seen.saw(IMAGE_STORE, "ADDED", store)
    assert world.names() == ["ImageService/glance", "ImageStore/central"]
    store = world.bump(store | {"status": SETTLED})
    world.seen.saw(IMAGE_STORE, "MODIFIED", store, echo=True)
    assert world.names() == ["ImageService/glance"]
    store = world.bump(store | {"status": SETTLED | {"fsid": "b6c1e7f2-1f5e-4a7c-9f55-0a3d8f5f4c11"}})
    world.seen.saw(IMAGE_STORE, "MODIFIED", store, echo=True)
    assert world.names() == [], "nothing that the service reads"
    store["metadata"]["generation"] = 2
    store = world.bump(store)
    world.seen.saw(IMAGE_STORE, "MODIFIED", store)
    assert world.names() == ["ImageService/glance", "ImageStore/central"]
    world.seen.saw(IMAGE_STORE, "DELETED", world.bump(store))
    assert world.names() == ["ImageService/glance", "ImageStore/central"]


def test_a_service_wakes_its_own_stores_when_what_it_says_of_stores_changes(world: World) -> None:
    world.seen.saw(IMAGE_STORE, "ADDED", world.store("central"))
    world.seen.saw(IMAGE_STORE, "ADDED", world.store("foreign", service="other"))
    world.names()
    service = world.make(IMAGE_SERVICE, "glance")
    world.seen.saw(IMAGE_SERVICE, "ADDED", service)
    assert world.names() == ["ImageService/glance", "ImageStore/central"]
    service = world.bump(service | {"status": {"stores": [{"name": "central", "ready": True}]}})
    world.seen.saw(IMAGE_SERVICE, "MODIFIED", service, echo=True)
    assert world.names() == ["ImageStore/central"], "our own status write is news for the stores"
    service = world.bump(service | {"status": {**service["status"], "replicas": 2}})
    world.seen.saw(IMAGE_SERVICE, "MODIFIED", service, echo=True)
    assert world.names() == []
    world.seen.saw(IMAGE_SERVICE, "DELETED", world.bump(service))
    assert world.names() == ["ImageService/glance", "ImageStore/central"]


def test_a_service_wakes_its_caches_when_what_it_says_is_said_of_its_newest_spec(world: World) -> None:
    schema = {"conditions": [{"type": "DatabaseReady", "status": "True"}]}
    service = world.make(IMAGE_SERVICE, "glance", status=schema | {"observedGeneration": 1})
    world.seen.saw(IMAGE_SERVICE, "ADDED", service)
    with world.seen.interests.reading(Key(CACHE_POLICY, NAMESPACE, "nodes")):
        world.seen.interests.note(Key(IMAGE_SERVICE, NAMESPACE, "glance"))
    service = world.bump(service | {"metadata": service["metadata"] | {"generation": 2}})
    world.seen.saw(IMAGE_SERVICE, "MODIFIED", service)
    assert "CachePolicy/nodes" in world.names()
    service = world.bump(service | {"status": schema | {"observedGeneration": 2}})
    world.seen.saw(IMAGE_SERVICE, "MODIFIED", service, echo=True)
    assert world.names() == ["CachePolicy/nodes"]


def test_wanted_images_wake_the_caches_when_they_go_and_not_before(world: World) -> None:
    images = world.make(IMAGE_PRECACHE, "golden")
    world.seen.saw(IMAGE_PRECACHE, "ADDED", images)
    with world.seen.interests.reading(Key(CACHE_POLICY, NAMESPACE, "nodes")):
        world.seen.interests.note(Key(IMAGE_PRECACHE, NAMESPACE, "golden"))
    images = world.bump(images | {"metadata": images["metadata"] | {"generation": 2}, "status": SETTLED})
    world.seen.saw(IMAGE_PRECACHE, "MODIFIED", images)
    assert "CachePolicy/nodes" not in world.names()
    world.seen.saw(IMAGE_PRECACHE, "DELETED", world.bump(images))
    assert ("CachePolicy/nodes", Urgency.PROGRESS) in world.woken()


def test_a_store_that_is_gone_is_not_woken_by_its_service(world: World) -> None:
    store = world.store()
    world.seen.saw(IMAGE_STORE, "ADDED", store)
    world.seen.saw(IMAGE_STORE, "DELETED", world.bump(store))
    world.names()
    world.seen.saw(IMAGE_SERVICE, "ADDED", world.make(IMAGE_SERVICE, "glance"))
    assert world.names() == ["ImageService/glance"]


def test_a_successor_of_the_same_name_is_known_though_its_predecessor_goes_last(world: World) -> None:
    first, second = world.store(), world.store()
    world.seen.saw(IMAGE_STORE, "ADDED", first)
    world.seen.saw(IMAGE_STORE, "ADDED", second)
    world.seen.saw(IMAGE_STORE, "DELETED", world.bump(first))
    key = Key(IMAGE_STORE, NAMESPACE, "central")
    assert world.seen.exists(key)
    world.names()
    world.seen.saw(IMAGE_SERVICE, "ADDED", world.make(IMAGE_SERVICE, "glance"))
    assert "ImageStore/central" in world.names()
    world.seen.saw(IMAGE_STORE, "DELETED", world.bump(second))
    assert not world.seen.exists(key)


def test_a_change_of_the_spec_that_only_our_own_write_shows_is_not_missed(world: World) -> None:
    service = world.make(IMAGE_SERVICE, "glance")
    world.seen.saw(IMAGE_SERVICE, "ADDED", service)
    world.names()
    written = world.bump(service)
    written["status"] = {"observedGeneration": 1}
    world.seen.saw(IMAGE_SERVICE, "MODIFIED", written, echo=True)
    assert world.names() == []
    changed = world.bump(written)
    changed["metadata"]["generation"] = 2
    world.seen.saw(IMAGE_SERVICE, "MODIFIED", changed, echo=True)
    assert world.names() == ["ImageService/glance"]


def test_a_secret_of_the_user_wakes_who_read_it_and_nobody_else(world: World) -> None:
    for name, read in (("glance", "glance-db"), ("other", "other-db")):
        with world.seen.interests.reading(Key(IMAGE_SERVICE, NAMESPACE, name)):
            world.seen.interests.note(Key(SECRET, NAMESPACE, read))
    secret = world.make(SECRET, "glance-db")
    for event in ("ADDED", "MODIFIED", "DELETED"):
        secret = world.bump(secret)
        world.seen.saw(SECRET, event, secret)
        assert world.names() == ["ImageService/glance"], event
    world.seen.saw(SECRET, None, secret, news=False)
    assert world.names() == [], "a list that shows what is known"


def test_a_list_read_again_wakes_nobody_for_what_has_not_changed(world: World) -> None:
    service, child = world.make(IMAGE_SERVICE, "glance"), world.child(DEPLOYMENT)
    world.seen.saw(IMAGE_SERVICE, "ADDED", service)
    world.seen.saw(DEPLOYMENT, "ADDED", child)
    world.names()
    world.seen.saw(IMAGE_SERVICE, None, service)
    world.seen.saw(DEPLOYMENT, None, child)
    world.seen.listed(DEPLOYMENT, None, {child["metadata"]["uid"]}, world.version)
    assert world.names() == []


def test_what_vanished_while_a_watch_was_broken_is_noticed_by_the_list_without_it(world: World) -> None:
    child, other = world.child(DEPLOYMENT), world.child(DEPLOYMENT, "other-api", owner="other")
    store = world.store()
    world.seen.saw(DEPLOYMENT, "ADDED", child)
    world.seen.saw(DEPLOYMENT, "ADDED", other)
    world.seen.saw(IMAGE_STORE, "ADDED", store)
    world.names()
    world.seen.listed(DEPLOYMENT, None, {other["metadata"]["uid"]}, world.version)
    assert world.woken() == [("ImageService/glance", Urgency.MISSING)]
    world.seen.listed(IMAGE_STORE, "another-namespace", set(), world.version)
    assert world.names() == [], "a list of one namespace says nothing about another"
    world.seen.listed(IMAGE_STORE, NAMESPACE, set(), world.version)
    assert world.names() == ["ImageService/glance", "ImageStore/central"]


def test_a_list_older_than_an_object_does_not_say_that_it_is_gone(world: World) -> None:
    child = world.child(DEPLOYMENT)
    world.seen.saw(DEPLOYMENT, "ADDED", child)
    world.names()
    world.seen.listed(DEPLOYMENT, None, set(), int(child["metadata"]["resourceVersion"]) - 1)
    assert world.names() == []


def test_at_the_start_what_lacks_a_child_comes_first_and_what_is_settled_last() -> None:
    world = World(started=False)

    def service(name: str, status: dict[str, Any], *kinds: Kind) -> None:
        world.seen.saw(IMAGE_SERVICE, None, world.make(IMAGE_SERVICE, name, status=status))
        for kind in kinds:
            world.seen.saw(kind, None, world.child(kind, f"{name}-api", owner=name))

    service("settled", SETTLED, DEPLOYMENT, SERVICE, SECRET)
    service("lacking", SETTLED, DEPLOYMENT, SECRET)
    service("halfway", {}, SECRET)
    service("new", {})
    service("outdated", SETTLED | {"observedGeneration": 0})
    assert world.names() == [], "nothing is served before all lists are in"
    keys = world.seen.start()
    assert dict(world.woken()) == {
        "ImageService/settled": Urgency.CONFIRM,
        "ImageService/lacking": Urgency.MISSING,
        "ImageService/halfway": Urgency.PROGRESS,
        "ImageService/new": Urgency.CHANGE,
        "ImageService/outdated": Urgency.CHANGE,
    }
    assert len(keys) == 5


def test_odd_objects_are_seen_without_a_stumble(world: World) -> None:
    for spec in ({}, {"imageServiceRef": None}, {"imageServiceRef": {"name": 7}}, None):
        world.seen.saw(IMAGE_STORE, "ADDED", world.make(IMAGE_STORE, "odd", spec=spec, status=None))
        assert world.names() == ["ImageStore/odd"]
    for references in (None, [], [{"kind": "ImageService"}], [{"controller": True, "apiVersion": "v1"}]):
        world.seen.saw(DEPLOYMENT, "ADDED", world.make(DEPLOYMENT, "odd", metadata={"ownerReferences": references}))
        assert world.names() == []
