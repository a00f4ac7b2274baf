"""What two runs cannot share is taken away, and nothing else: the comparison itself, without a cluster."""

import base64
import copy
import hashlib
import json
from typing import Any

import pytest
from tests.api_client import Manifest
from tests.end_state import differences, end_state, versions

from imageservice.render.agent_token import agent_token
from imageservice.render.secrets import slow_hash
from imageservice.sensitive import Sensitive


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def run(namespace: str, number: int, config: str = "debug = false\n", **changed: Any) -> list[Manifest]:
    """Return a namespace as a run of the operator leaves it: with uids, versions, times and hashes of its own."""
    uid = f"{number:08d}-aaaa-bbbb-cccc-000000000000"
    owner = [{"apiVersion": "imageservice.dev/v1alpha1", "kind": "ImageService", "name": "glance", "uid": uid}]
    hashed = f"glance-config-{number:010x}"
    metadata = {"namespace": namespace, "resourceVersion": str(number), "creationTimestamp": "2026-11-22T10:00:00Z"}
    condition = {"type": "Ready", "status": "True", "lastTransitionTime": f"2026-11-22T10:00:{number:02d}Z"}
    service = {
        "apiVersion": "imageservice.dev/v1alpha1",
        "kind": "ImageService",
        "metadata": metadata | {"name": "glance", "uid": uid, "generation": number},
        "status": {"observedGeneration": number, "conditions": [condition]},
    }
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata | {"name": hashed, "uid": f"s{uid}", "ownerReferences": owner},
        "data": {"glance-api.conf": encoded(f"{config}url = http://glance-api.{namespace}.svc\n")},
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata
        | {"name": "glance-api", "uid": f"d{uid}", "ownerReferences": owner, "generation": 1}
        | {"annotations": {"deployment.kubernetes.io/revision": str(number)}},
        "spec": {"replicas": 2, "volumes": [{"name": "config", "secret": {"secretName": hashed}}]} | changed,
        "status": {"conditions": [{"type": "Progressing", "status": "True", "message": f"ReplicaSet a-{number}"}]},
    }
    return [service, secret, deployment]


def words(one: list[Manifest], other: list[Manifest]) -> list[str]:
    return differences(end_state(one, "t-one"), end_state(other, "t-two"), "one", "other")


def test_two_runs_to_the_same_state_do_not_differ() -> None:
    assert words(run("t-one", 1), run("t-two", 2)) == []


def test_another_value_is_told_with_its_place() -> None:
    (told,) = words(run("t-one", 1), run("t-two", 2, replicas=3))
    assert told == "Deployment/glance-api spec.replicas: 2 in the state 'one', 3 in the state 'other'"


def test_another_line_in_a_config_file_is_told_as_that_line() -> None:
    (told,) = words(run("t-one", 1), run("t-two", 2, config="debug = true\n"))
    assert told.startswith("Secret/glance-config#1 data['glance-api.conf']:")
    assert "-debug = false" in told
    assert "+debug = true" in told
    assert "url" not in told


def test_an_object_too_many_is_told() -> None:
    more = run("t-two", 2)
    more.append(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "left", "uid": "a-uid-of-its-own", "namespace": "t-two"},
        }
    )
    assert words(run("t-one", 1), more) == ["Service/left is only in the state 'other'"]


def test_a_reference_to_the_older_of_two_configs_is_told() -> None:
    def with_old_config(number: int, namespace: str) -> list[Manifest]:
        objects = run(namespace, number)
        old = copy.deepcopy(objects[1])
        old["metadata"] |= {"name": f"glance-config-{number + 100:010x}", "uid": f"o{number}"}
        old["data"] = {"glance-api.conf": encoded("old\n")}
        return [*objects, old]

    one, other = with_old_config(1, "t-one"), with_old_config(2, "t-two")
    assert words(one, other) == []
    other[2]["spec"]["volumes"][0]["secret"]["secretName"] = other[3]["metadata"]["name"]
    (told,) = words(one, other)
    assert told.startswith("Deployment/glance-api spec.volumes[config].secret.secretName: ")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("metadata", "finalizers"), ["imageservice.dev/keystone-catalog"]),
        (("metadata", "labels"), {"a": "b"}),
        (("metadata", "annotations"), {"kopf.dev/x": "y"}),
        (("metadata", "deletionTimestamp"), "2026-11-22T10:00:00Z"),
        (("status", "observedGeneration"), 1),
        (("status", "conditions"), [{"type": "Ready", "status": "False"}]),
    ],
)
def test_what_a_run_must_not_leave_behind_is_a_difference(place: tuple[str, str], value: Any) -> None:
    left = run("t-two", 2)
    left[0][place[0]][place[1]] = value
    assert any(f"ImageService/glance {'.'.join(place)}" in line for line in words(run("t-one", 1), left))


