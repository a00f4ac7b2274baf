"""Specs that the API must refuse: each constraint of each place broken, and what the user is to be told.

Every broken rule of ours is told in our words. What OpenAPI refuses by itself is told by the API server, in sentences
that say what is allowed (SENTENCES); a bare pattern says it to nobody, so where one fails our words must be beside it.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.transitions import schema as schemas
from tests.transitions.boundaries import FORMAT_MAXIMA, shape_of
from tests.transitions.schema import ABSENT, INT_OR_STRING, LIST_TYPE, Kind, Manifest, Place, Schema, Steps, changed

SENTENCES = tuple(
    re.compile(pattern, re.DOTALL)
    for pattern in (
        r"Unsupported value: .*: supported values: .+",
        r"Required value",
        r"Invalid value: -\d+: should be a non-negative integer",
        r"Duplicate value: .+",
        r"Invalid value: .*: must be an object for an array of list-type map",
        r"Too long: may not be more than \d+ bytes",
        r"Too many: \d+: must have at most \d+ items",
        r".*in body should have at least \d+ (items|properties)",
        r".*in body should be at least \d+ chars long",
        r".*in body should be (less|greater) than or equal to \d+",
        r".*in body must be of type \w+(,\w+)*: .*",
    )
)
"""What the API server says of itself, by the beginning or the whole of a cause."""

COMPANIONS = tuple(
    re.compile(pattern, re.DOTALL)
    for pattern in (
        r".*some validation rules were not checked because the object was invalid.*",
        r".*accessor error.*",
        r".*must validate at least one schema \(anyOf\).*",
        r".*Checked value must be of type .*",
    )
)
"""What it says besides, which is only borne beside a sentence."""

LONG_PREFIX = "x" * 254 + "/a"
"""It has the form of a label's key, and a prefix that is too long by one character."""
QUANTITY = re.compile(r"quantity\('(\w+)'\)")
PATTERN = re.compile(r".*in body should match '.*'", re.DOTALL)


@dataclass(frozen=True)
class Wrong:
    """An object that must be refused, and what is wrong with it."""

    what: str
    manifest: Manifest


def wrong_objects(manifest: Manifest) -> Iterator[Wrong]:
    """Give the object with one thing otherwise at a time, in every place and in every way that a schema can forbid.

    What is against rules of more than one field is found by trying, so some of these are legal.
    """
    kind = schemas.KINDS[manifest["kind"]]
    spec = Place(("spec",), f"{kind.kind}.spec", kind.spec, manifest["spec"], removable=False)
    for place in [spec, *schemas.places(manifest)]:
        for what, steps, value in _wrong_at(place):
            yield Wrong(f"{schemas.shown(place.steps)}: {what}", changed(manifest, steps, value))
    yield from _wrong_beside_the_name(manifest, kind)


def _wrong_beside_the_name(manifest: Manifest, kind: Kind) -> Iterator[Wrong]:
    """Give what rules over a whole object may be against: odd names, without the fields that go with them."""
    members = {name for rule in schemas.rules(kind.root) for name in re.findall(r"self\.spec\.(\w+)", rule["rule"])}
    for name in ("a.b", "n" * 64, "0"):
        for member in sorted(members):
            named = changed(manifest, ("metadata", "name"), name)
            yield Wrong(f"called {name[:5]} without `{member}`", changed(named, ("spec", member), ABSENT))


def _wrong_at(place: Place) -> Iterator[tuple[str, Steps, Any]]:
    schema, value = place.schema, place.value
    for what, other in (*_wrong_type(schema), *_wrong_value(schema, value)):
        yield what, place.steps, other
    for name in schema.get("required", []):
        yield f"`{name}` is missing", (*place.steps, name), ABSENT
    yield from _wrong_together(place)


def _wrong_type(schema: Schema) -> Iterator[tuple[str, Any]]:
    wrong = {"string": 1, "integer": "one", "boolean": "yes", "object": [], "array": {}}
    if schema.get(INT_OR_STRING):
        yield "another type", []
    elif schema["type"] in wrong:
        yield "another type", wrong[schema["type"]]


def _wrong_value(schema: Schema, value: Any) -> Iterator[tuple[str, Any]]:
    if "enum" in schema:
        yield "not in the list", "no-such-value"
    elif schema.get("type") == "integer":
        yield "too low", schema.get("minimum", 0) - 1
        if schema.get("maximum", FORMAT_MAXIMA["int64"]) < FORMAT_MAXIMA["int64"]:
            yield "too high", schema["maximum"] + 1
    elif schema.get("type") == "string" or schema.get(INT_OR_STRING):
        yield from _wrong_text(schema, str(value))
    elif schema.get("type") == "array":
        yield from _wrong_list(schema, value)
    elif "additionalProperties" in schema:
        yield from _wrong_map(schema, value)


