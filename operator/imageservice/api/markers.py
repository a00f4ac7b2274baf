"""Markers that carry what JSON schema cannot say about a field into the CRDs.

A marker stands in `Annotated[...]` beside the field's type. It adds keys to the model's JSON schema, which
`imageservice.crdgen` turns into the structural schema of a CustomResourceDefinition. Where a rule can also be checked
on one object alone, the marker checks it in pydantic too: the API server and the operator's own reading then agree.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

RULES = "x-kubernetes-validations"
UNIT = "x-unit"
DEFAULT_IN_SCHEMA = "x-default-in-schema"
MEANING_OF_UNSET = "x-meaning-of-unset"

RuleReason = Literal["FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired", "FieldValueDuplicate"]


@dataclass(frozen=True)
class Cel:
    """A validation rule in CEL (Kubernetes: x-kubernetes-validations), with the same rule in Python as `check`.

    `message` is what the user reads: it says what is allowed, with field names in back-quotes. `check` gets the value
    that the rule gets as `self`; a rule on changes (`oldSelf`) has none, for a stored object has no past.
    `field_path` points at the member that is to blame, like `.secretRef`.
    """

    rule: str
    message: str
    message_expression: str | None = None
    reason: RuleReason = "FieldValueInvalid"
    field_path: str | None = None
    optional_old_self: bool = False
    check: Callable[[Any], bool] | None = None

    def as_validation(self) -> dict[str, Any]:
        """Return the rule as an item of `x-kubernetes-validations`."""
        item: dict[str, Any] = {"rule": self.rule, "message": self.message, "reason": self.reason}
        if self.message_expression:
            item["messageExpression"] = self.message_expression
        if self.field_path:
            item["fieldPath"] = self.field_path
        if self.optional_old_self:
            item["optionalOldSelf"] = True
        return item

    def verify(self, value: Any) -> None:
        """Raise a pydantic error with the rule's message where `value` breaks the rule."""
        if self.check is not None and value is not None and not self.check(value):
            raise broken_rule(self.message)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        if self.check is None:
            return schema

        def validate(value: Any) -> Any:
            self.verify(value)
            return value

        return core_schema.no_info_after_validator_function(validate, schema)

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core)
        schema[RULES] = [*schema.get(RULES, []), self.as_validation()]
        return schema


def broken_rule(message: str) -> PydanticCustomError:
    """Return the pydantic error for a broken rule: its text is `message` as it stands."""
    return PydanticCustomError("rule", "{sentence}", {"sentence": message})


def immutable(message: str) -> Cel:
    """Return the rule that a field, once set, keeps its value. `message` says what to do instead."""
    return Cel("self == oldSelf", message, reason="FieldValueForbidden")


def union_rules(discriminator: str, members: Mapping[str, str]) -> tuple[Cel, ...]:
    """Return the rules of a discriminated union: exactly the member that the discriminator names is set.

    `members` maps each value of the discriminator to the name of its member, as users write both.
    """
    return tuple(
        Cel(
            f"self.{discriminator} == '{value}' ? has(self.{member}) : !has(self.{member})",
            f"`{member}` must be set where `{discriminator}` is {value}, and only there",
            field_path=f".{member}",
            check=_member_check(discriminator, value, member),
        )
        for value, member in members.items()
    )


def _member_check(discriminator: str, value: str, member: str) -> Callable[[Any], bool]:
    def check(model: Any) -> bool:
        by_alias = {field.alias: name for name, field in type(model).model_fields.items()}
        chosen: str = getattr(model, by_alias[discriminator])
        return (getattr(model, by_alias[member]) is not None) == (chosen == value)

    return check


def pattern_check(regex: str) -> Callable[[str], bool]:
    """Return a test whether a whole text matches `regex`, also where Python's `$` would let a last newline through."""
    compiled = re.compile(regex)
    return lambda text: compiled.fullmatch(text) is not None


