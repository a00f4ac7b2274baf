"""What the generator makes is what it says, for every kind that has a CRD; without a cluster."""

import copy
import itertools
from collections.abc import Iterator

import pytest
from tests.transitions import schema as schemas
from tests.transitions.boundaries import boundaries
from tests.transitions.generator import (
    MODELS,
    Style,
    Values,
    below_label,
    faults,
    filled,
    full_world,
    journeys,
    labels,
    names_in,
    world,
)
from tests.transitions.hints import AT_MOST
from tests.transitions.schema import ABSENT, KINDS, changed, immutable, places, value_at
from tests.transitions.texts import LINE_ENDS, ODD_CHARACTERS, Shape, collected, varied

NAME = Shape(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$", 1, 253)
LINE = Shape(r"^[^\x00-\x1f\x7f]*$", 0, 255)


def test_every_kind_with_a_crd_is_known_to_the_operator() -> None:
    assert set(KINDS) == set(MODELS)


@pytest.mark.parametrize("kind", KINDS)
def test_the_fullest_world_fills_every_field(kind: str) -> None:
    places_filled = set().union(*(filled(m) for m in full_world().objects.values() if m["kind"] == kind))
    one_alone = AT_MOST.get(kind) == (1, 1)
    left_out = set(members_left_out(KINDS[kind].spec, f"{kind}.spec", places_filled)) if one_alone else set()
    assert places_filled == labels(KINDS[kind]) - left_out


def members_left_out(schema: schemas.Schema, label: str, places_filled: set[str]) -> Iterator[str]:
    """Give the labels of what an object cannot fill: in each union, all beside the member that it fills."""
    found = schemas.union(schema)
    chosen = found[1].values() if found else ()
    others = {name for name in chosen if any(f"{label}.{other}" in places_filled for other in chosen if other != name)}
    for name, below in schema.get("properties", {}).items():
        place = f"{label}.{name}"
        yield from (
            (place, *below_label(below, place)) if name in others else members_left_out(below, place, places_filled)
        )


def test_the_same_seed_gives_the_same_journeys_and_another_seed_others() -> None:
    assert varied(journeys(), 4, 7) == varied(journeys(), 4, 7)
    assert varied(journeys(), 4, 7) != varied(journeys(), 4, 8)


def test_generated_journeys_have_little_in_common() -> None:
    made = [str(first) for first, _, _ in varied(journeys(), 15, 5)]
    assert len(set(made)) > 12


def test_generated_objects_are_what_the_api_takes_and_keep_what_must_stay() -> None:
    for worlds in varied(journeys(), 15, 3):
        for one, other in itertools.permutations(worlds, 2):
            assert one != other
            for key, manifest in one.objects.items():
                assert faults(manifest) == []
                for steps in immutable(KINDS[manifest["kind"]]):
                    assert value_at(manifest, steps) == value_at(other.objects.get(key, manifest), steps)


def test_immutable_fields_are_found_in_the_rules_on_changes() -> None:
    assert immutable(KINDS["ImageService"]) == {("spec", "identity", "region")}
    assert immutable(KINDS["ImageStore"]) == {("spec", "type"), ("spec", "imageServiceRef"), ("spec", "storeID")}


def test_a_field_that_is_added_to_a_crd_is_generated_without_a_change_here() -> None:
    schema = copy.deepcopy(KINDS["ImageStore"].spec)
    schema["properties"]["later"] = {
        "type": "object",
        "required": ["size"],
        "properties": {
            "size": {"type": "integer", "minimum": 3, "maximum": 5},
            "words": {
                "type": "array",
                "maxItems": 2,
                "items": {"type": "string", "pattern": "^[a-c]+$", "maxLength": 4},
            },
        },
    }
    values = Values(names_in(full_world()), Style.PLAIN, full=True).at(
        schema["properties"]["later"], "ImageStore.later"
    )
    for value in collected(values, 20, 0):
        assert 3 <= value["size"] <= 5
        assert all(set(word) <= set("abc") and 1 <= len(word) <= 4 for word in value["words"])


def test_a_shape_of_schema_that_is_not_known_is_an_error() -> None:
    with pytest.raises(NotImplementedError, match=r"ImageStore\.later"):
        Values(names_in(full_world()), Style.PLAIN).at({"oneOf": []}, "ImageStore.later")


@pytest.mark.parametrize(("shape", "text", "longest"), [(NAME, "glance-db", 253), (LINE, "a line", 255)])
def test_texts_are_bent_to_their_limits(shape: Shape, text: str, longest: int) -> None:
    bent = list(shape.bent(text))
    assert all(shape.fits(candidate) for candidate in bent)
    assert max(map(len, bent)) == longest
    assert min(map(len, bent)) < len(text)


def test_texts_get_every_odd_character_that_fits() -> None:
    assert any(set(ODD_CHARACTERS) <= set(text) for text in LINE.bent("a line"))
    assert set("0.-") <= set().union(*NAME.bent("glance-db"))


def test_the_edges_of_lists_maps_and_numbers_are_found() -> None:
    service = full_world().objects["ImageService/imageservice-1"]
    edges = {place.label: list(boundaries(place.schema, place.value)) for place in places(service)}
    assert edges["ImageService.spec.api.replicas"] == [0, 64]
    assert [len(value) for value in edges["ImageService.spec.imagePullSecrets"]] == [0, 16]
    assert {} in edges["ImageService.spec.extraConfig"]
    assert max(map(len, edges["ImageService.spec.extraConfig"])) == 32
    assert [len(value) for value in edges["ImageService.spec.api.tolerations"]] == [0, 32]


def test_a_place_can_be_changed_and_taken_out_without_touching_the_original() -> None:
    full = full_world().objects["ImageService/imageservice-1"]
    before = copy.deepcopy(full)
    for place in places(full):
        other = changed(full, place.steps, ABSENT)
        assert world([other]).objects.values()
        assert full == before
        assert schemas.shown(place.steps).startswith("spec.")


def test_line_ends_are_tried_where_a_pattern_lets_them_through() -> None:
    assert LINE.with_characters("ab", 1, LINE_ENDS) != "ab"
