"""What each type of store becomes: its section, its files, its Secret, and what the pods have for it."""

import base64
import configparser
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.render import samples

from imageservice.manifest import Manifest
from imageservice.render import glance_config, ini, stores
from imageservice.render.config_secret import config_secret
from imageservice.render.deployment import deployment
from imageservice.render.inputs import (
    ApplicationCredential,
    CephCredentials,
    PasswordCredential,
    S3Credentials,
    StoreInputs,
)
from imageservice.render.names import store_secret_name
from imageservice.render.store_secret import CONTENT_ANNOTATION, STORE_ANNOTATION, store_secret
from imageservice.render.stores.swift import account_value
from imageservice.sensitive import Sensitive

KINDS = ("Ceph", "S3", "Swift", "Cinder")
SECRETS = (samples.CEPH_KEY, "access-key-4c", "secret-key-7d", "store-secret-5b")


def pod_of(*served: StoreInputs) -> Manifest:
    """Return the template of the pods that serve the stores."""
    template: Manifest = deployment(samples.inputs(stores=served), "c")["spec"]["template"]
    return template


def secret_files(store: StoreInputs) -> dict[str, str]:
    """Return the files of the store's Secret."""
    secret = store_secret(samples.inputs(stores=(store,)), store)
    assert secret is not None
    return {name: base64.b64decode(text).decode() for name, text in secret["data"].items()}


def test_a_ceph_store_has_a_conf_without_the_key_and_a_keyring() -> None:
    store = samples.store_of("Ceph", "dcn0", pool="vms", connectTimeoutSeconds=7)
    assert stores.section(store) == {
        "rbd_store_ceph_conf": "/etc/image-service-stores/dcn0.conf",
        "rbd_store_user": "glance",
        "rbd_store_pool": "vms",
        "rbd_store_chunk_size": "8",
        "rbd_thin_provisioning": "false",
    }
    assert secret_files(store) == {
        "dcn0.conf": "[global]\n"
        "mon_host = 192.0.2.1:6789,[v2:192.0.2.2:3300,v1:192.0.2.2:6789]\n"
        "keyring = /etc/image-service-stores/dcn0.client.glance.keyring\n"
        "client_mount_timeout = 7\n"
        "rados_mon_op_timeout = 7\n"
        "rados_osd_op_timeout = 45\n",
        "dcn0.client.glance.keyring": f"[client.glance]\n\tkey = {samples.CEPH_KEY}\n",
    }


def test_what_a_given_ceph_conf_says_is_in_the_conf_and_never_outweighs_what_is_ours() -> None:
    known = CephCredentials(
        "glance", Sensitive(samples.CEPH_KEY), ("a:6789",), "79b70c32-df46-4741-93c0-8118ae2ae284",
        (("ms_bind_ipv6", "true"), ("keyring", "/etc/ceph/other"), ("rados_osd_op_timeout", "0")),
    )  # fmt: skip
    conf = secret_files(samples.store_of("Ceph", "central", known))["central.conf"]
    assert "fsid = 79b70c32-df46-4741-93c0-8118ae2ae284\n" in conf
    assert "ms_bind_ipv6 = true\n" in conf
    assert "/etc/ceph/other" not in conf
    assert conf.count("rados_osd_op_timeout") == 1
    assert "rados_osd_op_timeout = 45\n" in conf


def test_a_time_out_for_connecting_is_never_one_for_reading_and_writing() -> None:
    # The driver sets rados_osd_op_timeout to rados_connect_timeout, where that is not negative.
    assert "rados_connect_timeout" not in stores.section(samples.store_of("Ceph"))


def test_sparse_upload_is_thin_provisioning() -> None:
    assert stores.section(samples.store_of("Ceph", sparseUpload=True))["rbd_thin_provisioning"] == "true"


def test_an_s3_store_has_its_keys_in_options_of_their_own() -> None:
    store = samples.store_of("S3", "bucket", region="eu-1", addressingStyle="Path", createBucket=True)
    assert stores.section(store) == {
        "s3_store_host": "https://s3.example",
        "s3_store_region_name": "eu-1",
        "s3_store_bucket": "images",
        "s3_store_create_bucket_on_put": "true",
        "s3_store_bucket_url_format": "path",
        "s3_store_large_object_size": "100",
        "s3_store_large_object_chunk_size": "10",
        "s3_store_thread_pools": "10",
    }
    assert secret_files(store) == {
        "bucket.conf": "[bucket]\ns3_store_access_key = access-key-4c\ns3_store_secret_key = secret-key-7d\n"
    }


