"""From the models to the CustomResourceDefinitions in `crds/`: pure, and the same text every time.

Pydantic writes JSON schema of 2020-12; a CustomResourceDefinition takes structural OpenAPI v3, a narrower language
(Kubernetes: "Specifying a structural schema"). What has no safe translation is refused, so that no rule is lost without
a word.
"""

from collections.abc import Mapping
from typing import Any

import yaml

from imageservice.api.markers import DEFAULT_IN_SCHEMA, MEANING_OF_UNSET, RULES, UNIT, Resource
from imageservice.api.v1alpha1 import GROUP, KINDS, VERSION, ApiModel
from imageservice.manifest import Manifest

HEADER = (
    "# Generated from the models in operator/imageservice/api. Do not edit: change the models, then run\n"
    "# `image-service-operator crds crds`.\n"
)

Schema = dict[str, Any]

COPIED = frozenset(
    {
        "type",
        "description",
        "enum",
        "format",
        "maximum",
        "minimum",
        "multipleOf",
        "maxItems",
        "minItems",
        "maxLength",
        "minLength",
        "maxProperties",
        "minProperties",
        "pattern",
        "required",
        "x-kubernetes-int-or-string",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-list-type",
        RULES,
    }
)
"""Keywords that mean the same in both languages."""

TRANSLATED = frozenset(
    {
        "$ref",
        "additionalProperties",
        "anyOf",
        "const",
        "default",
        "examples",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "items",
        "properties",
        DEFAULT_IN_SCHEMA,
        MEANING_OF_UNSET,
        UNIT,
    }
)
"""Keywords with a translation below."""

IGNORED = frozenset({"title", "$defs"})
"""Keywords that say nothing: titles repeat the names, definitions are put where they are used."""

ROOT_FIELDS = {
    "apiVersion": f"Group and version of the object. Example: {GROUP}/{VERSION}.",
    "kind": "Kind of the object. Example: {kind}.",
}


class UnsupportedSchema(Exception):  # noqa: N818 - says what the schema is
    """A model uses a schema that a CustomResourceDefinition cannot hold. The message names the place and keyword."""


def generate() -> dict[str, str]:
    """Return the text of every CustomResourceDefinition by file name."""
    return {f"{GROUP}_{kind.resource.plural}.yaml": as_yaml(definition(kind, kind.resource)) for kind in KINDS}


def as_yaml(manifest: Manifest) -> str:
    """Return the manifest as a file of its own, with the line that says where it comes from."""
    return HEADER + yaml.dump(manifest, Dumper=_PlainDumper, sort_keys=True, width=120, allow_unicode=True)


