"""Formats and imports: which options their fields become, and which volume imports are staged in."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from oslo_config import cfg
from tests.unit.render import samples
from tests.unit.render.test_ini import read_with_oslo_config

from imageservice.api.v1alpha1 import ImageServiceSpec
from imageservice.api.v1alpha1.imports import ONE_ITEM, PROPERTY_NAME, RESERVED_PROPERTIES
from imageservice.render import ini
from imageservice.render.deployment import deployment
from imageservice.render.glance_config import config_files, glance_api_conf
from imageservice.render.imports import (
    PORTS,
    converts_by_itself,
    import_sections,
    staging_claim,
    staging_volume,
    target_format,
)

FETCHING = ["web-download"]
CLAIM = {"type": "PersistentVolumeClaim", "persistentVolumeClaim": {"claimName": "staging"}}


def spec(formats: dict[str, Any] | None = None, **imports: Any) -> ImageServiceSpec:
    return samples.spec(**({"formats": formats} if formats else {}), imports=imports)


def options(store_type: str = "Filesystem", formats: dict[str, Any] | None = None, **imports: Any) -> dict[str, str]:
    """Return `section.option` -> value."""
    found = import_sections(spec(formats, **imports), store_type)
    return {f"{section}.{option}": value for section, options in found.items() for option, value in options.items()}


def test_where_nothing_is_asked_for_only_the_methods_that_fetch_nothing_are_set() -> None:
    assert import_sections(samples.spec(), "Filesystem") == {
        "DEFAULT": {"enabled_import_methods": "[glance-direct,copy-image]"}
    }


def test_all_that_can_be_asked_for_reaches_its_option() -> None:
    assert import_sections(samples.spec(formats=samples.FORMATS, imports=samples.IMPORTS), "Filesystem") == {
        "DEFAULT": {"enabled_import_methods": "[glance-direct,web-download,copy-image]"},
        "image_format": {"disk_formats": "raw,qcow2,iso", "container_formats": "bare,compressed"},
        "image_import_opts": {
            "image_import_plugins": "[image_decompression,image_conversion,inject_image_metadata]",
        },
        "image_conversion": {"output_format": "raw"},
        "inject_metadata_properties": {"inject": "hw_disk_bus:scsi,os_type:linux", "ignore_user_roles": "a b,c"},
        "import_filtering_opts": {
            "allowed_hosts": "[mirror.example,2001:db8::1]",
            "allowed_schemes": "[https,http]",
            "allowed_ports": "[443,80]",
        },
    }


def test_one_file_says_it_all_and_the_checks_of_formats_stay_beside_the_lists() -> None:
    inputs = samples.inputs(formats=samples.FORMATS, imports=samples.IMPORTS)
    assert "glance-image-import.conf" not in config_files(inputs)
    section = glance_api_conf(inputs)["image_format"]
    assert section["disk_formats"] == "raw,qcow2,iso"
    assert section["require_image_format_match"] == "true"


@pytest.mark.parametrize(
    ("allowed", "schemes", "ports"),
    [
        ({}, "[https]", "[443]"),
        ({"allowedSchemes": ["http"]}, "[http]", "[80]"),
        ({"allowedSchemes": ["http", "https"]}, "[http,https]", "[80,443]"),
        ({"allowedPorts": [8443]}, "[https]", "[8443]"),
        ({"allowedSchemes": ["http"], "allowedPorts": [8080, 80]}, "[http]", "[8080,80]"),
    ],
)
def test_fetching_is_by_https_alone_unless_more_is_asked_for(allowed: Any, schemes: str, ports: str) -> None:
    found = options(methods=FETCHING, webDownload={"allowedHosts": ["mirror.example"], **allowed})
    assert found["import_filtering_opts.allowed_schemes"] == schemes
    assert found["import_filtering_opts.allowed_ports"] == ports


def test_every_scheme_has_a_port() -> None:
    assert set(PORTS) == {"https", "http"}


PLUGINS = {
    "decompression": (True, "image_decompression"),
    "conversion": ({"outputFormat": "qcow2"}, "image_conversion"),
    "injectProperties": ({"properties": {"a": "b"}}, "inject_image_metadata"),
}


@given(st.permutations(list(PLUGINS)), st.integers(1, 3))
def test_plugins_come_in_the_order_in_which_they_must_act_whatever_the_spec_begins_with(
    fields: list[str], count: int
) -> None:
    chosen = fields[:count]
    found = options(**{field: PLUGINS[field][0] for field in chosen})
    wanted = ",".join(plugin for field, (_, plugin) in PLUGINS.items() if field in chosen)
    assert found["image_import_opts.image_import_plugins"] == f"[{wanted}]"


@pytest.mark.parametrize(
    ("store_type", "formats", "conversion", "target"),
    [
        ("Ceph", None, None, "raw"),
        ("Ceph", {"disk": ["raw", "qcow2"]}, None, "raw"),
        ("Ceph", {"container": ["bare"]}, None, "raw"),
        ("Ceph", {"disk": ["qcow2"]}, None, None),
        ("Ceph", {"container": ["docker"]}, None, None),
        ("Ceph", None, "Unchanged", None),
        ("Ceph", None, "qcow2", "qcow2"),
        ("Filesystem", None, None, None),
        ("Filesystem", None, "raw", "raw"),
        ("Filesystem", None, "Unchanged", None),
        ("S3", None, None, None),
    ],
)
def test_images_become_raw_by_themselves_where_ceph_stores_them_and_nobody_says_otherwise(
    store_type: str, formats: dict[str, Any] | None, conversion: str | None, target: str | None
) -> None:
    imports = {"conversion": {"outputFormat": conversion}} if conversion else {}
    assert target_format(spec(formats, **imports), store_type) == target
    plugins = options(store_type, formats, **imports).get("image_import_opts.image_import_plugins", "")
    assert ("image_conversion" in plugins) == (target is not None)


@pytest.mark.parametrize(("store_type", "wanted"), [("Ceph", True), ("Filesystem", False), ("Cinder", False)])
def test_ceph_alone_is_better_off_with_raw_images(store_type: str, wanted: bool) -> None:
    assert converts_by_itself(store_type) is wanted


def test_the_type_of_the_default_store_decides_not_that_of_another() -> None:
    stores = (samples.store("zebra"), samples.store("a"))
    assert "image_conversion" not in glance_api_conf(samples.inputs(stores=stores))


PROPERTY_VALUES = st.from_regex(ONE_ITEM, fullmatch=True).filter(lambda value: len(value) <= 255)
PROPERTY_NAMES = st.from_regex(PROPERTY_NAME, fullmatch=True).filter(lambda name: name not in RESERVED_PROPERTIES)


@given(st.dictionaries(PROPERTY_NAMES, PROPERTY_VALUES, min_size=1, max_size=8), st.lists(PROPERTY_VALUES, max_size=3))
@example({"a": "$connection ${DEFAULT.debug} \\$ %(here)s 'q'", "_b": "\"'"}, ["$admin", "'a' role"])
@example({"a": "'"}, ["'a'"])
def test_glance_reads_every_property_and_role_that_the_api_takes_as_it_was_written(
    properties: dict[str, str], roles: list[str]
) -> None:
    wanted = spec(injectProperties={"properties": properties, "ignoreUserRoles": roles})
    text = ini.render({"stores": import_sections(wanted, "Filesystem")["inject_metadata_properties"]})
    assert read_with_oslo_config(text, cfg.DictOpt("inject")) == properties
    assert read_with_oslo_config(text, cfg.ListOpt("ignore_user_roles")) == roles


def test_properties_are_written_in_one_order_and_the_roles_as_given() -> None:
    one = options(injectProperties={"properties": {"b": "2", "a": "1"}})
    other = options(injectProperties={"properties": {"a": "1", "b": "2"}})
    assert one == other
    assert one["inject_metadata_properties.inject"] == "a:1,b:2"
    assert one["inject_metadata_properties.ignore_user_roles"] == "admin"
    nobody = options(injectProperties={"properties": {"a": "1"}, "ignoreUserRoles": []})
    assert nobody["inject_metadata_properties.ignore_user_roles"] == ""


@pytest.mark.parametrize(
    ("staging", "volume"),
    [
        (None, {"emptyDir": {}}),
        ({"type": "EmptyDir", "emptyDir": {}}, {"emptyDir": {}}),
        ({"type": "EmptyDir", "emptyDir": {"sizeLimit": "50Gi"}}, {"emptyDir": {"sizeLimit": "50Gi"}}),
        (CLAIM, {"persistentVolumeClaim": {"claimName": "staging"}}),
    ],
)
def test_imports_are_staged_in_the_volume_that_is_asked_for(staging: Any, volume: dict[str, Any]) -> None:
    imports = {"staging": staging} if staging else {}
    assert staging_volume(spec(**imports)) == {"name": "staging", **volume}
    assert staging_claim(spec(**imports)) == volume.get("persistentVolumeClaim", {}).get("claimName")
    pod = deployment(samples.inputs(imports=imports), "config")["spec"]["template"]["spec"]
    assert [found for found in pod["volumes"] if found["name"] == "staging"] == [{"name": "staging", **volume}]
    mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    assert mounts["staging"] == "/var/lib/glance/staging"
