"""Every reason that the operator can give for not going on, and how a user gets there: a table, one row each.

A row changes the good state below. `after` is what the kubelet would have found, where that is what it takes: the nodes
of these tests run nothing.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.api_client import ApiClient, Manifest, Refused
from tests.end_state import key_of
from tests.keystone import REGION
from tests.transitions.hints import AUTH_URL
from tests.transitions.home import CEPH_KEY, Home, config_map, secret
from tests.transitions.schema import ABSENT, KINDS, changed

API = next(iter(KINDS.values())).api_version
SERVICE, STORE, OTHER = "ImageService/glance", "ImageStore/central", "ImageStore/other"
Overlay = Mapping[str, Manifest | None]


def service(**identity: Any) -> Manifest:
    """Return an ImageService that is as it should be, with more of `identity`."""
    catalog = {"secretRef": {"name": "keystone-admin"}, "publicURL": "https://image.example"}
    return {
        "apiVersion": API,
        "kind": "ImageService",
        "metadata": {"name": "glance"},
        "spec": {
            "release": "2026.1",
            "defaultStore": "central",
            "api": {"replicas": 1},
            "database": {"secretRef": {"name": "glance-db"}},
            "identity": {"authURL": AUTH_URL, "secretRef": {"name": "glance-user"}, "catalog": catalog} | identity,
        },
    }


def store(name: str = "central", claim: str | None = "images", **spec: Any) -> Manifest:
    """Return an ImageStore on a claim, or on a directory of the pod where `claim` is None."""
    volume: Manifest = {"type": "EmptyDir", "emptyDir": {}}
    if claim:
        volume = {"type": "PersistentVolumeClaim", "persistentVolumeClaim": {"claimName": claim}}
    head = {"imageServiceRef": {"name": "glance"}, "type": "Filesystem", "filesystem": {"volume": volume}}
    return {"apiVersion": API, "kind": "ImageStore", "metadata": {"name": name}, "spec": head | spec}


def ceph_store(**ceph: Any) -> Manifest:
    """Return another ImageStore, in Ceph."""
    spec = {"imageServiceRef": {"name": "glance"}, "type": "Ceph", "ceph": {"secretRef": {"name": "ceph-key"}} | ceph}
    return {"apiVersion": API, "kind": "ImageStore", "metadata": {"name": "other"}, "spec": spec}


def swift_store() -> Manifest:
    """Return another ImageStore, in Swift."""
    swift = {"authURL": "https://keystone.example/v3", "secretRef": {"name": "store-user"}}
    spec = {"imageServiceRef": {"name": "glance"}, "type": "Swift", "swift": swift}
    return {"apiVersion": API, "kind": "ImageStore", "metadata": {"name": "other"}, "spec": spec}


def staging_on(claim: str) -> Manifest:
    """Return what `imports` says where imports are staged on a claim."""
    return {"staging": {"type": "PersistentVolumeClaim", "persistentVolumeClaim": {"claimName": claim}}}


GOOD = {key_of(manifest): manifest for manifest in (service(), store())}


@dataclass(frozen=True)
class ErrorState:
    """A reason, the object and the condition that carry it, and what has to be otherwise than in the good state.

    `overlay`: `Kind/name` -> the object to have in its place, None for none. `serves`: whether what ran before goes on.
    `beside` is in the good state too.
    `arrange` and `undo` act on what is not in the namespace; `patience` is how long mending may take, in seconds.
    """

    reason: str
    overlay: Overlay = field(default_factory=dict)
    on: str = SERVICE
    condition: str = "Ready"
    serves: bool = True
    after: Callable[[Home], None] | None = None
    arrange: Callable[[Home], None] | None = None
    undo: Callable[[Home], None] | None = None
    patience: float = 40.0
    name: str = ""
    beside: Overlay = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.reason} {self.name}".strip()


def having(*manifests: Manifest) -> Overlay:
    """Return the overlay that has these objects."""
    return {key_of(manifest): manifest for manifest in manifests}


def spec(path: str, value: Any, base: Manifest | None = None) -> Overlay:
    """Return the overlay with one field of the ImageService changed, `a.b` below its spec."""
    return having(changed(base or service(), ("spec", *path.split(".")), value))


def limit(what: str, most: str) -> Callable[[Home], None]:
    """Return a step that makes a ResourceQuota and waits until it counts."""

    def make(home: Home) -> None:
        quota = {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": QUOTA},
            "spec": {"hard": {what: most}},
        }
        home.put(quota)

        def counted() -> bool:
            found = home.find("ResourceQuota", QUOTA) or {}
            return what in found.get("status", {}).get("used", {})

        home.wait(counted, lambda: f"the quota of {what} counts")

    return make


def unlimit(home: Home) -> None:
    """Take the ResourceQuota away."""
    home.delete({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": QUOTA}})


QUOTA = "few"
FOREIGN_BUDGET: Manifest = {
    "apiVersion": "policy/v1",
    "kind": "PodDisruptionBudget",
    "metadata": {"name": "glance-api"},
    "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "theirs"}}},
}
DATABASE = "mysql+pymysql://glance:database-password@mariadb:3306/glance"
NOWHERE = {"no-node-has-this": "label"}
FSID = "79b70c32-df46-4741-93c0-8118ae2ae284"
CONF = "[global]\nfsid = b6c1e7f2-1f5e-4a7c-9f55-0a3d8f5f4c11\nmon_host = 192.0.2.1\n"
APPLICATION_CREDENTIAL = {"application_credential_id": "id", "application_credential_secret": "a-secret-of-it"}
ELSEWHERE = [{"maxSkew": 1, "topologyKey": "no-node-has-this", "whenUnsatisfiable": "DoNotSchedule"}]


def kubelet(component: str, status: Manifest) -> Callable[[Home], None]:
    """Return a step that waits for a pod which no node took, and says of it what a kubelet would."""

    def waiting(home: Home) -> Manifest | None:
        selector = f"app.kubernetes.io/component={component}"
        pods = home.around.api.list("Pod", home.name, labels=selector)
        return next((pod for pod in pods if not pod["spec"].get("nodeName")), None)

    def say(home: Home) -> None:
        pod = home.wait(lambda: waiting(home), lambda: f"a pod of {component} waits for a node")
        home.around.api.merge(pod, {"status": status}, subresource="status")

    return say


def container(name: str, state: Manifest) -> Manifest:
    """Return a pod's status with one container in that state."""
    plain = {"name": name, "image": "glance", "imageID": "", "ready": False, "restartCount": 0}
    return {"containerStatuses": [plain | {"state": state}]}


