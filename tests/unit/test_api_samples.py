"""Objects that the API takes, and objects that it refuses with a sentence: read by the operator here.

`tests/integration/test_api_admission.py` shows the same objects to a real API server.
"""

import copy
from dataclasses import dataclass
from typing import Any

import pytest
from tests.unit.api_caches import BAD_CACHES, GOOD_CACHES, TOLD_BY_THE_OPERATOR_ALONE
from tests.unit.api_stores import BAD_STORES, FULL_CEPH, FULL_S3, GOOD_STORES, NAME, ONE_LINE, REMOVE, URL

from imageservice.api.reading import InvalidObject, read
from imageservice.api.v1alpha1 import API_VERSION, KINDS, AnyKind, ImageService
from imageservice.manifest import Manifest

Path = tuple[str | int, ...]
MODELS: dict[str, type[AnyKind]] = {kind.resource.kind: kind for kind in KINDS}


def image_service(name: str = "glance", **spec: Any) -> Manifest:
    """Return the smallest ImageService, with more spec as given."""
    return {
        "apiVersion": API_VERSION,
        "kind": "ImageService",
        "metadata": {"name": name},
        "spec": {
            "release": "2026.1",
            "database": {"secretRef": {"name": "glance-db"}},
            "identity": {
                "authURL": "http://keystone.example:5000/v3",
                "secretRef": {"name": "glance-service-user"},
                "catalog": {"register": False},
            },
            **spec,
        },
    }


def image_store(name: str = "central", volume: dict[str, Any] | None = None, **spec: Any) -> Manifest:
    """Return the smallest ImageStore, with more spec as given."""
    return {
        "apiVersion": API_VERSION,
        "kind": "ImageStore",
        "metadata": {"name": name},
        "spec": {
            "imageServiceRef": {"name": "glance"},
            "type": "Filesystem",
            "filesystem": {"volume": volume or {"type": "EmptyDir", "emptyDir": {}}},
            **spec,
        },
    }


