"""ImageStores with credentials that the API takes, and changes that make them bad: data for `test_api_samples.py`."""

from typing import Any

from imageservice.api.v1alpha1 import API_VERSION
from imageservice.manifest import Manifest

REMOVE = object()
BadCase = tuple[Manifest, tuple[str | int, ...], Any, str, str | None]
"""A good object, the path of the change, the new value, the API server's sentence, the operator's (see `Bad`)."""

NAME = "must be the name of a Kubernetes object"
URL = "must be an http or https URL with a host, without user, query and fragment"
ONE_LINE = "must be one line of text without control characters"
MONITOR = "must be a monitor as Ceph writes it"


def typed_store(kind: str, name: str = "store", member: dict[str, Any] | None = None, **spec: Any) -> Manifest:
    """Return the smallest ImageStore of a type with credentials, with more in its member and in its spec as given."""
    least: dict[str, Any] = {
        "Ceph": {"secretRef": {"name": "central-ceph"}},
        "S3": {"secretRef": {"name": "bucket"}, "endpointURL": "https://s3.example", "bucket": "images"},
        "Swift": {"secretRef": {"name": "swift-user"}, "authURL": "https://keystone.example/v3"},
        "Cinder": {"secretRef": {"name": "cinder-user"}, "authURL": "https://keystone.example/v3"},
    }
    return {
        "apiVersion": API_VERSION,
        "kind": "ImageStore",
        "metadata": {"name": name},
        "spec": {
            "imageServiceRef": {"name": "glance"},
            "type": kind,
            kind.lower(): {**least[kind], **(member or {})},
            **spec,
        },
    }


MONITORS = [
    "ceph.example",
    "mon-0.ceph.example:6789",
    "192.0.2.1",
    "192.0.2.1:6789/0",
    "[2001:db8::1]:6789",
    "v1:192.0.2.1:6789",
    "v2:192.0.2.1:3300/0",
    "v2:[2001:db8::1]:3300",
    "[v2:192.0.2.1:3300,v1:192.0.2.1:6789]",
    "[v2:[2001:db8::1]:3300/0,v1:[2001:db8::1]:6789/0]",
]
"""A monitor in every form."""

FULL_CEPH = typed_store(
    "Ceph",
    "ceph",
    {
        "pool": "images.ssd_1",
        "user": "glance",
        "configMapRef": {"name": "ceph-etc"},
        "monitors": MONITORS,
        "fsid": "79b70c32-df46-4741-93c0-8118ae2ae284",
        "sparseUpload": True,
        "chunkSize": 32,
        "connectTimeoutSeconds": 300,
    },
    extraConfig={"store_description": "%(x)s $y [z] # ;"},
)
FULL_S3 = typed_store(
    "S3",
    "s3",
    {
        "endpointURL": "http://[2001:db8::1]:7480",
        "region": "eu-central-1",
        "bucket": "Images_1.of-us",
        "createBucket": True,
        "addressingStyle": "Virtual",
        "largeObjectSize": 5120,
        "largeObjectChunkSize": 5,
        "uploadThreads": 64,
    },
)
FULL_SWIFT = typed_store(
    "Swift",
    "swift",
    {
        "container": "glance_images",
        "createContainer": True,
        "region": "Région 1 $HOME %(x)s [DEFAULT]",
        "endpointType": "Internal",
        "largeObjectSize": 1,
        "largeObjectChunkSize": 1,
    },
)
FULL_CINDER = typed_store(
    "Cinder",
    "cinder",
    {"volumeType": "images, fast", "region": "RegionOne", "endpointType": "Admin", "multipath": True},
)

GOOD_STORES: dict[str, Manifest] = {
    **{
        f"smallest {kind} store": typed_store(kind, f"smallest-{kind.lower()}")
        for kind in ("Ceph", "S3", "Swift", "Cinder")
    },
    "full Ceph store": FULL_CEPH,
    "full S3 store": FULL_S3,
    "full Swift store": FULL_SWIFT,
    "full Cinder store": FULL_CINDER,
}


def _bad(path: str, value: Any, sentence: str, reading: str | None = "") -> BadCase:
    """Return a bad store of the type that the path begins with, like `ceph.pool`."""
    base = {"ceph": FULL_CEPH, "s3": FULL_S3, "swift": FULL_SWIFT, "cinder": FULL_CINDER}[path.split(".", 1)[0]]
    return base, ("spec", *path.split(".")), value, sentence, reading


