"""One pass over an ImagePrecache: what nodes are told, and what its status says."""

import json

import pytest
from tests.unit.reconcile.test_cachepolicy import COMPUTE, Policies
from tests.unit.reconcile.world import NAMESPACE

from imageservice.agent_report import AgentReport, CacheUse, ImageReason, ImageReport, ImageState, SetReport
from imageservice.found_images import Found, FoundImage
from imageservice.glance.agents import AgentError, Reason
from imageservice.glance.monitor import MonitorError
from imageservice.glance.monitor import Reason as MonitorReason
from imageservice.reconcile import precache_turns
from imageservice.reconcile.imageprecache import ImagePrecacheReconciler
from imageservice.runtime.kinds import CACHE_POLICY, ENDPOINT_SLICE, IMAGE_PRECACHE, IMAGE_SERVICE
from imageservice.runtime.settings import Settings

UBUNTU, DEBIAN = (f"00000000-0000-4000-8000-00000000000{n}" for n in (1, 2))
SIZE = 1000


pytestmark = pytest.mark.usefixtures("written_at_once")


class Node:
    """A node with its agent: what it was told, and what became of the images."""

    def __init__(self):
        self.sets = {}
        self.images = {}
        self.away = False


class Nodes:
    """The agents of all nodes, as the fleet reaches them."""

    def __init__(self):
        self.nodes = {}

    async def reports(self, of, fresh_seconds=0.0):
        return {agent.node: self.report(agent.node) for agent in of}

    def report(self, name):
        node = self.nodes[name]
        if node.away:
            return AgentError(Reason.AGENT_UNREACHABLE, "the agent cannot be connected to")
        sets = {uid: SetReport(told.name, told.revision, told.fetch) for uid, told in node.sets.items()}
        return AgentReport(name, "2026.1", CacheUse(0, 1, 1, 0, 0), sets, dict(node.images))

    async def hand_out(self, uid, wanted, to):
        for agent in to:
            if agent.node in wanted:
                self.nodes[agent.node].sets[uid] = wanted[agent.node]
        return {}

    async def take_back(self, uid, of):
        for agent in of:
            self.nodes[agent.node].sets.pop(uid, None)
        return {}


