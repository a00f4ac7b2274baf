"""Each rule of the lint finds a fault of its class, planted into a real CRD."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.test_crd_lint import CRD_RULES, CRDS, NODE_RULES, findings, load, nodes, schema_of, version_of


def at(crd: dict[str, Any], path: str) -> dict[str, Any]:
    """Return the schema at a path, to be spoilt."""
    return next(node.schema for node in nodes(crd) if node.path == path)


def put(path: str, **keys: Any) -> Callable[[dict[str, Any]], None]:
    return lambda crd: at(crd, path).update(keys)


def drop(path: str, *keys: str) -> Callable[[dict[str, Any]], None]:
    return lambda crd: [at(crd, path).pop(key) for key in keys] and None


def add_field(parent: str, name: str, **schema: Any) -> Callable[[dict[str, Any]], None]:
    field = {"description": "A planted field. Default: none. Example: x.", **schema}
    return lambda crd: at(crd, parent)["properties"].update({name: field})


def in_version(change: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], None]:
    return lambda crd: change(version_of(crd))


TEXT = {"type": "string", "maxLength": 10, "pattern": "^[a-z]$"}
FAULTS: list[tuple[str, Callable[[dict[str, Any]], None]]] = [
    ("every_field_has_a_description_with_an_example", put("spec.image", description="An image. Default: none.")),
    ("every_field_has_a_description_with_an_example", drop("status.image", "description")),
    ("every_optional_field_of_the_spec_tells_its_default", put("spec.image", description="One image. Example: x.")),
    ("every_number_tells_its_unit", put("spec.api.threads", description="Threads. Default: 2. Example: 3.")),
    ("every_number_tells_its_unit", put("spec.api.resources.limits.cpu", description="CPU. Default: 1. Example: 3.")),
    ("every_text_has_a_bound", drop("spec.defaultStore", "maxLength")),
    ("every_text_has_a_bound", drop("spec.extraConfig{}{}", "maxLength")),
    ("every_text_of_the_spec_is_one_line", drop("spec.extraConfig{}{}", "pattern")),
    ("every_text_of_the_spec_is_one_line", put("spec.identity.region", pattern="^[^\\n]*$")),
    ("every_pattern_is_anchored", put("spec.image", pattern="[a-z]+")),
    ("every_pattern_of_the_spec_has_a_sentence", drop("spec.image", "x-kubernetes-validations")),
    ("every_number_is_whole_and_bounded", drop("spec.api.replicas", "maximum")),
    ("every_number_is_whole_and_bounded", put("spec.api.replicas", type="number")),
    ("every_list_is_bounded_and_typed", drop("spec.imagePullSecrets", "maxItems")),
    ("every_list_is_bounded_and_typed", drop("spec.imagePullSecrets", "x-kubernetes-list-type")),
    ("every_list_is_bounded_and_typed", put("spec.imagePullSecrets", **{"x-kubernetes-list-map-keys": ["id"]})),
    ("every_list_is_bounded_and_typed", put("spec.imagePullSecrets", **{"x-kubernetes-list-type": "atomic"})),
    ("every_map_is_bounded_allowed_and_has_rules_for_its_keys", drop("spec.extraConfig", "maxProperties")),
    ("every_map_is_bounded_allowed_and_has_rules_for_its_keys", drop("spec.extraConfig", "x-kubernetes-validations")),
    ("every_map_is_bounded_allowed_and_has_rules_for_its_keys", put("spec.database", additionalProperties=TEXT)),
    ("every_object_says_what_is_in_it", put("spec.extraConfig", additionalProperties=True)),
    ("no_default_stands_inside_a_list_item", put("spec.api.tolerations[].operator", default="Equal")),
    (
        "no_keyword_is_used_that_structural_schemas_or_appliers_cannot_take",
        put("spec.image", nullable=True),
    ),
    ("no_keyword_is_used_that_structural_schemas_or_appliers_cannot_take", put("spec.api", anyOf=[{}])),
    ("every_name_is_camel_case_and_none_is_phase", add_field("status", "phase", **TEXT)),
    ("every_name_is_camel_case_and_none_is_phase", add_field("spec", "image_format", **TEXT)),
    ("every_span_of_time_is_a_whole_number_of_seconds", add_field("spec", "importTimeout", **TEXT)),
    ("every_span_of_time_is_a_whole_number_of_seconds", put("spec.api.terminationGracePeriodSeconds", type="string")),
    ("every_bool_is_in_the_table", add_field("spec", "insecure", type="boolean")),
    ("every_enum_is_camel_case", put("spec.identity.catalog.deletionPolicy", enum=["delete"])),
    ("every_reference_stays_in_the_namespace", add_field("spec.database.secretRef", "namespace", **TEXT)),
    ("every_reference_stays_in_the_namespace", put("spec.database.secretRef", properties={})),
    ("every_union_has_a_rule_for_each_member", add_field("spec.database", "type", enum=["MariaDB"], type="string")),
    (
        "every_rule_says_what_must_be",
        put("spec.image", **{"x-kubernetes-validations": [{"rule": "true", "message": "is wrong"}]}),
    ),
    ("every_immutable_field_says_so", put("spec.identity.region", description="Region. Default: x. Example: y.")),
    ("the_status_is_a_subresource", in_version(lambda version: version["subresources"].pop("status"))),
    ("the_kind_has_short_names_and_the_category", lambda crd: crd["spec"]["names"].update(categories=["all"])),
    ("the_kind_is_namespaced_and_needs_no_webhook", lambda crd: crd["spec"].update(scope="Cluster")),
    (
        "the_columns_answer_whether_it_is_fine_and_why_not",
        in_version(lambda version: version["additionalPrinterColumns"].pop(0)),
    ),
    (
        "the_columns_answer_whether_it_is_fine_and_why_not",
        in_version(lambda version: version["additionalPrinterColumns"][0].update(jsonPath=".status.conditions[0]")),
    ),
    ("the_conditions_are_a_list_map_with_every_field", lambda crd: at(crd, "status.conditions[]")["required"].pop()),
    (
        "the_status_starts_with_every_condition_unknown",
        lambda crd: schema_of(crd)["properties"]["status"].pop("default"),
    ),
    (
        "the_paths_of_scale_and_selectable_fields_exist",
        in_version(lambda version: version["subresources"]["scale"].update(specReplicasPath=".spec.replicas")),
    ),
    (
        "the_spec_is_required_and_the_rules_of_the_object_say_what_must_be",
        lambda crd: schema_of(crd).pop("required"),
    ),
]


@pytest.mark.parametrize(("rule", "fault"), FAULTS, ids=[f"{i}-{rule}" for i, (rule, _) in enumerate(FAULTS)])
def test_the_lint_finds_a_planted_fault(rule: str, fault: Callable[[dict[str, Any]], None]) -> None:
    crd = copy.deepcopy(load(next(path for path in CRDS if "imageservices" in path.name)))
    fault(crd)
    assert rule in {finding.split(" at ")[0] for finding in findings(crd)}


def test_every_rule_of_the_lint_is_proved_by_a_fault() -> None:
    assert {rule for rule, _ in FAULTS} == {rule.__name__ for rule in (*NODE_RULES, *CRD_RULES)}
