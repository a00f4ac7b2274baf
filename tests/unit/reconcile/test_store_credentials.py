"""Secrets and ConfigMaps of stores -> credentials: every shape, every fault with its reason, nothing secret said."""

import base64

import pytest
from tests.unit.reconcile.world import secret

from imageservice.api.v1alpha1 import ImageStoreSpec
from imageservice.errors import Blocked
from imageservice.reconcile import resolve
from imageservice.reconcile.store_credentials import References, confidential, references, resolve_all, resolve_one
from imageservice.releases import RELEASES
from imageservice.render import stores
from imageservice.render.inputs import (
    ApplicationCredential,
    CephCredentials,
    KeptFiles,
    PasswordCredential,
    S3Credentials,
    StoreInputs,
)
from imageservice.sensitive import Sensitive

KEY, OTHER_KEY = "AQBQYWlnkH8vBxAAqKq5bLXyM2Zb9sYQm4mJVA==", "AQBRYWlnkH8vBxAAqKq5bLXyM2Zb9sYQm4mJVA=="
FSID, OTHER_FSID = "79b70c32-df46-4741-93c0-8118ae2ae284", "11111111-df46-4741-93c0-8118ae2ae284"
CONF = f"[global]\nfsid = {FSID}\nmon_host = 192.0.2.1:6789\nms_client_mode = secure\nlog_file = /x\n"
KEYRING = f'[client.glance]\n\tkey = {KEY}\n\tcaps mon = "profile rbd"\n'
OTHER_KEYRING = f"[client.nova]\nkey = {OTHER_KEY}\n"
MONITORS = ("192.0.2.1:6789",)
RELEASE = RELEASES["2026.1"]


def config_map(**values):
    return {"metadata": {"name": "m"}, "data": values}


def files(**values):
    """Return a Secret whose keys have dots, written with two underscores."""
    return secret("s", **{name.replace("__", "."): text for name, text in values.items()})


def spec(kind, **member):
    least = {
        "Ceph": {},
        "S3": {"endpointURL": "https://s3.example", "bucket": "images"},
        "Swift": {"authURL": "https://keystone.example/v3"},
        "Cinder": {"authURL": "https://keystone.example/v3"},
    }
    manifest = {
        "imageServiceRef": {"name": "glance"},
        "type": kind,
        kind.lower(): {"secretRef": {"name": "s"}, **least[kind], **member},
    }
    return ImageStoreSpec.model_validate(manifest)


def ceph(found, config=None, store_id="central", **member):
    if config is not None:
        member["configMapRef"] = {"name": "m"}
    return resolve_one(store_id, spec("Ceph", **member), found, config, RELEASE)


def refused(call, *arguments, **named):
    with pytest.raises(Blocked) as blocked:
        call(*arguments, **named)
    assert KEY not in blocked.value.message
    assert "hunter2" not in blocked.value.message
    assert blocked.value.message.isprintable()
    return blocked.value


def user(name="glance", key=KEY, monitors=MONITORS, fsid=None, settings=()):
    return CephCredentials(name, Sensitive(key), monitors, fsid, settings)


FROM_CONF = {"fsid": FSID, "settings": (("ms_client_mode", "secure"),)}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (secret("s", userID="a-ceph-client", userKey=KEY, glance=KEY), user()),
        (secret("s", userID="glance", userKey=KEY), user()),
        (secret("s", userID="client.glance", userKey=KEY + "\n"), user()),
        (secret("s", adminID="admin", adminKey=KEY), user("admin")),
        (secret("s", userID="glance", userKey=KEY, adminID="admin", adminKey=OTHER_KEY), user()),
        (secret("s", key=KEY), user()),
        (files(ceph__client__glance__keyring=KEYRING), user()),
        (files(anything__keyring=KEYRING), user()),
    ],
    ids=["Rook", "ceph-csi", "with client.", "ceph-csi admin", "both", "openstack-helm", "kolla", "other file"],
)
def test_every_shape_of_secret_is_told_by_its_keys(found, expected):
    assert ceph(found, monitors=list(MONITORS)) == expected


@pytest.mark.parametrize(
    ("found", "member", "name"),
    [
        (secret("s", key=KEY), {"user": "images"}, "images"),
        (secret("s", userID="x", userKey=KEY, one=KEY, two=KEY), {"user": "two"}, "two"),
        (files(a__keyring=KEYRING + OTHER_KEYRING.replace(OTHER_KEY, KEY)), {"user": "nova"}, "nova"),
    ],
)
def test_the_user_of_the_spec_says_which_one_is_meant(found, member, name):
    assert ceph(found, monitors=list(MONITORS), **member) == user(name)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (config_map(**{"ceph.conf": CONF}), user(**FROM_CONF)),
        (config_map(data="a=192.0.2.1:6789", mapping="{}", maxMonId="0"), user()),
    ],
    ids=["openstack-helm ceph-etc", "Rook rook-ceph-mon-endpoints"],
)
def test_a_config_map_says_where_the_monitors_are(config, expected):
    assert ceph(secret("s", key=KEY), config) == expected