def _wrong_list(schema: Schema, value: list[Any]) -> Iterator[tuple[str, Any]]:
    if "minItems" in schema:
        yield "too few", []
    if not value:
        return
    if "maxItems" in schema:
        yield "too many", [value[0]] * (schema["maxItems"] + 1)
    if schema.get(LIST_TYPE) in ("map", "set"):
        yield "one twice", [*value, value[0]]
    if len(value) > 1:
        yield "without the first", value[1:]


def _wrong_map(schema: Schema, value: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    one = next(iter(value.values()), {})
    for odd in ("", "a b", "-", "a\nb", "é", "x" * 400, LONG_PREFIX, "os_glance_a"):
        yield f"the key {odd[:11]!r}", {**value, odd: one}
    if "minProperties" in schema:
        yield "too few", {}
    if "maxProperties" in schema and value:
        yield "too many", {f"k{n}": one for n in range(schema["maxProperties"] + 1)}


def _wrong_text(schema: Schema, value: str) -> Iterator[tuple[str, str]]:
    shape = shape_of(schema)
    for bound in sorted({bound for rule in schemas.rules(schema) for bound in QUANTITY.findall(rule["rule"])}):
        yield f"{bound}, which is a bound", bound
    if "maxLength" in schema:
        yield "too long", (value or "a") * (schema["maxLength"] + 1)
    for bad in ("", f"{value}\n", f" {value}", f"{value}\x00", f"{value}\x85", "A b!"):
        if not shape.fits(bad):
            yield f"{bad[:12]!r}", bad
    for fitting in ("../..", "/../a", LONG_PREFIX, f"os_glance_{value}", f"client.{value}"):
        yield f"{fitting[:12]!r}", fitting


def _wrong_together(place: Place) -> Iterator[tuple[str, Steps, Any]]:
    """Give what rules over several members may be against: a union's other members, and members left out or added."""
    schema, value = place.schema, place.value
    if not isinstance(value, dict) or "properties" not in schema:
        return
    found = schemas.union(schema)
    if found is not None:
        discriminator, members = found
        for choice, member in members.items():
            if choice != value[discriminator]:
                yield f"{discriminator} {choice} without its member", (*place.steps, discriminator), choice
                yield f"`{member}` beside another", (*place.steps, member), {}
    named = [sorted(set(re.findall(r"self\.(\w+)", rule["rule"]))) for rule in schemas.rules(schema)]
    for members in named:
        if len(members) > 1:
            yield f"without {members}", place.steps, {name: one for name, one in value.items() if name not in members}
    for name in sorted({name for members in named for name in members}):
        below = schema["properties"].get(name, {})
        if name in value:
            yield f"without `{name}`", (*place.steps, name), ABSENT
        for choice in below.get("enum", []):
            yield f"`{name}` {choice}", (*place.steps, name), choice
        if below.get("type") == "string" and "enum" not in below:
            yield f"with `{name}`", (*place.steps, name), "a"


def sentences_of(kind: Kind) -> set[str]:
    """Return the messages of all rules on the spec of a kind but those on changes."""
    return set(_messages(kind.root))


def _messages(schema: Schema) -> Iterator[str]:
    for rule in schemas.rules(schema):
        if "oldSelf" not in rule["rule"]:
            yield rule["message"]
    properties = {name: below for name, below in schema.get("properties", {}).items() if name != "status"}
    for below in (*properties.values(), schema.get("items"), schema.get("additionalProperties")):
        if isinstance(below, dict):
            yield from _messages(below)


def unclear(causes: list[str], ours: set[str]) -> list[str]:
    """Return what the user would not understand of a refusal; nothing where all of it says what is allowed."""
    told = [cause for cause in causes if _says(cause, ours)]
    if not told:
        return causes or ["nothing is said at all"]
    known = [*COMPANIONS, PATTERN]
    in_our_words = any(_is_ours(cause, ours) for cause in causes)
    if any(PATTERN.fullmatch(cause) for cause in causes) and not in_our_words:
        return causes
    return [c for c in causes if c not in told and not any(pattern.fullmatch(c) for pattern in known)]


def _says(cause: str, ours: set[str]) -> bool:
    return _is_ours(cause, ours) or any(pattern.fullmatch(cause.strip()) for pattern in SENTENCES)


def _is_ours(cause: str, ours: set[str]) -> bool:
    return any(cause.endswith(message) for message in ours)
