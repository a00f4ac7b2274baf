"""When a live object counts as being as wanted."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imageservice.runtime.apply import HASH_ANNOTATION, digest, is_settled, replacement, with_digest

WANTED: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {
        "name": "glance-api",
        "namespace": "ns",
        "labels": {"app": "glance"},
        "ownerReferences": [{"apiVersion": "imageservice.dev/v1alpha1", "kind": "ImageService", "uid": "u"}],
    },
    "spec": {
        "replicas": 2,
        "template": {
            "spec": {
                "containers": [
                    {
                        "name": "api",
                        "image": "glance:1",
                        "args": ["a", "b"],
                        "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                        "ports": [{"name": "http", "containerPort": 9292}],
                        "resources": {"requests": {"cpu": "1000m", "memory": "1024Mi"}, "limits": {"cpu": 2}},
                        "volumeMounts": [
                            {"name": "data", "mountPath": "/a"},
                            {"name": "data", "mountPath": "/b", "readOnly": True},
                        ],
                    }
                ],
                "volumes": [{"name": "data", "emptyDir": {"sizeLimit": "1024Mi"}}],
                "tolerations": [{"key": "x", "operator": "Exists"}],
            }
        },
    },
}


def as_stored(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the object as an API server would store it: with defaults, canonical quantities and a status."""
    live = copy.deepcopy(with_digest(manifest))
    live["metadata"] |= {"uid": "1", "resourceVersion": "7", "managedFields": []}
    live["spec"] |= {"strategy": {"type": "RollingUpdate"}, "progressDeadlineSeconds": 600}
    pod = live["spec"]["template"]["spec"]
    pod["containers"][0]["resources"] = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2"}}
    pod["containers"][0]["ports"][0]["protocol"] = "TCP"
    pod["containers"][0]["terminationMessagePath"] = "/dev/termination-log"
    pod["containers"].insert(0, {"name": "injected", "image": "mesh"})
    pod["volumes"][0]["emptyDir"]["sizeLimit"] = "1Gi"
    live["status"] = {"replicas": 2}
    return live


@pytest.fixture
def live() -> dict[str, Any]:
    return as_stored(WANTED)


def test_what_the_api_server_adds_and_rewrites_is_no_difference(live: dict[str, Any]) -> None:
    assert is_settled(WANTED, live)


def test_the_order_of_map_lists_is_no_difference(live: dict[str, Any]) -> None:
    container = live["spec"]["template"]["spec"]["containers"][1]
    container["env"].reverse()
    container["volumeMounts"].reverse()
    assert is_settled(WANTED, live)


