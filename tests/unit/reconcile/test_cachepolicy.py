"""One pass over a CachePolicy: what is made for it, what stands in its way, and what its status says."""

import base64

import pytest
from tests.unit.reconcile.test_edges import add_edge
from tests.unit.reconcile.test_imageservice import Run
from tests.unit.reconcile.world import NAMESPACE, image_store

from imageservice.agent_report import AgentReport, CacheUse, SetReport
from imageservice.glance.agents import AgentError, Reason
from imageservice.reconcile.cachepolicy import CachePolicyReconciler
from imageservice.runtime.kinds import (
    CACHE_POLICY,
    DAEMON_SET,
    ENDPOINT_SLICE,
    IMAGE_PRECACHE,
    IMAGE_SERVICE,
    IMAGE_STORE,
    NODE,
    SECRET,
    SERVICE,
)
from imageservice.runtime.settings import Settings

COMPUTE = {"role": "compute"}


pytestmark = pytest.mark.usefixtures("written_at_once")


class Fleet:
    """Agents by node; a node that is not there does not answer."""

    def __init__(self):
        self.nodes = {}
        self.tokens = set()

    async def reports(self, of, fresh_seconds=0.0):
        found = list(of)
        self.tokens |= {agent.token.reveal() for agent in found}
        away = AgentError(Reason.AGENT_UNREACHABLE, "the agent cannot be connected to")
        return {agent.node: self.nodes.get(agent.node, away) for agent in found}

    async def take_back(self, uid, of):
        for agent in of:
            self.nodes[agent.node].sets.pop(uid)
        return {}


class Policies(Run):
    """A world with CachePolicies in it."""

    def __init__(self):
        super().__init__()
        self.fleet = Fleet()
        self.policies = CachePolicyReconciler(self.kube, self.events, Settings(), self.fleet, lambda: self.now)

    def add(self, name="compute", target=("ImageService", "glance"), selector=COMPUTE, **spec):
        kind, of = target
        wanted = {"targetRef": {"kind": kind, "name": of}, "nodeSelector": selector, "maxSize": "10Gi"} | spec
        return self.kube.put(CACHE_POLICY, {"metadata": {"name": name}, "spec": wanted})

    def node(self, name, **labels):
        self.kube.put(NODE, {"metadata": {"name": name, "labels": labels}})

    async def pass_over(self, name="compute"):
        await self.once()
        return await self.policies.reconcile(NAMESPACE, name)

    def said(self, name="compute", type_="Ready"):
        found = self.conditions(name, CACHE_POLICY)[type_]
        return found["status"], found["reason"]

    def status(self, name="compute"):
        return self.kube.find(CACHE_POLICY, name)["status"]

    def daemon_set(self, name="compute"):
        return self.kube.find(DAEMON_SET, f"{name}-cache")

    def roll_nodes(self, name="compute", desired=3, ready=3, updated=3):
        found = self.daemon_set(name)
        found["status"] = {
            "observedGeneration": found["metadata"]["generation"],
            "desiredNumberScheduled": desired,
            "numberReady": ready,
            "updatedNumberScheduled": updated,
        }

    def has_pods(self, name="compute"):
        return ("DaemonSet", f"{name}-cache") in self.kube.objects


async def served():
    run = Policies()
    await run.to_the_end()
    return run


async def ready():
    run = await served()
    run.add()
    await run.pass_over()
    run.roll_nodes()
    await run.pass_over()
    return run


class TestChildren:
    async def test_a_policy_gets_pods_on_its_nodes_and_two_services(self):
        run = await ready()
        pod = run.daemon_set()["spec"]["template"]["spec"]
        assert pod["nodeSelector"] == COMPUTE
        assert [container["name"] for container in pod["containers"]] == ["glance-api", "cache-agent"]
        to_own_node = run.kube.find(SERVICE, "compute-cache")["spec"]
        assert to_own_node["internalTrafficPolicy"] == "Local"
        assert to_own_node["publishNotReadyAddresses"], "an agent that is away takes the cache from no client"
        assert run.kube.find(SERVICE, "compute-agents")["spec"]["clusterIP"] == "None"
        assert run.said() == ("True", "Ready")
        assert run.status()["nodes"] == {"desired": 3, "ready": 3, "updated": 3}
        assert run.status()["url"] == "http://compute-cache.images.svc.cluster.local:9292"

    async def test_a_settled_policy_is_not_written_to(self):
        run = await ready()
        before = run.kube.writes
        await run.pass_over()
        assert run.kube.writes == before

    async def test_another_size_is_another_config_and_the_old_one_goes_once_no_pod_reads_it(self):
        run = await ready()
        [old] = [s for s in run.kube.all(SECRET) if "cache-config" in s["metadata"]["name"]]
        live = run.kube.find(CACHE_POLICY, "compute")
        live["spec"]["maxSize"] = "20Gi"
        live["metadata"]["generation"] += 1
        await run.pass_over()
        assert len([s for s in run.kube.all(SECRET) if "cache-config" in s["metadata"]["name"]]) == 2
        run.roll_nodes()
        await run.pass_over()
        [new] = [s for s in run.kube.all(SECRET) if "cache-config" in s["metadata"]["name"]]
        assert new["metadata"]["name"] != old["metadata"]["name"]

    async def test_the_cache_of_an_edge_has_its_stores_and_its_nodes(self):
        run = Policies()
        run.kube.find(IMAGE_SERVICE, "glance")["spec"]["defaultStore"] = "central"
        add_edge(run, "dcn0")
        await run.to_the_end()
        run.add("edge", ("ImageStore", "dcn0"), selector={})
        await run.pass_over("edge")
        edge = run.kube.find(IMAGE_STORE, "dcn0")["spec"]["edge"]
        pod = run.daemon_set("edge")["spec"]["template"]["spec"]
        assert pod["nodeSelector"] == edge["nodeSelector"]
        assert run.said("edge", "ResolvedRefs") == ("True", "ResolvedRefs")