def test_the_monitors_of_the_spec_count_more_than_those_of_a_file_and_the_rest_of_it_stays():
    found = ceph(secret("s", key=KEY), config_map(**{"ceph.conf": CONF}), monitors=["192.0.2.9"])
    assert found == user(monitors=("192.0.2.9",), **FROM_CONF)


def test_the_config_map_counts_more_than_the_conf_of_the_secret():
    theirs = files(ceph__conf=CONF.replace("192.0.2.1", "192.0.2.7"), ceph__client__glance__keyring=KEYRING)
    assert ceph(theirs, config_map(data="a=192.0.2.1:6789")) == user(**FROM_CONF)


FILES = {
    "ceph__conf": CONF,
    "ceph__client__glance__keyring": KEYRING,
    "dcn0__conf": CONF.replace("192.0.2.1", "192.0.2.5").replace(FSID, OTHER_FSID),
    "dcn0__client__glance__keyring": KEYRING.replace(KEY, OTHER_KEY),
}


@pytest.mark.parametrize(
    ("store_id", "expected"),
    [
        ("central", user(**FROM_CONF)),
        ("dcn0", user("glance", OTHER_KEY, ("192.0.2.5:6789",), OTHER_FSID, FROM_CONF["settings"])),
    ],
)
def test_of_several_clusters_in_one_secret_the_one_named_like_the_store_is_taken(store_id, expected):
    assert ceph(files(**FILES), store_id=store_id) == expected


def test_of_several_keyrings_of_a_cluster_the_one_of_the_user_is_taken():
    both = files(ceph__conf=CONF, ceph__client__glance__keyring=KEYRING, ceph__client__nova__keyring=OTHER_KEYRING)
    assert ceph(both, user="nova") == user("nova", OTHER_KEY, **FROM_CONF)
    assert refused(ceph, both).reason == "InvalidCephCredentials"


def test_the_fsid_of_the_spec_is_kept_and_another_one_in_a_file_is_a_mix_up():
    assert ceph(secret("s", key=KEY), monitors=["a"], fsid=FSID.upper()) == user(monitors=("a",), fsid=FSID)
    refusal = refused(ceph, secret("s", key=KEY), config_map(**{"ceph.conf": CONF}), fsid=OTHER_FSID)
    assert (refusal.condition, refusal.reason) == ("CredentialsValid", "InvalidCephConfig")


