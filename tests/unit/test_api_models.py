"""The models: names, defaults, examples, and how they are read."""

import copy
from decimal import Decimal
from typing import Any, get_args

import pytest
from pydantic import TypeAdapter, ValidationError
from tests.unit.api_caches import cache_policy, image_precache
from tests.unit.test_api_samples import FULL_IMAGE_SERVICE, GOOD, image_service, image_store

from imageservice.api.quantities import amount
from imageservice.api.reading import InvalidObject, read
from imageservice.api.shares import int_or_text, part_of
from imageservice.api.v1alpha1 import (
    CACHE_POLICY_CONDITIONS,
    IMAGE_PRECACHE_CONDITIONS,
    IMAGE_SERVICE_CONDITIONS,
    IMAGE_STORE_CONDITIONS,
    KINDS,
    AnyKind,
    ApiModel,
    ApiServers,
    CachePolicy,
    Catalog,
    ImagePrecache,
    ImageService,
    ImageServiceSpec,
    ImageStore,
    LabelSelector,
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
    for model in sorted(set().union(*map(models_below, KINDS)), key=lambda model: model.__name__)
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


def test_what_is_left_out_of_a_cache_has_the_documented_default() -> None:
    policy = CachePolicy.model_validate(cache_policy()).spec
    assert (policy.high_watermark_percent, policy.low_watermark_percent, policy.processes) == (90, 80, 1)
    assert (policy.prune_interval_seconds, policy.prefetch_interval_seconds, policy.stall_time_seconds) == (
        300,
        300,
        600,
    )
    assert (policy.volume, policy.bandwidth_limit, policy.node_selector) == (None, None, {})
    assert (policy.exposure.host_port, policy.exposure.join_site_service) == (None, False)
    assert policy.update_strategy.max_unavailable == "1"
    precache = ImagePrecache.model_validate(image_precache()).spec
    assert (precache.parallelism, precache.timeout_seconds, precache.suspend) == ("10", 3600, False)
    assert (precache.backoff.initial_seconds, precache.backoff.max_seconds) == (30, 3600)
    assert (precache.windows, precache.cache_policy_selector, precache.image_selector) == ([], None, None)


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


@pytest.mark.parametrize(
    ("share", "total", "part"),
    [
        ("0", 9, 0),
        ("10", 3, 10),
        ("0%", 5000, 0),
        ("1%", 3, 1),
        ("34%", 3, 2),
        ("50%", 3, 2),
        ("100%", 3, 3),
        ("9%", 0, 0),
    ],
)
def test_a_share_in_percent_is_rounded_up(share: str, total: int, part: int) -> None:
    assert part_of(share, total) == part


def test_a_share_is_a_number_or_a_text_for_kubernetes() -> None:
    assert (int_or_text("3"), int_or_text("10%")) == (3, "10%")


SITE = {"site": "a", "tier": "gold"}


@pytest.mark.parametrize(
    ("selector", "labels", "meant"),
    [
        ({}, {}, True),
        ({"matchLabels": {"site": "a"}}, SITE, True),
        ({"matchLabels": {"site": "a", "tier": "tin"}}, SITE, False),
        ({"matchLabels": {"site": ""}}, {}, False),
        ({"matchExpressions": [{"key": "site", "operator": "In", "values": ["a", "b"]}]}, SITE, True),
        ({"matchExpressions": [{"key": "site", "operator": "In", "values": ["b"]}]}, SITE, False),
        ({"matchExpressions": [{"key": "site", "operator": "In", "values": [""]}]}, {}, False),
        ({"matchExpressions": [{"key": "site", "operator": "NotIn", "values": ["a"]}]}, SITE, False),
        ({"matchExpressions": [{"key": "site", "operator": "NotIn", "values": ["a"]}]}, {}, True),
        ({"matchExpressions": [{"key": "site", "operator": "Exists"}]}, SITE, True),
        ({"matchExpressions": [{"key": "site", "operator": "Exists"}]}, {}, False),
        ({"matchExpressions": [{"key": "site", "operator": "DoesNotExist"}]}, SITE, False),
        ({"matchExpressions": [{"key": "site", "operator": "DoesNotExist"}]}, {}, True),
        (
            {"matchLabels": {"tier": "gold"}, "matchExpressions": [{"key": "site", "operator": "DoesNotExist"}]},
            SITE,
            False,
        ),
    ],
)
def test_a_label_selector_means_what_kubernetes_means_by_it(
    selector: dict[str, Any], labels: dict[str, str], *, meant: bool
) -> None:
    assert LabelSelector.model_validate(selector).matches(labels) is meant


WORTH = {"0": "0", "1500m": "1.5", "0.5": "0.5", "1k": "1000", "1Ki": "1024", "1.5Gi": "1610612736", "2P": "2e15"}


@pytest.mark.parametrize("text", WORTH)
def test_a_quantity_is_worth_its_number_times_its_suffix(text: str) -> None:
    assert amount(text) == Decimal(WORTH[text])


@pytest.mark.parametrize("text", ["", "Gi", "1GB", "-1", "1e3", "1 Gi"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a Kubernetes quantity"):
        amount(text)


CONDITIONS: dict[type[AnyKind], tuple[str, ...]] = {
    ImageService: IMAGE_SERVICE_CONDITIONS,
    ImageStore: IMAGE_STORE_CONDITIONS,
    CachePolicy: CACHE_POLICY_CONDITIONS,
    ImagePrecache: IMAGE_PRECACHE_CONDITIONS,
}


def test_an_object_that_nobody_has_seen_has_every_condition_unknown() -> None:
    assert set(CONDITIONS) == set(KINDS)
    for model, types in CONDITIONS.items():
        conditions = model.resource.initial_status["conditions"]
        assert [condition["type"] for condition in conditions] == list(types)
        assert {condition["status"] for condition in conditions} == {"Unknown"}
        assert {condition["message"] for condition in conditions} == {"Waiting for the operator"}