CHANGES: dict[str, Any] = {
    "replicas": lambda live: live["spec"].update(replicas=3),
    "image": lambda live: live["spec"]["template"]["spec"]["containers"][1].update(image="glance:2"),
    "one argument less": lambda live: live["spec"]["template"]["spec"]["containers"][1]["args"].pop(),
    "order of arguments": lambda live: live["spec"]["template"]["spec"]["containers"][1]["args"].reverse(),
    "quantity": lambda live: live["spec"]["template"]["spec"]["containers"][1]["resources"]["requests"].update(
        memory="2Gi"
    ),
    "size limit": lambda live: live["spec"]["template"]["spec"]["volumes"][0]["emptyDir"].update(sizeLimit="2Gi"),
    "mount of one of two paths": lambda live: live["spec"]["template"]["spec"]["containers"][1]["volumeMounts"].pop(),
    "read-only flag": lambda live: live["spec"]["template"]["spec"]["containers"][1]["volumeMounts"][1].pop("readOnly"),
    "an added toleration": lambda live: live["spec"]["template"]["spec"]["tolerations"].append({"key": "y"}),
    "container": lambda live: live["spec"]["template"]["spec"]["containers"].pop(),
    "port": lambda live: live["spec"]["template"]["spec"]["containers"][1]["ports"][0].update(containerPort=1),
    "label": lambda live: live["metadata"]["labels"].update(app="x"),
    "label gone": lambda live: live["metadata"].pop("labels"),
    "owner": lambda live: live["metadata"].pop("ownerReferences"),
    "hash": lambda live: live["metadata"]["annotations"].update({HASH_ANNOTATION: "x"}),
    "annotations gone": lambda live: live["metadata"].pop("annotations"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_by_others_is_seen(live: dict[str, Any], change: str) -> None:
    CHANGES[change](live)
    assert not is_settled(WANTED, live)


def test_a_field_that_is_wanted_no_more_is_seen(live: dict[str, Any]) -> None:
    wanted = copy.deepcopy(WANTED)
    del wanted["spec"]["template"]["spec"]["tolerations"]
    assert not is_settled(wanted, live)


def test_an_empty_value_that_the_api_server_left_out_is_no_difference_but_false_and_zero_are() -> None:
    for value, settled in (({}, True), ([], True), ("", True), (None, True), (False, False), (0, False)):
        wanted = {"kind": "ConfigMap", "metadata": {"name": "a"}, "spec": {"x": value}}
        live = with_digest(wanted) | {"spec": {}}
        assert is_settled(wanted, live) is settled, repr(value)


@pytest.mark.parametrize(
    ("ours", "theirs", "same"),
    [
        ("1000m", "1", True),
        (1, "1", True),
        (0.5, "500m", True),
        ("1e3", "1k", True),
        ("1E", "1000P", True),
        ("1Ei", "1024Pi", True),
        ("0.1", "100m", True),
        ("1G", "1Gi", False),
        ("1", "1m", False),
        ("much", "1", False),
    ],
)
def test_quantities_are_compared_as_numbers(ours: object, theirs: str, same: bool) -> None:
    wanted = {"kind": "X", "metadata": {"name": "a"}, "resources": {"limits": {"cpu": ours}}}
    live = with_digest(wanted) | {"resources": {"limits": {"cpu": theirs}}}
    assert is_settled(wanted, live) is same


def test_a_number_and_its_text_differ_outside_of_quantities() -> None:
    wanted = {"kind": "X", "metadata": {"name": "a"}, "spec": {"port": 80}}
    assert not is_settled(wanted, with_digest(wanted) | {"spec": {"port": "80"}})


def secret(value: str, key: str = "password") -> dict[str, Any]:
    return {"kind": "Secret", "metadata": {"name": "s"}, "data": {key: value}}


def test_the_public_hash_of_a_secret_says_nothing_of_its_values_but_a_changed_value_is_seen() -> None:
    assert digest(secret("aGVsbG8=")) == digest(secret("b3RoZXI="))
    assert digest(secret("aGVsbG8=")) != digest(secret("aGVsbG8=", key="other"))
    assert is_settled(secret("aGVsbG8="), with_digest(secret("aGVsbG8=")))
    assert not is_settled(secret("aGVsbG8="), with_digest(secret("b3RoZXI=")))


def test_a_key_taken_out_of_a_secret_is_seen() -> None:
    live = with_digest(secret("aGVsbG8=") | {"data": {"password": "aGVsbG8=", "old": "eA=="}})
    assert not is_settled(secret("aGVsbG8="), live)


def test_with_digest_leaves_its_argument_alone_and_is_the_same_when_done_twice() -> None:
    before = copy.deepcopy(WANTED)
    once = with_digest(WANTED)
    assert before == WANTED
    assert with_digest(once) == once


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab1m", max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "limits", "ports", "a"]), inner)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["spec", "data", "limits", "ports"]), plain))
def test_what_is_just_as_wanted_is_settled_whatever_is_in_it(content: dict[str, Any]) -> None:
    wanted = {"kind": "X", "metadata": {"name": "a"}, **content}
    assert is_settled(wanted, with_digest(wanted))


@given(plain, plain)
def test_the_hash_tells_different_manifests_apart(one: Any, other: Any) -> None:
    first, second = ({"kind": "X", "metadata": {"name": "a"}, "spec": spec} for spec in (one, other))
    assert (digest(first) == digest(second)) == (one == other and _same_types(one, other))


def _same_types(one: Any, other: Any) -> bool:
    """Tell whether equal values are equal in JSON too, where True is not 1."""
    if isinstance(one, dict):
        return all(_same_types(value, other[key]) for key, value in one.items())
    if isinstance(one, list):
        return all(_same_types(*pair) for pair in zip(one, other, strict=True))
    return type(one) is type(other)


@pytest.mark.parametrize("field", ["selector", "matchLabels", "nodeSelector"])
def test_one_more_entry_in_a_map_with_one_owner_is_a_change(field):
    wanted = {"metadata": {"name": "a"}, "spec": {field: {"app": "glance"}}}
    live = copy.deepcopy(with_digest(wanted))
    assert is_settled(wanted, live)
    live["spec"][field]["app2"] = "other"
    assert not is_settled(wanted, live)


def test_an_empty_member_of_a_union_that_is_missing_is_a_change():
    wanted = {"metadata": {"name": "a", "labels": {}}, "spec": {"volumes": [{"name": "tmp", "emptyDir": {}}]}}
    live = copy.deepcopy(with_digest(wanted))
    del live["metadata"]["labels"]
    assert is_settled(wanted, live)
    live["spec"]["volumes"] = [{"name": "tmp", "hostPath": {"path": "/x"}}]
    assert not is_settled(wanted, live)


def test_a_replacement_takes_out_what_others_added_but_not_their_labels():
    wanted = {"selector": {"a": "b"}, "template": {"metadata": {"labels": {"x": "1"}}, "spec": {"list": [1]}}}
    live = {
        "selector": {"a": "c", "d": "e"},
        "minAvailable": 1,
        "template": {"metadata": {"labels": {"y": "2"}, "annotations": {}}, "spec": {"list": [2, 3], "other": True}},
    }
    spec = {"list": [1], "other": None}
    template = {"metadata": {"labels": {"x": "1"}}, "spec": spec}
    patch = {"selector": {"a": "b", "d": None}, "minAvailable": None, "template": template}
    assert replacement(wanted, live) == patch
