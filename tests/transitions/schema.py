"""The CRDs as the generator reads them: kinds, and the places of an object with the schema that holds there.

A place is a path from the object's root: names of members, keys of maps, numbers of list items. Its label is the same
path as a pattern over all objects of the kind, `ImageService.spec.api.tolerations[].key` or
`ImageService.spec.extraConfig{}{}`: that is what hints are given by.
"""

import copy
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]
Schema = Mapping[str, Any]
Steps = tuple[str | int, ...]

CRDS = Path(__file__).parents[2] / "crds"
RULES = "x-kubernetes-validations"
INT_OR_STRING = "x-kubernetes-int-or-string"
LIST_TYPE = "x-kubernetes-list-type"
LIST_KEYS = "x-kubernetes-list-map-keys"

_MEMBER_OF = re.compile(r"self\.(\w+) == '(\w+)' \? has\(self\.(\w+)\) : !has\(self\.(\w+)\)")
_KEYS_MATCH = re.compile(r"self\.all\(key, key\.matches\(r'(.*)'\)\)", re.DOTALL)
_OLD_MEMBER = re.compile(r"oldSelf((?:\.\w+)+)")


@dataclass(frozen=True)
class Kind:
    """One kind of a CRD. `root` is the schema of a whole object; its `properties` hold `spec`."""

    kind: str
    api_version: str
    plural: str
    root: Schema

    @property
    def spec(self) -> Schema:
        """The schema of `spec`."""
        schema: Schema = self.root["properties"]["spec"]
        return schema


@dataclass(frozen=True)
class Place:
    """One place of an object. `removable` tells whether the schema allows the object without it."""

    steps: Steps
    label: str
    schema: Schema
    value: Any
    removable: bool


def load() -> dict[str, Kind]:
    """Return every kind that has a CRD in `crds/`, by its name."""
    kinds = {}
    for file in sorted(CRDS.glob("*.yaml")):
        crd = yaml.safe_load(file.read_text())["spec"]
        version = next(version for version in crd["versions"] if version["storage"])
        api_version = f"{crd['group']}/{version['name']}"
        names = crd["names"]
        root = version["schema"]["openAPIV3Schema"]
        kinds[names["kind"]] = Kind(names["kind"], api_version, names["plural"], root)
    return kinds


KINDS = load()


def places(manifest: Manifest) -> Iterator[Place]:
    """Give every place below `spec` that the object fills, the outer ones first."""
    kind = KINDS[manifest["kind"]]
    yield from _below(manifest["spec"], kind.spec, ("spec",), f"{kind.kind}.spec")


def _below(value: Any, schema: Schema, steps: Steps, label: str) -> Iterator[Place]:
    if isinstance(value, dict):
        members, required = schema.get("properties"), schema.get("required", [])
        for name, item in value.items():
            below, removable = (members[name], name not in required) if members else (schema_of_values(schema), True)
            place = Place((*steps, name), f"{label}.{name}" if members else f"{label}{{}}", below, item, removable)
            yield place
            yield from _below(item, below, place.steps, place.label)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            place = Place((*steps, number), f"{label}[]", schema["items"], item, removable=True)
            yield place
            yield from _below(item, schema["items"], place.steps, place.label)


def schema_of_values(schema: Schema) -> Schema:
    """Return the schema of a map's values."""
    found: Schema = schema["additionalProperties"]
    return found


def rules(schema: Schema) -> list[Mapping[str, Any]]:
    """Return the CEL rules at a place."""
    return list(schema.get(RULES, []))


def union(schema: Schema) -> tuple[str, dict[str, str]] | None:
    """Return the discriminator of a union and the member that goes with each of its values; None for another schema."""
    found = [match for rule in rules(schema) if (match := _MEMBER_OF.fullmatch(rule["rule"]))]
    return (found[0][1], {match[2]: match[3] for match in found}) if found else None


def pattern_of_keys(schema: Schema) -> str:
    """Return the pattern that a map's keys match. Raise LookupError for a map without one: it would take any key."""
    found = [match[1] for rule in rules(schema) if (match := _KEYS_MATCH.fullmatch(rule["rule"]))]
    if not found:
        raise LookupError("a map without a rule on its keys")
    return found[0]


def immutable(kind: Kind) -> set[Steps]:
    """Return the places that keep their value while an object lives, as the rules on changes (`oldSelf`) say."""
    return set(_immutable(kind.root, ()))


def _immutable(schema: Schema, steps: Steps) -> Iterator[Steps]:
    for rule in rules(schema):
        if "oldSelf" not in rule["rule"]:
            continue
        members = _OLD_MEMBER.findall(rule["rule"])
        if not members:
            yield steps
        for member in members:
            below = (*steps, *member.removeprefix(".").split("."))
            if below[0] == "spec":  # metadata.name is another object's anyway
                yield below
    for name, below in schema.get("properties", {}).items():
        if name != "status":
            yield from _immutable(below, (*steps, name))


ABSENT = object()
"""Stands for a place that an object does not fill."""


def value_at(manifest: Manifest, steps: Steps) -> Any:
    """Return what is at a place, or ABSENT."""
    value: Any = manifest
    for step in steps:
        try:
            value = value[step]
        except LookupError:
            return ABSENT
    return value


def changed(manifest: Manifest, steps: Steps, value: Any) -> Manifest:
    """Return a copy of the object with another value in a place, or without it for ABSENT."""
    copied = copy.deepcopy(manifest)
    holder: Any = copied
    for step in steps[:-1]:
        holder = holder.setdefault(step, {}) if isinstance(holder, dict) else holder[step]
    if value is not ABSENT:
        holder[steps[-1]] = copy.deepcopy(value)
    elif isinstance(holder, list):
        del holder[steps[-1]]
    else:
        holder.pop(steps[-1], None)
    return copied


def shown(steps: Steps) -> str:
    """Return a place as users write it: `spec.api.tolerations[0].key`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return text.removeprefix(".")
