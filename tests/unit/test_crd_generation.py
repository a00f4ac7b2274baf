"""The generator: what it writes is what is committed, and what it cannot translate it refuses."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field

from imageservice import crdgen
from imageservice.api.markers import IN_SCHEMA, Cel, list_map, unit, unset
from imageservice.api.quantities import Size
from imageservice.api.v1alpha1 import ApiModel

CRD_DIRECTORY = Path(__file__).parents[2] / "crds"


def translate(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema(by_alias=True)
    return crdgen.structural(schema, schema.get("$defs", {}))


def test_the_committed_crds_are_what_the_models_say() -> None:
    committed = {path.name: path.read_text() for path in CRD_DIRECTORY.glob("*.yaml")}
    assert committed == crdgen.generate()


def test_generating_twice_gives_the_same_text() -> None:
    assert crdgen.generate() == crdgen.generate()


def test_every_crd_says_in_its_first_line_that_it_is_generated_and_how() -> None:
    for text in crdgen.generate().values():
        head = text.split("apiVersion")[0]
        assert head.startswith("# Generated from")
        assert "image-service-operator crds" in head


def test_no_crd_has_an_anchor_or_an_alias() -> None:
    for text in crdgen.generate().values():
        tokens = {type(token) for token in yaml.scan(text)}
        assert not tokens & {yaml.AnchorToken, yaml.AliasToken}


class Inner(ApiModel):
    """Something inside."""

    rules: ClassVar[tuple[Cel, ...]] = (Cel("has(self.size)", "`size` must be set"),)
    size: Annotated[Size | None, Field(description="How big.", examples=["1Gi"]), unset("as big as it gets")] = None


class Outer(ApiModel):
    """Something outside."""

    inner: Annotated[Inner | None, Field(description="The inner part."), Cel("true", "must be so")] = None
    kind: Annotated[Literal["Only"], Field(description="Kind.")] = "Only"
    count_of_things: Annotated[int, Field(gt=0, lt=10, description="How many."), unit("things"), IN_SCHEMA] = 3
    parts: Annotated[list[Inner], Field(max_length=3), list_map("size")] = Field(default_factory=list)
    labels: Annotated[dict[str, Annotated[str, Field(max_length=5)]], Field(max_length=2)] = Field(default_factory=dict)


def test_an_optional_part_is_put_in_place_with_its_own_description_and_all_rules() -> None:
    inner = translate(Outer)["properties"]["inner"]
    assert inner["description"] == "The inner part."
    assert inner["type"] == "object"
    assert [rule["message"] for rule in inner["x-kubernetes-validations"]] == ["`size` must be set", "must be so"]
    assert "default" not in inner
    assert "nullable" not in inner


def test_a_constant_becomes_an_enum_of_one() -> None:
    assert translate(Outer)["properties"]["kind"]["enum"] == ["Only"]


def test_exclusive_bounds_become_flags() -> None:
    count = translate(Outer)["properties"]["countOfThings"]
    assert (count["minimum"], count["exclusiveMinimum"]) == (0, True)
    assert (count["maximum"], count["exclusiveMaximum"]) == (10, True)


def test_a_default_is_in_the_schema_only_where_it_is_asked_for() -> None:
    properties = translate(Outer)["properties"]
    assert properties["countOfThings"]["default"] == 3
    assert "default" not in properties["kind"]


def test_a_description_tells_unit_default_and_example() -> None:
    properties = translate(Outer)["properties"]
    size = properties["inner"]["properties"]["size"]
    assert properties["countOfThings"]["description"] == "How many. Unit: things. Default: 3."
    assert size["description"] == "How big. Unit: bytes. Default: as big as it gets. Example: 1Gi."


def test_a_quantity_takes_numbers_and_texts() -> None:
    size = translate(Outer)["properties"]["inner"]["properties"]["size"]
    assert "type" not in size
    assert size["anyOf"] == [{"type": "integer"}, {"type": "string"}]
    assert size["x-kubernetes-int-or-string"] is True


def test_titles_and_closed_objects_are_left_out() -> None:
    class Closed(BaseModel):
        model_config = ConfigDict(extra="forbid")
        part: Inner

    schema = translate(Closed)
    assert "additionalProperties" not in schema
    assert "title" not in str(schema)


def test_a_map_keeps_the_schema_of_its_values() -> None:
    labels = translate(Outer)["properties"]["labels"]
    assert labels["additionalProperties"] == {"type": "string", "maxLength": 5}
    assert labels["maxProperties"] == 2


class Choice(BaseModel):
    either: int | str


class Discriminated(BaseModel):
    class Cat(BaseModel):
        type: Literal["Cat"]

    class Dog(BaseModel):
        type: Literal["Dog"]

    pet: Annotated[Cat | Dog, Field(discriminator="type")]


class Pair(BaseModel):
    pair: tuple[int, str]


class Anything(BaseModel):
    anything: dict[str, Any]


class KeyPattern(BaseModel):
    by_key: dict[Annotated[str, Field(pattern="^a$")], str]


class DefaultInList(BaseModel):
    class Item(BaseModel):
        mode: Annotated[str, IN_SCHEMA] = "fast"

    items: list[Item]


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (Choice, ".either: a choice of types"),
        (Discriminated, ".pet: no translation for discriminator, oneOf"),
        (Pair, ".pair: no translation for prefixItems"),
        (Anything, ".anything: a map of values without a schema"),
        (KeyPattern, ".by_key: no translation for patternProperties"),
        (DefaultInList, ".items[].mode: a default inside a list item"),
    ],
)
def test_what_a_crd_cannot_hold_is_refused_with_its_place(model: type[BaseModel], sentence: str) -> None:
    with pytest.raises(crdgen.UnsupportedSchema) as refusal:
        translate(model)
    assert sentence in str(refusal.value)