def test_a_swift_store_keeps_its_account_out_of_the_locations_of_images() -> None:
    # Without swift_store_config_file the driver writes user and password into each location in the database.
    store = samples.store_of("Swift", "archive", container="images", endpointType="Internal", region="r1")
    section = stores.section(store)
    assert section["swift_store_config_file"] == "/etc/image-service-stores/archive.conf"
    assert section["default_swift_reference"] == "archive"
    assert section["swift_store_container"] == "images"
    assert section["swift_store_endpoint_type"] == "internalURL"
    assert not [option for option in section if option in ("swift_store_user", "swift_store_key")]
    assert account_of(secret_files(store)["archive.conf"], "archive") == {
        "auth_version": "3",
        "auth_address": "https://keystone.example/v3",
        "user": "image-data:images",
        "key": "store-secret-5b",
        "user_domain_name": "ops",
        "project_domain_name": "cloud",
    }


def account_of(text: str, reference: str) -> dict[str, str]:
    """Read an account as the driver does: configparser, then one pair of quotes."""
    parser = configparser.ConfigParser()
    parser.read_string(text)
    return {name: value[1:-1] if value[:1] in "\"'" else value for name, value in parser[reference].items()}


PRINTABLE = st.text(st.characters(exclude_categories=("C", "Z")) | st.just(" "), min_size=1, max_size=80)


@given(PRINTABLE)
def test_the_driver_of_swift_reads_every_value_as_it_was_given(value: str) -> None:
    assert account_of(f"[a]\nkey = {account_value(value)}\n", "a")["key"] == value


def test_a_cinder_store_has_its_account_in_options_of_their_own() -> None:
    store = samples.store_of("Cinder", "volumes", volumeType="fast", multipath=True, region="r1")
    assert stores.section(store) == {
        "cinder_store_auth_address": "https://keystone.example/v3",
        "cinder_catalog_info": "volumev3::publicURL",
        "cinder_os_region_name": "r1",
        "cinder_volume_type": "fast",
        "cinder_use_multipath": "true",
    }
    assert secret_files(store) == {
        "volumes.conf": "[volumes]\n"
        "cinder_store_user_name = images\n"
        "cinder_store_password = store-secret-5b\n"
        "cinder_store_project_name = image-data\n"
        "cinder_store_user_domain_name = ops\n"
        "cinder_store_project_domain_name = cloud\n"
    }


@pytest.mark.parametrize(("kind", "prefix"), [("Swift", ""), ("Cinder", "cinder_store_")])
def test_an_application_credential_is_taken_in_place_of_a_password(kind: str, prefix: str) -> None:
    store = samples.store_of(kind, "a", ApplicationCredential("the-id", Sensitive("the-secret")))
    text = secret_files(store)["a.conf"]
    assert f"{prefix}application_credential_id" in text
    assert "the-secret" in text
    assert "password" not in text


def test_the_description_and_more_options_are_in_the_section() -> None:
    spec = {"description": "far away", "extraConfig": {"swift_store_retry_get_count": "3"}}
    section = stores.section(samples.store_of("Swift", spec=spec))
    assert section["store_description"] == "far away"
    assert section["swift_store_retry_get_count"] == "3"


