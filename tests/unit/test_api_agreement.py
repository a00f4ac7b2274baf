"""The models and the generated schema agree: what the operator accepts and prints is within the bounds of the CRD."""

import copy
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.test_api_samples import GOOD, MODELS

from imageservice.api.reading import InvalidObject, read
from imageservice.api.v1alpha1 import KINDS
from imageservice.crdgen import object_schema

SPEC_SCHEMAS = {kind.resource.kind: object_schema(kind, kind.resource)["properties"]["spec"] for kind in KINDS}
ODD_TYPES = (None, True, -1, 0, 10**6, 0.5, [], {}, ["a"], {"a": 1})
ODD_VALUES = (*ODD_TYPES, "", " ", "x", "A b", "a\nb", "a\n", "$x %(y)s [z]", "a" * 5000)

TYPES: dict[str, type] = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int}


def faults(schema: dict[str, Any], value: Any, path: str = "spec") -> Iterator[str]:
    """Say what is wrong with a value by a structural schema, as far as JSON alone tells (CEL is left to the server)."""
    wanted = (int, str) if schema.get("x-kubernetes-int-or-string") else TYPES[schema["type"]]
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
        yield f"{path}: {value!r} is no {schema.get('type', 'quantity')}"
    elif isinstance(value, dict):
        yield from _faults_of_object(schema, value, path)
    elif isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema["maxItems"]:
            yield f"{path}: {len(value)} items"
        for place, item in enumerate(value):
            yield from faults(schema["items"], item, f"{path}[{place}]")
    elif isinstance(value, str):
        yield from _faults_of_text(schema, value, path)
    elif schema.get("type") == "integer" and not schema["minimum"] <= value <= schema["maximum"]:
        yield f"{path}: {value} is out of bounds"


def _faults_of_object(schema: dict[str, Any], value: dict[str, Any], path: str) -> Iterator[str]:
    for name in schema.get("required", []):
        if name not in value:
            yield f"{path}.{name}: not there"
    if not schema.get("minProperties", 0) <= len(value) <= schema.get("maxProperties", len(value)):
        yield f"{path}: {len(value)} members"
    for name, member in value.items():
        below = schema.get("properties", {}).get(name) or schema.get("additionalProperties")
        if below is None:
            yield f"{path}.{name}: unknown"
        else:
            yield from faults(below, member, f"{path}.{name}")


def _faults_of_text(schema: dict[str, Any], value: str, path: str) -> Iterator[str]:
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path}: {value!r} is not in the enum"
    if "enum" not in schema and not schema.get("minLength", 0) <= len(value) <= schema["maxLength"]:
        yield f"{path}: a text of {len(value)} characters"
    pattern = schema.get("pattern")
    if pattern and not re.search(pattern.removesuffix("$") + r"\Z", value):
        yield f"{path}: {value!r} does not match"


def values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return values around a schema: most within its bounds, some just outside, some of another type."""
    return st.one_of(_near(schema), _near(schema), _near(schema), st.sampled_from(ODD_VALUES))


def _near(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    if schema.get("x-kubernetes-int-or-string"):
        return st.one_of(st.integers(-1, 10**9), st.from_regex(schema["pattern"]))
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema["type"]:
        case "boolean":
            return st.booleans()
        case "integer":
            return st.integers(schema["minimum"] - 1, schema["maximum"] + 1)
        case "string":
            return st.one_of(st.from_regex(schema["pattern"]), st.text(max_size=8))
        case "array":
            return st.lists(values(schema["items"]), max_size=3)
    if "additionalProperties" in schema:
        keys = st.one_of(st.from_regex(r"^[A-Za-z][a-z_]{0,5}$"), st.text(max_size=4))
        return st.dictionaries(keys, values(schema["additionalProperties"]), max_size=3)
    required = {name: values(schema["properties"][name]) for name in schema.get("required", [])}
    optional = {name: values(below) for name, below in schema["properties"].items() if name not in required}
    return st.fixed_dictionaries(required, optional=optional)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of everything inside a value."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, member in members for found in places(member, (*path, key)))]


def schema_at(schema: dict[str, Any], path: tuple[Any, ...]) -> dict[str, Any]:
    """Return the schema of a place in a valid spec."""
    for step in path:
        below = schema["items"] if isinstance(step, int) else schema.get("properties", {}).get(step)
        schema = below if below is not None else schema["additionalProperties"]
    return schema


@st.composite
def bent_objects(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a good object with one or two places of its spec replaced by a value near their schema."""
    manifest = copy.deepcopy(draw(st.sampled_from(list(GOOD.values()))))
    for _ in range(draw(st.integers(1, 2))):
        path = draw(st.sampled_from(places(manifest["spec"])[1:]))
        parent = manifest["spec"]
        for step in path[:-1]:
            parent = parent[step]
        parent[path[-1]] = draw(values(schema_at(SPEC_SCHEMAS[manifest["kind"]], path)))
        if faults_of(manifest):
            break
    return manifest


