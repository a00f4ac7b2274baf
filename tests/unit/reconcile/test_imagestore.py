"""One pass over an ImageStore: what its pods say of it, and how it leaves."""

import pytest
from tests.unit.reconcile.test_edges import add_edge, fall_over
from tests.unit.reconcile.test_imageservice import Run
from tests.unit.reconcile.world import NAMESPACE, image_store

from imageservice.reconcile import stores as module_of_stores
from imageservice.reconcile.leaving import FORCE_ANNOTATION
from imageservice.reconcile.stores import FINALIZER
from imageservice.runtime.kinds import IMAGE_SERVICE, IMAGE_STORE
from imageservice.store_report import ImageCount, StoreReason, StoreReport

CENTRE = f"http://glance-api.{NAMESPACE}.svc.cluster.local:9293"
EDGE = f"http://glance-edge-dcn0.{NAMESPACE}.svc.cluster.local:9293"
NFS = {"volume": {"type": "NFS", "nfs": {"server": "nfs.example", "path": "/exports/images"}}}


pytestmark = pytest.mark.usefixtures("written_at_once")


async def served(*edges):
    """A service that is Ready, with a second store and edges, all of them looked at once."""
    run = Run()
    run.kube.put(IMAGE_STORE, image_store("second", filesystem=NFS))
    run.kube.find(IMAGE_SERVICE, "glance")["spec"]["defaultStore"] = "central"
    for edge in edges:
        add_edge(run, edge)
    await run.to_the_end()
    for store in ("central", "second", *edges):
        await run.store.reconcile(NAMESPACE, store)
    return run


def verdict(run, store, type_="Ready"):
    found = run.conditions(store, IMAGE_STORE)[type_]
    return found["status"], found["reason"]


def leave(run, store, **annotations):
    metadata = run.kube.find(IMAGE_STORE, store)["metadata"]
    metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    metadata["annotations"] = annotations


def is_there(run, store):
    return ("ImageStore", store) in run.kube.objects


async def test_a_pass_reads_nothing_of_stores_with_other_ids(monkeypatch):
    run = await served()
    rival = image_store("rival", storeID="second", filesystem=NFS)
    run.kube.put(IMAGE_STORE, rival | {"metadata": rival["metadata"] | {"creationTimestamp": "2027-01-01T00:00:00Z"}})
    read = []
    judge_all = module_of_stores.judge
    monkeypatch.setattr(module_of_stores, "judge", lambda found, *rest: read.extend(found) or judge_all(found, *rest))
    await run.store.reconcile(NAMESPACE, "rival")
    assert [store["metadata"]["name"] for store in read] == ["second", "rival"]
    assert verdict(run, "rival", "Accepted") == ("False", "StoreIDConflict")


class TestReachable:
    async def test_a_store_that_nobody_can_tell_about_is_ready(self):
        run = await served()
        assert verdict(run, "central", "Reachable") == ("Unknown", "NotProbed")
        assert verdict(run, "second", "Reachable") == ("Unknown", "NotProbed")
        assert verdict(run, "second") == ("True", "Ready")

    async def test_what_the_pods_say_is_told_and_asked_again(self):
        run = await served()
        run.monitors.reports[CENTRE] = {"second": StoreReport(StoreReason("NotMounted"), "The share is not mounted.")}
        result = await run.store.reconcile(NAMESPACE, "second")
        assert verdict(run, "second", "Reachable") == ("False", "NotMounted")
        assert verdict(run, "second") == ("False", "NotMounted")
        assert result.requeue_after
        run.monitors.reports[CENTRE] = {"second": StoreReport(StoreReason("Reachable"), "It is.")}
        result = await run.store.reconcile(NAMESPACE, "second")
        assert verdict(run, "second") == ("True", "Ready")
        assert result.requeue_after

    async def test_the_pods_of_its_own_edge_are_asked_about_a_store_there(self):
        run = await served("dcn0")
        run.monitors.reports[CENTRE] = {"dcn0": StoreReport(StoreReason("NotMounted"), "No.")}
        run.monitors.reports[EDGE] = {"dcn0": StoreReport(StoreReason("Reachable"), "Yes.")}
        await run.store.reconcile(NAMESPACE, "dcn0")
        assert verdict(run, "dcn0") == ("True", "Ready")

    async def test_the_service_tells_it_in_its_table_and_stays_ready(self):
        run = await served()
        run.monitors.reports[CENTRE] = {"second": StoreReport(StoreReason("NotMounted"), "No.")}
        await run.store.reconcile(NAMESPACE, "second")
        await run.once()
        [row] = [r for r in run.kube.find(IMAGE_SERVICE, "glance")["status"]["stores"] if r["name"] == "second"]
        assert (row["attached"], row["ready"], row["reason"]) == (True, False, "NotMounted")
        assert run.verdict() == ("True", "Ready")

    async def test_a_store_whose_edge_does_not_serve_is_not_ready(self):
        run = await served("dcn0")
        fall_over(run, "glance-edge-dcn0")
        await run.once()
        await run.store.reconcile(NAMESPACE, "dcn0")
        assert verdict(run, "dcn0", "Attached") == ("False", "NoNodeMatches")
        assert verdict(run, "central") == ("True", "Ready")


