"""The boundaries of what a schema allows in one place, each near a value that stands there already."""

from collections.abc import Iterator
from typing import Any

from tests.transitions import schema as schemas
from tests.transitions.schema import INT_OR_STRING, LIST_KEYS, Schema
from tests.transitions.texts import LINE_ENDS, MAXIMUM, Shape

FORMAT_MAXIMA = {"int32": 2**31 - 1, "int64": 2**53 - 1}
"""Largest whole number of a format that every JSON reader keeps as it is."""


def boundaries(schema: Schema, value: Any) -> Iterator[Any]:
    """Give the values at the edges: shortest, longest, emptiest, fullest, lowest, highest, oddest. Not each is legal:
    rules over several fields, or over texts beyond their pattern, are the API server's to judge."""
    if "enum" in schema:
        yield from (other for other in schema["enum"] if other != value)
    elif schema.get(INT_OR_STRING):
        yield from (0, 1, *shape_of(schema).bent(str(value)))
    elif schema["type"] == "boolean":
        yield not value
    elif schema["type"] == "integer":
        yield from lowest_and_highest(schema)
    elif schema["type"] == "string":
        shape = shape_of(schema)
        yield from shape.bent(value)
        if (ended := shape.with_characters(value, len(value) // 2, LINE_ENDS)) != value:
            yield ended
    elif schema["type"] == "array":
        yield from _lists(schema, value)
    else:
        yield from _objects(schema, value)


def shape_of(schema: Schema) -> Shape:
    """Return what a text must be like here."""
    return Shape(schema.get("pattern"), schema.get("minLength", 0), schema.get("maxLength", MAXIMUM))


def lowest_and_highest(schema: Schema) -> tuple[int, int]:
    """Return the bounds of a whole number; without one in the schema, that of its format."""
    highest = schema.get("maximum", FORMAT_MAXIMA[schema.get("format", "int64")])
    return schema.get("minimum", -highest), highest


def _lists(schema: Schema, value: list[Any]) -> Iterator[list[Any]]:
    if schema.get("minItems", 0) == 0:
        yield []
    if value and "maxItems" in schema:
        missing = schema["maxItems"] - len(value)
        keys = schema.get(LIST_KEYS)
        if isinstance(value[0], dict) and keys:
            key = next(key for key in keys if schema["items"]["properties"][key].get("type") == "string")
            shape = shape_of(schema["items"]["properties"][key])
            yield value + [value[0] | {key: other} for other in shape.others(value[0][key], missing)]
        elif isinstance(value[0], str):
            yield value + shape_of(schema["items"]).others(value[0], missing)
        else:
            yield value + [value[0]] * missing


def _objects(schema: Schema, value: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "properties" in schema:
        required = schema.get("required", [])
        yield {name: item for name, item in value.items() if name in required}
        return
    yield {}
    if not value:
        return
    shape = Shape(schemas.pattern_of_keys(schema))
    name, item = next(iter(value.items()))
    yield from ({bent: item} for bent in shape.bent(name))
    if "maxProperties" in schema:
        yield value | dict.fromkeys(shape.others(name, schema["maxProperties"] - len(value)), item)
