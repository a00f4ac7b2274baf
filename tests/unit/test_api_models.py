"""The models: names, defaults, examples, and how they are read."""

import copy
from decimal import Decimal
from typing import Any, get_args

import pytest
from pydantic import TypeAdapter, ValidationError
from tests.unit.test_api_samples import FULL_IMAGE_SERVICE, GOOD, image_service, image_store

from imageservice.api.quantities import amount
from imageservice.api.reading import InvalidObject, read
from imageservice.api.v1alpha1 import (
    IMAGE_SERVICE_CONDITIONS,
    IMAGE_STORE_CONDITIONS,
    ApiModel,
    ApiServers,
    Catalog,
    ImageService,
    ImageServiceSpec,
    ImageStore,
)
from imageservice.releases import RELEASES


def models_below(model: type[ApiModel]) -> set[type[ApiModel]]:
    """Return a model and every model in its fields."""

    def in_annotation(annotation: Any) -> set[type[ApiModel]]:
        if isinstance(annotation, type) and issubclass(annotation, ApiModel):
            return models_below(annotation)
        return {found for argument in get_args(annotation) for found in in_annotation(argument)}

    return {model}.union(*(in_annotation(field.annotation) for field in model.model_fields.values()))


FIELDS = [
    pytest.param(field, id=f"{model.__name__}.{field.alias}")
    for model in sorted(models_below(ImageService) | models_below(ImageStore), key=lambda model: model.__name__)
    for field in model.model_fields.values()
    if field.examples
]


@pytest.mark.parametrize("field", FIELDS)
def test_the_example_of_a_field_is_valid(field: Any) -> None:
    TypeAdapter(field.rebuild_annotation()).validate_python(field.examples[0])


def test_the_spellings_of_urls_and_ids_are_those_of_kubernetes() -> None:
    identity = GOOD["full service"]["spec"]["identity"]
    assert {"authURL"} <= set(identity)
    service = ImageService.model_validate(FULL_IMAGE_SERVICE)
    assert service.spec.identity.auth_url == identity["authURL"]
    assert service.spec.identity.catalog.public_url == identity["catalog"]["publicURL"]
    assert service.spec.identity.catalog.internal_url == identity["catalog"]["internalURL"]
    assert ImageStore.model_validate(GOOD["store on NFS"]).spec.store_id == "dcn_0-a"


def test_what_is_left_out_has_the_documented_default() -> None:
    spec = ImageService.model_validate(image_service()).spec
    assert (spec.api.replicas, spec.api.processes, spec.api.threads) == (2, 2, 16)
    assert spec.api.termination_grace_period_seconds == 600
    assert spec.database.secret_ref.key == "url"
    assert spec.identity.region == "RegionOne"
    assert spec.identity.catalog.deletion_policy == "Delete"
    assert spec.image is None
    assert spec.default_store is None


def test_the_releases_are_those_that_the_operator_knows() -> None:
    for release in RELEASES:
        assert ImageService.model_validate(image_service(release=release)).spec.release == release


def test_a_store_is_known_to_glance_by_its_name_unless_it_has_an_id() -> None:
    assert ImageStore.model_validate(image_store("central")).store_id == "central"
    assert ImageStore.model_validate(image_store("central", storeID="other")).store_id == "other"


def test_unknown_fields_are_ignored() -> None:
    newer = copy.deepcopy(FULL_IMAGE_SERVICE)
    newer["spec"]["colours"] = {"disk": ["red"]}
    newer["spec"]["identity"]["catalog"]["tags"] = ["x"]
    newer["status"] = {"phase": "Running"}
    assert ImageService.model_validate(newer).spec == ImageService.model_validate(FULL_IMAGE_SERVICE).spec


def test_a_model_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        ApiServers().replicas = 3  # type: ignore[misc]


def test_models_are_made_by_python_names_too() -> None:
    assert ApiServers(termination_grace_period_seconds=60).termination_grace_period_seconds == 60
    assert Catalog(register=False).register is False


def test_a_manifest_has_the_users_words_and_no_nulls() -> None:
    spec = ImageServiceSpec.model_validate(FULL_IMAGE_SERVICE["spec"])
    manifest = spec.to_manifest()
    assert manifest["identity"] == FULL_IMAGE_SERVICE["spec"]["identity"]
    assert manifest["api"]["resources"]["limits"] == {"cpu": "1000m", "memory": "1Gi"}
    assert manifest["api"]["resources"]["requests"] == {"cpu": "1", "memory": "0.5Gi"}
    assert "image" not in ImageService.model_validate(image_service()).spec.to_manifest()


@pytest.mark.parametrize("status", [{"conditions": 7}, {"replicas": "many"}, [], "Ready", {"stores": [{}]}])
def test_a_broken_status_does_not_hide_the_spec(status: Any) -> None:
    service = read(ImageService, {**image_service(), "status": status})
    assert isinstance(service, ImageService)
    assert service.status.conditions == []


@pytest.mark.parametrize("spec", [None, [], "x", {}, {"identity": [], "database": None}])
def test_an_object_of_any_shape_gives_a_sentence_and_no_error(spec: Any) -> None:
    answer = read(ImageService, {**image_service(), "spec": spec})
    assert isinstance(answer, InvalidObject)
    assert answer.message.startswith("`spec")


def test_a_sentence_counts_the_other_faults() -> None:
    answer = read(ImageService, image_service(release="1", image=" ", defaultStore="A"))
    assert isinstance(answer, InvalidObject)
    assert answer.message.endswith("(and 2 more faults)")


def test_a_name_that_the_user_made_up_is_quoted_in_the_sentence() -> None:
    answer = read(ImageService, image_service(extraConfig={"a\nb": {"c": "d\n"}}))
    assert isinstance(answer, InvalidObject)
    assert answer.message.startswith('`spec.extraConfig["a\\nb"].c` must be one line')


WORTH = {"0": "0", "1500m": "1.5", "0.5": "0.5", "1k": "1000", "1Ki": "1024", "1.5Gi": "1610612736", "2P": "2e15"}


@pytest.mark.parametrize("text", WORTH)
def test_a_quantity_is_worth_its_number_times_its_suffix(text: str) -> None:
    assert amount(text) == Decimal(WORTH[text])


@pytest.mark.parametrize("text", ["", "Gi", "1GB", "-1", "1e3", "1 Gi"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a Kubernetes quantity"):
        amount(text)


def test_an_object_that_nobody_has_seen_has_every_condition_unknown() -> None:
    for model, types in ((ImageService, IMAGE_SERVICE_CONDITIONS), (ImageStore, IMAGE_STORE_CONDITIONS)):
        conditions = model.resource.initial_status["conditions"]
        assert [condition["type"] for condition in conditions] == list(types)
        assert {condition["status"] for condition in conditions} == {"Unknown"}
        assert {condition["message"] for condition in conditions} == {"Waiting for the operator"}
