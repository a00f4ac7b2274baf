"""The edges of an ImageService, from pass to pass: the world before -> the world after."""

import json

import pytest
from tests.unit.reconcile.test_imageservice import Run
from tests.unit.reconcile.world import NAMESPACE, image_store

from imageservice.api.v1alpha1 import MAX_STORES, ImageService
from imageservice.runtime.kinds import DEPLOYMENT, IMAGE_SERVICE, IMAGE_STORE, JOB, POD, SECRET, SERVICE

NFS = {"volume": {"type": "NFS", "nfs": {"server": "nfs.example", "path": "/exports/images"}}}
UNSCHEDULABLE = "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector. preemption: no"


pytestmark = pytest.mark.usefixtures("written_at_once")


def add_edge(run, name, **edge):
    wanted = {"nodeSelector": {"zone": name}} | edge
    run.kube.put(IMAGE_STORE, image_store(name, filesystem=NFS, edge=wanted))


async def dcn():
    run = Run()
    add_edge(run, "dcn0")
    add_edge(run, "dcn1")
    await run.to_the_end()
    return run


def names(run, kind):
    return {item["metadata"]["name"] for item in run.kube.all(kind)}


def sites(run):
    return {row["name"]: row for row in run.kube.find(IMAGE_SERVICE, "glance")["status"]["sites"]}


def rows(run):
    return {row["name"]: row for row in run.kube.find(IMAGE_SERVICE, "glance")["status"]["stores"]}


def fall_over(run, name):
    """Let the pods of a Deployment be without a node, and say so, as Kubernetes does."""
    found = run.kube.find(DEPLOYMENT, name)
    found["status"] |= {"readyReplicas": 0, "updatedReplicas": 1}
    labels = found["spec"]["template"]["metadata"]["labels"]
    told = {"type": "PodScheduled", "status": "False", "message": UNSCHEDULABLE}
    run.kube.put(POD, {"metadata": {"name": "lost", "labels": labels}, "status": {"conditions": [told]}})


async def test_the_default_store_is_the_one_without_an_edge():
    run = await dcn()
    assert {name for name, row in rows(run).items() if row["default"]} == {"central"}


async def test_every_edge_gets_a_deployment_and_a_service_and_the_table_says_so():
    run = await dcn()
    assert names(run, DEPLOYMENT) == names(run, SERVICE) == {"glance-api", "glance-edge-dcn0", "glance-edge-dcn1"}
    assert list(sites(run)) == ["central", "dcn0", "dcn1"]
    assert all(row["ready"] and row["rolledOut"] for row in sites(run).values())
    assert sites(run)["dcn0"]["url"] == f"http://glance-edge-dcn0.{NAMESPACE}.svc.cluster.local:9292"
    assert run.kube.find(IMAGE_SERVICE, "glance")["status"]["sitesReady"] == "3/3"
    assert all(row["attached"] for row in rows(run).values())


async def test_a_hundred_edges_fit_into_a_status_of_32_kib():
    run = Run()
    for number in range(100):
        add_edge(run, f"dcn{number:03}")
    await run.to_the_end()
    status = run.kube.find(IMAGE_SERVICE, "glance")["status"]
    assert status["sitesReady"] == "101/101"
    assert len(json.dumps(status, separators=(",", ":"))) < 32 * 1024


async def test_of_more_edges_than_a_status_may_list_the_service_lists_as_many_as_it_may():
    run = Run()
    for number in range(MAX_STORES + 2):
        add_edge(run, f"dcn{number:03}")
    await run.to_the_end()
    found = run.kube.find(IMAGE_SERVICE, "glance")
    ImageService.model_validate(found)
    assert len(found["status"]["sites"]) == MAX_STORES + 1
    assert found["status"]["sitesReady"] == f"{MAX_STORES + 3}/{MAX_STORES + 3}"


async def test_a_settled_service_with_edges_is_not_written_to():
    run = await dcn()
    writes = run.kube.writes
    for _ in range(3):
        await run.once()
    assert run.kube.writes == writes