LINE_BREAKS = "x\n[DEFAULT]\ndebug = true"
HOSTILE: dict[str, StoreInputs] = {
    "access key": samples.store_of("S3", "a", S3Credentials(Sensitive(LINE_BREAKS), Sensitive("y"))),
    "secret key": samples.store_of("S3", "a", S3Credentials(Sensitive("y"), Sensitive(LINE_BREAKS))),
    "swift user": samples.store_of("Swift", "a", PasswordCredential(LINE_BREAKS, Sensitive("y"), "p")),
    "swift password": samples.store_of("Swift", "a", PasswordCredential("u", Sensitive(LINE_BREAKS), "p")),
    "swift secret": samples.store_of("Swift", "a", ApplicationCredential("u", Sensitive(LINE_BREAKS))),
    "cinder project": samples.store_of("Cinder", "a", PasswordCredential("u", Sensitive("y"), LINE_BREAKS)),
    "cinder password": samples.store_of("Cinder", "a", PasswordCredential("u", Sensitive(LINE_BREAKS), "p")),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_no_credential_can_bring_a_line_of_its_own_into_a_file(case: str) -> None:
    with pytest.raises(ValueError, match="line") as refusal:
        stores.files(HOSTILE[case])
    assert "debug" not in str(refusal.value)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_confidential_is_outside_of_the_stores_secret(kind: str) -> None:
    inputs = samples.inputs(stores=(samples.store(), samples.store_of(kind)))
    shown = json.dumps([*(base64.b64decode(text).decode() for text in config_secret(inputs)["data"].values())])
    shown += json.dumps(deployment(inputs, "c")) + repr(inputs)
    assert not [secret for secret in SECRETS if secret in shown]


@pytest.mark.parametrize("kind", KINDS)
def test_the_secret_of_a_store_is_found_by_a_fixed_name_and_can_be_changed(kind: str) -> None:
    store = samples.store_of(kind, "central")
    secret = store_secret(samples.inputs(stores=(store,)), store)
    assert secret is not None
    assert secret["metadata"]["name"] == "glance-store-central"
    assert "immutable" not in secret
    assert secret["metadata"]["annotations"] == {STORE_ANNOTATION: "central"}
    assert secret["metadata"]["labels"]["app.kubernetes.io/component"] == "store"
    assert all(name.startswith("central.") for name in secret["data"])


def test_a_filesystem_store_has_no_secret() -> None:
    assert store_secret(samples.inputs(), samples.store()) is None


def test_the_names_of_stores_secrets_are_legal_and_told_apart() -> None:
    ids = ["a", "a-b", "a_b", "x" * 63, "x" * 62 + "y", "a" * 40]
    for owner in ("glance", "g" * 253, "eu.glance"):
        names = [store_secret_name(owner, store_id) for store_id in ids]
        assert len(set(names)) == len(ids)
        assert all(len(name) <= 63 for name in names)


def test_the_longest_id_and_user_give_legal_keys_of_a_secret() -> None:
    credentials = CephCredentials("u" * 128, Sensitive(samples.CEPH_KEY), ("a",))
    assert all(len(name) <= 253 for name in secret_files(samples.store_of("Ceph", "i" * 63, credentials)))


def test_a_service_of_file_systems_has_nothing_of_other_stores() -> None:
    template = pod_of(samples.store())
    assert set(template["metadata"]["annotations"]) == {"kubectl.kubernetes.io/default-container"}
    assert {volume["name"] for volume in template["spec"]["volumes"]} == {
        *("config", "tmp", "run", "staging", "tasks", "store-central")
    }
    assert "privsep_osbrick" not in glance_config.glance_api_conf(samples.inputs())


@pytest.mark.parametrize(
    ("kind", "volume", "directory"),
    [
        ("Ceph", "driver-files", "/etc/image-service-stores"),
        ("Swift", "driver-files", "/etc/image-service-stores"),
        ("S3", "driver-options", "/etc/glance/glance.conf.d"),
        ("Cinder", "driver-options", "/etc/glance/glance.conf.d"),
    ],
)
def test_the_pods_have_the_stores_secret_as_a_directory_that_follows_it(kind: str, volume: str, directory: str) -> None:
    spec = pod_of(samples.store(), samples.store_of(kind, "one"))["spec"]
    assert [found for found in spec["volumes"] if found["name"].startswith("driver-")] == [
        {
            "name": volume,
            "projected": {"sources": [{"secret": {"name": "glance-store-one"}}], "defaultMode": 0o440},
        }
    ]
    mounts = {mount["name"]: mount for mount in spec["containers"][0]["volumeMounts"]}
    # A subPath would never see a change.
    assert mounts[volume] == {"name": volume, "mountPath": directory, "readOnly": True}


def test_stores_share_the_directories() -> None:
    spec = pod_of(samples.store_of("Ceph", "a"), samples.store_of("Ceph", "b"), samples.store_of("S3", "c"))["spec"]
    sources = {
        volume["name"]: [source["secret"]["name"] for source in volume["projected"]["sources"]]
        for volume in spec["volumes"]
        if "projected" in volume
    }
    assert sources == {
        "driver-files": ["glance-store-a", "glance-store-b"],
        "driver-options": ["glance-store-c"],
    }


def rolls(before: StoreInputs, after: StoreInputs) -> bool:
    """Tell whether the pods are another revision."""
    return pod_of(before) != pod_of(after)


OTHER_KEY = CephCredentials("glance", Sensitive("AQBRYWlnkH8vBxAAqKq5bLXyM2Zb9sYQm4mJVA=="), samples.CEPH_USER.monitors)
OTHER_MONITORS = CephCredentials("glance", Sensitive(samples.CEPH_KEY), ("192.0.2.9",))
OTHER_PASSWORD = PasswordCredential("images", Sensitive("another"), "image-data", "ops", "cloud")


def test_a_new_key_of_ceph_heals_the_pods_that_run_and_rolls_none() -> None:
    assert not rolls(samples.store_of("Ceph"), samples.store_of("Ceph", credentials=OTHER_KEY))


@pytest.mark.parametrize(
    ("kind", "other"),
    [
        ("Ceph", OTHER_MONITORS),
        ("S3", S3Credentials(Sensitive("access-key-4c"), Sensitive("another"))),
        ("Swift", OTHER_PASSWORD),
        ("Cinder", OTHER_PASSWORD),
    ],
)
def test_what_is_read_at_the_start_alone_rolls_the_pods(kind: str, other: Any) -> None:
    assert rolls(samples.store_of(kind), samples.store_of(kind, credentials=other))
    annotation = pod_of(samples.store_of(kind))["metadata"]["annotations"][CONTENT_ANNOTATION]
    assert not [secret for secret in SECRETS if secret in annotation]


def test_the_client_of_s3_adds_no_checksums_that_only_amazon_knows() -> None:
    def variables(*served: StoreInputs) -> dict[str, str]:
        return {found["name"]: found.get("value", "") for found in pod_of(*served)["spec"]["containers"][0]["env"]}

    assert variables(samples.store_of("S3"))["AWS_REQUEST_CHECKSUM_CALCULATION"] == "when_required"
    assert not [name for name in variables(samples.store_of("Ceph")) if name.startswith("AWS")]


def test_only_pods_that_attach_volumes_have_privileges() -> None:
    for kind in ("Ceph", "S3", "Swift"):
        spec = pod_of(samples.store_of(kind))["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["containers"][0]["securityContext"]["allowPrivilegeEscalation"] is False
        assert "hostPID" not in spec
        assert not [volume for volume in spec["volumes"] if "hostPath" in volume]


def test_a_pod_that_attaches_volumes_is_root_on_its_node() -> None:
    inputs = samples.inputs(stores=(samples.store_of("Cinder"),))
    spec = pod_of(*inputs.stores)["spec"]
    assert spec["hostPID"] is True
    assert spec["securityContext"]["runAsUser"] == 0
    assert spec["containers"][0]["securityContext"]["privileged"] is True
    assert {volume["hostPath"]["path"] for volume in spec["volumes"] if "hostPath" in volume} == {
        *("/dev", "/sys", "/etc/iscsi", "/etc/nvme")
    }
    # Without sudo, which the image does not have.
    assert glance_config.glance_api_conf(inputs)["privsep_osbrick"] == {"helper_command": "privsep-helper"}


def test_every_volume_of_every_type_is_mounted_and_every_mount_has_its_volume() -> None:
    spec = pod_of(samples.store(), *(samples.store_of(kind) for kind in KINDS), samples.store("files"))["spec"]
    mounts = spec["containers"][0]["volumeMounts"]
    names = [volume["name"] for volume in spec["volumes"]]
    assert sorted(mount["name"] for mount in mounts) == sorted(names)
    assert len(set(names)) == len(names)
    assert len({mount["mountPath"] for mount in mounts}) == len(mounts)


def test_a_store_without_what_its_type_needs_is_an_error_that_names_it() -> None:
    for kind in KINDS:
        store = samples.store_of(kind)
        for odd in (StoreInputs("odd", "odd", store.spec), StoreInputs("odd", "odd", samples.store().spec)):
            with pytest.raises(ValueError, match="ImageStore odd is of type"):
                stores.RENDERINGS[kind].files(odd)


def test_hostile_text_in_a_field_is_one_line_of_its_section() -> None:
    hostile = " [database] $connection ${DEFAULT.debug} %(here)s \"quoted' # ; = : "
    text = ini.render({"a": stores.section(samples.store_of("Cinder", "a", volumeType=hostile, region=hostile))})
    assert len(text.splitlines()) == 1 + len(stores.section(samples.store_of("Cinder", volumeType="a", region="b")))