class TestLeaving:
    async def test_a_store_that_may_hold_images_is_held(self):
        run = await served()
        assert run.kube.find(IMAGE_STORE, "second")["metadata"]["finalizers"] == [FINALIZER]

    async def test_a_store_that_nobody_serves_is_not_held(self):
        run = Run()
        run.kube.put(IMAGE_STORE, image_store("alone", service="none", filesystem=NFS))
        await run.store.reconcile(NAMESPACE, "alone")
        assert "finalizers" not in run.kube.find(IMAGE_STORE, "alone")["metadata"]

    async def test_an_empty_store_goes_at_once(self):
        run = await served()
        run.monitors.counts["second"] = ImageCount(0, 0)
        leave(run, "second")
        await run.store.reconcile(NAMESPACE, "second")
        assert not is_there(run, "second")

    async def test_a_store_with_images_stays_and_is_served_until_they_are_gone(self):
        run = await served()
        run.monitors.counts["second"] = ImageCount(12, 3)
        leave(run, "second")
        result = await run.store.reconcile(NAMESPACE, "second")
        condition = run.conditions("second", IMAGE_STORE)["DeletionBlocked"]
        assert (condition["status"], condition["reason"]) == ("True", "HoldsImages")
        assert condition["message"].startswith("12 images are in the store, 3 of them nowhere else.")
        assert FORCE_ANNOTATION in condition["message"]
        assert result.requeue_after
        await run.to_the_end()
        assert "second" in {row["name"] for row in run.kube.find(IMAGE_SERVICE, "glance")["status"]["stores"]}
        run.monitors.counts["second"] = ImageCount(0, 0)
        await run.store.reconcile(NAMESPACE, "second")
        assert not is_there(run, "second")

    async def test_a_store_whose_images_nobody_can_count_stays(self):
        run = await served()
        leave(run, "second")
        await run.store.reconcile(NAMESPACE, "second")
        assert run.conditions("second", IMAGE_STORE)["DeletionBlocked"]["reason"] == "ImagesNotCounted"
        assert is_there(run, "second")

    async def test_the_annotation_lets_it_go_with_its_images(self):
        run = await served()
        run.monitors.counts["second"] = ImageCount(12, 3)
        leave(run, "second", **{FORCE_ANNOTATION: "true"})
        await run.store.reconcile(NAMESPACE, "second")
        assert not is_there(run, "second")

    @pytest.mark.parametrize("service_is", ["gone", "going"])
    async def test_nothing_is_held_without_its_service(self, service_is):
        run = await served()
        run.monitors.counts["second"] = ImageCount(12, 3)
        service = run.kube.find(IMAGE_SERVICE, "glance")
        if service_is == "gone":
            await run.kube.delete(IMAGE_SERVICE, service)
        else:
            service["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        leave(run, "second")
        await run.store.reconcile(NAMESPACE, "second")
        assert not is_there(run, "second")