def test_an_owner_that_is_gone_is_a_difference() -> None:
    orphaned = run("t-two", 2)
    orphaned[2]["metadata"]["ownerReferences"] = [{"kind": "ImageService", "name": "glance", "uid": "an-older-one"}]
    assert any("ownerReferences" in line for line in words(run("t-one", 1), orphaned))


def test_versions_tell_a_write_and_a_new_object_of_the_same_name() -> None:
    before = versions(run("t-one", 1))
    assert versions(run("t-one", 1)) == before
    written = run("t-one", 1)
    written[0]["metadata"]["resourceVersion"] = "7"
    replaced = run("t-one", 1)
    replaced[0]["metadata"]["uid"] = "another"
    assert before not in (versions(written), versions(replaced))


def test_an_object_is_found_again_among_more_of_its_kind_by_what_is_in_it() -> None:
    more = run("t-two", 2)
    old = copy.deepcopy(more[1])
    old["metadata"] |= {"name": "glance-config-00000000ff", "uid": "an-older-uid"}
    old["data"] = {"glance-api.conf": encoded("old\n")}
    few = end_state(run("t-one", 1), "t-one", numbered=False)
    many = end_state([*more, old], "t-two", numbered=False)
    assert set(few) < set(many)
    assert all(many[key] == found for key, found in few.items())


def with_stores_file(objects: list[Manifest], told: str, was: str | None = None) -> list[Manifest]:
    """Return a run whose pods mount a store's Secret; `was` is what it held when they were told of its hash."""
    service, _, deployment = objects
    metadata = {"namespace": service["metadata"]["namespace"], "name": "glance-store-far", "uid": "far"}
    data = {"far.conf": encoded(told), "far.client.glance.keyring": encoded("any")}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}
    uid = service["metadata"]["uid"]
    content = json.dumps({"far": {"far.conf": told if was is None else was}}).encode()
    annotations = {"imageservice.dev/store-credentials": slow_hash(hashlib.sha256(content).digest(), uid)}
    volume = {"name": "driver-files", "projected": {"sources": [{"secret": {"name": "glance-store-far"}}]}}
    template = {"metadata": {"annotations": annotations}, "spec": {"volumes": [volume]}}
    return [*objects[:2], secret, deployment | {"spec": deployment["spec"] | {"template": template}}]


def test_the_salted_hash_of_the_same_files_is_the_same() -> None:
    assert words(with_stores_file(run("t-one", 1), "a"), with_stores_file(run("t-two", 2), "a")) == []


def test_pods_that_were_not_told_of_another_file_are_told() -> None:
    (told,) = words(with_stores_file(run("t-one", 1), "a"), with_stores_file(run("t-two", 2), "a", was="b"))
    assert "store-credentials" in told
    assert "<of other files>" in told


def with_token(objects: list[Manifest], url: str, told: str | None = None) -> list[Manifest]:
    """Return a run whose config Secret holds the agents' token; `told` is the URL that it was made of, if another."""
    service, config, deployment = copy.deepcopy(objects)
    namespace = service["metadata"]["namespace"]
    service["spec"] = {"database": {"secretRef": {"name": "glance-db", "key": "url"}}}
    config["metadata"]["labels"] = {"imageservice.dev/image-service": "glance"}
    config["data"]["agent-token"] = encoded(agent_token(Sensitive(told or url), namespace, "glance").reveal())
    metadata = {"namespace": namespace, "name": "glance-db", "uid": "db"}
    database = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"url": encoded(url)}}
    return [service, config, deployment, database]


def test_the_salted_token_of_the_same_database_is_the_same() -> None:
    assert words(with_token(run("t-one", 1), "mysql://a"), with_token(run("t-two", 2), "mysql://a")) == []


def test_a_token_of_another_database_is_told() -> None:
    (told,) = words(with_token(run("t-one", 1), "mysql://a"), with_token(run("t-two", 2), "mysql://a", "mysql://b"))
    assert "<of another database>" in told
