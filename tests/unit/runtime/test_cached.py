"""Reads from what was seen, and when the API server is asked all the same."""

import asyncio
from typing import Any

import pytest

from imageservice.runtime.cached import CachedKube, worth_keeping
from imageservice.runtime.interests import Interests
from imageservice.runtime.kinds import DEPLOYMENT, IMAGE_SERVICE, IMAGE_STORE, POD, SECRET, Key
from imageservice.runtime.kube import Conflict
from imageservice.runtime.objects import ObjectCache
from imageservice.runtime.seen import SeenObjects

OURS = {"app.kubernetes.io/managed-by": "image-service-operator"}
READER = Key(IMAGE_SERVICE, "ns", "glance")


def make(version: int, name: str = "a", **fields: Any) -> dict[str, Any]:
    labels = fields.pop("labels", OURS)
    metadata = {"name": name, "namespace": "ns", "uid": f"uid-{name}", "resourceVersion": str(version)}
    return {"metadata": metadata | {"labels": labels}} | fields


class Server:
    """An API server with objects by name, that counts what it is asked."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []
        self.conflicts = 0

    async def get(self, _kind, _namespace, name):
        self.asked.append(f"get {name}")
        await asyncio.sleep(0)
        return self.objects.get(name)

    async def list(self, _kind, _namespace, *, labels=None):
        self.asked.append(f"list {labels}")
        return list(self.objects.values())

    async def apply(self, _kind, manifest, *, live):
        if self.conflicts:
            raise Conflict(409, "Conflict", "it was changed")
        answer = make(len(self.asked) + 100, manifest["metadata"]["name"], spec=manifest["spec"])
        self.objects[manifest["metadata"]["name"]] = answer
        return answer

    async def delete(self, _kind, live):
        self.objects.pop(live["metadata"]["name"], None)


class World:
    def __init__(self) -> None:
        self.server, self.interests = Server(), Interests()
        self.objects = ObjectCache(lambda kind, manifest: worth_keeping(kind, manifest, self.interests))
        self.woken = []
        self.seen = SeenObjects(lambda key, _urgency, _after: self.woken.append(key), self.interests)
        self.seen.start()
        self.kube = CachedKube(self.server, self.objects, self.interests, self.seen)
        for kind in (DEPLOYMENT, SECRET):
            self.objects.listed(kind, None, set(), 0)


@pytest.fixture
def world() -> World:
    return World()


async def test_what_the_watches_saw_costs_no_request(world):
    world.objects.saw(DEPLOYMENT, make(1, spec="seen"))
    assert (await world.kube.get(DEPLOYMENT, "ns", "a"))["spec"] == "seen"
    assert [item["spec"] for item in await world.kube.list(DEPLOYMENT, "ns")] == ["seen"]
    assert await world.kube.list(DEPLOYMENT, "ns", labels="app.kubernetes.io/managed-by=another") == []
    assert world.server.asked == []


async def test_absence_is_never_believed(world):
    world.server.objects["a"] = make(1, spec="of somebody else", labels={})
    for _ in range(2):
        assert (await world.kube.get(DEPLOYMENT, "ns", "a"))["spec"] == "of somebody else"
    assert world.server.asked == ["get a", "get a"], "no watch follows it, so it is not kept"
    assert world.kube.known(DEPLOYMENT, "ns", "a") is None


async def test_before_the_first_list_nothing_is_known(world):
    fresh = CachedKube(world.server, ObjectCache(lambda *_: True), world.interests, world.seen)
    world.server.objects["a"] = make(1, spec="x")
    await fresh.get(DEPLOYMENT, "ns", "a")
    await fresh.get(DEPLOYMENT, "ns", "a")
    assert world.server.asked == ["get a", "get a"]


async def test_our_own_writes_are_seen_at_once_and_what_we_deleted_is_gone(world):
    live = await world.kube.apply(DEPLOYMENT, {"metadata": {"name": "a", "namespace": "ns"}, "spec": "ours"}, live=None)
    assert (await world.kube.get(DEPLOYMENT, "ns", "a"))["spec"] == "ours"
    assert world.server.asked == []
    await world.kube.delete(DEPLOYMENT, live)
    assert world.kube.known(DEPLOYMENT, "ns", "a") is None


async def test_after_a_conflict_the_view_is_doubted(world):
    world.objects.saw(DEPLOYMENT, make(1, spec="stale"))
    world.server.objects["a"] = make(2, spec="fresh")
    world.server.conflicts = 1
    with pytest.raises(Conflict):
        await world.kube.apply(DEPLOYMENT, make(1, spec="wanted"), live=make(1))
    assert [item["spec"] for item in await world.kube.list(DEPLOYMENT, "ns")] == ["stale"], "it is not taken for gone"
    assert world.kube.known(DEPLOYMENT, "ns", "a")["spec"] == "stale", "nor by those who only look at it"
    assert (await world.kube.get(DEPLOYMENT, "ns", "a"))["spec"] == "fresh"
    assert [item["spec"] for item in await world.kube.list(DEPLOYMENT, "ns")] == ["fresh"]


async def test_what_is_doubted_and_asked_for_in_vain_is_gone(world):
    world.objects.saw(DEPLOYMENT, make(1, spec="stale"))
    world.server.conflicts = 1
    with pytest.raises(Conflict):
        await world.kube.apply(DEPLOYMENT, make(1, spec="wanted"), live=make(1))
    assert await world.kube.get(DEPLOYMENT, "ns", "a") is None
    assert await world.kube.list(DEPLOYMENT, "ns") == []


async def test_relatives_that_may_have_read_an_answer_look_again_when_the_watch_passes_over_it(world):
    def service(version, *, attached):
        rows = [{"name": "central", "attached": attached}]
        return make(version, "glance", spec={}, status={"stores": rows})

    async def answer(_kind, manifest):
        return manifest

    world.server.apply_status = answer
    store = make(1, "central", spec={"imageServiceRef": {"name": "glance"}})
    for kind, manifest in ((IMAGE_STORE, store), (IMAGE_SERVICE, service(2, attached=True))):
        world.objects.saw(kind, manifest)
        world.seen.saw(kind, "ADDED", manifest)
    world.woken.clear()
    await world.kube.apply_status(IMAGE_SERVICE, service(3, attached=False))
    await world.kube.apply_status(IMAGE_SERVICE, service(4, attached=True))
    assert world.woken == []
    world.seen.saw(IMAGE_SERVICE, "MODIFIED", service(4, attached=True), echo=True)
    assert world.woken == [Key(IMAGE_STORE, "ns", "central")]
    world.seen.saw(IMAGE_SERVICE, "MODIFIED", service(5, attached=True), echo=True)
    assert world.woken == [Key(IMAGE_STORE, "ns", "central")], "once"


async def test_a_secret_of_the_user_is_read_once_and_again_when_it_changed(world):
    user = {"labels": {}}
    world.server.objects["db"] = make(1, "db", data="first", **user)
    with world.interests.reading(READER):
        for _ in range(3):
            assert (await world.kube.get(SECRET, "ns", "db"))["data"] == "first"
    assert world.server.asked == ["get db"]
    assert world.interests.readers(Key(SECRET, "ns", "db")) == {READER}
    world.objects.saw(SECRET, make(2, "db", **user), whole=False)
    world.server.objects["db"] = make(2, "db", data="second", **user)
    assert (await world.kube.get(SECRET, "ns", "db"))["data"] == "second"


async def test_a_change_between_a_read_and_its_answer_is_not_missed(world):
    world.server.objects["db"] = make(1, "db", data="first", labels={})
    with world.interests.reading(READER):
        reading = asyncio.create_task(world.kube.get(SECRET, "ns", "db"))
        await asyncio.sleep(0)
        world.server.objects["db"] = make(2, "db", data="second", labels={})
        world.objects.saw(SECRET, make(2, "db", labels={}), whole=False)
        assert (await reading)["data"] in {"first", "second"}
        assert (await world.kube.get(SECRET, "ns", "db"))["data"] == "second"


async def test_a_secret_that_nobody_reads_is_not_kept(world):
    world.objects.saw(SECRET, make(1, "helm-release", labels={}), whole=False)
    assert len(world.objects) == 0


async def test_who_reads_something_else_now_is_not_woken_for_what_it_read_before(world):
    for name in ("old", "new"):
        with world.interests.reading(READER):
            await world.kube.get(SECRET, "ns", name)
    assert world.interests.readers(Key(SECRET, "ns", "old")) == set()
    assert world.interests.readers(Key(SECRET, "ns", "new")) == {READER}


async def test_our_own_secrets_are_listed_by_their_metadata_and_pods_by_asking(world):
    world.objects.saw(SECRET, make(1, "config"), whole=False)
    found = await world.kube.list_metadata(SECRET, "ns", labels="app.kubernetes.io/managed-by=image-service-operator")
    assert [item["metadata"]["name"] for item in found] == ["config"]
    await world.kube.list(POD, "ns", labels="a=b")
    assert world.server.asked == ["list a=b"]


async def test_a_name_that_nobody_else_can_have_costs_no_request_until_it_was_seen_and_is_gone(world):
    assert await world.kube.get_unique(SECRET, "ns", "a-1f3c") is None
    assert world.server.asked == []
    world.objects.saw(SECRET, make(1, "a-1f3c"))
    world.objects.saw(SECRET, make(2, "a-1f3c"), deleted=True)
    theirs = make(3, "a-1f3c", labels={}) | {"data": {}}
    world.server.objects["a-1f3c"] = theirs | {"metadata": theirs["metadata"] | {"uid": "another"}}
    found = await world.kube.get_unique(SECRET, "ns", "a-1f3c")
    assert found is not None
    assert found["metadata"]["uid"] == "another"
    assert world.server.asked == ["get a-1f3c"]