WRONG = {
    "no secret": (None, {}, "ResolvedRefs", "SecretNotFound", "There is no Secret `s`"),
    "an empty secret": (secret("s"), {}, "CredentialsValid", "InvalidCephCredentials", "`userID` and `userKey`"),
    "another's secret": (secret("s", username="u", password="hunter2"), {}, None, "InvalidCephCredentials", "`key`"),
    "half a shape": (secret("s", userID="glance"), {}, None, "InvalidCephCredentials", "has none of the keys"),
    "a password for a key": (secret("s", key="hunter2"), {}, None, "InvalidCephCredentials", "is no cephx key"),
    "an empty key": (secret("s", key=" "), {}, None, "SecretKeyMissing", "is empty"),
    "two lines of key": (secret("s", key=f"{KEY}\n{KEY}"), {}, None, "InvalidCephCredentials", "must be one line"),
    "a user with a line break": (
        secret("s", userID="a\n[x]", userKey=KEY), {}, None, "InvalidCephCredentials", "must be one line",
    ),
    "a user that is a path": (
        secret("s", userID="../../x", userKey=KEY), {}, None, "InvalidCephCredentials", "names a user with other",
    ),
    "a user as long as a novel": (
        secret("s", userID="u" * 129, userKey=KEY), {}, None, "InvalidCephCredentials", "names a user with other",
    ),
    "another user": (
        secret("s", userID="nova", userKey=KEY), {"user": "glance"}, None, "InvalidCephCredentials", "another user",
    ),
    "a keyring of another user": (
        files(a__keyring=OTHER_KEYRING), {"user": "glance"}, None, "InvalidCephCredentials", "another user",
    ),
    "a keyring without a key": (files(a__keyring="[client.a]\n"), {}, None, "InvalidCephCredentials", "is no keyring"),
    "a keyring of several": (
        files(a__keyring=KEYRING + OTHER_KEYRING), {}, None, "InvalidCephCredentials", "Set spec.ceph.user",
    ),
    "an odd conf": (
        files(a__keyring=KEYRING, a__conf="[global]\nmon_host = http://hunter2"), {}, None, "InvalidCephConfig",
        "not an address",
    ),
    "many confs": (
        files(a__keyring=KEYRING, a__conf=CONF, b__conf=CONF), {}, None, "InvalidCephConfig", "`central.conf`",
    ),
    "no monitors": (secret("s", key=KEY), {"monitors": []}, None, "MonitorsMissing", "spec.ceph.monitors"),
    "a conf without monitors": (
        files(a__keyring=KEYRING, a__conf="[global]\n"), {"monitors": []}, None, "MonitorsMissing", "mon_host",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_each_fault_of_a_ceph_secret_has_its_reason_and_its_cure(case):
    found, member, condition, reason, said = WRONG[case]
    refusal = refused(ceph, found, **{"monitors": list(MONITORS), **member})
    assert (refusal.condition, refusal.reason) == (condition or "CredentialsValid", reason)
    assert said in refusal.message


@pytest.mark.parametrize(
    ("config", "condition", "reason", "said"),
    [
        (None, "ResolvedRefs", "ConfigMapNotFound", "There is no ConfigMap `m`"),
        (config_map(other="x"), "CredentialsValid", "InvalidCephConfig", "neither the key `ceph.conf` nor"),
        (config_map(data="a=http://hunter2"), "CredentialsValid", "InvalidCephConfig", "is no list of monitors"),
        (config_map(**{"ceph.conf": "[global]\nfsid=hunter2"}), "CredentialsValid", "InvalidCephConfig", "fsid"),
        (config_map(data=""), "CredentialsValid", "MonitorsMissing", "Nothing says"),
    ],
)  # fmt: skip
def test_each_fault_of_a_config_map_has_its_reason(config, condition, reason, said):
    refusal = refused(ceph, secret("s", key=KEY), config, configMapRef={"name": "m"})
    assert (refusal.condition, refusal.reason) == (condition, reason)
    assert said in refusal.message


def test_a_value_that_is_not_text_is_told():
    odd = {"data": {"key": base64.b64encode(b"\xff\xfe").decode()}}
    assert refused(ceph, odd).reason == "InvalidCephCredentials"
    assert refused(ceph, {"data": {"a.keyring": "***"}}).reason == "InvalidCephCredentials"


@pytest.mark.parametrize(
    "keys", [("access_key", "secret_key"), ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")], ids=["plain", "AWS"]
)
def test_an_access_key_of_s3_is_found_by_both_names(keys):
    found = secret("s", **dict(zip(keys, ("id", "hunter2\n"), strict=True)))
    expected = S3Credentials(Sensitive("id"), Sensitive("hunter2"))
    assert resolve_one("a", spec("S3"), found, None, RELEASE) == expected


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({}, "SecretKeyMissing"),
        ({"access_key": "a"}, "SecretKeyMissing"),
        ({"access_key": "a", "AWS_SECRET_ACCESS_KEY": "hunter2"}, "SecretKeyMissing"),
        ({"access_key": "a", "secret_key": "hunter2\nx"}, "InvalidCredentials"),
    ],
)
def test_half_an_access_key_is_refused(values, reason):
    refusal = refused(resolve_one, "a", spec("S3"), secret("s", **values), None, RELEASE)
    assert (refusal.condition, refusal.reason) == ("CredentialsValid", reason)


@pytest.mark.parametrize("kind", ["Swift", "Cinder"])
def test_a_keystone_user_is_a_password_or_an_application_credential(kind):
    password = secret("s", username="u", password="hunter2", project_name="p", user_domain_name="d")
    expected = PasswordCredential("u", Sensitive("hunter2"), "p", "d")
    assert resolve_one("a", spec(kind), password, None, RELEASE) == expected
    credential = secret("s", application_credential_id="i", application_credential_secret="hunter2")
    assert resolve_one("a", spec(kind), credential, None, RELEASE) == ApplicationCredential("i", Sensitive("hunter2"))
    assert refused(resolve_one, "a", spec(kind), None, None, RELEASE).condition == "ResolvedRefs"
    missing = refused(resolve_one, "a", spec(kind), secret("s", username="u"), None, RELEASE)
    assert (missing.condition, missing.reason) == ("CredentialsValid", "SecretKeyMissing")
    assert f"spec.{kind.lower()}.secretRef" in missing.message


@pytest.mark.parametrize("kind", ["Swift", "Cinder"])
@pytest.mark.parametrize(
    ("release", "taken"), [("2025.1", False), ("2025.2", False), ("2026.1", True), ("2026.2", True)]
)
def test_an_application_credential_is_refused_where_the_release_has_no_option_for_it(kind, release, taken):
    found = secret("s", application_credential_id="i", application_credential_secret="hunter2")
    if taken:
        assert resolve_one("a", spec(kind), found, None, RELEASES[release])
    else:
        refusal = refused(resolve_one, "a", spec(kind), found, None, RELEASES[release])
        assert refusal.reason == "ApplicationCredentialUnsupported"
        assert release in refusal.message


@pytest.mark.parametrize("name", ["username", "project_name"])
def test_a_colon_would_shift_project_and_user_of_swift(name):
    values = {"username": "u", "password": "hunter2", "project_name": "p", name: "a:b"}
    assert refused(resolve_one, "a", spec("Swift"), secret("s", **values), None, RELEASE).reason == "InvalidCredentials"
    assert resolve_one("a", spec("Cinder"), secret("s", **values), None, RELEASE)


def store(name, kind, **member):
    return {
        "apiVersion": "imageservice.dev/v1alpha1",
        "kind": "ImageStore",
        "metadata": {"name": name},
        "spec": spec(kind, **member).to_manifest(),
    }


FILESYSTEM = {
    "apiVersion": "imageservice.dev/v1alpha1",
    "kind": "ImageStore",
    "metadata": {"name": "files"},
    "spec": {
        "imageServiceRef": {"name": "glance"},
        "type": "Filesystem",
        "filesystem": {"volume": {"type": "EmptyDir", "emptyDir": {}}},
    },
}


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        (store("a", "Ceph", configMapRef={"name": "m"}), References("s", "m")),
        (store("a", "Swift"), References("s")),
        (FILESYSTEM, References()),
        ({"spec": {"type": "Ceph"}}, References()),
        ({"spec": {"type": "Ceph", "ceph": {"secretRef": None}}}, References()),
        ({"spec": {"type": "Odd"}}, References()),
        ({}, References()),
    ],
)
def test_what_a_store_refers_to_is_told_even_of_odd_old_objects(manifest, expected):
    assert references(manifest) == expected


