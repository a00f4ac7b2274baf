"""What is kept of objects, in whatever order, form and number the news of them come."""

import random

import pytest

from imageservice.runtime.kinds import DEPLOYMENT, SECRET, Key
from imageservice.runtime.objects import ObjectCache, Sight


def make(version: int, name: str = "a", uid: str = "one", **content: object) -> dict:
    metadata = {"name": name, "namespace": "ns", "uid": uid, "resourceVersion": str(version)}
    return {"metadata": metadata | {"managedFields": [{"manager": "x"}]}} | content


@pytest.fixture
def objects() -> ObjectCache:
    return ObjectCache(lambda _kind, _manifest: True)


def spec(objects: ObjectCache, name: str = "a") -> object:
    found = objects.get(DEPLOYMENT, "ns", name)
    return None if found is None else found["spec"]


def test_an_object_is_returned_as_it_was_seen_without_the_bookkeeping_of_the_api_server(objects):
    objects.saw(DEPLOYMENT, make(1, spec="x"))
    found = objects.get(DEPLOYMENT, "ns", "a")
    assert (found["kind"], found["apiVersion"], found["spec"]) == ("Deployment", "apps/v1", "x")
    assert "managedFields" not in found["metadata"]
    found["spec"] = "changed by the reader"
    assert spec(objects) == "x"


def test_older_news_never_replace_newer_ones(objects):
    assert objects.saw(DEPLOYMENT, make(5, spec="new")) is Sight.NEWS
    assert objects.saw(DEPLOYMENT, make(4, spec="old")) is Sight.OUTDATED
    assert objects.saw(DEPLOYMENT, make(5, spec="new")) is Sight.KNOWN
    objects.read(DEPLOYMENT, make(3, spec="an answer that was slow"))
    assert spec(objects) == "new"
    assert objects.saw(DEPLOYMENT, make(10, spec="ten is more than nine")) is Sight.NEWS


def test_what_was_deleted_does_not_come_back_by_a_late_event_list_or_answer(objects):
    objects.saw(DEPLOYMENT, make(1, spec="x"))
    assert objects.saw(DEPLOYMENT, make(3), deleted=True) is Sight.NEWS
    assert objects.saw(DEPLOYMENT, make(2, spec="late")) is Sight.OUTDATED
    objects.read(DEPLOYMENT, make(2, spec="slow answer"))
    assert spec(objects) is None
    assert objects.saw(DEPLOYMENT, make(3), deleted=True) is Sight.KNOWN


def test_an_object_that_left_the_selector_of_a_watch_may_come_back(objects):
    objects.saw(DEPLOYMENT, make(1, spec="x"))
    objects.saw(DEPLOYMENT, make(3), deleted=True)
    objects.read(DEPLOYMENT, make(4, spec="label given back"))
    assert spec(objects) == "label given back"
    assert objects.saw(DEPLOYMENT, make(3), deleted=True) is Sight.OUTDATED, "the event came after the answer"
    assert objects.saw(DEPLOYMENT, make(5, spec="seen again")) is Sight.NEWS
    assert spec(objects) == "seen again"


def test_a_successor_of_the_same_name_survives_the_late_deletion_of_its_predecessor(objects):
    objects.saw(DEPLOYMENT, make(1, spec="x"))
    objects.saw(DEPLOYMENT, make(5, uid="two", spec="successor"))
    objects.saw(DEPLOYMENT, make(3), deleted=True)
    assert spec(objects) == "successor"


def test_metadata_alone_is_no_object_but_tells_that_the_content_is_outdated(objects):
    objects.saw(SECRET, make(1), whole=False)
    assert objects.get(SECRET, "ns", "a") is None
    objects.read(SECRET, make(1, data={"k": "1"}))
    assert objects.saw(SECRET, make(1), whole=False) is Sight.KNOWN
    assert objects.get(SECRET, "ns", "a")["data"] == {"k": "1"}
    objects.saw(SECRET, make(2), whole=False)
    objects.read(SECRET, make(1, data={"k": "1"}))
    assert objects.get(SECRET, "ns", "a") is None, "content that is older than what is known"
    assert [item["metadata"]["name"] for item in objects.all(SECRET, "ns")] == ["a"]


def test_those_who_list_may_have_no_more_than_type_and_metadata(objects):
    objects.saw(DEPLOYMENT, make(1, spec="x"))
    objects.saw(DEPLOYMENT, make(1, "b", "two", spec="y"))
    [one, two] = objects.all_metadata(DEPLOYMENT, "ns")
    assert one == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": objects.get(DEPLOYMENT, "ns", "a")["metadata"],
    }
    assert two["metadata"]["name"] == "b"
    assert objects.all_metadata(DEPLOYMENT, "elsewhere") == []


def test_a_list_tells_what_is_gone_but_not_of_what_is_newer_or_elsewhere(objects):
    objects.saw(DEPLOYMENT, make(1, "gone", "u1"))
    objects.saw(DEPLOYMENT, make(9, "newer", "u2"))
    objects.saw(DEPLOYMENT, make(2, "listed", "u3"))
    assert not objects.synced(DEPLOYMENT, "ns")
    assert objects.listed(DEPLOYMENT, "elsewhere", set(), 5) == []
    assert not objects.synced(DEPLOYMENT, "ns")
    assert objects.listed(DEPLOYMENT, "ns", {"u3"}, 5) == [Key(DEPLOYMENT, "ns", "gone")]
    assert objects.synced(DEPLOYMENT, "ns")
    assert sorted(item["metadata"]["name"] for item in objects.all(DEPLOYMENT, "ns")) == ["listed", "newer"]


def test_what_we_deleted_or_doubt_is_not_believed_to_be_there(objects):
    objects.saw(DEPLOYMENT, make(1))
    objects.deleted(DEPLOYMENT, make(1))
    assert objects.get(DEPLOYMENT, "ns", "a") is None
    objects.saw(DEPLOYMENT, make(2, uid="two"))
    objects.doubt(DEPLOYMENT, "ns", "a")
    assert objects.is_doubted(DEPLOYMENT, "ns", "a")
    objects.read(DEPLOYMENT, make(2, uid="two", spec="asked"))
    assert spec(objects) == "asked"
    assert not objects.is_doubted(DEPLOYMENT, "ns", "a")


def test_what_is_not_worth_keeping_is_not_kept():
    objects = ObjectCache(lambda _kind, manifest: manifest["spec"] == "ours")
    objects.saw(DEPLOYMENT, make(1, spec="ours"))
    objects.saw(DEPLOYMENT, make(2, spec="theirs"))
    assert len(objects) == 0


@pytest.mark.parametrize("seed", range(20))
def test_any_order_of_the_same_news_ends_in_the_same_state(objects, seed):
    history = [make(version, spec=version) for version in range(1, 6)]
    news = [(item, False) for item in history] + [(make(6), True)] * (seed % 2)
    chosen = random.Random(seed)
    repeated = news + chosen.choices(news, k=5)
    chosen.shuffle(repeated)
    for item, deleted in repeated:
        objects.saw(DEPLOYMENT, item, deleted=deleted)
    assert spec(objects) == (None if seed % 2 else 5)