def job_failed(reason: str) -> Callable[[Home], None]:
    """Return a step that has the pod of a database Job end with a reason, as its script tells it."""
    told = {"exitCode": 1, "reason": "Error", "message": json.dumps({"reason": reason, "message": "It says so."})}
    return kubelet("database", {"phase": "Failed"} | container("database", {"terminated": told}))


def forbid_two_replicas(home: Home) -> None:
    """Have a policy of the cluster refuse Deployments of two replicas in this namespace; return when it is in force."""
    for manifest in _policy(home):
        home.around.api.create(manifest)
    labels = {"app": "probe"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "probe", "image": "probe"}]}}
    probe = {"replicas": 2, "selector": {"matchLabels": labels}, "template": pod}
    home.wait(lambda: _refused(home, probe), lambda: "the policy is in force")


def allow_two_replicas(home: Home) -> None:
    """Take the policy away."""
    for manifest in _policy(home):
        home.around.api.delete(manifest)


def _refused(home: Home, deployment: Manifest) -> bool:
    manifest = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "probe"}, "spec": deployment}
    api: ApiClient = home.around.api
    try:
        api.request("POST", api.resource("Deployment").path(home.name), manifest, query={"dryRun": "All"})
    except Refused:
        return True
    return False


def _policy(home: Home) -> list[Manifest]:
    rule = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["*"], "resources": ["deployments"]}
    here = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": home.name}}}
    matched = {"resourceRules": [rule]} | here
    head = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": f"{home.name}-few"}}
    validation = {"expression": "object.spec.replicas < 2", "message": "at most one replica here"}
    policy = {"matchConstraints": matched, "validations": [validation]}
    binding = {"policyName": f"{home.name}-few", "validationActions": ["Deny"]}
    kinds = {"ValidatingAdmissionPolicy": policy, "ValidatingAdmissionPolicyBinding": binding}
    return [head | {"kind": kind, "spec": wanted} for kind, wanted in kinds.items()]