class TestUpgrade:
    async def test_the_schema_is_contracted_only_when_no_cache_runs_the_old_release(self):
        run = await ready()
        run.change(release="2026.2")
        for _ in range(6):
            await run.once()
            run.finish_jobs()
            run.roll_out()
        assert run.conditions()["DatabaseReady"]["reason"] == "SchemaUsable"
        await run.pass_over()
        await run.once()
        assert run.conditions()["DatabaseReady"]["reason"] == "SchemaUsable", "its pods are yet to be replaced"
        run.roll_nodes()
        for _ in range(3):
            await run.once()
            run.finish_jobs()
        assert run.conditions()["DatabaseReady"]["reason"] == "SchemaCurrent"


class TestWhatStandsInTheWay:
    @pytest.mark.parametrize("target", [("ImageService", "other"), ("ImageStore", "other")])
    async def test_a_target_that_is_not_there_is_waited_for(self, target):
        run = await served()
        run.add(target=target)
        await run.pass_over()
        assert run.said(type_="ResolvedRefs") == ("False", "TargetNotFound")
        assert run.said() == ("False", "TargetNotFound")
        assert not run.has_pods()

    async def test_a_store_without_an_edge_is_no_target(self):
        run = await served()
        run.add(target=("ImageStore", "central"))
        await run.pass_over()
        assert run.said() == ("False", "TargetNotAnEdge")

    async def test_no_pod_comes_before_the_schema(self):
        run = Policies()
        run.add()
        await run.pass_over()
        assert run.said(type_="Programmed") == ("False", "WaitingForImageService")
        assert run.said() == ("Unknown", "Progressing")
        assert not run.has_pods()

    async def test_a_store_of_one_pod_cannot_be_cached_on_others(self):
        run = Policies()
        only = {"volume": {"type": "EmptyDir", "emptyDir": {}}}
        run.kube.put(IMAGE_STORE, image_store(filesystem=only))
        run.kube.find(IMAGE_SERVICE, "glance")["spec"]["api"] = {"replicas": 1}
        await run.to_the_end()
        run.add()
        await run.pass_over()
        assert run.said() == ("False", "StoreNotShared")

    async def test_pods_go_on_while_the_target_is_away(self):
        run = await ready()
        del run.kube.objects["ImageService", "glance"]
        await run.policies.reconcile(NAMESPACE, "compute")
        assert run.said() == ("False", "TargetNotFound")
        assert run.has_pods()
        assert run.status()["nodes"]["ready"] == 3

    async def test_a_daemon_set_that_was_disowned_is_left_alone_and_told(self):
        run = await ready()
        owners = run.daemon_set()["metadata"].pop("ownerReferences")
        before = run.kube.find(DAEMON_SET, "compute-cache")
        await run.pass_over()
        assert run.said() == ("False", "NameTaken")
        assert run.daemon_set() == before
        run.daemon_set()["metadata"]["ownerReferences"] = owners
        await run.pass_over()
        assert run.said() == ("True", "Ready")

    async def test_a_daemon_set_on_its_way_out_is_told(self):
        run = await ready()
        run.daemon_set()["metadata"]["deletionTimestamp"] = "2026-11-22T10:00:00Z"
        await run.pass_over()
        assert run.said(type_="Accepted") == ("False", "Deleting")

    async def test_no_node_matches_is_said(self):
        run = await served()
        run.add()
        await run.pass_over()
        run.roll_nodes(desired=0, ready=0, updated=0)
        await run.pass_over()
        assert run.said() == ("False", "NoNodeMatches")

    async def test_nodes_that_do_not_serve_are_counted(self):
        run = await ready()
        run.roll_nodes(ready=1)
        await run.pass_over()
        assert run.said(type_="Programmed") == ("True", "Programmed")
        assert run.said() == ("Unknown", "Progressing")
        assert "1 of 3 nodes serve" in run.conditions("compute", CACHE_POLICY)["Ready"]["message"]


