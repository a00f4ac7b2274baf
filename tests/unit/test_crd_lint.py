"""A lint over `crds/`: the Kubernetes API conventions, and what the project adds, as rules over the schemas.

In the spirit of kube-api-linter, which reads Go types only. Each rule is proved by a planted fault in
`test_crd_lint_faults.py`.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

CRDS = sorted((Path(__file__).parents[2] / "crds").glob("*.yaml"))
MAX_FILE_BYTES = 262_144  # above it, client-side `kubectl apply` cannot keep the object in its annotation

ALLOWED_BOOLS = {
    "spec.identity.catalog.register": "asks for an action of the operator: there is no third state",
    "spec.filesystem.sparseUpload": "is a switch of Glance itself",
    "spec.imports.decompression": "is a plugin of Glance that is there or not",
    "spec.ceph.sparseUpload": "is a switch of Glance itself",
    "spec.s3.createBucket": "is a switch of Glance itself",
    "spec.swift.createContainer": "is a switch of Glance itself",
    "spec.cinder.multipath": "is a switch of Glance itself",
    "spec.exposure.joinSiteService": "asks for one more label on the pods: there is no third state",
    "spec.suspend": "is what CronJob and Job call it",
    "status.stores[].default": "one store is, the others are not",
    "status.stores[].attached": "the configuration of Glance names the store or not",
    "status.sites[].edge": "there are edges and the centre",
    "status.sites[].ready": "short for a condition: the reason beside it holds the third state",
    "status.sites[].rolledOut": "pods of an older revision are left or not",
    "status.stores[].ready": "short for the store's own condition, which holds the third state",
}
ALLOWED_MAPS = {
    "spec.api.nodeSelector": "has the form of every nodeSelector",
    "spec.edge.nodeSelector": "has the form of every nodeSelector",
    "spec.nodeSelector": "has the form of every nodeSelector",
    "spec.cachePolicySelector.matchLabels": "has the form of every label selector",
    "spec.imageSelector.properties": "the name of the property is the key, as on the image",
    "spec.extraConfig": "the section, or in a store the option, is the key, as in the file",
    "spec.extraConfig{}": "the option is the key, as in the file",
    "spec.imports.injectProperties.properties": "the name of the property is the key, as on the image",
}
ATOMIC_LISTS = {
    "spec.api.tolerations": "has no key; as in a pod",
    "spec.edge.tolerations": "has no key; as in a pod",
    "spec.tolerations": "has no key; as in a pod",
    "spec.cachePolicySelector.matchExpressions": "has no key; as in every label selector",
    "spec.images": "an item has one of two keys",
    "spec.windows": "has no key: two windows may open at once",
    "status.images": "written as a whole: a row that somebody else adds goes",
    "status.failingNodes": "written as a whole: a row that somebody else adds goes",
    "spec.imports.injectProperties.ignoreUserRoles": "has a default, whose items would stay in a set that is applied",
    "status.endpoints": "written as a whole: a row that somebody else adds goes",
    "status.sites": "written as a whole: a row that somebody else adds goes",
    "status.stores": "written as a whole: a row that somebody else adds goes",
}
ENUMS_IN_OTHER_WORDS = {
    "spec.release": "OpenStack names its releases by date",
    "spec.formats.disk[]": "the words are those of the Image API",
    "spec.formats.container[]": "the words are those of the Image API",
    "spec.imports.methods[]": "the words are those of the Image API",
    "spec.imports.conversion.outputFormat": "the words are those of the Image API, and one for none of them",
    "spec.imports.webDownload.allowedSchemes[]": "as in a URL",
}

CONDITION_FIELDS = {"type", "status", "reason", "message", "observedGeneration", "lastTransitionTime"}
FORBIDDEN_KEYWORDS = ("nullable", "title", "$ref", "oneOf", "allOf", "not", "x-kubernetes-preserve-unknown-fields")
SPANS_OF_TIME = "timeout|period|interval|duration|deadline|delay|ttl|age"
SPAN_OF_TIME = re.compile(rf"^({SPANS_OF_TIME})$|({SPANS_OF_TIME.title()}|TTL)$")
CAMEL_CASE = re.compile(r"[A-Z][A-Za-z0-9]*")


@dataclass(frozen=True)
class Node:
    """One schema inside a CRD. `path` is like `spec.api.tolerations[].key`; `{}` is the value of a map."""

    path: str
    schema: dict[str, Any]
    required: bool = True

    @property
    def name(self) -> str:
        return self.path.rsplit(".", 1)[-1].rstrip("[]{}")

    @property
    def is_field(self) -> bool:
        """Whether it is a property with a name, inside spec or status."""
        return "." in self.path and self.path[-1] not in "]}"

    @property
    def in_spec(self) -> bool:
        return self.path.startswith("spec")


def nodes(crd: dict[str, Any]) -> list[Node]:
    """Return every schema below spec and status, parents first."""
    root = schema_of(crd)

    def below(node: Node) -> Iterator[Node]:
        yield node
        for name, schema in node.schema.get("properties", {}).items():
            yield from below(Node(f"{node.path}.{name}", schema, name in node.schema.get("required", [])))
        if "items" in node.schema:
            yield from below(Node(f"{node.path}[]", node.schema["items"]))
        if isinstance(node.schema.get("additionalProperties"), dict):
            yield from below(Node(f"{node.path}{{}}", node.schema["additionalProperties"]))

    return [node for part in ("spec", "status") for node in below(Node(part, root["properties"][part]))]


def version_of(crd: dict[str, Any]) -> dict[str, Any]:
    return crd["spec"]["versions"][0]


def schema_of(crd: dict[str, Any]) -> dict[str, Any]:
    return version_of(crd)["schema"]["openAPIV3Schema"]


# --- rules over one schema


def every_field_has_a_description_with_an_example(node: Node) -> bool:
    text = node.schema.get("description", "")
    return not node.is_field or (len(text.split()) >= 3 and "Example: " in text)


def every_optional_field_of_the_spec_tells_its_default(node: Node) -> bool:
    return not (node.is_field and node.in_spec) or node.required or "Default: " in node.schema["description"]


def every_number_tells_its_unit(node: Node) -> bool:
    is_number = node.schema.get("type") == "integer" or node.schema.get("x-kubernetes-int-or-string")
    return not (is_number and node.is_field) or "Unit: " in node.schema["description"]


def every_text_has_a_bound(node: Node) -> bool:
    schema = node.schema
    is_text = schema.get("type") == "string" or schema.get("x-kubernetes-int-or-string")
    return not is_text or "enum" in schema or schema.get("maxLength", 0) > 0


def every_text_of_the_spec_is_one_line(node: Node) -> bool:
    schema = node.schema
    if not node.in_spec or schema.get("type") != "string" or "enum" in schema:
        return True
    pattern = schema.get("pattern", "")
    return not any(re.search(pattern, f"{before}{end}a") for before in ("a", "/a") for end in "\n\r\x00")


def every_pattern_is_anchored(node: Node) -> bool:
    pattern = node.schema.get("pattern")
    return pattern is None or (pattern.startswith("^") and pattern.endswith("$"))


def every_pattern_of_the_spec_has_a_sentence(node: Node) -> bool:
    pattern = node.schema.get("pattern")
    rules = [rule["rule"] for rule in node.schema.get("x-kubernetes-validations", [])]
    return pattern is None or not node.in_spec or any(f".matches(r'{pattern}')" in rule for rule in rules)


def every_number_is_whole_and_bounded(node: Node) -> bool:
    schema = node.schema
    if schema.get("type") == "number":
        return False
    return schema.get("type") != "integer" or ({"minimum", "maximum", "format"} <= set(schema))


def every_list_is_bounded_and_typed(node: Node) -> bool:
    schema = node.schema
    if schema.get("type") != "array":
        return True
    keys = schema.get("x-kubernetes-list-map-keys", [])
    known = {
        "map": bool(keys) and set(keys) <= set(schema["items"].get("required", [])),
        "set": schema["items"].get("type") in ("string", "integer"),
        "atomic": node.path in ATOMIC_LISTS,
    }
    return "maxItems" in schema and known.get(schema.get("x-kubernetes-list-type", ""), False)


def every_map_is_bounded_allowed_and_has_rules_for_its_keys(node: Node) -> bool:
    schema = node.schema
    if "additionalProperties" not in schema:
        return True
    rules = " ".join(rule["rule"] for rule in schema.get("x-kubernetes-validations", []))
    return "maxProperties" in schema and node.path in ALLOWED_MAPS and "self.all(key, key.matches(" in rules


def every_object_says_what_is_in_it(node: Node) -> bool:
    schema = node.schema
    return schema.get("type") != "object" or "properties" in schema or isinstance(schema["additionalProperties"], dict)


def no_default_stands_inside_a_list_item(node: Node) -> bool:
    return "[]" not in node.path or "default" not in node.schema


def no_keyword_is_used_that_structural_schemas_or_appliers_cannot_take(node: Node) -> bool:
    schema = node.schema
    plain = not any(keyword in schema for keyword in FORBIDDEN_KEYWORDS)
    return plain and ("anyOf" not in schema or schema.get("x-kubernetes-int-or-string") is True)


def every_name_is_camel_case_and_none_is_phase(node: Node) -> bool:
    return not node.is_field or (re.fullmatch(r"[a-z][A-Za-z0-9]*", node.name) is not None and node.name != "phase")


def every_span_of_time_is_a_whole_number_of_seconds(node: Node) -> bool:
    if node.schema.get("format") == "duration" or (node.is_field and SPAN_OF_TIME.search(node.name)):
        return False
    return not node.name.endswith("Seconds") or node.schema.get("type") == "integer"


def every_bool_is_in_the_table(node: Node) -> bool:
    return node.schema.get("type") != "boolean" or node.path in ALLOWED_BOOLS


def every_enum_is_camel_case(node: Node) -> bool:
    values = node.schema.get("enum", [])
    return node.path in ENUMS_IN_OTHER_WORDS or all(CAMEL_CASE.fullmatch(value) for value in values)


def every_reference_stays_in_the_namespace(node: Node) -> bool:
    if not (node.is_field and node.name.endswith("Ref")):
        return True
    members = node.schema.get("properties", {})
    return "namespace" not in members and "name" in members and members["name"].get("maxLength") == 253


def every_union_has_a_rule_for_each_member(node: Node) -> bool:
    members = {name.lower(): name for name in node.schema.get("properties", {})}
    values = node.schema.get("properties", {}).get("type", {}).get("enum", [])
    rules = [rule["rule"] for rule in node.schema.get("x-kubernetes-validations", [])]
    return all(
        f"self.type == '{value}' ? has(self.{member}) : !has(self.{member})" in rules
        for value, member in ((value, members.get(value.lower())) for value in values)
    )


def every_rule_says_what_must_be(node: Node) -> bool:
    rules = node.schema.get("x-kubernetes-validations", [])
    return all("must" in rule.get("message", "") and rule.get("reason", "").startswith("Field") for rule in rules)


def every_immutable_field_says_so(node: Node) -> bool:
    rules = [rule["rule"] for rule in node.schema.get("x-kubernetes-validations", [])]
    return ("self == oldSelf" not in rules) or "Immutable" in node.schema["description"]


# --- rules over a whole CRD


def the_status_is_a_subresource(crd: dict[str, Any]) -> bool:
    return version_of(crd)["subresources"].get("status") == {}


def the_kind_has_short_names_and_the_category(crd: dict[str, Any]) -> bool:
    names = crd["spec"]["names"]
    return names.get("categories") == ["glance"] and bool(names.get("shortNames")) and "singular" in names


def the_kind_is_namespaced_and_needs_no_webhook(crd: dict[str, Any]) -> bool:
    return crd["spec"]["scope"] == "Namespaced" and "conversion" not in crd["spec"]


def the_columns_answer_whether_it_is_fine_and_why_not(crd: dict[str, Any]) -> bool:
    columns = version_of(crd).get("additionalPrinterColumns", [])
    shown = [column["name"] for column in columns if column["priority"] == 0]
    described = all(len(column.get("description", "")) > 10 for column in columns)
    by_type = not any(re.search(r"\[\d+\]", column["jsonPath"]) for column in columns)
    return shown[:2] == ["Ready", "Reason"] and shown[-1:] == ["Age"] and described and by_type


def the_conditions_are_a_list_map_with_every_field(crd: dict[str, Any]) -> bool:
    status = schema_of(crd)["properties"]["status"]["properties"]
    conditions = status.get("conditions", {"items": {"properties": {}, "required": []}})
    item = conditions["items"]
    return (
        "observedGeneration" in status
        and conditions.get("x-kubernetes-list-map-keys") == ["type"]
        and set(item["properties"]) == CONDITION_FIELDS
        and set(item["required"]) == CONDITION_FIELDS - {"observedGeneration"}
    )


def the_status_starts_with_every_condition_unknown(crd: dict[str, Any]) -> bool:
    conditions = schema_of(crd)["properties"]["status"].get("default", {}).get("conditions", [])
    return "Ready" in [condition["type"] for condition in conditions] and all(
        condition["status"] == "Unknown" and set(condition) == CONDITION_FIELDS - {"observedGeneration"}
        for condition in conditions
    )


def the_paths_of_scale_and_selectable_fields_exist(crd: dict[str, Any]) -> bool:
    known = {f".{node.path}" for node in nodes(crd)}
    version = version_of(crd)
    paths = {*version["subresources"].get("scale", {}).values()}
    paths |= {field["jsonPath"] for field in version.get("selectableFields", [])}
    return paths <= known


def the_spec_is_required_and_the_rules_of_the_object_say_what_must_be(crd: dict[str, Any]) -> bool:
    root = schema_of(crd)
    return root.get("required") == ["spec"] and every_rule_says_what_must_be(Node("", root))


NODE_RULES: list[Callable[[Node], bool]] = [
    every_field_has_a_description_with_an_example,
    every_optional_field_of_the_spec_tells_its_default,
    every_number_tells_its_unit,
    every_text_has_a_bound,
    every_text_of_the_spec_is_one_line,
    every_pattern_is_anchored,
    every_pattern_of_the_spec_has_a_sentence,
    every_number_is_whole_and_bounded,
    every_list_is_bounded_and_typed,
    every_map_is_bounded_allowed_and_has_rules_for_its_keys,
    every_object_says_what_is_in_it,
    no_default_stands_inside_a_list_item,
    no_keyword_is_used_that_structural_schemas_or_appliers_cannot_take,
    every_name_is_camel_case_and_none_is_phase,
    every_span_of_time_is_a_whole_number_of_seconds,
    every_bool_is_in_the_table,
    every_enum_is_camel_case,
    every_reference_stays_in_the_namespace,
    every_union_has_a_rule_for_each_member,
    every_rule_says_what_must_be,
    every_immutable_field_says_so,
]
CRD_RULES: list[Callable[[dict[str, Any]], bool]] = [
    the_status_is_a_subresource,
    the_kind_has_short_names_and_the_category,
    the_kind_is_namespaced_and_needs_no_webhook,
    the_columns_answer_whether_it_is_fine_and_why_not,
    the_conditions_are_a_list_map_with_every_field,
    the_status_starts_with_every_condition_unknown,
    the_paths_of_scale_and_selectable_fields_exist,
    the_spec_is_required_and_the_rules_of_the_object_say_what_must_be,
]


def findings(crd: dict[str, Any]) -> list[str]:
    """Return every broken rule with its place, as `rule at place`."""
    found = [f"{rule.__name__} at {node.path}" for node in nodes(crd) for rule in NODE_RULES if not rule(node)]
    return found + [f"{rule.__name__} at {crd['metadata']['name']}" for rule in CRD_RULES if not rule(crd)]


@cache
def load(path: Path) -> dict[str, Any]:
    """Return a CRD, read once: to be copied before it is changed."""
    loaded: dict[str, Any] = yaml.safe_load(path.read_text())
    return loaded


@pytest.mark.parametrize("path", CRDS, ids=lambda path: path.stem)
def test_the_crd_follows_the_api_conventions(path: Path) -> None:
    assert findings(load(path)) == []


@pytest.mark.parametrize("path", CRDS, ids=lambda path: path.stem)
def test_the_crd_file_is_small_enough_for_client_side_apply(path: Path) -> None:
    assert path.stat().st_size < MAX_FILE_BYTES


def test_every_exception_in_the_tables_is_still_needed() -> None:
    paths = {node.path for path in CRDS for node in nodes(load(path))}
    for table in (ALLOWED_BOOLS, ALLOWED_MAPS, ATOMIC_LISTS, ENUMS_IN_OTHER_WORDS):
        assert set(table) <= paths