def faults_of(manifest: dict[str, Any]) -> list[str]:
    return list(faults(SPEC_SCHEMAS[manifest["kind"]], manifest["spec"]))


@given(manifest=bent_objects())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_an_object_that_the_operator_accepts_is_within_the_bounds_of_the_crd(manifest: dict[str, Any]) -> None:
    answer = read(MODELS[manifest["kind"]], manifest)
    if isinstance(answer, InvalidObject):
        assert answer.message
        return
    printed = answer.to_manifest()
    assert faults_of(printed) == []
    assert read(type(answer), printed) == answer


@given(data=st.data())
@settings(max_examples=50, deadline=None)
def test_unknown_fields_anywhere_change_nothing(data: st.DataObject) -> None:
    manifest = data.draw(st.sampled_from(list(GOOD.values())))
    wider = copy.deepcopy(manifest)
    objects = [path for path in places(wider["spec"]) if "properties" in schema_at(SPEC_SCHEMAS[wider["kind"]], path)]
    for path in data.draw(st.lists(st.sampled_from(objects), min_size=1)):
        part = wider["spec"]
        for step in path:
            part = part[step]
        part[data.draw(st.from_regex(r"^x[A-Z][a-z]{1,5}$", fullmatch=True))] = data.draw(st.sampled_from(ODD_VALUES))
    assert read(MODELS[manifest["kind"]], wider) == read(MODELS[manifest["kind"]], manifest)


@given(spec=st.recursive(st.sampled_from(ODD_VALUES), lambda inner: st.dictionaries(st.text(max_size=5), inner)))
@settings(max_examples=50, deadline=None)
def test_a_spec_of_any_shape_is_answered_with_a_sentence(spec: Any) -> None:
    for model in KINDS:
        answer = read(model, {"metadata": {"name": "x"}, "spec": spec})
        assert isinstance(answer, InvalidObject)
        assert answer.message.startswith("`spec")


@pytest.mark.parametrize("name", GOOD)
def test_the_good_samples_are_within_the_bounds_of_the_crd(name: str) -> None:
    assert faults_of(GOOD[name]) == []


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ({"release": "1"}, "'1' is not in the enum"),
        ({"api": {"replicas": 65}}, "65 is out of bounds"),
        ({"api": {"replicas": True}}, "True is no integer"),
        ({"image": "a\n"}, "does not match"),
        ({"image": ""}, "a text of 0 characters"),
        ({"imagePullSecrets": [{"name": "a"}] * 17}, "17 items"),
        ({"extraConfig": {str(i): {} for i in range(33)}}, "33 members"),
        ({"database": {}}, "secretRef: not there"),
        ({"colour": "red"}, "colour: unknown"),
    ],
)
def test_the_check_of_bounds_finds_a_value_outside(value: dict[str, Any], fault: str) -> None:
    assert fault in "; ".join(faults_of({"kind": "ImageService", "spec": value}))
