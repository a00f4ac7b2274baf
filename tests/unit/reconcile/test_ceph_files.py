"""Ceph's own files: what is taken of them, and that nothing else is."""

import base64
import re
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imageservice.reconcile import ceph_files
from imageservice.reconcile.ceph_files import CephConf

FSID = "79b70c32-df46-4741-93c0-8118ae2ae284"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.1", ("192.0.2.1",)),
        ("192.0.2.1:6789,192.0.2.2:6789", ("192.0.2.1:6789", "192.0.2.2:6789")),
        ("192.0.2.1, 192.0.2.2 192.0.2.3;192.0.2.4", ("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4")),
        ("[2001:db8::1]:6789", ("[2001:db8::1]:6789",)),
        ("mon-0.ceph.example:6789", ("mon-0.ceph.example:6789",)),
        ("v2:192.0.2.1:3300/0", ("v2:192.0.2.1:3300/0",)),
        ("v2:[2001:db8::1]:3300", ("v2:[2001:db8::1]:3300",)),
        (
            "[v2:192.0.2.1:3300/0,v1:192.0.2.1:6789/0] [v2:192.0.2.2:3300/0,v1:192.0.2.2:6789/0]",
            ("[v2:192.0.2.1:3300/0,v1:192.0.2.1:6789/0]", "[v2:192.0.2.2:3300/0,v1:192.0.2.2:6789/0]"),
        ),
        (
            "[v2:[2001:db8::1]:3300,v1:[2001:db8::1]:6789],v1:192.0.2.2:6789",
            ("[v2:[2001:db8::1]:3300,v1:[2001:db8::1]:6789]", "v1:192.0.2.2:6789"),
        ),
        ("a a", ("a",)),
        ("", ()),
        (" , ", ()),
    ],
)
def test_monitors_are_told_apart_in_every_form_that_ceph_writes(text, expected):
    assert ceph_files.monitors(text) == expected


@pytest.mark.parametrize(
    "text", ["2001:db8::1", "[v2:192.0.2.1:3300", "a]", "http://a", "a/b", "a=b", "v3:192.0.2.1:1", "$host", "ä", "-a"]
)
def test_what_is_no_monitor_is_refused_without_being_repeated(text):
    with pytest.raises(ValueError, match="not an address as Ceph writes it") as refusal:
        ceph_files.monitors(text)
    assert text not in str(refusal.value)


def test_too_many_monitors_are_refused():
    with pytest.raises(ValueError, match="more than 32 monitors"):
        ceph_files.monitors(",".join(f"m{number}" for number in range(33)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=192.0.2.1:6789,b=192.0.2.2:3300", ("192.0.2.1:6789", "192.0.2.2:3300")),
        ("a=[2001:db8::1]:6789\n", ("[2001:db8::1]:6789",)),
        ("", ()),
    ],
)
def test_the_monitors_of_rook_lose_their_letters(text, expected):
    assert ceph_files.rook_monitors(text) == expected


CONF = f"""
# made by hand
[global]
fsid = {FSID.upper()}
mon host = 192.0.2.1:6789, \\
  192.0.2.2:6789   ; two of them
auth-client-required = cephx
ms_bind_ipv6 = "true"
keyring = /etc/ceph/$cluster.$name.keyring
admin socket = /var/run/ceph/$name.asok
log file = /var/log/ceph/client.log
run_command = rm -rf /
include /etc/passwd
[client]
ms_client_mode = crc
rbd cache = true
[client.glance]
ms_client_mode = secure
key = AQBQYWlnkH8vBxAAqKq5bLXyM2Zb9sYQm4mJVA==
[mon.a]
mon_host = 198.51.100.1
"""


def test_of_a_ceph_conf_only_the_way_to_the_cluster_is_taken():
    assert ceph_files.ceph_conf(CONF, "glance") == CephConf(
        ("192.0.2.1:6789", "192.0.2.2:6789"),
        FSID,
        (("auth_client_required", "cephx"), ("ms_bind_ipv6", "true"), ("ms_client_mode", "secure")),
    )


def test_the_documentation_names_every_setting_that_is_taken():
    page = (Path(__file__).parents[3] / "docs" / "stores.md").read_text()
    section = page.split("### Ceph: how the cluster is found", 1)[1].split("###", 1)[0]
    named = set(re.findall(r"`((?:auth|cephx|ms)_\w+)`", section))
    assert named == ceph_files.TAKEN_SETTINGS


def test_the_section_of_another_user_does_not_count():
    assert dict(ceph_files.ceph_conf(CONF, "other").settings)["ms_client_mode"] == "crc"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[global]\nfsid = x-secret", "its fsid is not a UUID"),
        ("[global]\nmon_host = s3://x-secret", "not an address"),
        ("[global]\nms_client_mode = /etc/x-secret", "its ms_client_mode has a value"),
        ("[global]\nms_client_mode = a\x07x-secret", "its ms_client_mode has a value"),
        ("x-secret" * 10000, "more than 65536 characters"),
    ],
)
def test_a_ceph_conf_that_cannot_be_used_is_told_without_its_values(text, said):
    with pytest.raises(ValueError, match=said) as refusal:
        ceph_files.ceph_conf(text, "glance")
    assert "x-secret" not in str(refusal.value)


@given(st.text(max_size=400), st.text(max_size=20))
def test_whatever_is_in_a_ceph_conf_no_more_than_single_plain_lines_come_out(text, user):
    try:
        found = ceph_files.ceph_conf(f"[global]\nmon_host = a\n{text}", user)
    except ValueError:
        return
    for value in (*found.monitors, found.fsid or "", *(value for _, value in found.settings)):
        assert value.isprintable()
        assert not set(value) & set("\n=#$")


def test_a_keyring_gives_the_keys_of_clients():
    text = '[mon.]\nkey = no\n[client.glance]\n\tkey = one==\n\tcaps mon = "profile rbd"\n[client.b]\nkey="two=="\n'
    assert ceph_files.keyring(text) == {"glance": "one==", "b": "two=="}
    assert ceph_files.keyring("AQBQYWlnkH8vBxAAqKq5bLXyM2Zb9sYQm4mJVA==") == {}


def key(kind=1, length=16, content=b"x" * 16):
    return base64.b64encode(struct.pack("<HIIH", kind, 1700000000, 0, length) + content).decode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("AQBQYWlnkH8vBxAAqKq5bLXyM2Zb9sYQm4mJVA==", True),
        (key(), True),
        (key(2, 32, b"x" * 32), True),
        (key(3), False),
        (key(length=15, content=b"x" * 15), False),
        (key(content=b"x" * 17), False),
        (key()[:-4], False),
        (key() + " ", False),
        ("", False),
        ("hunter2", False),
        ("AQ==", False),
    ],
)
def test_a_key_of_cephx_is_told_by_its_structure(text, expected):
    assert ceph_files.is_cephx_key(text) is expected
