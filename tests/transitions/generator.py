"""Objects out of the CRDs: any that the schema allows, those at its edges, and those that work.

    worlds(names, Style.PLAIN)   what stands in one namespace: an object or some of every kind
    journeys()                   three of them, where each can follow each of the others

Everything comes from `crds/*.yaml` by way of `schema.py`, with the few values that must mean something from `hints.py`.
A kind or a field that is added later is tried without a change here; a shape of schema that is not known is an error.
"""

import enum
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from hypothesis import assume
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.transitions import schema as schemas
from tests.transitions import texts
from tests.transitions.boundaries import boundaries, lowest_and_highest
from tests.transitions.hints import AT_MOST, LABELS, NOT_HERE, Names, hint, pods, usable
from tests.transitions.schema import ABSENT, INT_OR_STRING, KINDS, LIST_KEYS, LIST_TYPE, Kind, Manifest, Schema, Steps

from imageservice.api.v1alpha1 import KINDS as MODEL_KINDS

MODELS = {model.resource.kind: model for model in MODEL_KINDS}


class Style(enum.Enum):
    """What kind of values is wanted."""

    PLAIN = "plain"  # works, with everyday values
    ODD = "odd"  # works, with values at the edges of what is allowed
    LOST = "lost"  # allowed, but refers to what may not be there and asks for what no node may have


@dataclass(frozen=True)
class World:
    """The objects of our kinds in one namespace, by `Kind/name`."""

    objects: Mapping[str, Manifest]

    def __str__(self) -> str:
        """Tell the specs, with long runs of one character cut: the seed gives the whole."""
        lines = [f"{key}: {json.dumps(found['spec'], sort_keys=True)}" for key, found in self.objects.items()]
        return re.sub(r"(.)\1{30,}", r"\1\1\1(...)\1", "\n".join(lines))


Journey = tuple[World, World, World]
"""Three worlds, each of which may follow each of the others: immutable fields are the same in all of them."""