def test_one_wrong_store_leaves_the_others_alone():
    stores = [store("a", "Ceph", monitors=list(MONITORS)), store("b", "S3"), FILESYSTEM, {**FILESYSTEM, "spec": {}}]
    found = resolve_all(stores, {"s": secret("s", key=KEY)}, {}, RELEASE)
    assert found["a"] == user()
    assert isinstance(found["b"], Blocked)
    assert set(found) == {"a", "b"}


def test_every_key_of_a_store_is_masked_and_no_name_is():
    secrets = [
        secret("s", userID="glance", userKey=KEY),
        files(ceph__conf=CONF, ceph__client__glance__keyring=KEYRING),
        secret("s", access_key="hunter1", secret_key="hunter2"),
    ]
    masked = {value.reveal() for found in secrets for value in resolve.confidential(found)}
    assert {KEY, "hunter1", "hunter2"} <= masked
    assert not {"glance", "[client.glance]", "192.0.2.1:6789"} & masked


@pytest.mark.parametrize(
    ("credentials", "expected"),
    [
        (user(), [KEY]),
        (S3Credentials(Sensitive("a"), Sensitive("b")), ["a", "b"]),
        (PasswordCredential("u", Sensitive("p"), "x"), ["p"]),
        (ApplicationCredential("i", Sensitive("s")), ["s"]),
        (None, []),
    ],
)
def test_what_is_confidential_of_credentials(credentials, expected):
    assert [value.reveal() for value in confidential(credentials)] == expected


@pytest.mark.parametrize(
    "value", ["plain", "x", "dollar$ and \\$ and $$", "percent%s%%", '"in its own quotes"', "ünïcöde"]
)
@pytest.mark.parametrize("kind", ["S3", "Swift", "Cinder"])
def test_of_files_that_are_kept_the_value_itself_is_confidential_however_it_is_written_there(kind, value):
    credentials = {
        "S3": S3Credentials(Sensitive("access"), Sensitive(value)),
        "Swift": PasswordCredential("glance", Sensitive(value), "service"),
        "Cinder": PasswordCredential("glance", Sensitive(value), "service"),
    }[kind]
    written = stores.files(StoreInputs("far", "far", spec(kind), credentials))
    kept = KeptFiles(tuple((name, Sensitive(text)) for name, text in written.items()))
    assert value in {found.reveal() for found in confidential(kept)}


def test_of_a_keyring_that_is_kept_the_key_is_confidential_and_nothing_else():
    written = stores.files(StoreInputs("far", "far", spec("Ceph"), user()))
    kept = KeptFiles(tuple((name, Sensitive(text)) for name, text in written.items()))
    assert [value.reveal() for value in confidential(kept)] == [KEY]
