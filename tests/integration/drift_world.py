"""An ImageService with an edge and a cache, all their children, and what is measured when somebody meddles with one."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests import end_state
from tests.api_client import ApiClient, Manifest
from tests.integration.drift_fields import Field, owned
from tests.integration.objects import API, Namespace, image_store, secret
from tests.operator_process import OperatorProcess
from tests.waiting import wait_for

EDGE_LABEL = "imageservice.dev/edge"
OPERATOR = "image-service-operator"
"""The field manager of the operator."""
MEDDLER = "meddler"
"""The field manager of who changes what is not theirs."""

BOUND_SECONDS = 30.0
"""Every repair is done by then, or it counts as not done. How long they do take is told at the end."""
QUIET_SECONDS = 1.2
"""Longer than the pause that the operator makes between two writes of a status."""
LOOK_SECONDS = 0.005

_WRITES = ("apply", "create", "delete", "replace", "apply_status", "apply_finalizers")

BUCKET, FAR = "bucket", "far"
"""The stores that there are beside the default one: one in S3, and one in Ceph with an edge."""
FSID = "5b1ebd4e-6b0b-4c8a-8a9c-1d2f3a4b5c6d"
REPORTS = {FAR: {"reason": "Reachable", "message": "The pool can be read.", "fsid": FSID}}
"""What the store monitors say."""


def stores() -> list[Manifest]:
    """Return these stores with their Secrets."""
    s3 = {"endpointURL": "https://s3.example", "bucket": "images", "secretRef": {"name": BUCKET}}
    ceph = {"pool": "images", "monitors": ["192.0.2.1:6789"], "secretRef": {"name": FAR}}
    edge = {"replicas": 2, "nodeSelector": {"kubernetes.io/os": "linux"}}
    found = [
        secret(BUCKET, access_key="images", secret_key="secret-key"),
        secret(FAR, userID="glance", userKey="AQBQYWlnkH8vBxAAqKq5bLXyM2Zb9sYQm4mJVA=="),
        image_store(BUCKET, type="S3", s3=s3),
        image_store(FAR, type="Ceph", ceph=ceph, edge=edge),
    ]
    for store in found[2:]:
        del store["spec"]["filesystem"]
    return found


POLICY, PRECACHE = "nodes", "golden"
MAKERS = (("ImageService", "glance"), ("CachePolicy", POLICY))
"""The objects that have children."""


def caches() -> list[Manifest]:
    """Return a CachePolicy on one node and an ImagePrecache."""
    target = {"kind": "ImageService", "name": "glance"}
    policy = {"targetRef": target, "nodeSelector": {"kubernetes.io/hostname": "fake-1"}, "maxSize": "10Gi"}
    resources = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "1Gi"}}
    policy |= {"resources": resources, "prefetcherResources": resources}
    precache = {"imageServiceRef": {"name": "glance"}, "images": [{"name": "ubuntu-26.04"}]}
    return [
        {"apiVersion": API, "kind": "CachePolicy", "metadata": {"name": POLICY}, "spec": policy},
        {"apiVersion": API, "kind": "ImagePrecache", "metadata": {"name": PRECACHE}, "spec": precache},
    ]


@dataclass
class Ledger:
    """What was tried: how often with which outcome, and how long the repairs took, in seconds."""

    outcomes: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    def repaired(self, seconds: float) -> None:
        self.outcomes["repaired"] += 1
        self.seconds.append(seconds)

    def percentile(self, part: float) -> float:
        """Return the time within which that part of the repairs was done (nearest rank)."""
        ranked = sorted(self.seconds)
        return ranked[max(0, -int(-part * len(ranked)) - 1)]

    def __str__(self) -> str:
        outcomes = ", ".join(f"{count} {outcome}" for outcome, count in self.outcomes.most_common())
        times = ", ".join(f"{name} {self.percentile(part):.3f} s" for name, part in _PERCENTILES.items())
        return f"{self.outcomes.total()} drifts tried: {outcomes}. Time to repair: {times}."


_PERCENTILES = {"p50": 0.5, "p99": 0.99, "max": 1.0}


class World:
    """The ImageService `glance` and its cache in a namespace of their own, served by an operator of their own.

    `lost`: it was left in a state that no further test can begin with.
    """

    def __init__(self, namespace: Namespace, api: ApiClient, operator: OperatorProcess, ledger: Ledger) -> None:
        self.namespace = namespace
        self.api = api
        self.operator = operator
        self.ledger = ledger
        self.lost = False
        listable = [resource for resource in api.resources() if resource.namespaced and "list" in resource.verbs]
        self._resources = [resource for resource in listable if resource.kind not in end_state.DERIVED]

    def service(self, kind: str = "ImageService", name: str = "glance") -> Manifest:
        return self.api.get(kind, self.namespace.name, name)

    def deployment(self) -> Manifest:
        return self.api.get("Deployment", self.namespace.name, "glance-api")

    def conditions(self, kind: str = "ImageService", name: str = "glance") -> dict[str, Manifest]:
        return {c["type"]: c for c in self.service(kind, name).get("status", {}).get("conditions", [])}

    def children(self) -> list[Manifest]:
        """Return all that ImageService and CachePolicy control, of whatever kind, in the order of their names."""
        uids = {self.service(kind, name)["metadata"]["uid"] for kind, name in MAKERS}
        return sorted((item for item in self._everything() if _controller(item) in uids), key=end_state.key_of)

    def _everything(self) -> list[Manifest]:
        return [item for resource in self._resources for item in self.api.list_of(resource, self.namespace.name)]

    def now(self, child: Manifest) -> Manifest | None:
        return self.api.find(child["kind"], self.namespace.name, child["metadata"]["name"])

    def wait_ready(self, kind: str = "ImageService", name: str = "glance") -> None:
        """Wait until the object is Ready for its newest spec, and so are all sites that it has."""

        def ready() -> bool:
            live = self.service(kind, name)
            found = self.conditions(kind, name).get("Ready", {})
            told = found.get("status") == "True" and found.get("observedGeneration") == live["metadata"]["generation"]
            return told and all(site["ready"] for site in live["status"].get("sites", []))

        self.wait(ready, f"the {kind} is Ready")

    def wait_reason(self, reason: str, type_: str = "Accepted") -> Manifest:
        """Wait until a condition of the ImageService has a reason; return the condition."""

        def found() -> Manifest | None:
            condition = self.conditions().get(type_, {})
            return condition if condition.get("reason") == reason else None

        condition: Manifest = self.wait(found, f"{type_} has the reason {reason}")
        return condition

    def wait_told(self, reason: str, child: Manifest) -> None:
        """Wait until it is told for a reason that a child is in trouble, where that is told: an edge has a row."""
        edge = child["metadata"]["labels"].get(EDGE_LABEL)
        maker = next(owner["kind"] for owner in child["metadata"]["ownerReferences"] if owner["controller"])
        name = f"{child['kind']} `{child['metadata']['name']}`"

        def told() -> bool:
            sites = self.service()["status"].get("sites", [])
            rows = [row for row in sites if row["edge"] and row["name"] == edge]
            found = rows[0] if rows else self.conditions(maker, dict(MAKERS)[maker]).get("Accepted", {})
            return found.get("reason") == reason and name in found.get("message", "")

        self.wait(told, f"{reason} is told of {end_state.key_of(child)}")

    def wait(self, condition: Callable[[], Any], what: str) -> Any:
        """Wait until `condition` returns something true and return that; fail with the conditions that do not hold."""
        try:
            return wait_for(condition, BOUND_SECONDS, what, pause=LOOK_SECONDS)
        except AssertionError as late:
            told = [c for kind, name in MAKERS for c in self.conditions(kind, name).values() if c["status"] != "True"]
            raise AssertionError(f"{late}; {told}") from None

    def versions(self) -> dict[str, str]:
        return end_state.versions(self._everything())

    def settle(self, quiet_seconds: float = QUIET_SECONDS) -> dict[str, str]:
        """Wait until no resourceVersion in the namespace has moved for a while; return them."""
        deadline = time.monotonic() + BOUND_SECONDS + quiet_seconds
        seen, since = self.versions(), time.monotonic()
        while time.monotonic() - since < quiet_seconds:
            time.sleep(0.2)
            now = self.versions()
            if now != seen:
                moved = {key for key in now.keys() | seen.keys() if now.get(key) != seen.get(key)}
                assert time.monotonic() < deadline, f"still being written: {moved}"
                seen, since = now, time.monotonic()
        return seen

    def writes(self) -> Counter[str]:
        """Return how many writes the operator has sent so far, Events and its Lease left out, by verb and kind."""
        counted: Counter[str] = Counter()
        for line in self.operator.fetch("/metrics").splitlines():
            if not line.startswith("image_service_operator_rest_client_requests_total{"):
                continue
            labels = dict(part.split("=") for part in line[line.index("{") + 1 : line.index("}")].split(","))
            verb, kind = labels["verb"].strip('"'), labels["kind"].strip('"')
            if verb in _WRITES and kind not in ("Event", "Lease"):
                counted[f"{verb} {kind}"] += int(float(line.split()[-1]))
        return counted

    def wait_repaired(self, child: Manifest) -> None:
        """Wait until all that the operator had put into a child is there again; note the time from now until then."""
        wanted, began = intent(child), time.monotonic()
        self.wait(lambda: holds(self.now(child), wanted), f"{end_state.key_of(child)} is repaired")
        self.ledger.repaired(time.monotonic() - began)

    def wait_back(self, child: Manifest) -> None:
        """The same where it takes its time for reasons that are not the operator's; the time does not count."""
        self.wait(lambda: holds(self.now(child), intent(child)), f"{end_state.key_of(child)} is back")
        self.ledger.outcomes["made good as soon as it could be"] += 1


def _controller(manifest: Manifest) -> str | None:
    owners = manifest["metadata"].get("ownerReferences", [])
    return next((owner["uid"] for owner in owners if owner.get("controller")), None)


def intent(child: Manifest) -> dict[Field, Any]:
    """Return all that the operator has put into a child: owned field -> value."""
    return {field: field.value(child) for field in owned(child, OPERATOR)}


def holds(live: Manifest | None, wanted: dict[Field, Any]) -> bool:
    """Tell whether an object is there, is not being deleted, and has these values."""
    if live is None or "deletionTimestamp" in live["metadata"]:
        return False
    return all(field.value(live) == value for field, value in wanted.items())