class Values:
    """Builds strategies by walking a schema. `full` fills every field that can be filled."""

    def __init__(self, names: Names, style: Style, *, full: bool = False) -> None:
        self._names = names
        self._style = style
        self._full = full

    def at(self, schema: Schema, label: str) -> st.SearchStrategy[Any]:
        """Return values for a place."""
        found = hint(label, self._names, usable=self._style is not Style.LOST)
        if found is not None:
            return found
        for keyword, build in self._BUILDERS.items():
            if keyword in schema:
                return self._odd(schema, build(self, schema, label))
        build_type = self._TYPES.get(schema.get("type", ""))
        if build_type is None:
            raise NotImplementedError(f"{label}: no strategy for a schema with {sorted(schema)}")
        return self._odd(schema, build_type(self, schema, label))

    def _odd(self, schema: Schema, plain: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        """Have half of the values at the edges, where edges are wanted."""
        if self._style is not Style.ODD or schema.get("type") in ("object", "array"):
            return plain
        return plain.flatmap(lambda value: st.sampled_from([value, *_boundaries(json.dumps(schema), value)]))

    def _enum(self, schema: Schema, _label: str) -> st.SearchStrategy[Any]:
        return st.sampled_from(schema["enum"])

    def _int_or_string(self, schema: Schema, label: str) -> st.SearchStrategy[Any]:
        return st.one_of(self._string(schema, label), st.integers(0, 64))

    def _boolean(self, _schema: Schema, _label: str) -> st.SearchStrategy[Any]:
        return st.booleans()

    def _integer(self, schema: Schema, _label: str) -> st.SearchStrategy[Any]:
        return st.integers(*lowest_and_highest(schema))

    def _string(self, schema: Schema, _label: str) -> st.SearchStrategy[Any]:
        bounds = schema.get("minLength", 0), schema.get("maxLength", texts.MAXIMUM)
        if "pattern" in schema:
            return texts.strategy(schema["pattern"], *bounds)
        return st.text(min_size=bounds[0], max_size=min(bounds[1], 60))

    def _array(self, schema: Schema, label: str) -> st.SearchStrategy[Any]:
        few = 2 if self._full else schema.get("minItems", 0)
        many = min(3, schema.get("maxItems", 3))
        return st.lists(
            self.at(schema["items"], f"{label}[]"), min_size=few, max_size=many, unique_by=_identity(schema)
        )

    def _object(self, schema: Schema, label: str) -> st.SearchStrategy[Any]:
        if "properties" not in schema:
            keys = texts.strategy(schemas.pattern_of_keys(schema), 0, texts.MAXIMUM)
            values = self.at(schemas.schema_of_values(schema), f"{label}{{}}")
            return st.dictionaries(keys, values, min_size=2 if self._full else 0, max_size=3)
        members = {name: self.at(below, f"{label}.{name}") for name, below in schema["properties"].items()}
        if (found := schemas.union(schema)) is not None:
            discriminator, chosen = found
            variants = members[discriminator]
            others = set(chosen.values())
            return variants.flatmap(
                lambda value: self._members(schema, members, others, chosen[value], {discriminator: value})
            )
        return self._members(schema, members, set(), None, {})

    def _members(
        self,
        schema: Schema,
        members: Mapping[str, st.SearchStrategy[Any]],
        exclusive: set[str],
        chosen: str | None,
        given_: Mapping[str, Any],
    ) -> st.SearchStrategy[Any]:
        """Return objects with the given, the required and the chosen member, and any others that are not exclusive."""
        required = {*schema.get("required", []), *([chosen] if chosen else [])} - set(given_)
        optional = set(members) - required - exclusive - set(given_)
        if self._full:
            required, optional = required | optional, set()
        return st.fixed_dictionaries(
            {name: members[name] for name in sorted(required)},
            optional={name: members[name] for name in sorted(optional)},
        ).map(lambda drawn: {**given_, **drawn})

    _BUILDERS: Mapping[str, Callable[["Values", Schema, str], st.SearchStrategy[Any]]] = {
        "enum": _enum,
        INT_OR_STRING: _int_or_string,
    }
    _TYPES: Mapping[str, Callable[["Values", Schema, str], st.SearchStrategy[Any]]] = {
        "boolean": _boolean,
        "integer": _integer,
        "string": _string,
        "array": _array,
        "object": _object,
    }


@cache
def _boundaries(schema: str, value: Any) -> tuple[Any, ...]:
    return tuple(boundaries(json.loads(schema), value))


def _identity(schema: Schema) -> Callable[[Any], Any] | None:
    """Return what tells the items of a list apart; None where equal ones may stand in it."""
    if schema.get(LIST_TYPE) == "map":
        return lambda item: tuple(item.get(key) for key in schema[LIST_KEYS])
    return (lambda item: item) if schema.get(LIST_TYPE) == "set" else None


def faults(manifest: Manifest) -> list[Steps]:
    """Return the wrong places: repeated items, and what the operator's models refuse, as the CRD's rules do."""
    try:
        MODELS[manifest["kind"]].model_validate(manifest)
    except ValidationError as error:
        return [fault["loc"] for fault in error.errors(include_url=False, include_input=False)]
    return [steps for place in schemas.places(manifest) for steps in _repeated(place)]


def _repeated(place: schemas.Place) -> Iterator[Steps]:
    """Give the items of a list that are there before, where that is not allowed."""
    identity = _identity(place.schema)
    if identity is not None and isinstance(place.value, list):
        known = [identity(item) for item in place.value]
        yield from ((*place.steps, at) for at, found in enumerate(known) if found in known[:at])


def repaired(manifest: Manifest) -> Manifest | None:
    """Take out what rules over several fields are against; None where it cannot be taken out."""
    for _ in range(60):
        wrong = faults(manifest)
        if not wrong:
            return manifest
        around = [p.steps for p in schemas.places(manifest) if p.removable and wrong[0][: len(p.steps)] == p.steps]
        if not around:
            return None
        manifest = schemas.changed(manifest, around[-1], ABSENT)
    return None


def objects(kind: Kind, name: str, names: Names, style: Style, *, full: bool = False) -> st.SearchStrategy[Manifest]:
    """Return objects of a kind that the API takes."""

    def whole(spec: Manifest) -> Manifest | None:
        head = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": name, "labels": {**LABELS}}}
        return repaired(head | {"spec": spec})

    found = Values(replace(names, own=name), style, full=full).at(kind.spec, f"{kind.kind}.spec").map(whole)
    return found.filter(lambda manifest: manifest is not None)


@st.composite
def namings(draw: st.DrawFn) -> Names:
    """Return the names that objects of one namespace may have: everyday ones, or the longest and oddest ones."""
    odd = draw(st.sampled_from((False, False, True)))
    return Names({kind: _ODD_NAMES if odd else _names(kind) for kind in KINDS})


def _names(kind: str) -> tuple[str, ...]:
    return tuple(f"{kind.lower()}-{number}" for number in range(1, MOST_NAMES + 1))


MOST_NAMES = 16
_ODD_NAMES = ("0.a-b.c", "n" * 253, "m" * 63, "1" * 20 + ".2")


@st.composite
def worlds(draw: st.DrawFn, names: Names, style: Style, keep: Mapping[str, tuple[str, ...]] | None = None) -> World:
    """Return what may stand in a namespace. `names`: what objects may be called; `keep`: kind -> those to be there."""
    chosen = dict(keep or {})
    for kind in KINDS:
        if kind not in chosen:
            few, many = AT_MOST.get(kind, (0, 2))
            some = draw(st.lists(st.sampled_from(names.of[kind]), min_size=few, max_size=many, unique=True))
            chosen[kind] = tuple(sorted(some))
    present = Names(chosen)
    made = [draw(objects(KINDS[kind], name, present, style)) for kind, of_kind in chosen.items() for name in of_kind]
    return world(made if style is Style.LOST else usable(made))


def world(manifests: Iterable[Manifest]) -> World:
    """Return the world of these objects."""
    return World({f"{manifest['kind']}/{manifest['metadata']['name']}": manifest for manifest in manifests})


@st.composite
def mutations(draw: st.DrawFn, before: World) -> World:
    """Return a world in which one to three places of another are taken out or filled otherwise."""
    after = dict(before.objects)
    for _ in range(draw(st.integers(1, 3))):
        key = draw(st.sampled_from(sorted(after)))
        place = draw(st.sampled_from(list(schemas.places(after[key]))))
        names = replace(names_in(before), own=after[key]["metadata"]["name"])
        other = Values(names, draw(st.sampled_from((Style.PLAIN, Style.ODD)))).at(place.schema, place.label)
        value = ABSENT if place.removable and draw(st.booleans()) else draw(other)
        found = repaired(schemas.changed(after[key], place.steps, value))
        after[key] = found or after[key]
    return world(usable(after.values()))


def names_in(found: World) -> Names:
    """Return the names of the objects of a world, for the references among them."""
    return Names(
        {kind: tuple(m["metadata"]["name"] for m in found.objects.values() if m["kind"] == kind) for kind in KINDS}
    )


@st.composite
def journeys(draw: st.DrawFn) -> Journey:
    """Return three worlds of one namespace, the later ones often just a little different from the first."""
    names = draw(namings())
    first = draw(worlds(names, draw(st.sampled_from((Style.PLAIN, Style.ODD)))))
    only_one = {kind: names_in(first).of[kind] for kind in KINDS if AT_MOST.get(kind) == (1, 1)}
    stay = dict(first.objects)
    found = [first]
    for way in (draw(st.sampled_from(("mutated", Style.PLAIN, Style.ODD))), draw(st.sampled_from(("mutated", *Style)))):
        drawn = draw(worlds(names, way, only_one) if isinstance(way, Style) else mutations(first))
        following = world(with_what_must_stay(stay.get(key), found) for key, found in drawn.objects.items())
        assume(following not in found and not any(map(faults, following.objects.values())))
        stay = {**following.objects, **stay}
        found.append(following)
    return found[0], found[1], found[2]


def journey(number: int, seed: int) -> Journey:
    """Return the journey at a place among those of a seed."""
    return texts.one_of_varied(journeys(), number, seed)


@cache
def full_world() -> World:
    """Return a world in which every field of every kind is filled, in as few objects as that takes."""
    # One of a kind of which there is one; of others as many as a union with the most members takes.
    names = Names({kind: _names(kind)[: 1 if AT_MOST.get(kind) == (1, 1) else MOST_NAMES] for kind in KINDS})
    made = []
    for kind, of_kind in names.of.items():
        missing = labels(KINDS[kind])
        for number, name in enumerate(of_kind):
            if not missing:
                break
            examples = texts.collected(objects(KINDS[kind], name, names, Style.PLAIN, full=True), 60, number)
            # Those with few pods after `usable`, which looks at all objects together: an ImageService comes first.
            best = max(examples, key=lambda found: (len(missing & filled(found)), -sum(map(pods, usable([found])))))
            if missing & filled(best):
                missing -= filled(best)
                made.append(best)
    return world(usable(made))


def filled(manifest: Manifest) -> set[str]:
    """Return the labels of the places that an object fills."""
    return {place.label for place in schemas.places(manifest)}


def labels(kind: Kind) -> set[str]:
    """Return the labels of all places that an object of the kind can fill here."""
    found = below_label(kind.spec, f"{kind.kind}.spec")
    return {label for label in found if not any(re.match(rf"{re.escape(left)}\b", label) for left in NOT_HERE)}


def below_label(schema: Schema, label: str) -> Iterator[str]:
    """Give the labels of all places below one."""
    for name, below in schema.get("properties", {}).items():
        yield f"{label}.{name}"
        yield from below_label(below, f"{label}.{name}")
    for keyword, suffix in (("items", "[]"), ("additionalProperties", "{}")):
        if keyword in schema:
            yield label + suffix
            yield from below_label(schema[keyword], label + suffix)


def with_what_must_stay(before: Manifest | None, after: Manifest) -> Manifest:
    """Return the later state of an object with the immutable fields of the earlier one, where there is one."""
    if before is not None:
        for steps in schemas.immutable(KINDS[after["kind"]]):
            after = schemas.changed(after, steps, schemas.value_at(before, steps))
    return after