class _PlainDumper(yaml.SafeDumper):
    """YAML without anchors: people read the file, and not every tool resolves them."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def definition(model: type[ApiModel], resource: Resource) -> Manifest:
    """Return the CustomResourceDefinition of a kind."""
    version: dict[str, Any] = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": object_schema(model, resource)},
        "subresources": {"status": {}},
        "additionalPrinterColumns": [
            {
                "name": column.name,
                "type": column.type,
                "jsonPath": column.json_path,
                "description": column.description,
                "priority": column.priority,
            }
            for column in resource.columns
        ],
    }
    if resource.selectable_fields:
        version["selectableFields"] = [{"jsonPath": path} for path in resource.selectable_fields]
    if resource.scale:
        version["subresources"]["scale"] = {
            "specReplicasPath": resource.scale.spec_replicas_path,
            "statusReplicasPath": resource.scale.status_replicas_path,
            "labelSelectorPath": resource.scale.label_selector_path,
        }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{resource.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": resource.kind,
                "listKind": f"{resource.kind}List",
                "plural": resource.plural,
                "singular": resource.singular,
                "shortNames": list(resource.short_names),
                "categories": list(resource.categories),
            },
            "scope": "Namespaced",
            "versions": [version],
        },
    }


def object_schema(model: type[ApiModel], resource: Resource) -> Schema:
    """Return the structural schema of a whole object. The API server itself knows what metadata is."""
    json_schema = model.model_json_schema(by_alias=True)
    properties = json_schema["properties"]
    definitions = json_schema.get("$defs", {})
    schema = structural(
        {
            **{key: value for key, value in json_schema.items() if key != "$defs"},
            "properties": {name: properties[name] for name in ("spec", "status")},
            "required": ["spec"],
        },
        definitions,
    )
    for name, description in ROOT_FIELDS.items():
        schema["properties"][name] = {"type": "string", "description": description.format(kind=resource.kind)}
    schema["properties"]["metadata"] = {"type": "object"}
    schema["properties"]["status"]["default"] = dict(resource.initial_status)
    return schema


def structural(schema: Schema, definitions: Mapping[str, Schema], path: str = "", *, in_list: bool = False) -> Schema:
    """Translate one JSON schema, with all below it, to a structural schema. `path` is for errors.

    UnsupportedSchema where a keyword has no translation, and where a default stands inside a list item: Argo CD never
    gets an object with such a default in sync.
    """
    schema = _flattened(schema, definitions, path)
    unknown = set(schema) - COPIED - TRANSLATED - IGNORED
    if unknown:
        raise UnsupportedSchema(f"{path or 'the object'}: no translation for {', '.join(sorted(unknown))}")
    result: Schema = {key: value for key, value in schema.items() if key in COPIED}
    if "const" in schema:
        result["enum"] = [schema["const"]]
    result |= _exclusive_bounds(schema)
    if schema.get(DEFAULT_IN_SCHEMA):
        if in_list:
            raise UnsupportedSchema(f"{path}: a default inside a list item")
        result["default"] = schema.get("default", {})
    if "properties" in schema:
        result["properties"] = {
            name: structural(value, definitions, f"{path}.{name}", in_list=in_list)
            for name, value in schema["properties"].items()
        }
    if "items" in schema:
        result["items"] = structural(schema["items"], definitions, f"{path}[]", in_list=True)
    values = schema.get("additionalProperties", False)
    if values is True:
        raise UnsupportedSchema(f"{path}: a map of values without a schema")
    if values:
        result["additionalProperties"] = structural(values, definitions, f"{path}{{}}", in_list=in_list)
    if result.get("x-kubernetes-int-or-string"):
        del result["type"]
        result["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    description = _description(schema)
    return result | {"description": description} if description else result


def _flattened(schema: Schema, definitions: Mapping[str, Schema], path: str) -> Schema:
    """Put what `$ref` and a nullable `anyOf` point at in their place; what stands beside them wins, rules add up."""
    if "anyOf" in schema:
        variants = [variant for variant in schema["anyOf"] if variant.get("type") != "null"]
        if len(variants) != 1:
            raise UnsupportedSchema(f"{path}: a choice of types; write a union with a member for each, see union_rules")
        beside = {key: value for key, value in schema.items() if key != "anyOf"}
        if beside.get("default", ...) is None:
            del beside["default"]
        return _flattened(_merged(variants[0], beside), definitions, path)
    if "$ref" in schema:
        target = definitions[schema["$ref"].removeprefix("#/$defs/")]
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        return _flattened(_merged(target, beside), definitions, path)
    return schema


def _merged(below: Schema, beside: Schema) -> Schema:
    merged = below | beside
    rules = [*below.get(RULES, []), *beside.get(RULES, [])]
    return merged | {RULES: rules} if rules else merged


def _exclusive_bounds(schema: Schema) -> Schema:
    """OpenAPI v3.0 has a number and a flag where JSON schema has one number."""
    bounds: Schema = {}
    for side in ("Minimum", "Maximum"):
        if f"exclusive{side}" in schema:
            bounds |= {side.lower(): schema[f"exclusive{side}"], f"exclusive{side}": True}
    return bounds


def _description(schema: Schema) -> str:
    """Return the field's description with its unit, default and example, as `kubectl explain` shows it."""
    sentences = [schema.get("description", "")]
    if UNIT in schema:
        sentences.append(f"Unit: {schema[UNIT]}.")
    if schema.get(DEFAULT_IN_SCHEMA) and "default" in schema:
        sentences.append(f"Default: {_inline(schema['default'])}.")
    if MEANING_OF_UNSET in schema:
        sentences.append(f"Default: {schema[MEANING_OF_UNSET]}.")
    if schema.get("examples"):
        sentences.append(f"Example: {_inline(schema['examples'][0])}.")
    return " ".join(sentence for sentence in sentences if sentence)


def _inline(value: Any) -> str:
    """Return a value the way a user would write it on one line of YAML."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")
