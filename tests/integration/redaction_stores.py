"""Stores of every type with planted values in their Secrets, in every shape that a Secret may have, good and broken."""

from collections.abc import Mapping
from dataclasses import dataclass

from tests.api_client import Manifest
from tests.integration.objects import image_store
from tests.integration.redaction_forms import Planted

_KEY_BEGINS = "AQBQYWlnkH8vBxAA"
"""Type, time and length of a cephx key; 16 bytes of secret follow, which are planted."""
_ANY_KEY = "AQBQYWlnkH8vBxAAqKq5bLXyM2Zb9sYQm4mJVA=="


class PlantedKey(Planted):
    """A planted value that has the form of a cephx key."""

    @property
    def value(self) -> str:
        return f"{_KEY_BEGINS}{self.head}x{self.tail}A=="


_MEMBERS: Mapping[str, Manifest] = {
    "Ceph": {"pool": "images", "monitors": ["192.0.2.1:6789"]},
    "S3": {"endpointURL": "https://s3.example", "bucket": "images"},
    "Swift": {"authURL": "https://keystone.example/v3"},
    "Cinder": {"authURL": "https://keystone.example/v3"},
}
_USER = {"username": "glance", "project_name": "service"}
_CSI = {"userID": "glance"}


@dataclass(frozen=True)
class Shape:
    """A store and what is in its Secret: key -> text, with `{value}` and `{key}` for what is planted, of any form."""

    name: str
    type: str
    content: Mapping[str, str]
    works: bool = True

    def planted(self, scene: str, odd: str) -> Planted:
        """Return the value that is planted in this Secret."""
        name = f"{scene}/{self.name}"
        return PlantedKey(name, "") if self.type == "Ceph" else Planted(name, odd)

    def store(self) -> Manifest:
        """Return the ImageStore."""
        member = _MEMBERS[self.type] | {"secretRef": {"name": self.name}}
        wanted = image_store(self.name, type=self.type, **{self.type.lower(): member})
        del wanted["spec"]["filesystem"]
        return wanted

    def filled(self, planted: Planted) -> dict[str, str]:
        """Return the content of the Secret, with more in it that nobody has asked for: an address with a password."""
        found = {key: text.format(value=planted.value, other=_ANY_KEY) for key, text in self.content.items()}
        return found | {"address": f"https://images:{planted.encoded}@store.example/images"}


GOOD_SHAPES = (
    Shape("ceph-of-rook", "Ceph", {"userID": "images", "userKey": "{value}", "glance": "{value}"}),
    Shape("ceph-of-csi", "Ceph", {"adminID": "glance", "adminKey": "{value}"}),
    Shape("ceph-of-helm", "Ceph", {"key": "{value}\n"}),
    Shape(
        "ceph-of-files",
        "Ceph",
        {
            "ceph.client.glance.keyring": '[client.glance]\n\tkey = {value}\n\tcaps mon = "profile rbd"\n',
            "ceph.conf": "[global]\nmon_host = 192.0.2.1\n[client.glance]\nkey = {value}\n",
        },
    ),
    Shape("s3", "S3", {"access_key": "glance", "secret_key": "{value}"}),
    Shape("s3-of-a-claim", "S3", {"AWS_ACCESS_KEY_ID": "{value}", "AWS_SECRET_ACCESS_KEY": "{value}"}),
    Shape("swift-user", "Swift", {**_USER, "password": "{value}"}),
    Shape(
        "swift-application",
        "Swift",
        {"application_credential_id": "0123456789abcdef", "application_credential_secret": "{value}"},
    ),
    Shape("cinder-user", "Cinder", {**_USER, "password": "{value}"}),
    Shape(
        "cinder-application",
        "Cinder",
        {"application_credential_id": "0123456789abcdef", "application_credential_secret": "{value}"},
    ),
)
"""Every shape that is taken."""

SWAPPED = {shape.name: Shape(shape.name, shape.type, {"of-another-shape": "{value}"}) for shape in GOOD_SHAPES}
"""What each of these Secrets may be replaced by while the pods run: the pods keep the files of before."""

_KEYRING = "ceph.client.glance.keyring"
BAD_SHAPES = tuple(
    Shape(name, type_, content, works=False)
    for name, type_, content in (
        ("ceph-key-cut", "Ceph", {**_CSI, "userKey": "{value}="}),
        ("ceph-key-of-two-lines", "Ceph", {**_CSI, "userKey": "{value}\n{value}"}),
        ("ceph-key-not-text", "Ceph", {**_CSI, "userKey": "{value}\udcff"}),
        ("ceph-key-for-a-user", "Ceph", {"userID": "{value}", "userKey": "{other}"}),
        ("ceph-key-alone", "Ceph", {"keys": "{value}"}),
        ("ceph-keyring-without-a-user", "Ceph", {_KEYRING: "key = {value}\n"}),
        ("ceph-keyring-of-many", "Ceph", {_KEYRING: "[client.a]\nkey = {value}\n[client.b]\nkey = {value}\n"}),
        ("ceph-keyring-named-oddly", "Ceph", {_KEYRING: "[client.{value}]\nkey = {value}\n"}),
        ("ceph-keyring-not-text", "Ceph", {_KEYRING: "\udcff[client.glance]\nkey = {value}\n"}),
        ("ceph-conf-odd-monitor", "Ceph", {"key": "{other}", "ceph.conf": "[global]\nmon_host = {value}\n"}),
        ("ceph-conf-odd-fsid", "Ceph", {"key": "{other}", "ceph.conf": "[global]\nfsid = {value}\n"}),
        ("ceph-conf-odd-setting", "Ceph", {"key": "{other}", "ceph.conf": "[global]\nms_type = {value}+\n"}),
        ("s3-of-two-lines", "S3", {"access_key": "glance", "secret_key": "{value}\n{value}"}),
        ("s3-not-text", "S3", {"access_key": "\udcff{value}", "secret_key": "{value}"}),
        ("s3-half", "S3", {"secret_key": "{value}"}),
        ("swift-of-two-lines", "Swift", {**_USER, "password": "{value}\r{value}"}),
        ("swift-odd-user", "Swift", {**_USER, "username": "a:{value}", "password": "{value}"}),
        ("swift-half", "Swift", {"password": "{value}"}),
        ("cinder-not-text", "Cinder", {**_USER, "password": "{value}\udcff"}),
        ("cinder-half", "Cinder", {"application_credential_secret": "{value}"}),
    )
)
"""What is refused, each for another reason."""