class Precaches(Policies):
    """A world with ImagePrecaches, and images in Glance by name."""

    def __init__(self):
        super().__init__()
        self.fleet = Nodes()
        self.policies._fleet = self.fleet
        self.glance = {"ubuntu": [(UBUNTU, "active")], "debian": [(DEBIAN, "active")]}
        self.asked = []
        self.size = SIZE
        self.token = None
        self.monitors.lookup = self.lookup
        self.precaches = ImagePrecacheReconciler(
            self.kube, self.events, Settings(), self.monitors, self.fleet, clock=lambda: self.now
        )

    async def lookup(self, url, token, queries):
        self.asked.append(url)
        self.token = token
        if self.glance is None:
            raise MonitorError(MonitorReason.MONITOR_UNREACHABLE, "the store monitor cannot be connected to")
        known = {image: name for name, images in self.glance.items() for image, _ in images}
        answers = []
        for query in queries:
            name = query.get("name") or known.get(query.get("id"))
            found = self.glance.get(name, []) if name else []
            answers.append(Found(tuple(FoundImage(image, name, self.size, status) for image, status in found)))
        return answers

    def precache(self, name="golden", images=("ubuntu",), **spec):
        wanted = {"imageServiceRef": {"name": "glance"}, "images": [{"name": image} for image in images]} | spec
        return self.kube.put(IMAGE_PRECACHE, {"metadata": {"name": name}, "spec": wanted})

    def with_nodes(self, *names, policy="compute"):
        labels = {"kubernetes.io/service-name": f"{policy}-agents"}
        endpoints = [{"nodeName": name, "addresses": [f"192.0.2.{n}"]} for n, name in enumerate(names, 1)]
        slice_ = {"metadata": {"name": f"{policy}-agents-x", "labels": labels}, "endpoints": endpoints}
        self.kube.put(ENDPOINT_SLICE, slice_)
        for name in names:
            self.fleet.nodes.setdefault(name, Node())

    async def fill(self, name="golden"):
        return await self.precaches.reconcile(NAMESPACE, name)

    def have(self, node, *images, state=ImageState.CACHED, reason=None, words="why"):
        for image in images:
            self.fleet.nodes[node].images[image] = ImageReport(state, SIZE, SIZE // 2, reason, words, 2, None)

    def precache_said(self, type_="Ready", name="golden"):
        found = self.conditions(name, IMAGE_PRECACHE)[type_]
        return found["status"], found["reason"]

    def table(self, name="golden"):
        return self.kube.find(IMAGE_PRECACHE, name)["status"]


async def cached_service(*nodes):
    run = Precaches()
    await run.to_the_end()
    run.add()
    await run.pass_over()
    run.with_nodes(*nodes)
    run.roll_nodes(desired=len(nodes), ready=len(nodes), updated=len(nodes))
    await run.pass_over()
    return run


class TestNodes:
    async def test_each_node_is_told_the_ids_of_the_images(self):
        run = await cached_service("a", "b")
        run.precache(images=("ubuntu", "debian"))
        await run.fill()
        [uid] = run.fleet.nodes["a"].sets
        assert run.fleet.nodes["a"].sets[uid].images == (UBUNTU, DEBIAN)
        assert run.fleet.nodes["b"].sets[uid].fetch
        assert run.precache_said() == ("Unknown", "Progressing")
        assert run.table()["nodes"] == {
            "desired": 2,
            "cached": 0,
            "fetching": 0,
            "pending": 2,
            "failed": 0,
            "unavailable": 0,
        }

    async def test_it_is_ready_when_all_is_everywhere(self):
        run = await cached_service("a", "b")
        run.precache()
        await run.fill()
        run.have("a", UBUNTU)
        await run.fill()
        assert run.table()["progressPercent"] == 50
        run.have("b", UBUNTU)
        await run.fill()
        assert run.precache_said() == ("True", "Ready")
        found = run.table()
        assert (found["bytesDone"], found["bytesTotal"], found["progressPercent"]) == (2 * SIZE, 2 * SIZE, 100)
        writes = run.kube.writes
        assert (await run.fill()).requeue_after == 60.0
        assert run.kube.writes == writes

    @pytest.mark.parametrize(("ready", "seconds"), [(2, 5.0), (1, 15.0)], ids=["ready", "on its way"])
    @pytest.mark.parametrize("selector", [None, {"kubernetes.io/os": "linux"}])
    async def test_a_pod_that_has_no_address_yet_is_looked_for_soon(self, selector, ready, seconds):
        run = await cached_service("a", "b")
        run.roll_nodes(desired=2, ready=ready, updated=2)
        await run.pass_over()
        run.node("a", **{"kubernetes.io/os": "linux"})
        run.precache(**({"nodeSelector": selector} if selector else {}))
        run.with_nodes("a")
        await run.fill()
        run.have("a", UBUNTU)
        assert (await run.fill()).requeue_after == seconds

    async def test_a_pod_that_has_no_address_yet_may_be_on_one_of_the_nodes(self):
        run = await cached_service("a", "b")
        run.node("a", zone="one")
        run.node("b", zone="one")
        run.precache(nodeSelector={"zone": "one"})
        run.with_nodes("a")
        await run.fill()
        run.have("a", UBUNTU)
        await run.fill()
        assert run.precache_said() == ("False", "NodesUnavailable")
        assert run.table()["nodes"]["desired"] == 2
        run.node("b", zone="two")
        await run.fill()
        assert run.precache_said() == ("True", "Ready")

    async def test_a_newer_image_of_the_name_takes_the_place_of_the_old_one(self):
        run = await cached_service("a")
        run.precache()
        await run.fill()
        newer = UBUNTU.replace("1", "9")
        run.glance["ubuntu"] = [(newer, "active")]
        await run.fill()
        [told] = run.fleet.nodes["a"].sets.values()
        assert told.images == (newer,)

    async def test_a_node_that_joins_is_told_too(self):
        run = await cached_service("a")
        run.precache()
        await run.fill()
        run.have("a", UBUNTU)
        run.with_nodes("a", "b")
        await run.fill()
        assert run.fleet.nodes["b"].sets
        assert run.table()["nodes"]["desired"] == 2

    async def test_a_pod_that_is_yet_to_come_counts_as_a_node_that_does_not_answer(self):
        run = await cached_service("a")
        run.precache()
        await run.fill()
        run.have("a", UBUNTU)
        run.roll_nodes(desired=2, ready=1, updated=1)
        await run.pass_over()
        await run.fill()
        assert run.table()["nodes"]["unavailable"] == 1
        assert run.precache_said() == ("False", "NodesUnavailable")

    async def test_only_chosen_nodes_and_policies_are_filled_and_others_forget_it(self):
        run = await cached_service("a", "b")
        run.node("a", zone="one", **COMPUTE)
        run.node("b", zone="two", **COMPUTE)
        run.precache()
        await run.fill()
        live = run.kube.find(IMAGE_PRECACHE, "golden")
        live["spec"]["nodeSelector"] = {"zone": "two"}
        await run.fill()
        assert not run.fleet.nodes["a"].sets
        assert run.fleet.nodes["b"].sets
        live["spec"]["cachePolicySelector"] = {"matchLabels": {"tier": "gold"}}
        await run.fill()
        assert run.precache_said() == ("False", "NoCachePolicy")

    async def test_nodes_forget_an_image_precache_that_is_gone(self):
        run = await cached_service("a")
        run.precache()
        await run.fill()
        del run.kube.objects["ImagePrecache", "golden"]
        await run.pass_over()
        assert not run.fleet.nodes["a"].sets


class TestTrouble:
    async def test_a_bad_image_is_named_with_its_reason_on_each_node(self):
        run = await cached_service("a", "b")
        run.precache(images=("ubuntu", "debian"))
        await run.fill()
        for node in "ab":
            run.have(node, DEBIAN)
            run.have(node, UBUNTU, state=ImageState.FAILED, reason=ImageReason.HASH_MISMATCH)
        await run.fill()
        assert run.precache_said() == ("False", "FetchFailed")
        assert "HashMismatch (2)" in run.conditions("golden", IMAGE_PRECACHE)["Ready"]["message"]
        rows = [(row["node"], row["imageID"], row["reason"], row["attempts"]) for row in run.table()["failingNodes"]]
        assert rows == [("a", UBUNTU, "HashMismatch", 2), ("b", UBUNTU, "HashMismatch", 2)]
        worst = run.table()["images"][0]
        assert (worst["id"], worst["cachedNodes"], worst["failedNodes"]) == (UBUNTU, 0, 2)

    async def test_a_cache_that_has_no_nodes_yet_is_awaited(self):
        run = Precaches()
        await run.to_the_end()
        run.add()
        await run.pass_over()
        run.precache()
        await run.fill()
        assert run.precache_said() == ("Unknown", "Progressing")
        run.roll_nodes(desired=0, ready=0, updated=0)
        await run.pass_over()
        await run.fill()
        assert run.precache_said() == ("False", "NoNodeMatches")

    async def test_a_cache_that_has_yet_to_find_its_target_is_followed(self):
        run = Precaches()
        await run.to_the_end()
        run.add(target=("ImageService", "nowhere"))
        await run.pass_over()
        run.precache()
        await run.fill()
        assert run.precache_said() == ("False", "NoCachePolicy")
        assert (CACHE_POLICY, "compute") in run.kube.followed

    async def test_a_row_stays_while_the_node_tries_again_and_goes_when_the_image_is_there(self):
        run = await cached_service("a")
        run.precache()
        await run.fill()
        run.have("a", UBUNTU, state=ImageState.FAILED, reason=ImageReason.DATA_MISSING)
        await run.fill()
        run.have("a", UBUNTU, state=ImageState.FETCHING, reason=ImageReason.DATA_MISSING)
        await run.fill()
        [row] = run.table()["failingNodes"]
        assert (row["node"], row["imageID"], row["reason"], row["attempts"]) == ("a", UBUNTU, "DataMissing", 2)
        assert run.table()["nodes"]["fetching"] == 1
        run.have("a", UBUNTU)
        await run.fill()
        assert run.table()["failingNodes"] == []

    async def test_a_node_that_makes_nothing_of_its_turn_is_named_and_another_has_it(self, monkeypatch):
        monkeypatch.setattr(precache_turns, "BEGIN_SECONDS", -1.0)
        run = await cached_service("a", "b")
        run.precache(parallelism=1)
        await run.fill()
        await run.fill()
        [told] = run.fleet.nodes["b"].sets.values()
        assert told.fetch
        await run.fill()
        assert {"node": "a", "reason": "NoProgress"}.items() <= run.table()["failingNodes"][0].items()
        run.have("a", UBUNTU)
        await run.fill()
        assert [row["node"] for row in run.table()["failingNodes"]] == ["b"]

    async def test_what_an_agent_says_is_shown_without_the_token(self):
        run = await cached_service("a")
        run.precache()
        await run.fill()
        token = run.token.reveal()
        why = ImageReport(ImageState.FAILED, SIZE, 0, ImageReason.WORKER_FAILED, f"it said {token}", 1, None)
        run.fleet.nodes["a"].images[UBUNTU] = why
        await run.fill()
        assert run.table()["failingNodes"][0]["message"] == "it said ***"

    async def test_more_bytes_than_a_status_can_hold_are_told_as_so_many(self):
        run = await cached_service("a", "b")
        run.precache()
        run.size = 2**53 - 1
        await run.fill()
        run.have("a", UBUNTU)
        await run.fill()
        assert run.table()["bytesTotal"] == 2**53 - 1
        assert run.table()["progressPercent"] == 50

    async def test_a_name_that_is_not_there_is_told_and_the_others_are_fetched(self):
        run = await cached_service("a")
        run.precache(images=("ubuntu", "fedora"))
        await run.fill()
        assert run.precache_said("ResolvedRefs") == ("False", "ImagesNotFound")
        assert "`fedora`" in run.conditions("golden", IMAGE_PRECACHE)["ResolvedRefs"]["message"]
        [told] = run.fleet.nodes["a"].sets.values()
        assert told.images == (UBUNTU,)

    async def test_what_nodes_were_told_stays_while_nobody_can_look_images_up(self):
        run = await cached_service("a")
        run.precache()
        await run.fill()
        before = dict(run.fleet.nodes["a"].sets)
        run.glance = None
        await run.fill()
        assert run.precache_said() == ("False", "ImageLookupFailed")
        assert run.fleet.nodes["a"].sets == before

    async def test_nodes_that_do_not_answer_hold_up_no_other(self):
        run = await cached_service("a", "b")
        run.fleet.nodes["a"].away = True
        run.precache(parallelism=1)
        await run.fill()
        [told] = run.fleet.nodes["b"].sets.values()
        assert told.fetch
        run.have("b", UBUNTU)
        await run.fill()
        assert run.precache_said() == ("False", "NodesUnavailable")
        assert run.table()["nodes"]["unavailable"] == 1
        [row] = run.table()["failingNodes"]
        assert (row["node"], row["reason"]) == ("a", "AgentUnreachable")
        assert "imageID" not in row
        assert "AgentUnreachable (1)" in run.conditions("golden", IMAGE_PRECACHE)["Ready"]["message"]

    @pytest.mark.parametrize(
        ("spec", "reason"),
        [
            ({"suspend": True}, "Suspended"),
            ({"parallelism": 0}, "Paused"),
            ({"windows": [{"schedule": "0 3 * * *", "durationSeconds": 3600}]}, "WindowClosed"),
        ],
    )
    async def test_nothing_is_fetched_while_the_spec_says_so(self, spec, reason):
        run = await cached_service("a")
        run.precache(**spec)
        await run.fill()
        assert run.precache_said() == ("False", reason)
        [told] = run.fleet.nodes["a"].sets.values()
        assert not told.fetch
        assert ("nextWindow" in run.table()) == (reason == "WindowClosed")

    async def test_a_service_that_is_not_there_is_waited_for(self):
        run = await cached_service("a")
        run.precache(imageServiceRef={"name": "other"})
        await run.fill()
        assert run.precache_said() == ("False", "ImageServiceNotFound")

    async def test_the_object_stays_small_with_any_number_of_nodes_and_images(self):
        names = [f"compute-{number:04}.region-one.example" for number in range(2000)]
        run = await cached_service(*names)
        images = [f"00000000-0000-4000-8000-{number:012}" for number in range(100)]
        run.glance = {f"image-{number:03}" + "x" * 240: [(image, "active")] for number, image in enumerate(images)}
        run.precache(images=tuple(run.glance))
        for node in names:
            run.have(node, *images[:3], state=ImageState.FAILED, reason=ImageReason.STORE_UNREACHABLE)
        await run.fill()
        assert len(run.table()["failingNodes"]) == 20
        assert len(json.dumps(run.kube.find(IMAGE_PRECACHE, "golden")["status"])) < 32 * 1024

    async def test_the_operator_asks_for_images_at_the_centre(self):
        run = await cached_service("a")
        run.precache()
        await run.fill()
        assert set(run.asked) == {"http://glance-api.images.svc.cluster.local:9293"}
        assert run.kube.find(CACHE_POLICY, "compute")["status"]["imageServiceName"] == "glance"
        assert run.kube.find(IMAGE_SERVICE, "glance")