def somebody_elses_endpoint(home: Home) -> None:
    """Have another public endpoint of the image service in Keystone."""
    keystone = home.keystone
    present = keystone.image_services()
    chosen = present or [
        keystone.call("POST", "/services", {"service": {"type": "image", "name": "glance"}})["service"]
    ]
    entry = {"service_id": chosen[0]["id"], "region_id": REGION, "interface": "public", "url": ELSES_URL}
    keystone.call("POST", "/endpoints", {"endpoint": entry})


def no_other_endpoint(home: Home) -> None:
    """Take that endpoint away."""
    keystone = home.keystone
    for entry in keystone.endpoints():
        if entry["url"] == ELSES_URL:
            keystone.call("DELETE", f"/endpoints/{entry['id']}")


ELSES_URL = "https://somebody-elses.example"


def a_reader(home: Home) -> None:
    """Have a user in Keystone that may log in and no more."""
    home.around.keystone.create_user("reader", "reader-password", "service", "reader")


def user(name: str, username: str, password: str) -> Overlay:
    """Return the overlay with another user in a Secret."""
    return having(secret(name, username=username, password=password, project_name="service"))


def while_another_release_rolls_out(_home: Home) -> None:
    """Leave it at that: a change of the release goes on moving long after the error is told."""


def block_the_service(home: Home) -> None:
    """Break the ImageService, if there is one, before anything else comes: a store may be attached until it is seen."""
    home.put(secret("glance-db", uri=DATABASE))

    def blocked() -> bool:
        found = home.find(*SERVICE.split("/"))
        told = (found or {}).get("status", {}).get("conditions", [])
        return found is None or any(c["type"] == "Ready" and c["reason"] == "SecretKeyMissing" for c in told)

    home.wait(blocked, lambda: "the ImageService tells that its Secret is broken")


READER = ("reader", "reader-password")
NOT_TEXT = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "glance-user"}}
NOT_TEXT |= {"data": dict.fromkeys(("username", "password", "project_name"), "//79")}
TWO = spec("api.replicas", 2)

