from collections import Counter
from pathlib import Path

import bench
import pytest
import yaml
from bench.subject import BadSubject, Stuck, Subject, merged, render

from imageservice.api.v1alpha1 import ImageService, ImageStore

OURS = Path(bench.__file__).parent / "subjects" / "image-service-operator.yaml"
VALUES = {"keystone": "http://127.0.0.1:5000", "silent": "http://127.0.0.1:6000"}
MODELS = {"ImageService": ImageService, "ImageStore": ImageStore}


@pytest.fixture(scope="module")
def subject():
    return Subject.from_file(OURS)


def test_the_instance_is_the_last_of_the_objects_that_a_user_makes(subject):
    objects = subject.objects_of("bench-0007", 7, VALUES)
    assert objects[-1]["kind"] == subject.instance.kind
    assert {manifest["metadata"]["namespace"] for manifest in objects} == {"bench-0007"}


def test_all_objects_of_a_good_instance_are_valid(subject):
    for manifest in subject.objects_of("bench-0007", 7, VALUES):
        MODELS[manifest["kind"]].model_validate(manifest)


def test_every_secret_and_claim_that_an_instance_refers_to_is_prepared(subject):
    prepared = {(m["kind"], m["metadata"]["name"]) for m in subject.prepared("bench-0007", 7, VALUES)}
    store, service = subject.objects_of("bench-0007", 7, VALUES)
    identity = service["spec"]["identity"]
    secrets = [service["spec"]["database"], identity, identity["catalog"]]
    claim = store["spec"]["filesystem"]["volume"]["persistentVolumeClaim"]["claimName"]
    assert {("Secret", part["secretRef"]["name"]) for part in secrets} <= prepared
    assert ("PersistentVolumeClaim", claim) in prepared


def test_every_instance_that_gets_stuck_differs_from_a_good_one(subject):
    good = subject.objects_of("bench-0007", 0, VALUES)
    for stuck in subject.stuck:
        assert subject.objects_of_stuck(stuck, "bench-0007", VALUES) != good, stuck.name


def test_a_change_is_never_the_same_twice(subject):
    assert subject.change("field", round=1) != subject.change("field", round=2)
    assert subject.change("option", round=1) != subject.change("option", round=2)
    assert subject.change("scale", replicas=2) == {"spec": {"api": {"replicas": 2}}}


def test_a_stuck_instance_may_lack_an_object_and_have_others(subject):
    stuck = Stuck("x", change={"ImageStore": None}, extra="{kind: Service, metadata: {namespace: '{{ namespace }}'}}")
    found = subject.objects_of_stuck(stuck, "here", VALUES)
    assert [manifest["kind"] for manifest in found] == ["Service", "ImageService"]
    assert found[0]["metadata"]["namespace"] == "here"


def test_a_template_that_names_what_is_not_there_is_refused():
    with pytest.raises(BadSubject, match="nowhere"):
        render("{{ nowhere }}", {})


def test_a_subject_that_lacks_its_command_is_refused_with_its_name(tmp_path):
    content = yaml.safe_load(OURS.read_text())
    del content["command"]
    file = tmp_path / "broken.yaml"
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(BadSubject, match=r"broken\.yaml.*command"):
        Subject.from_file(file)


def test_a_merge_patch_replaces_adds_and_removes():
    manifest = {"a": {"b": 1, "c": 2}, "list": [1], "scalar": 1}
    patch = {"a": {"b": None, "d": 3}, "list": [2], "scalar": {"now": "a mapping"}}
    assert merged(manifest, patch) == {"a": {"c": 2, "d": 3}, "list": [2], "scalar": {"now": "a mapping"}}
    assert manifest["a"] == {"b": 1, "c": 2}


class TestParts:
    """What one instance has many of."""

    def test_all_objects_are_valid_and_each_part_has_what_it_refers_to(self, subject):
        for number in range(1, subject.parts.count + 2):
            secret, store = subject.parts.of(number, "bench-0007", VALUES)
            found = ImageStore.model_validate(store)
            member = store["spec"][store["spec"]["type"].lower()]
            assert member["secretRef"]["name"] == secret["metadata"]["name"] == found.metadata.name
            assert secret["metadata"]["namespace"] == store["metadata"]["namespace"] == "bench-0007"

    def test_there_are_edges_among_them_and_two_types(self, subject):
        specs = [subject.parts.of(number, "here", VALUES)[-1]["spec"] for number in range(1, subject.parts.count + 1)]
        assert Counter(spec["type"] for spec in specs) == {"Ceph": 50, "S3": 50}
        assert sum("edge" in spec for spec in specs) == 10

    def test_the_instance_knows_its_default_store_among_many(self, subject):
        store, instance = subject.objects_with_parts("here", VALUES)
        assert instance["spec"]["defaultStore"] == store["metadata"]["name"]
        assert "defaultStore" not in subject.objects_of("here", 0, VALUES)[-1]["spec"]

    def test_a_subject_may_have_none(self, tmp_path):
        content = yaml.safe_load(OURS.read_text())
        del content["parts"]
        file = tmp_path / "plain.yaml"
        file.write_text(yaml.safe_dump(content))
        plain = Subject.from_file(file)
        assert plain.parts is None
        assert plain.objects_with_parts("here", VALUES) == plain.objects_of("here", 0, VALUES)
