"""Which stores a service serves, and what is said about the others."""

import pytest
from tests.unit.reconcile.world import claim, image_service, image_store

from imageservice.api.reading import read
from imageservice.api.v1alpha1 import ImageService
from imageservice.errors import Blocked
from imageservice.reconcile import stores
from imageservice.releases import RELEASES

RELEASE = RELEASES["2026.1"]


def aged(manifest, minute):
    manifest["metadata"] |= {"creationTimestamp": f"2026-01-01T00:{minute:02d}:00Z", "namespace": "images"}
    return manifest | {"apiVersion": "imageservice.dev/v1alpha1", "kind": "ImageStore"}


def judged(*manifests, claims=None, replicas=2, release=RELEASE):
    found = stores.referring("glance", list(manifests))
    claims = {"images": claim()} if claims is None else claims
    return {v.name: v for v in stores.judge(found, claims, release, replicas)}


def reason(verdict):
    return verdict.problem and verdict.problem.reason


EMPTY_DIR = {"volume": {"type": "EmptyDir", "emptyDir": {}}}
NFS = {"volume": {"type": "NFS", "nfs": {"server": "nfs.example", "path": "/x"}}}


def test_of_two_stores_with_one_id_the_oldest_has_it():
    verdicts = judged(
        aged(image_store("young", storeID="central"), 9),
        aged(image_store("old", storeID="central"), 1),
    )
    assert reason(verdicts["old"]) is None
    assert reason(verdicts["young"]) == "StoreIDConflict"
    assert "`old`" in verdicts["young"].problem.message


def test_a_store_that_waits_for_its_claim_keeps_its_id():
    verdicts = judged(
        aged(image_store("old", storeID="central"), 1), aged(image_store("young", storeID="central"), 2), claims={}
    )
    assert reason(verdicts["old"]) == "ClaimNotFound"
    assert reason(verdicts["young"]) == "StoreIDConflict"


def test_among_the_stores_of_its_id_alone_a_store_is_judged_as_among_all():
    wanted = [("old", "shared"), ("young", "shared"), ("apart", "apart"), ("late", "apart"), ("shared", None)]
    found = [
        aged(image_store(name, **({"storeID": store_id} if store_id else {})), minute)
        for minute, (name, store_id) in enumerate(wanted)
    ]
    among_all = judged(*found)
    assert {name for name, verdict in among_all.items() if reason(verdict)} == {"young", "late", "shared"}
    for store in found:
        name = store["metadata"]["name"]
        rivals = stores.of_one_id(stores.store_id_of(store), found)
        assert str(judged(*rivals)[name]) == str(among_all[name])


@pytest.mark.parametrize("name", ["a.b", "x" * 64, "os-x-"])
def test_a_name_that_is_no_store_id_needs_one_and_is_told_so(name):
    verdict = judged(aged(image_store(name), 1))[name]
    assert reason(verdict) == "InvalidSpec"
    assert "storeID" in verdict.problem.message
    assert reason(judged(aged(image_store(name, storeID="central"), 1))[name]) is None


@pytest.mark.parametrize("store_id", ["database", "debug", "items"])
def test_an_id_that_means_something_else_to_glance_is_refused(store_id):
    assert reason(judged(aged(image_store(store_id), 1))[store_id]) == "ReservedStoreID"


@pytest.mark.parametrize(
    ("filesystem", "mode", "replicas", "expected"),
    [
        (None, "ReadWriteMany", 2, None),
        (None, "ReadWriteOnce", 2, "StoreNotShared"),
        (None, "ReadWriteOnce", 1, None),
        (EMPTY_DIR, "ReadWriteMany", 2, "StoreNotShared"),
        (EMPTY_DIR, "ReadWriteMany", 1, None),
        (NFS, "ReadWriteOnce", 5, None),
    ],
)
def test_a_store_that_one_pod_alone_can_have_is_refused_to_several_replicas(filesystem, mode, replicas, expected):
    spec = {"filesystem": filesystem} if filesystem else {}
    verdict = judged(aged(image_store(**spec), 1), claims={"images": claim(mode=mode)}, replicas=replicas)["central"]
    assert reason(verdict) == expected


def test_a_store_being_deleted_or_of_another_service_does_not_count():
    leaving = aged(image_store("leaving"), 1)
    leaving["metadata"]["deletionTimestamp"] = "2026-01-02T00:00:00Z"
    assert judged(leaving, aged(image_store("other", service="another"), 2)) == {}


def test_an_old_object_without_a_spec_is_a_verdict_and_no_crash():
    odd = aged({"metadata": {"name": "odd"}, "spec": {"imageServiceRef": {"name": "glance"}}}, 1)
    assert reason(judged(odd)["odd"]) == "InvalidSpec"


def default_of(*manifests, **spec):
    service = image_service(**spec) | {"apiVersion": "imageservice.dev/v1alpha1", "kind": "ImageService"}
    service["metadata"]["namespace"] = "images"
    found = [aged(manifest, minute) for minute, manifest in enumerate(manifests)]
    verdicts = list(judged(*found).values())
    parsed = read(ImageService, service)
    return stores.choose_default(parsed.spec, "glance", found, verdicts).name


def test_the_only_store_is_the_default_without_being_named():
    assert default_of(image_store("only")) == "only"


@pytest.mark.parametrize(
    ("manifests", "named", "expected"),
    [
        ([], None, "NoStore"),
        ([image_store("a"), image_store("b")], None, "DefaultStoreAmbiguous"),
        ([image_store("a")], "b", "DefaultStoreNotFound"),
        ([image_store("a", service="other")], "a", "DefaultStoreOfAnotherService"),
        ([image_store("a.b")], "a.b", "DefaultStoreNotUsable"),
    ],
)
def test_a_default_store_that_cannot_be_used_is_told_by_its_reason(manifests, named, expected):
    spec = {"defaultStore": named} if named else {}
    with pytest.raises(Blocked) as blocked:
        default_of(*manifests, **spec)
    assert blocked.value.reason == expected