def _bad_options(options: dict[str, str], sentence: str) -> BadCase:
    return FULL_CEPH, ("spec", "extraConfig"), options, sentence, ""


BAD_STORES: dict[str, BadCase] = {
    "Ceph store without a secret": _bad(
        "ceph.secretRef", REMOVE, "spec.ceph.secretRef: Required value", "`spec.ceph.secretRef` must be set"
    ),
    "Ceph secret in another namespace by a path": _bad("ceph.secretRef.name", "../other/ceph", NAME),
    "pool with a slash": _bad("ceph.pool", "images/a", "must be the name of a pool"),
    "line smuggled into the pool": _bad("ceph.pool", "images\nkeyring = /x", "must be the name of a pool"),
    "user with client. in front": _bad("ceph.user", "client.glance", "must be written without client. in front"),
    "user that is a path": _bad("ceph.user", "../glance", "must be a Ceph user like glance"),
    "user that Ceph would expand": _bad("ceph.user", "$name", "must be a Ceph user like glance"),
    "monitor with a scheme": _bad("ceph.monitors", ["http://a"], MONITOR),
    "monitor of a third protocol": _bad("ceph.monitors", ["v3:192.0.2.1:1"], MONITOR),
    "monitor with an open bracket": _bad("ceph.monitors", ["[v2:192.0.2.1:3300"], MONITOR),
    "bare IPv6 monitor": _bad("ceph.monitors", ["2001:db8::1"], MONITOR),
    "line smuggled into a monitor": _bad("ceph.monitors", ["a\nkeyring = /x"], MONITOR),
    "two monitors in one": _bad("ceph.monitors", ["a,b"], MONITOR),
    "monitor twice": _bad("ceph.monitors", ["a", "a"], "monitors[1]: Duplicate value", None),
    "too many monitors": _bad(
        "ceph.monitors", [f"m{i}" for i in range(33)], "must have at most 32 items", "must have at most 32 items"
    ),
    "fsid that is no UUID": _bad("ceph.fsid", "x" * 36, "must be the fsid of a Ceph cluster, a UUID"),
    "chunk size between powers of two": _bad("ceph.chunkSize", 12, "must be a power of two: 1, 2, 4, 8, 16, 32"),
    "chunk size that librbd does not take": _bad(
        "ceph.chunkSize", 64, "should be less than or equal to 32", "must be 32 or less"
    ),
    "no time to connect": _bad(
        "ceph.connectTimeoutSeconds", 0, "should be greater than or equal to 1", "must be 1 or more"
    ),
    "S3 without a bucket": _bad("s3.bucket", REMOVE, "spec.s3.bucket: Required value", "`spec.s3.bucket` must be set"),
    "password in the URL of S3": _bad("s3.endpointURL", "https://a:hunter2@s3.example", URL),
    "section smuggled into the URL of S3": _bad("s3.endpointURL", "https://s3.example/\n[DEFAULT]", URL),
    "bucket with a slash": _bad("s3.bucket", "a/b", "must be the name of a bucket"),
    "unknown addressing style": _bad(
        "s3.addressingStyle", "path", 'supported values: "Auto", "Path", "Virtual"', "must be 'Auto', 'Path' or"
    ),
    "parts that S3 does not take": _bad(
        "s3.largeObjectChunkSize", 4, "should be greater than or equal to 5", "must be 5 or more"
    ),
    "section smuggled into the region of S3": _bad("s3.region", "a\n[x]", "must be a region like eu-central-1"),
    "Swift without Keystone": _bad(
        "swift.authURL", REMOVE, "spec.swift.authURL: Required value", "`spec.swift.authURL` must be set"
    ),
    "container with a slash": _bad("swift.container", "a/b", "must be the name of a container"),
    "section smuggled into the region of Swift": _bad("swift.region", "a\n[x]", ONE_LINE),
    "unknown endpoint type": _bad(
        "swift.endpointType", "public", 'supported values: "Public", "Internal", "Admin"', "must be 'Public',"
    ),
    "section smuggled into the volume type": _bad("cinder.volumeType", "a\n[x]", ONE_LINE),
    "option of a store with an equals sign": _bad_options(
        {"a = b": ""}, "each option must be a letter followed by up to 126"
    ),
    "section smuggled into an option of a store": _bad_options({"a": "b\n[DEFAULT]"}, ONE_LINE),
}