class TestConflicts:
    async def test_the_older_policy_has_the_node(self):
        run = await ready()
        run.add("younger", selector={**COMPUTE, "disk": "fast"})
        await run.pass_over("younger")
        assert run.said("younger", "Accepted") == ("False", "Conflicted")
        assert run.said("younger", "Conflicted") == ("True", "Conflicted")
        assert "`compute`" in run.conditions("younger", CACHE_POLICY)["Ready"]["message"]
        assert not run.has_pods("younger")
        await run.pass_over()
        assert run.said() == ("True", "Ready")

    async def test_the_younger_has_the_nodes_when_the_older_is_gone(self):
        run = await ready()
        run.add("younger")
        await run.pass_over("younger")
        del run.kube.objects["CachePolicy", "compute"]
        await run.pass_over("younger")
        assert run.said("younger", "Accepted") == ("True", "Accepted")
        assert "Conflicted" not in run.conditions("younger", CACHE_POLICY)
        assert run.has_pods("younger")

    async def test_of_a_part_the_younger_leaves_out_the_nodes_of_the_older(self):
        run = await ready()
        run.node("both", role="compute", disk="fast")
        run.node("one", disk="fast")
        run.add("younger", selector={"disk": "fast"})
        await run.pass_over("younger")
        affinity = run.daemon_set("younger")["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]
        [term] = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
        assert term == {"matchExpressions": [{"key": "role", "operator": "NotIn", "values": ["compute"]}]}
        told = run.conditions("younger", CACHE_POLICY)["Conflicted"]
        assert "`compute` has 1 of the nodes: both" in told["message"]

    async def test_policies_of_nodes_that_no_label_joins_do_not_meet(self):
        run = await ready()
        run.add("other", selector={"role": "network"})
        await run.pass_over("other")
        assert "affinity" not in run.daemon_set("other")["spec"]["template"]["spec"]
        assert "Conflicted" not in run.conditions("other", CACHE_POLICY)


class TestWhatIsCached:
    def with_agents(self, run, **uses):
        endpoints = [{"nodeName": node, "addresses": [f"192.0.2.{n}"]} for n, node in enumerate(uses, 1)]
        labels = {"kubernetes.io/service-name": "compute-agents"}
        run.kube.put(
            ENDPOINT_SLICE, {"metadata": {"name": "compute-agents-x", "labels": labels}, "endpoints": endpoints}
        )
        for node, use in uses.items():
            if use:
                run.fleet.nodes[node] = AgentReport(node, "2026.1", CacheUse(*use), {}, {})

    async def test_the_caches_of_all_nodes_that_answer_are_summed(self):
        run = await ready()
        self.with_agents(run, a=(600, 1000, 5000, 2, 7), b=(200, 1000, 5000, 1, 0), c=None)
        await run.pass_over()
        assert run.status()["cache"] == {"usedBytes": 800, "maxBytes": 2000, "usedPercent": 40, "images": 3}

    @pytest.mark.parametrize(
        ("agents", "seconds"),
        [
            ({"a": (1, 1, 1, 0, 0), "b": (1, 1, 1, 0, 0), "c": (1, 1, 1, 0, 0)}, 60),
            ({"a": (1, 1, 1, 0, 0), "b": (1, 1, 1, 0, 0), "c": None}, 30),
            ({"a": (1, 1, 1, 0, 0), "b": (1, 1, 1, 0, 0)}, 10),
            ({}, 10),
        ],
        ids=["all answer", "one does not", "one has no address yet", "none has one"],
    )
    async def test_agents_that_say_nothing_are_asked_again_sooner(self, agents, seconds):
        run = await ready()
        self.with_agents(run, **agents)
        assert (await run.pass_over()).requeue_after == seconds

    async def test_nodes_forget_images_that_nobody_wants_any_more_and_only_those(self):
        run = await ready()
        images = {name: run.kube.put(IMAGE_PRECACHE, {"metadata": {"name": name}}) for name in ("golden", "gone")}
        self.with_agents(run, a=(0, 1, 1, 0, 0))
        sets = run.fleet.nodes["a"].sets
        sets |= {found["metadata"]["uid"]: SetReport(name, "1", fetch=True) for name, found in images.items()}
        await run.pass_over()
        assert [told.name for told in sets.values()] == ["golden", "gone"]
        assert {(IMAGE_PRECACHE, "golden"), (IMAGE_PRECACHE, "gone")} <= run.kube.followed
        del run.kube.objects["ImagePrecache", "gone"]
        await run.pass_over()
        assert [told.name for told in sets.values()] == ["golden"]

    async def test_the_agents_are_shown_the_token_of_their_config(self):
        run = await ready()
        self.with_agents(run, a=(0, 1, 1, 0, 0))
        await run.pass_over()
        [config] = [s for s in run.kube.all(SECRET) if "cache-config" in s["metadata"]["name"]]
        assert run.fleet.tokens == {base64.b64decode(config["data"]["agent-token"]).decode()}

    async def test_a_cache_before_ceph_alone_is_said_to_spare_nothing(self):
        run = await served()
        run.add()
        await run.pass_over()
        assert run.said(type_="Effective") == ("True", "Effective")