FULL_IMAGE_SERVICE = image_service(
    "full",
    image="registry.example:5000/openstack/glance@sha256:" + "a" * 64,
    imagePullSecrets=[{"name": "registry-login"}, {"name": "other.login"}],
    defaultStore="central",
    api={
        "replicas": 0,
        "processes": 64,
        "threads": 256,
        "terminationGracePeriodSeconds": 86400,
        "resources": {"requests": {"cpu": 1, "memory": "0.5Gi"}, "limits": {"cpu": "1000m", "memory": "1Gi"}},
        "nodeSelector": {"node-role.kubernetes.io/controller": "", "zone": "a.b_c"},
        "tolerations": [
            {"operator": "Exists"},
            {"key": "example.com/gpu", "value": "", "effect": "NoSchedule"},
            {"key": f"{'a' * 253}/{'b' * 63}"},
            {"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0},
        ],
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"},
            {"maxSkew": 2, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"},
        ],
    },
    identity={
        "authURL": "https://[2001:db8::1]:5000/identity/v3",
        "region": "Région 1 $HOME %(x)s [DEFAULT]",
        "secretRef": {"name": "glance-service-user"},
        "memcachedServers": ["memcached-0.memcached:11211", "192.0.2.1:11211", "inet6:[2001:db8::2]:11211"],
        "catalog": {
            "register": True,
            "secretRef": {"name": "keystone-admin"},
            "publicURL": "https://image.example",
            "internalURL": "http://glance.svc:9292/",
            "deletionPolicy": "Retain",
        },
    },
    formats={"disk": ["raw", "qcow2", "iso"], "container": ["bare", "compressed"]},
    imports={
        "methods": ["glance-direct", "web-download", "copy-image", "glance-download"],
        "webDownload": {
            "allowedHosts": ["mirror.example", "192.0.2.7", "2001:db8::7"],
            "allowedSchemes": ["https", "http"],
            "allowedPorts": [443, 65535, 1],
        },
        "conversion": {"outputFormat": "raw"},
        "decompression": True,
        "injectProperties": {
            "properties": {"hw_disk_bus": "scsi", "com.example/a-1": "$HOME %(x)s 'a': \"b\" [c] # ;"},
            "ignoreUserRoles": ["admin", "image uploader"],
        },
        "staging": {"type": "PersistentVolumeClaim", "persistentVolumeClaim": {"claimName": "staging"}},
    },
    extraConfig={
        "DEFAULT": {"image_size_cap": "1099511627776", "debug": ""},
        "keystone_authtoken": {"memcache_security_strategy": "%(x)s $y [z] # ;"},
    },
)

GOOD: dict[str, Manifest] = {
    "smallest service": image_service(),
    "full service": FULL_IMAGE_SERVICE,
    "service that leaves imports as they come": image_service(
        "as-it-comes",
        formats={"disk": ["qcow2"], "container": ["docker"]},
        imports={
            "methods": ["copy-image"],
            "conversion": {"outputFormat": "Unchanged"},
            "injectProperties": {"properties": {"a": ":"}, "ignoreUserRoles": []},
            "staging": {"type": "EmptyDir", "emptyDir": {"sizeLimit": "50Gi"}},
        },
    ),
    "service with the longest name": image_service(".".join(["a" * 62] * 4) + "a"),
    "store in an EmptyDir": image_store(),
    "store in a sized EmptyDir": image_store("sized", {"type": "EmptyDir", "emptyDir": {"sizeLimit": 1073741824}}),
    "store on a claim": image_store(
        "claim", {"type": "PersistentVolumeClaim", "persistentVolumeClaim": {"claimName": "images"}}
    ),
    "store on NFS": image_store(
        "nfs",
        {"type": "NFS", "nfs": {"server": "2001:db8::1", "path": "/exports/our images/..really"}},
        description="SSD in 東京: $HOME %(x)s [DEFAULT]",
        storeID="dcn_0-a",
    ),
    **GOOD_STORES,
    **GOOD_CACHES,
    "store with the longest name that is an id": image_store("a" * 63),
    "store with a longer name and an id": image_store("a" * 100 + ".b", storeID="b"),
}


@dataclass(frozen=True)
class Bad:
    """One change that makes a good object bad. `sentence` is what the API server says.

    `reading` is what the operator says of a stored object like it; None where it takes the object.
    """

    base: Manifest
    path: Path
    value: Any
    sentence: str
    reading: str | None = ""

    @property
    def manifest(self) -> Manifest:
        return changed(self.base, self.path, self.value)

    @property
    def told_by_operator(self) -> str | None:
        """The sentence of the operator: that of the API server where no other is given."""
        return self.sentence if self.reading == "" else self.reading


def changed(base: Manifest, path: Path, value: Any) -> Manifest:
    """Return a copy of an object with the value at `path` replaced, added or (REMOVE) taken away."""
    manifest = copy.deepcopy(base)
    parent: Any = manifest
    for step in path[:-1]:
        parent = parent.setdefault(step, {}) if isinstance(parent, dict) else parent[step]
    if value is REMOVE:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    return manifest


def in_spec(path: str) -> Path:
    """Return the path of a field of the spec, from words with dots; a number is a place in a list."""
    return ("spec", *(int(step) if step.isdigit() else step for step in path.split(".")))


def service(path: str, value: Any, sentence: str, reading: str | None = "") -> Bad:
    return Bad(FULL_IMAGE_SERVICE, in_spec(path), value, sentence, reading)


def store(path: str, value: Any, sentence: str, reading: str | None = "") -> Bad:
    return Bad(GOOD["store on NFS"], in_spec(path), value, sentence, reading)


REGISTERING = "must be set where `register` is true"
HOST = "must be a host name in lower case or an IP address, without scheme, port and path"
PROPERTY_NAME = "each name must be up to 255 letters, digits, `_`, `-`, `.` and `/`"
PROPERTY = "must be printable ASCII without commas and without a blank at either end"
FREE = "each name must be free: Glance keeps names that begin with os_glance_"

BAD: dict[str, Bad] = {
    "unknown release": service(
        "release",
        "2024.2",
        'supported values: "2025.1", "2025.2", "2026.1", "2026.2"',
        "`spec.release` must be one of 2025.1, 2025.2, 2026.1, 2026.2",
    ),
    "no release": service("release", REMOVE, "spec.release: Required value", "`spec.release` must be set"),
    "image with a space": service("image", "glance 2026", "must be a container image"),
    "image with a line break": service("image", "glance:1\nx", "must be a container image"),
    "pull secret twice": service(
        "imagePullSecrets", [{"name": "a"}, {"name": "a"}], "imagePullSecrets[1]: Duplicate value", None
    ),
    "default store in capitals": service("defaultStore", "Central", NAME),
    "too many replicas": service(
        "api.replicas", 65, "should be less than or equal to 64", "`spec.api.replicas` must be 64 or less"
    ),
    "negative replicas": service(
        "api.replicas", -1, "should be greater than or equal to 0", "`spec.api.replicas` must be 0 or more"
    ),
    "replicas as text": service(
        "api.replicas", "2", "must be of type integer", "`spec.api.replicas` must be a whole number"
    ),
    "no process": service(
        "api.processes", 0, "should be greater than or equal to 1", "`spec.api.processes` must be 1 or more"
    ),
    "too many threads": service("api.threads", 257, "less than or equal to 256", "must be 256 or less"),
    "no time to end": service(
        "api.terminationGracePeriodSeconds", 29, "should be greater than or equal to 30", "must be 30 or more"
    ),
    "cpu over its limit": service(
        "api.resources.requests.cpu", "1001m", "`requests.cpu` must not be more than `limits.cpu`"
    ),
    "memory over its limit": service(
        "api.resources.limits.memory", "536870911", "`requests.memory` must not be more than `limits.memory`"
    ),
    "cpu in words": service("api.resources.requests.cpu", "2 cores", "must be an amount of CPU: cores like 2"),
    "memory in GB": service("api.resources.requests.memory", "1GB", "must be a number of bytes"),
    "negative memory": service("api.resources.requests.memory", -1, "must be a number of bytes", "must be text"),
    "node label with a space": service(
        "api.nodeSelector", {"a b": "c"}, "each key must be the key of a label, like topology.kubernetes.io/zone"
    ),
    "node label with too long a prefix": service(
        "api.nodeSelector", {f"{'a' * 254}/b": "c"}, "each key must have at most 253 characters before the `/`"
    ),
    "taint with too long a prefix": service(
        "api.tolerations.1.key", f"{'a' * 254}/b", "must have at most 253 characters before the `/`"
    ),
    "node label value with a space": service("api.nodeSelector.zone", "a b", "must be the value of a label"),
    "toleration of nothing": service("api.tolerations.0", {}, "`key` must be set unless `operator` is Exists"),
    "toleration that exists with a value": service(
        "api.tolerations.0.value", "a", "`value` must not be set where `operator` is Exists"
    ),
    "toleration for a time of no effect": service(
        "api.tolerations.0.tolerationSeconds", 1, "`tolerationSeconds` must be set only where `effect` is NoExecute"
    ),
    "spread over nothing": service(
        "api.topologySpreadConstraints.0.maxSkew", 0, "greater than or equal to 1", "must be 1 or more"
    ),
    "no database": service("database", REMOVE, "spec.database: Required value", "`spec.database` must be set"),
    "secret in another namespace by a path": service("database.secretRef.name", "../other/db", NAME),
    "secret key with a slash": service("database.secretRef.key", "a/b", "must be a key of a Secret"),
    "Keystone without scheme": service("identity.authURL", "keystone:5000", URL),
    "password in the URL of Keystone": service("identity.authURL", "http://user:pw@keystone/v3", URL),
    "section smuggled into the URL": service("identity.authURL", "http://keystone/v3\n[DEFAULT]", URL),
    "section smuggled into the region": service("identity.region", "a\n[DEFAULT]\ndebug = true", ONE_LINE),
    "carriage return in the region": service("identity.region", "a\rb", ONE_LINE),
    "empty region": service("identity.region", "", "should be at least 1 chars long", "must have at least 1 char"),
    "memcached without port": service("identity.memcachedServers", ["memcached"], "must be host:port"),
    "memcached twice": service("identity.memcachedServers", ["a:1", "a:1"], "Servers[1]: Duplicate value", None),
    "nothing about the catalogue": service(
        "identity.catalog", REMOVE, "spec.identity.catalog: Required value", "`spec.identity.catalog` must be set"
    ),
    "catalogue without a user": service("identity.catalog.secretRef", REMOVE, f"`secretRef` {REGISTERING}"),
    "catalogue without a public URL": service("identity.catalog.publicURL", REMOVE, f"`publicURL` {REGISTERING}"),
    "public URL of another scheme": service("identity.catalog.publicURL", "ftp://image.example", URL),
    "unknown deletion policy": service(
        "identity.catalog.deletionPolicy",
        "Keep",
        'supported values: "Delete", "Retain"',
        "must be 'Delete' or 'Retain'",
    ),
    "disk format in capitals": service("formats.disk", ["RAW"], 'Unsupported value: "RAW"', "must be 'ami', 'ari'"),
    "disk format twice": service("formats.disk", ["raw", "raw"], "formats.disk[1]: Duplicate value", None),
    "no disk format at all": service("formats.disk", [], "should have at least 1 items", "at least 1 item"),
    "converted to a format that is not allowed": service(
        "formats.disk", ["qcow2"], "`formats.disk` must have the format in `imports.conversion.outputFormat`"
    ),
    "converted images that are not allowed": service(
        "formats.container", ["ovf"], "`formats.container` must have `bare` where images are converted"
    ),
    "unknown import method": service("imports.methods", ["web"], 'Unsupported value: "web"', "must be 'glance-direct'"),
    "no import method": service("imports.methods", [], "should have at least 1 items", "at least 1 item"),
    "web-download from anywhere": service(
        "imports.webDownload",
        REMOVE,
        "`webDownload.allowedHosts` must be set where `methods` has web-download or glance-download: without a list of "
        "hosts, any user of the cloud could have Glance fetch from addresses inside your network",
    ),
    "web-download without hosts": service(
        "imports.webDownload.allowedHosts", REMOVE, "allowedHosts: Required value", "allowedHosts` must be set"
    ),
    "web-download from no host": service(
        "imports.webDownload.allowedHosts", [], "should have at least 1 items", "at least 1 item"
    ),
    "hosts for a method that is off": service(
        "imports.methods", ["copy-image"], "`webDownload` must be set only where `methods` has web-download"
    ),
    "host with a port": service("imports.webDownload.allowedHosts", ["mirror.example:80"], HOST),
    "host in capitals": service("imports.webDownload.allowedHosts", ["Mirror.example"], HOST),
    "URL for a host": service("imports.webDownload.allowedHosts", ["https://mirror.example"], HOST),
    "two hosts in one": service("imports.webDownload.allowedHosts", ["a,b"], HOST),
    "host that closes the list": service("imports.webDownload.allowedHosts", ["a]"], HOST),
    "scheme that is none": service(
        "imports.webDownload.allowedSchemes", ["file"], 'Unsupported value: "file"', "must be 'https' or 'http'"
    ),
    "port zero": service(
        "imports.webDownload.allowedPorts", [0], "should be greater than or equal to 1", "must be 1 or more"
    ),
    "port as text": service(
        "imports.webDownload.allowedPorts", ["443"], "must be of type integer", "must be a whole number"
    ),
    "conversion off by a word that YAML reads as false": service(
        "imports.conversion.outputFormat", False, "must be of type string", "must be 'raw', 'qcow2'"
    ),
    "property with a colon in its name": service(
        "imports.injectProperties.properties", {"trait:HW_CPU": "required"}, PROPERTY_NAME
    ),
    "property with a comma in its name": service("imports.injectProperties.properties", {"a,b": "c"}, PROPERTY_NAME),
    "property with a quote in its name": service("imports.injectProperties.properties", {"'a": "c"}, PROPERTY_NAME),
    "property without a name": service("imports.injectProperties.properties", {"": "c"}, PROPERTY_NAME),
    "property of Glance's own": service("imports.injectProperties.properties", {"os_glance_stage_host": "c"}, FREE),
    "property that is an attribute": service("imports.injectProperties.properties", {"owner": "c"}, FREE),
    "property that smuggles another in": service("imports.injectProperties.properties", {"a": "b,owner:c"}, PROPERTY),
    "property with a blank at its end": service("imports.injectProperties.properties", {"a": "b "}, PROPERTY),
    "property of two lines": service("imports.injectProperties.properties", {"a": "b\n[database]"}, PROPERTY),
    "no property to inject": service(
        "imports.injectProperties.properties", {}, "should have at least 1 properties", "at least 1 item"
    ),
    "two roles in one": service(
        "imports.injectProperties.ignoreUserRoles", ["admin,member"], "must be the name of a role: printable ASCII"
    ),
    "staging without its member": service(
        "imports.staging.persistentVolumeClaim",
        REMOVE,
        "`persistentVolumeClaim` must be set where `type` is PersistentVolumeClaim, and only there",
    ),
    "staging in two places": service(
        "imports.staging.emptyDir", {}, "`emptyDir` must be set where `type` is EmptyDir, and only there"
    ),
    "section with a bracket": service("extraConfig", {"a]b": {}}, "each section must be up to 63 letters, digits"),
    "option with an equals sign": service(
        "extraConfig", {"DEFAULT": {"a = b": ""}}, "each option must be a letter followed by up to 126 letters, digits"
    ),
    "section smuggled into a value": service("extraConfig.DEFAULT.a", "b\n[database]\nconnection = x", ONE_LINE),
    "number as a value": service("extraConfig.DEFAULT.a", 1, "must be of type string", "must be text"),
    "too long a value": service("extraConfig.DEFAULT.a", "a" * 2001, "may not be more than 2000", "at most 2000 char"),
    "too many options": service(
        "extraConfig.DEFAULT", {f"o{i}": "" for i in range(65)}, "must have at most 64 items", "at most 64 items"
    ),
    "store without a service": store(
        "imageServiceRef", REMOVE, "spec.imageServiceRef: Required value", "`spec.imageServiceRef` must be set"
    ),
    "store of an unknown type": store(
        "type",
        "NFS",
        'supported values: "Filesystem", "Ceph",',
        "`spec.type` must be 'Filesystem', 'Ceph',",
    ),
    "store with the member of another type": store(
        "type", "Ceph", "`filesystem` must be set where `type` is Filesystem, and only there"
    ),
    "store with two members": Bad(
        FULL_CEPH,
        in_spec("s3"),
        FULL_S3["spec"]["s3"],
        "`s3` must be set where `type` is S3, and only there",
    ),
    **{name: Bad(*case) for name, case in BAD_STORES.items()},
    "store without its member": store(
        "filesystem", REMOVE, "`filesystem` must be set where `type` is Filesystem, and only there"
    ),
    "volume without its member": store(
        "filesystem.volume.nfs", REMOVE, "`nfs` must be set where `type` is NFS, and only there"
    ),
    "volume with two members": store(
        "filesystem.volume.emptyDir", {}, "`emptyDir` must be set where `type` is EmptyDir, and only there"
    ),
    "store id in capitals": store("storeID", "Central", "must be lower-case letters, digits, `-` and `_`"),
    "store id of Glance's own": store("storeID", "os_glance_tasks_store", "must not start with os_glance_"),
    "too long a store id": store("storeID", "a" * 64, "may not be more than 63", "must have at most 63 characters"),
    "two lines of description": store("description", "one\ntwo", ONE_LINE),
    "NFS server with a space": store("filesystem.volume.nfs.server", "a b", "must be a host name or an IP address"),
    "relative NFS path": store("filesystem.volume.nfs.path", "exports", "must be an absolute path on one line"),
    "NFS path that climbs": store("filesystem.volume.nfs.path", "/a/../b", "must not have `..` as a part of the path"),
    "volume without any room": Bad(
        GOOD["store in a sized EmptyDir"],
        in_spec("filesystem.volume.emptyDir.sizeLimit"),
        0,
        "must be one byte or more",
    ),
    "store named with a dot and without an id": Bad(
        GOOD["store in an EmptyDir"],
        ("metadata", "name"),
        "a.b",
        "`storeID` must be set where `metadata.name` is longer than 63 characters or has a `.`",
    ),
    "store with a long name and without an id": Bad(
        GOOD["store in an EmptyDir"],
        ("metadata", "name"),
        "a" * 64,
        "`storeID` must be set where `metadata.name` is longer than 63 characters or has a `.`",
    ),
    **{name: Bad(*case) for name, case in BAD_CACHES.items()},
}
TAKEN_BY_THE_API_SERVER = {name: Bad(*case) for name, case in TOLD_BY_THE_OPERATOR_ALONE.items()}


@pytest.mark.parametrize("name", GOOD)
def test_the_operator_reads_what_the_api_takes(name: str) -> None:
    manifest = GOOD[name]
    read_back = read(MODELS[manifest["kind"]], manifest)
    assert not isinstance(read_back, InvalidObject)
    assert read_back.metadata.name == manifest["metadata"]["name"]


@pytest.mark.parametrize(
    "name", [name for name, bad in {**BAD, **TAKEN_BY_THE_API_SERVER}.items() if bad.told_by_operator is not None]
)
def test_the_operator_says_of_a_stored_bad_object_what_is_allowed(name: str) -> None:
    bad = {**BAD, **TAKEN_BY_THE_API_SERVER}[name]
    answer = read(MODELS[bad.base["kind"]], bad.manifest)
    assert isinstance(answer, InvalidObject)
    assert bad.told_by_operator is not None
    assert bad.told_by_operator in answer.message
    assert "\n" not in answer.message


@pytest.mark.parametrize("name", [name for name, bad in BAD.items() if bad.told_by_operator is None])
def test_the_operator_bears_what_only_the_api_server_refuses(name: str) -> None:
    bad = BAD[name]
    assert not isinstance(read(MODELS[bad.base["kind"]], bad.manifest), InvalidObject)


def test_the_operator_never_repeats_a_wrong_value() -> None:
    secret = "http://glance:hunter2@keystone/v3"  # a password where none belongs
    for path in ("identity.authURL", "identity.catalog.publicURL", "image", "defaultStore", "release"):
        answer = read(ImageService, changed(FULL_IMAGE_SERVICE, in_spec(path), secret))
        assert isinstance(answer, InvalidObject)
        assert "hunter2" not in answer.message