async def test_the_schema_is_contracted_only_when_no_site_has_old_pods():
    run = await dcn()
    run.change(release="2026.2")
    await run.once()
    run.finish_jobs()
    await run.once()
    for found in run.kube.all(DEPLOYMENT):
        behind = found["metadata"]["name"] == "glance-edge-dcn1"
        counts = {"observedGeneration": found["metadata"]["generation"], "replicas": found["spec"]["replicas"]}
        updated = 0 if behind else found["spec"]["replicas"]
        found["status"] = counts | {"updatedReplicas": updated, "readyReplicas": found["spec"]["replicas"]}
    await run.once()
    assert not [name for name in names(run, JOB) if "sync" in name and not is_old(run, name)]
    await run.to_the_end()
    assert run.verdict("DatabaseReady") == ("True", "SchemaCurrent")


def is_old(run, name):
    return run.kube.find(JOB, name)["metadata"]["labels"]["app.kubernetes.io/version"] != "2026.2"


async def test_an_edge_without_nodes_is_told_and_the_rest_is_well():
    run = await dcn()
    fall_over(run, "glance-edge-dcn0")
    await run.once()
    await run.once()
    row = sites(run)["dcn0"]
    assert (row["ready"], row["reason"]) == (False, "NoNodeMatches")
    assert "nodeSelector" in row["message"]
    assert run.kube.find(IMAGE_SERVICE, "glance")["status"]["sitesReady"] == "2/3"
    assert run.verdict() == ("True", "Ready")


async def test_an_edge_whose_name_is_taken_holds_up_no_other():
    run = Run()
    add_edge(run, "dcn0")
    add_edge(run, "dcn1")
    theirs = run.kube.put(SERVICE, {"metadata": {"name": "glance-edge-dcn0"}, "spec": {"selector": {"app": "theirs"}}})
    await run.to_the_end()
    assert run.kube.find(SERVICE, "glance-edge-dcn0") == theirs
    assert sites(run)["dcn0"]["reason"] == "NameTaken"
    assert sites(run)["dcn1"]["ready"]
    assert run.verdict() == ("True", "Ready")


async def test_an_edge_that_is_taken_out_goes_with_all_that_it_had():
    run = await dcn()
    await run.kube.delete(IMAGE_STORE, run.kube.find(IMAGE_STORE, "dcn0"))
    await run.to_the_end()
    left = [*names(run, DEPLOYMENT), *names(run, SERVICE)]
    assert not [name for name in left if "dcn0" in name]
    configs = [s for s in run.kube.all(SECRET) if "-config-" in s["metadata"]["name"]]
    assert sorted(s["metadata"]["labels"].get("imageservice.dev/edge", "") for s in configs) == ["", "dcn1"]
    assert list(sites(run)) == ["central", "dcn1"]


async def test_an_edge_whose_store_cannot_be_served_just_now_goes_on_with_what_it_has():
    run = await dcn()
    config = {s["metadata"]["name"] for s in run.kube.all(SECRET) if "-config-" in s["metadata"]["name"]}
    claim = {"type": "PersistentVolumeClaim", "persistentVolumeClaim": {"claimName": "nowhere"}}
    run.kube.find(IMAGE_STORE, "dcn0")["spec"]["filesystem"] = {"volume": claim}
    await run.once()
    run.roll_out()
    await run.to_the_end()
    assert "glance-edge-dcn0" in names(run, DEPLOYMENT)
    mounted = run.kube.find(DEPLOYMENT, "glance-edge-dcn0")["spec"]["template"]["spec"]["volumes"][0]["secret"]
    assert mounted["secretName"] in config & names(run, SECRET)


async def test_an_edges_deployment_that_is_deleted_comes_back():
    run = await dcn()
    await run.kube.delete(DEPLOYMENT, run.kube.find(DEPLOYMENT, "glance-edge-dcn1"))
    await run.to_the_end()
    assert "glance-edge-dcn1" in names(run, DEPLOYMENT)


async def test_another_store_rolls_the_centre_alone():
    run = await dcn()
    before = {d["metadata"]["name"]: d["metadata"]["generation"] for d in run.kube.all(DEPLOYMENT)}
    add_edge(run, "dcn2")
    await run.to_the_end()
    after = {d["metadata"]["name"]: d["metadata"]["generation"] for d in run.kube.all(DEPLOYMENT)}
    moved = {name for name in before if before[name] != after[name]}
    assert moved == {"glance-api"}