@dataclass(frozen=True)
class Pattern:
    """A text that matches `regex` (the common ground of RE2 and Python, anchored), told as `message` where it does not.

    The schema gets both: `pattern` for tools that check files without a cluster, and a CEL rule for the sentence.
    `subject` is the text in CEL: `string(self)` where users may write a number too.
    """

    regex: str
    message: str
    subject: str = "self"

    def as_cel(self) -> Cel:
        """Return the pattern as a rule with a sentence."""
        return Cel(f"{self.subject}.matches(r'{self.regex}')", self.message, check=pattern_check(self.regex))

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return self.as_cel().__get_pydantic_core_schema__(source, handler)

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = self.as_cel().__get_pydantic_json_schema__(core, handler)
        return schema | {"pattern": self.regex}


def map_keys(regex: str, message: str) -> Cel:
    """Return the rule that every key of a map matches `regex`."""
    matches = pattern_check(regex)
    return Cel(f"self.all(key, key.matches(r'{regex}'))", message, check=lambda value: all(map(matches, value)))


@dataclass(frozen=True)
class OneOf:
    """A text out of a fixed table, for tables that live as data and cannot be a `Literal`."""

    values: tuple[str, ...]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        rule = OperatorRule(f"must be one of {', '.join(self.values)}", lambda value: value in self.values)
        return rule.__get_pydantic_core_schema__(source, handler)

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return handler(core) | {"enum": list(self.values)}


@dataclass(frozen=True)
class OperatorRule:
    """A rule that CEL cannot express. The API server takes a value that breaks it; the operator says `message`."""

    message: str
    check: Callable[[Any], bool]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return Cel("", self.message, check=self.check).__get_pydantic_core_schema__(source, handler)

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return handler(core)


@dataclass(frozen=True)
class SchemaKeys:
    """Keys that go into the field's schema as they are: list types, formats, units."""

    keys: tuple[tuple[str, Any], ...]

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return handler(core) | dict(self.keys)


def list_map(*keys: str) -> SchemaKeys:
    """Mark a list of objects told apart by `keys`: appliers own items, not the whole list."""
    return SchemaKeys((("x-kubernetes-list-type", "map"), ("x-kubernetes-list-map-keys", list(keys))))


LIST_SET = SchemaKeys((("x-kubernetes-list-type", "set"),))
"""Mark a list of plain values, each there once."""

ATOMIC = SchemaKeys((("x-kubernetes-list-type", "atomic"),))
"""Mark a list that one applier owns as a whole."""

IN_SCHEMA = SchemaKeys(((DEFAULT_IN_SCHEMA, True),))
"""Put the field's default into the CRD, so that users see it in the stored object. Never inside list items."""

INT_OR_STRING = SchemaKeys((("x-kubernetes-int-or-string", True),))
"""Mark a value that users may write as a number or as a text."""


def unit(name: str) -> SchemaKeys:
    """Name the unit of a number; the CRD's description ends with it."""
    return SchemaKeys(((UNIT, name),))


def unset(meaning: str) -> SchemaKeys:
    """Say what holds where a field without a default in the schema is not set."""
    return SchemaKeys(((MEANING_OF_UNSET, meaning),))


def schema_format(name: str) -> SchemaKeys:
    """Set the OpenAPI format of a value, like `date-time` or `int32`."""
    return SchemaKeys((("format", name),))


@dataclass(frozen=True)
class Column:
    """One column of `kubectl get`. `priority` 0 is always shown, 1 with `-o wide`."""

    name: str
    type: Literal["string", "integer", "date", "boolean"]
    json_path: str
    description: str
    priority: int = 0


@dataclass(frozen=True)
class Scale:
    """The paths of the scale subresource, which `kubectl scale` and autoscalers use."""

    spec_replicas_path: str
    status_replicas_path: str
    label_selector_path: str


@dataclass(frozen=True)
class Resource:
    """What a CustomResourceDefinition says about a kind besides its schema.

    `initial_status` is the status of an object that no operator has seen yet. `selectable_fields` are the JSON paths
    that `kubectl get --field-selector` takes.
    """

    kind: str
    plural: str
    singular: str
    short_names: Sequence[str]
    categories: Sequence[str]
    columns: Sequence[Column]
    initial_status: Mapping[str, Any]
    selectable_fields: Sequence[str] = ()
    scale: Scale | None = None
