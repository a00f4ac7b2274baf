"""The API on a real API server: what it takes, what it refuses and in which words, and how kubectl shows it."""

import copy
import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.cluster import Cluster
from tests.unit.api_caches import IMAGE, IN_MEMORY, cache_policy, image_precache
from tests.unit.api_stores import typed_store
from tests.unit.test_api_agreement import places
from tests.unit.test_api_samples import (
    BAD,
    GOOD,
    MODELS,
    REMOVE,
    TAKEN_BY_THE_API_SERVER,
    changed,
    image_service,
    image_store,
    in_spec,
)

from imageservice.api.reading import InvalidObject, read
from imageservice.api.v1alpha1 import (
    CACHE_POLICY_CONDITIONS,
    IMAGE_PRECACHE_CONDITIONS,
    IMAGE_SERVICE_CONDITIONS,
    IMAGE_STORE_CONDITIONS,
    KINDS,
)
from imageservice.manifest import Manifest

pytestmark = pytest.mark.cluster

CRDS = Path(__file__).parents[2] / "crds"
NAMESPACE = "api-admission"
Completed = subprocess.CompletedProcess[str]


class Api:
    """The API server as this file uses it: one namespace, through kubectl."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def kubectl(self, *arguments: str | Path, stdin: str | None = None, check: bool = True) -> Completed:
        return self.cluster.kubectl("-n", NAMESPACE, *arguments, stdin=stdin, check=check, timeout=120)

    def send(self, verb: str, *manifests: Manifest, options: tuple[str, ...] = (), check: bool = False) -> Completed:
        document = json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})
        return self.kubectl(verb, *options, "-f", "-", stdin=document, check=check)

    def store(self, manifest: Manifest) -> Manifest:
        """Create an object and return it as stored; take away an older one of the name first."""
        self.kubectl("delete", "--ignore-not-found", manifest["kind"], manifest["metadata"]["name"])
        self.send("create", manifest, check=True)
        return self.read(manifest)

    def read(self, manifest: Manifest) -> Manifest:
        answer = self.kubectl("get", manifest["kind"], manifest["metadata"]["name"], "-o", "json")
        stored: Manifest = json.loads(answer.stdout)
        return stored


@pytest.fixture(scope="module")
def api(control_plane: Cluster) -> Iterator[Api]:
    """The API server with our kinds, applied client-side as a first user would."""
    control_plane.kubectl("apply", "-f", CRDS)
    control_plane.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", CRDS)
    control_plane.kubectl("create", "namespace", NAMESPACE)
    yield Api(control_plane)
    control_plane.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def test_the_crds_are_as_wanted_after_client_side_apply(api: Api) -> None:
    assert api.kubectl("diff", "-f", CRDS).stdout == ""


def test_the_crds_are_as_wanted_after_server_side_apply(api: Api) -> None:
    api.kubectl("apply", "--server-side", "--force-conflicts", "-f", CRDS)
    assert api.kubectl("diff", "--server-side", "--force-conflicts", "-f", CRDS).stdout == ""


def test_the_api_server_finds_no_fault_in_the_schemas(api: Api) -> None:
    for crd in api.cluster.get("crd")["items"]:
        if crd["spec"]["group"] == "imageservice.dev":
            conditions = {condition["type"]: condition["status"] for condition in crd["status"]["conditions"]}
            assert conditions["Established"] == "True"
            assert "NonStructuralSchema" not in conditions


@pytest.mark.parametrize("options", [(), ("--server-side",)], ids=["client-side", "server-side"])
def test_the_good_objects_are_taken(api: Api, options: tuple[str, ...]) -> None:
    answer = api.send("apply", *GOOD.values(), options=(*options, "--dry-run=server"))
    assert (answer.returncode, answer.stderr) == (0, "")
    assert len(answer.stdout.splitlines()) == len(GOOD)


@pytest.fixture(scope="module")
def refusals(api: Api) -> Mapping[str, str]:
    """What the API server says of each bad object; all are shown to it at once."""
    manifests = {name: renamed(bad.manifest, number) for number, (name, bad) in enumerate(BAD.items())}
    answer = api.send("create", *manifests.values(), options=("--dry-run=server", "--validate=ignore"))
    return refusals_by_case(answer, manifests)


def renamed(manifest: Manifest, number: int) -> Manifest:
    """Give an object a name of its own, except where the name is what is bad about it."""
    if manifest["metadata"]["name"] in ("a.b", "a" * 64):
        return manifest
    return changed(manifest, ("metadata", "name"), f"case-{number}")


def refusals_by_case(answer: Completed, manifests: Mapping[str, Manifest]) -> dict[str, str]:
    """Return what kubectl was told of each object, by the case that the object stands for."""
    told: dict[str, str] = {}
    case = ""
    cases = {manifest["metadata"]["name"]: name for name, manifest in manifests.items()}
    for line in answer.stderr.splitlines():
        of = re.search(r'"([-.a-z0-9]+)" is invalid:', line)
        case = cases[of[1]] if of else case
        told[case] = f"{told.get(case, '')}{line}\n"
    return told


@pytest.mark.parametrize("name", BAD)
def test_a_bad_object_is_refused_with_a_sentence_that_says_what_is_allowed(
    refusals: Mapping[str, str], name: str
) -> None:
    assert BAD[name].sentence in refusals[name]


def test_what_cel_cannot_tell_is_taken_for_the_operator_to_say(api: Api) -> None:
    manifests = [renamed(bad.manifest, number) for number, bad in enumerate(TAKEN_BY_THE_API_SERVER.values())]
    answer = api.send("create", *manifests, options=("--dry-run=server",))
    assert (answer.returncode, answer.stderr) == (0, "")


def test_an_unknown_field_is_refused_by_its_name(api: Api) -> None:
    answer = api.kubectl(
        "create", "--dry-run=server", "-f", "-", stdin=json.dumps(image_service(imagez="x")), check=False
    )
    assert 'unknown field "spec.imagez"' in answer.stderr


@dataclass(frozen=True)
class Change:
    """One change to a stored object. `refusal` is empty where it is allowed."""

    before: Manifest
    path: str
    value: Any
    refusal: str = ""


def nfs_store(**spec: Any) -> Manifest:
    return image_store("store", {"type": "NFS", "nfs": {"server": "nfs.example", "path": "/a"}}, **spec)


IN_REGION_TWO = changed(image_service(), in_spec("identity.region"), "RegionTwo")
ID, REGION = "`storeID` must not change", "`region` must not change"
CHANGES: dict[str, Change] = {
    "type of a store": Change(
        typed_store("Ceph"), "type", "S3", "`type` must not change: make a new ImageStore and copy the images"
    ),
    "monitors, user and secret": Change(
        typed_store("Ceph"), "ceph", {"secretRef": {"name": "new"}, "user": "new", "monitors": ["192.0.2.1"]}
    ),
    "options of a store": Change(typed_store("Swift"), "extraConfig", {"swift_store_retry_get_count": "3"}),
    "service of a store": Change(nfs_store(), "imageServiceRef.name", "b", "`imageServiceRef` must not change"),
    "id added to a store": Change(nfs_store(), "storeID", "b", ID),
    "id of a store": Change(nfs_store(storeID="a"), "storeID", "b", ID),
    "id taken from a store": Change(nfs_store(storeID="a"), "storeID", REMOVE, ID),
    "region added": Change(image_service(), "identity.region", "RegionTwo", REGION),
    "region taken away": Change(IN_REGION_TWO, "identity.region", REMOVE, REGION),
    "another volume": Change(nfs_store(), "filesystem.volume", {"type": "EmptyDir", "emptyDir": {}}),
    "description": Change(nfs_store(), "description", "now with words"),
    "release": Change(image_service(), "release", "2026.2"),
    "the region that it has anyway": Change(image_service(), "identity.region", "RegionOne"),
    "Keystone": Change(image_service(), "identity.authURL", "https://keystone.example/v3"),
    "another import method": Change(
        image_service(imports={"methods": ["copy-image"]}), "imports.methods", ["glance-direct"]
    ),
    "staging": Change(image_service(), "imports.staging", {"type": "EmptyDir", "emptyDir": {}}),
    "default store": Change(image_service(), "defaultStore", "central"),
    "target of a policy": Change(cache_policy(), "targetRef", {"kind": "ImageStore", "name": "dcn0"}),
    "volume of a policy": Change(IN_MEMORY, "volume", {"type": "Ephemeral", "ephemeral": {}}),
    "images of a precache": Change(image_precache(), "images", [{"id": IMAGE}]),
}


@pytest.fixture(scope="module")
def refused_changes(api: Api) -> Mapping[str, str]:
    """What the API server says of each change to a stored object."""
    before = {name: renamed(change.before, number) for number, (name, change) in enumerate(CHANGES.items())}
    api.send("create", *before.values(), check=True)
    after = {name: changed(before[name], in_spec(change.path), change.value) for name, change in CHANGES.items()}
    return refusals_by_case(api.send("replace", *after.values()), after)


@pytest.mark.parametrize("name", [name for name, change in CHANGES.items() if change.refusal])
def test_a_field_that_must_not_change_cannot_be_changed_added_or_taken_away(
    refused_changes: Mapping[str, str], name: str
) -> None:
    assert CHANGES[name].refusal in refused_changes[name]


@pytest.mark.parametrize("name", [name for name, change in CHANGES.items() if not change.refusal])
def test_a_field_that_may_change_is_changed(refused_changes: Mapping[str, str], name: str) -> None:
    assert name not in refused_changes


def test_the_id_that_a_store_has_anyway_may_be_written_down_and_left_out_again(api: Api) -> None:
    api.store(image_store("own-id"))
    for manifest in (image_store("own-id", storeID="own-id"), image_store("own-id")):
        answer = api.send("replace", manifest)
        assert answer.returncode == 0, answer.stderr


def test_defaults_are_seen_in_the_stored_object(api: Api) -> None:
    spec = api.store(image_service("defaults"))["spec"]
    assert spec["api"] == {"replicas": 2, "processes": 2, "threads": 16, "terminationGracePeriodSeconds": 600}
    assert spec["database"]["secretRef"]["key"] == "url"
    assert spec["identity"]["region"] == "RegionOne"
    assert spec["identity"]["catalog"] == {"register": False, "deletionPolicy": "Delete"}
    assert spec["imports"] == {"decompression": False}
    assert "formats" not in spec
    assert api.store(image_store("defaults"))["spec"]["filesystem"]["sparseUpload"] is False
    assert api.store(cache_policy("defaults"))["spec"] == cache_policy()["spec"] | {
        "highWatermarkPercent": 90,
        "lowWatermarkPercent": 80,
        "pruneIntervalSeconds": 300,
        "prefetchIntervalSeconds": 300,
        "stallTimeSeconds": 600,
        "processes": 1,
        "exposure": {"joinSiteService": False},
        "updateStrategy": {"maxUnavailable": 1},
        "terminationGracePeriodSeconds": 600,
    }
    assert api.store(image_precache("defaults"))["spec"] == image_precache()["spec"] | {
        "parallelism": 10,
        "timeoutSeconds": 3600,
        "backoff": {"initialSeconds": 30, "maxSeconds": 3600},
        "suspend": False,
    }


@pytest.mark.parametrize("options", [(), ("--server-side",)], ids=["client-side", "server-side"])
def test_an_applied_object_has_no_difference_to_its_file(api: Api, options: tuple[str, ...]) -> None:
    # kubectl diff writes a file named after each object: the longest name that the API takes is too long for that.
    samples = [manifest for manifest in GOOD.values() if len(manifest["metadata"]["name"]) < 200]
    api.kubectl("delete", ",".join(kind.resource.plural for kind in KINDS), "--all")
    api.send("apply", *samples, options=options, check=True)
    difference = api.send("diff", *samples, options=options)
    assert (difference.returncode, difference.stdout, difference.stderr) == (0, "", "")


def test_a_new_object_waits_for_the_operator_with_every_condition_unknown(api: Api) -> None:
    for manifest, types in (
        (image_service("new"), IMAGE_SERVICE_CONDITIONS),
        (image_store("new"), IMAGE_STORE_CONDITIONS),
        (cache_policy("new"), CACHE_POLICY_CONDITIONS),
        (image_precache("new"), IMAGE_PRECACHE_CONDITIONS),
    ):
        conditions = api.store(manifest)["status"]["conditions"]
        assert [condition["type"] for condition in conditions] == list(types)
        assert {condition["status"] for condition in conditions} == {"Unknown"}
        waiting = api.kubectl("wait", "--for=condition=Ready", "--timeout=1s", manifest["kind"], "new", check=False)
        assert waiting.returncode != 0


def test_the_status_takes_what_the_operator_writes(api: Api) -> None:
    api.store(image_service("status"))
    status = {
        "observedGeneration": 1,
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "Ready",
                "message": "",
                "observedGeneration": 1,
                "lastTransitionTime": "2026-11-22T10:00:00Z",
            }
        ],
        "release": "2026.1",
        "replicas": 2,
        "readyReplicas": 2,
        "selector": "app.kubernetes.io/name=glance",
        "endpoints": [{"interface": "Public", "url": "https://image.example"}],
        "stores": [
            {"name": "a", "id": "a", "type": "Filesystem", "default": True, "attached": True, "ready": True},
        ],
    }
    patch = json.dumps({"status": status})
    api.kubectl("patch", "imageservice", "status", "--subresource=status", "--type=merge", "-p", patch)
    shown = api.kubectl("get", "imgsvc", "status", "-o", "wide", "--no-headers").stdout.split()
    assert shown[:6] == ["status", "True", "Ready", "2026.1", "2", "2"]
    assert "https://image.example" in shown
    api.kubectl("wait", "--for=condition=Ready", "--timeout=5s", "imageservice/status")


READY = {
    "type": "Ready",
    "status": "True",
    "reason": "Ready",
    "message": "All conditions hold.",
    "observedGeneration": 1,
    "lastTransitionTime": "2026-11-22T10:00:00Z",
}


def test_the_status_of_caches_takes_what_the_operator_writes(api: Api) -> None:
    policy = {
        "observedGeneration": 1,
        "conditions": [READY],
        "nodes": {"desired": 3, "ready": 2, "updated": 1},
        "cache": {"usedBytes": 2**40, "maxBytes": 2**50, "usedPercent": 0, "images": 9},
        "imageServiceName": "glance",
        "url": "http://status-cache.openstack.svc.cluster.local:9292",
    }
    failing = {"node": "c-7", "imageID": IMAGE, "reason": "HashMismatch", "message": "", "attempts": 4}
    precache = {
        "observedGeneration": 1,
        "conditions": [READY],
        "nodes": {"desired": 5000, "cached": 1, "fetching": 2, "pending": 3, "failed": 4, "unavailable": 4990},
        "images": [{"id": IMAGE, "name": "a\nb", "sizeBytes": 2**40, "cachedNodes": 1, "failedNodes": 0}] * 64,
        "imagesTotal": 500,
        "bytesDone": 2**40,
        "bytesTotal": 2**41,
        "progressPercent": 50,
        "estimatedSecondsLeft": 340,
        "failingNodes": [failing] * 20,
        "revision": "5b1f0c9a3e7d2468",
        "nextWindow": "2026-11-23T21:00:00Z",
    }
    shown = {}
    for manifest, status in ((cache_policy("status"), policy), (image_precache("status"), precache)):
        api.store(manifest)
        kind, patch = manifest["kind"].lower(), json.dumps({"status": status})
        api.kubectl("patch", kind, "status", "--subresource=status", "--type=merge", "-p", patch)
        assert api.read(manifest)["status"] == status
        shown[kind] = api.kubectl("get", kind, "status", "-o", "wide", "--no-headers").stdout.split()
        api.kubectl("wait", "--for=condition=Ready", "--timeout=5s", f"{kind}/status")
    assert shown["cachepolicy"][:8] == ["status", "True", "Ready", "glance", "3", "2", "200Gi", "0"]
    assert shown["cachepolicy"][8:10] == ["9", policy["url"]]
    assert shown["imageprecache"][:6] == ["status", "True", "Ready", "1", "5000", "50"]
    assert shown["imageprecache"][6:10] == ["2", "3", "4", "340"]


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ("cachepolicy.spec.volume.hostPath.path", "owned by root"),
        ("cachepol.spec.updateStrategy.maxUnavailable", "Unit: nodes, or percent of them. Default: 1."),
        ("imageprecache.spec.windows.schedule", "Example: 0 22 * * MON-FRI."),
        ("precache.spec.parallelism", "Default: 10. Example: 20%."),
        ("imageservice.spec.api.terminationGracePeriodSeconds", "Unit: seconds. Default: 600. Example: 900."),
        ("imageservice.spec.identity.catalog.deletionPolicy", "ENUM: Delete Retain"),
        ("imageservice.spec.extraConfig", "<map[string]map[string]string>"),
        ("imageservice.spec.formats.disk", "all that Glance knows. Example: [raw, qcow2, iso]."),
        ("imageservice.spec.imports.conversion", "where the default store is of type Ceph"),
        ("imageservice.spec.imports.methods", "Default: glance-direct and copy-image."),
        ("imageservice.spec.imports.webDownload.allowedHosts", "name a Service in full"),
        ("imageservice.status.conditions.message", "for people"),
        ("imagestore.spec.filesystem.volume.persistentVolumeClaim", "claimName <string> -required-"),
        ("imgstore.spec.storeID", "Default: the ImageStore's `metadata.name`"),
    ],
)
def test_kubectl_explain_is_the_manual_of_a_nested_field(api: Api, field: str, told: str) -> None:
    explained = " ".join(api.kubectl("explain", field).stdout.split())
    assert told in explained


HEADS = {
    "cachepolicy": "NAME READY REASON TARGET DESIRED READY NODES MAX SIZE USED % AGE",
    "imageprecache": "NAME READY REASON CACHED NODES PROGRESS % AGE",
    "imageservice": "NAME READY REASON RELEASE READY REPLICAS DESIRED SITES AGE",
    "imagestore": "NAME READY REASON SERVICE TYPE STORE ID AGE",
}


def test_kubectl_get_glance_lists_every_kind_by_its_columns(api: Api) -> None:
    for manifest in (image_service("listed"), image_store("listed"), cache_policy("listed"), image_precache("listed")):
        api.store(manifest)
    listed = [" ".join(line.split()) for line in api.kubectl("get", "glance").stdout.splitlines()]
    assert [line for line in listed if line.startswith("NAME")] == list(HEADS.values())
    for kind, head in HEADS.items():
        below = listed[listed.index(head) + 1 :]
        assert any(line.startswith(f"{kind}.imageservice.dev/listed Unknown Pending") for line in below)
    for short_name in ("imgsvc", "imgstore", "cachepol", "precache"):
        assert "Waiting for the operator" in api.kubectl("get", short_name, "listed", "-o", "wide").stdout


def test_stores_are_found_by_their_service(api: Api) -> None:
    api.store(image_store("of-glance"))
    api.store(image_store("of-other", imageServiceRef={"name": "other"}))
    found = api.kubectl("get", "imgstore", "--field-selector=spec.imageServiceRef.name=other", "-o", "name").stdout
    assert found.split() == ["imagestore.imageservice.dev/of-other"]


def test_caches_are_found_by_their_target_and_precaches_by_their_service(api: Api) -> None:
    api.store(cache_policy("of-edge", targetRef={"kind": "ImageStore", "name": "edge"}))
    api.store(cache_policy("of-service", targetRef={"kind": "ImageService", "name": "edge"}))
    api.store(image_precache("of-edge", imageServiceRef={"name": "edge"}))
    selector = "--field-selector=spec.targetRef.kind=ImageStore,spec.targetRef.name=edge"
    found = api.kubectl("get", "cachepol", selector, "-o", "name").stdout
    found += api.kubectl("get", "precache", "--field-selector=spec.imageServiceRef.name=edge", "-o", "name").stdout
    assert found.split() == ["cachepolicy.imageservice.dev/of-edge", "imageprecache.imageservice.dev/of-edge"]


def test_kubectl_scale_changes_the_replicas(api: Api) -> None:
    api.store(image_service("scaled"))
    api.kubectl("scale", "imageservice/scaled", "--current-replicas=2", "--replicas=5")
    assert api.read(image_service("scaled"))["spec"]["api"]["replicas"] == 5
    refused = api.kubectl("scale", "imageservice/scaled", "--replicas=65", check=False)
    assert "less than or equal to 64" in refused.stderr


def test_items_that_the_user_takes_out_of_a_list_go_whoever_put_them_there_first(api: Api) -> None:
    """Server-side apply keeps items of a set that nobody applied: a default inside one could never be taken out."""

    def applied(**imports: Any) -> Manifest:
        api.send("apply", image_service("lists", imports=imports), options=("--server-side",), check=True)
        found: Manifest = api.read(image_service("lists"))["spec"]["imports"]
        return found

    properties = {"properties": {"a": "b"}}
    assert applied(injectProperties=properties)["injectProperties"]["ignoreUserRoles"] == ["admin"]
    mine = applied(methods=["copy-image"], injectProperties={**properties, "ignoreUserRoles": ["manager"]})
    assert mine["methods"] == ["copy-image"]
    assert mine["injectProperties"]["ignoreUserRoles"] == ["manager"]
    nobody = applied(injectProperties={**properties, "ignoreUserRoles": []})
    assert nobody["injectProperties"]["ignoreUserRoles"] == []


ODD_VALUES = (True, -1, 10**6, [], {"a": 1}, "", "A b", "a\n", "a" * 5000)


def bent(manifest: Manifest) -> Iterator[Manifest]:
    """Return an object once for each place of its spec and each odd value, with that value in that place."""
    for place in places(manifest["spec"])[1:]:
        for value in ODD_VALUES:
            yield changed(manifest, ("spec", *place), copy.deepcopy(value))


@pytest.mark.parametrize("name", ["full service", "store on NFS", "store in a sized EmptyDir"])
def test_the_api_server_and_the_operator_agree_on_every_odd_value_in_every_place(api: Api, name: str) -> None:
    objects: dict[str, Manifest] = {}
    for number, manifest in enumerate(bent(GOOD[name])):
        manifest["metadata"] = {"name": f"odd-{number}"}
        objects[f"odd-{number}"] = manifest
    shown = api.send("create", *objects.values(), options=("--dry-run=server", "--validate=ignore", "-o", "name"))
    taken = {line.rsplit("/", 1)[-1] for line in shown.stdout.split()}
    read_by_operator = {
        key
        for key, manifest in objects.items()
        if not isinstance(read(MODELS[manifest["kind"]], manifest), InvalidObject)
    }
    differing = {key: objects[key]["spec"] for key in taken ^ read_by_operator}
    assert differing == {}
    assert 0 < len(taken) < len(objects)
