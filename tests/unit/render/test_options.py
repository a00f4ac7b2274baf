"""What spec.extraConfig may hold."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.render import samples

from imageservice.releases import RELEASES, Release
from imageservice.render import glance_config
from imageservice.render.options import (
    OWNED,
    OWNED_SECTIONS,
    check_extra_config,
    check_store_options,
    known_options,
    reserved_store_ids,
    store_options,
)
from imageservice.render.stores.drivers import DRIVERS, OWNED_IN_STORES

RELEASE = RELEASES["2026.1"]
STORES = (samples.store("central"), samples.store("b_2"))

FREE = {
    "database": {"connection_recycle_time", "max_pool_size", "max_overflow", "max_retries", "retry_interval"},
    "keystone_authtoken": {"service_type", "service_token_roles", "service_token_roles_required"},
    "wsgi": {"task_pool_threads"},
}
"""Rendered options that extraConfig may set otherwise, beside the safe defaults."""


def problems(section: str, option: str, value: str = "x", release: str = "2026.1") -> list[str]:
    return check_extra_config(RELEASES[release], {section: {option: value}}, STORES)


def test_options_of_the_release_are_taken() -> None:
    config = {
        "DEFAULT": {"image_size_cap": "1099511627776", "debug": "true", "enabled_import_methods": "[glance-direct]"},
        "cors": {"allowed_origin": "https://horizon.example"},
        "image_format": {"disk_formats": "raw,qcow2"},
        "central": {"filesystem_store_chunk_size": "131072"},
    }
    assert check_extra_config(RELEASE, config, STORES) == []


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("[databse] x = 1", "Glance 2026.1 has no section [databse]; did you mean [database]?"),
        ("[default] debug = 1", "Glance 2026.1 has no section [default]; did you mean [DEFAULT]?"),
        ("[nowhere] x = 1", "Glance 2026.1 has no section [nowhere]."),
        ("[DEFAULT] enable_import_methods = [a]", "; did you mean enabled_import_methods?"),
        ("[central] rbd_store_pool = images", "Glance 2026.1 has no option [central] rbd_store_pool."),
        ("[DEFAULT] enabled_backends = a:file", "is set by the operator: it is made of the ImageStore objects."),
        ("[database] connection = x", "it comes from the Secret that spec.database.secretRef names."),
        ("[central] weight = 5", "[central] weight is set by the operator: it comes from spec.defaultStore."),
        ("[os_glance_tasks_store] x = 1", "Section [os_glance_tasks_store] is set by the operator: the working"),
        ("[paste_deploy] flavor = ", "[paste_deploy] flavor is set by the operator: the pipeline is always"),
        ("[DEFAULT] debug = maybe", "The value of [DEFAULT] debug must be true or false."),
        (
            "[DEFAULT] image_size_cap = 1TiB",
            "image_size_cap must be a whole number from 1 to 92233",
        ),
        ("[DEFAULT] enabled_import_methods = copy-image", "must be a list in brackets, as in [a,b]."),
        ("[cors] allowed_origin = a\nb", "[cors] allowed_origin contains the character U+000A; only a single line"),
        ("[inject_metadata_properties] inject = a", "must be pairs of name:value, separated by commas."),
        ("[profiler] es_scroll_size = x", "must be a whole number."),
    ],
)
def test_each_wrong_setting_is_named_with_its_cure(setting: str, sentence: str) -> None:
    section, option, value = re.fullmatch(r"\[(.*)\] (\w+) = (.*)", setting, re.DOTALL).groups()
    found = problems(section, option, value)
    assert len(found) == 1
    assert sentence in found[0]


def test_an_option_that_only_another_release_has_is_refused() -> None:
    assert problems("image_import_opts", "max_parallel_stores", "2", release="2026.2") == []
    assert problems("image_import_opts", "max_parallel_stores", "2", release="2026.1") == [
        "Glance 2026.1 has no option [image_import_opts] max_parallel_stores."
    ]


def test_all_problems_are_told_at_once_in_one_order() -> None:
    config = {"nowhere": {"x": "1"}, "DEFAULT": {"workers": "4", "no_such_option": "1"}}
    backwards = {name: dict(reversed(config[name].items())) for name in reversed(config)}
    assert len(check_extra_config(RELEASES["2025.1"], config, STORES)) == 3
    assert check_extra_config(RELEASE, config, STORES) == check_extra_config(RELEASE, backwards, STORES)


ANY_TEXT = st.text(max_size=300)
KNOWN = sorted((section, option) for section, options in known_options(RELEASE).items() for option in options)


@given(section=ANY_TEXT, option=ANY_TEXT, known=st.sampled_from(KNOWN))
def test_whatever_is_written_the_messages_are_short_single_lines_without_the_value(
    section: str, option: str, known: tuple[str, str]
) -> None:
    config = {section: {option: "s3cr3t-value"}, known[0]: {known[1]: "s3cr3t-value\n"}}
    found = check_extra_config(RELEASE, config, STORES)
    assert found
    for sentence in found:
        assert sentence.isprintable()
        assert len(sentence) < 1000
        assert "s3cr3t" not in sentence


EVERY_STORE = (
    samples.store("central", description="x"),
    samples.store_of("Ceph"),
    samples.store_of("S3", region="r"),
    samples.store_of("Swift", region="r"),
    samples.store_of("Cinder", region="r", volumeType="t"),
)


@pytest.mark.parametrize("release", RELEASES.values(), ids=RELEASES)
def test_every_rendered_option_is_known_and_either_owned_or_free(release: Release) -> None:
    inputs = samples.inputs(release=release.name, stores=EVERY_STORE)
    drivers = {store.store_id: DRIVERS[store.spec.type] for store in EVERY_STORE}
    for section, options in glance_config.glance_api_conf(inputs).items():
        known, owned = known_options(release).get(section, {}), OWNED.get(section, {})
        if section in drivers:
            known, owned = store_options(release, drivers[section]), OWNED_IN_STORES[drivers[section]]
        free = FREE.get(section, set()) | set(glance_config.SAFE_DEFAULTS.get(section, {}))
        for option in options:
            assert option in known, f"[{section}] {option}"
            assert (option in owned or section in OWNED_SECTIONS) != (option in free), f"[{section}] {option}"


def test_every_owned_option_is_known_to_some_release() -> None:
    known = {
        (section, option)
        for release in RELEASES.values()
        for section, options in known_options(release).items()
        for option in options
    }
    assert {(section, option) for section, options in OWNED.items() for option in options} - known == set()
    assert set(OWNED_IN_STORES) == set(DRIVERS.values())
    for driver, options in OWNED_IN_STORES.items():
        in_stores = {option for release in RELEASES.values() for option in store_options(release, driver)}
        assert set(options) - in_stores == set(), driver


SECRET_OPTION = re.compile("password|secret|access_key|_key$|credential|store_user$|user_name")


def test_no_option_for_a_secret_is_left_to_extra_config() -> None:
    for driver, owned in OWNED_IN_STORES.items():
        for release in RELEASES.values():
            secret = {option for option in store_options(release, driver) if SECRET_OPTION.search(option)}
            assert secret <= set(owned), driver


@pytest.mark.parametrize(
    ("kind", "option", "value", "sentence"),
    [
        (
            "Ceph",
            "rbd_store_pool",
            "x",
            "[ceph] rbd_store_pool is set by the operator: it comes from spec.ceph.pool",
        ),
        ("Ceph", "rados_connect_timeout", "5", "it comes from spec.ceph.connectTimeoutSeconds of the ImageStore."),
        ("Ceph", "rbd_store_pol", "x", "Glance 2026.1 has no option [ceph] rbd_store_pol."),
        ("Ceph", "s3_store_bucket", "x", "Glance 2026.1 has no option [ceph] s3_store_bucket."),
        ("S3", "s3_store_secret_key", "x", "it comes from the Secret that spec.s3.secretRef of the ImageStore names."),
        ("S3", "s3_store_enable_data_integrity_protection", "maybe", "must be true or false."),
        ("Swift", "swift_store_multi_tenant", "true", "all images are in the account that the Secret names."),
        ("Swift", "swift_store_retry_get_counts", "1", "did you mean swift_store_retry_get_count?"),
        ("Cinder", "rootwrap_config", "/x", "the pods that serve such a store are root already."),
        ("Cinder", "cinder_http_retries", "-1", "must be a whole number from 0."),
    ],
)
def test_each_wrong_option_of_a_store_is_named_with_its_cure(kind: str, option: str, value: str, sentence: str) -> None:
    (found,) = check_store_options(RELEASE, samples.store_of(kind, spec={"extraConfig": {option: value}}))
    assert sentence in found


def test_a_store_takes_the_other_options_of_its_driver() -> None:
    swift = samples.store_of("Swift", spec={"extraConfig": {"swift_store_retry_get_count": "3"}})
    assert check_store_options(RELEASE, swift) == []
    conf = glance_config.glance_api_conf(samples.inputs(stores=(swift,)))
    assert conf["swift"]["swift_store_retry_get_count"] == "3"


@pytest.mark.parametrize(
    "name",
    [
        *("DEFAULT", "database", "glance_store", "cors", "os_glance_staging_store", "os_glance_tasks_store"),
        *("keystone_authtoken", "backend_defaults", "debug", "image_size_cap", "items", "get", "reset", "config_file"),
    ],
)
def test_no_store_may_have_a_name_that_oslo_config_has_another_use_for(name: str) -> None:
    assert name in reserved_store_ids(RELEASES["2025.1"])


def test_names_that_a_later_release_takes_are_reserved_too() -> None:
    assert "oslo_middleware_tracing" not in known_options(RELEASES["2025.1"])
    assert "oslo_middleware_tracing" in reserved_store_ids(RELEASES["2025.1"])
    assert "workers" not in reserved_store_ids(RELEASES["2026.2"])


@pytest.mark.parametrize("name", ["central", "file", "default", "dcn0", "images", "ceph-ssd"])
def test_ordinary_names_are_free(name: str) -> None:
    assert name not in reserved_store_ids(RELEASES["2025.1"])