ERROR_STATES = (
    ErrorState("InvalidExtraConfig", spec("extraConfig", {"DEFAULT": {"no_such_option": "1"}})),
    ErrorState("ReservedStoreID", having(store("other", storeID="debug")), "ImageStore/other"),
    ErrorState("StoreIDConflict", having(store("other", storeID="central")), "ImageStore/other"),
    ErrorState("StoreNotShared", {**TWO, **having(store("other", claim=None))}, "ImageStore/other"),
    ErrorState("DefaultStoreAmbiguous", {**spec("defaultStore", ABSENT), **having(store("other"))}),
    ErrorState(
        "DefaultStoreOfAnotherService",
        {**spec("defaultStore", "other"), **having(store("other", imageServiceRef={"name": "another"}))},
    ),
    ErrorState("DefaultStoreNotFound", spec("defaultStore", "other")),
    ErrorState("DefaultStoreNotUsable", having(store(claim="no-such-claim"))),
    ErrorState("NoStore", {**spec("defaultStore", ABSENT), STORE: None}),
    ErrorState("ClaimNotFound", having(store(claim="no-such-claim")), STORE),
    ErrorState("ClaimNotFound", spec("imports", staging_on("no-such-claim")), name="of staging"),
    ErrorState("ConfigMapNotFound", having(ceph_store(configMapRef={"name": "no-such-map"})), OTHER),
    ErrorState("InvalidCephCredentials", having(ceph_store(), secret("ceph-key", password="no-shape")), OTHER),
    ErrorState(
        "InvalidCephConfig",
        having(ceph_store(fsid=FSID, configMapRef={"name": "ceph-etc"}), config_map("ceph-etc", **{"ceph.conf": CONF})),
        OTHER,
    ),
    ErrorState("MonitorsMissing", having(ceph_store(), secret("ceph-key", key=CEPH_KEY)), OTHER),
    ErrorState(
        "ApplicationCredentialUnsupported",
        {**spec("release", "2025.1"), **having(swift_store(), secret("store-user", **APPLICATION_CREDENTIAL))},
        OTHER,
        after=while_another_release_rolls_out,
    ),
    ErrorState("NoNodeMatches", having(store("other", edge={"nodeSelector": NOWHERE})), OTHER, "Attached"),
    ErrorState("ImageServiceNotFound", {SERVICE: None}, STORE, serves=False),
    ErrorState(
        "ImageServiceBlocked",
        having(secret("glance-db", uri=DATABASE), store("other")),
        OTHER,
        arrange=block_the_service,
    ),
    ErrorState("NameTaken", {**having(FOREIGN_BUDGET), **TWO}),
    ErrorState("RefusedByAPIServer", TWO, arrange=forbid_two_replicas, undo=allow_two_replicas, patience=90.0),
    ErrorState("ForbiddenByAPIServer", TWO, arrange=limit("count/poddisruptionbudgets.policy", "0"), undo=unlimit),
    ErrorState("SecretNotFound", {"Secret/glance-db": None}),
    ErrorState("SecretNotFound", {"Secret/glance-user": None}, name="of the service user"),
    ErrorState("SecretNotFound", {"Secret/keystone-admin": None}, name="of the administrator"),
    ErrorState("SecretKeyMissing", having(secret("glance-db", uri=DATABASE))),
    ErrorState("SecretKeyMissing", spec("database.secretRef.key", "no-such-key"), name="in the spec"),
    ErrorState("InvalidDatabaseURL", having(secret("glance-db", url="sqlite:////tmp/glance"))),
    ErrorState("InvalidCredentials", having(NOT_TEXT)),
    *(
        ErrorState(reason, spec("api.nodeSelector", NOWHERE), condition="DatabaseReady", after=job_failed(reason))
        for reason in (
            "DatabaseUnreachable",
            "DatabaseAccessDenied",
            "DatabaseMissing",
            "DatabaseNewerThanRelease",
            "DatabaseNotGlance",
            "MigrationFailed",
        )
    ),
    ErrorState("PodNotScheduled", spec("api.topologySpreadConstraints", ELSEWHERE)),
    ErrorState("NoNodeMatches", spec("api.nodeSelector", NOWHERE), condition="DatabaseReady", name="of the database"),
    *(
        ErrorState(
            reason,
            spec("api.topologySpreadConstraints", ELSEWHERE),
            after=kubelet("api", container("glance-api", state)),
        )
        for reason, state in {
            "ImageNotPulled": {"waiting": {"reason": "ImagePullBackOff"}},
            "PodNotStarted": {"waiting": {"reason": "CreateContainerConfigError"}},
            "PodOutOfMemory": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
            "PodCrashing": {"terminated": {"exitCode": 1, "reason": "Error"}},
        }.items()
    ),
    ErrorState("PodsRefused", TWO, arrange=limit("pods", "1"), undo=unlimit),
    ErrorState("ScaledToZero", spec("api.replicas", 0), serves=False),
    ErrorState("KeystoneUnreachable", spec("identity.authURL", "http://127.0.0.1:9/v3")),
    ErrorState("KeystoneRefused", spec("identity.authURL", f"{AUTH_URL}/not-here")),
    ErrorState("CredentialsRefused", user("glance-user", "glance", "not-it")),
    ErrorState("NotAuthorized", user("keystone-admin", *READER), arrange=a_reader),
    ErrorState("RoleMissing", user("glance-user", *READER), arrange=a_reader),
    ErrorState(
        "EndpointConflict",
        spec("identity.catalog.publicURL", "https://other.example"),
        arrange=somebody_elses_endpoint,
        undo=no_other_endpoint,
    ),
)

OUT_OF_REACH = {
    "InvalidSpec": "admission refuses it: only an object stored under an older CRD can be so (tests/unit)",
    "InvalidValue": "admission and the checks of the Secrets refuse it first (tests/unit/render)",
    "ProgressDeadlineExceeded": "Kubernetes takes ten minutes to say so (tests/unit/status)",
    "ReplicasUnavailable": "pods have to be gone for a minute, after a roll-out (tests/unit/status)",
    "DeploymentPaused": "somebody else's act on a child (tests of drift)",
    **dict.fromkeys(
        (
            *("MonitorsUnreachable", "KeyringRefused", "WrongCluster", "PoolNotFound", "StorageNotResponding"),
            *("NotMounted", "ReadOnly", "DirectoryMissing", "ProbeFailed"),
        ),
        "only pods that run can tell (tests/glance, tests/e2e)",
    ),
    "HoldsImages": "only pods that run can count images (tests/unit/reconcile, tests/e2e)",
    "ImagesNotCounted": "here somebody always answers in place of the pods (tests/unit/reconcile)",
    "CatalogEntriesLeft": "an Event, no condition: the object is gone then (tests/integration)",
}
"""Reason -> why no row here leads to it, and where it is tried instead."""
