"""A namespace with an operator of its own behind a fault proxy of its own: one of many, side by side."""

import contextlib
import copy
import json
import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from tests.api_client import ApiClient, Manifest
from tests.end_state import EndState, end_state, key_of, versions
from tests.faults.forked import ForkedOperator, Nursery
from tests.faults.proxy import FaultProxy
from tests.faults.scenarios import KINDS, OWN_KINDS, Step, prepared
from tests.keystone import KeystoneServer
from tests.keystone_stand_in import KeystoneStandIn

KEYSTONE = "keystone"
USER = "user"
LEASE_SECONDS = {"lease_duration_seconds": "120", "lease_renew_deadline_seconds": "110", "lease_retry_seconds": "5"}
"""Each operator of a lane has a Lease of its own, so nothing here waits for one to run out."""
CATALOGUE, AGENTS = "Catalogue/image", "Agents/nodes"
_HASHES = re.compile(r'("imageservice\.dev/spec-hash": "|ReplicaSet \\"[-a-z0-9]+-)[0-9a-f]+')
"""Hashes of a child as a whole, its owner's uid included, and of a pod template that names a Secret by its hash."""
EMPTY_SECONDS = 60


class Died(AssertionError):  # noqa: N818 - what happened
    """An operator ended that nobody had killed."""


class Lane:
    """The namespace, the proxy, the operators of one lane. `keystone` is how the test sees the lane's own Keystone."""

    def __init__(
        self, api: ApiClient, proxy: FaultProxy, keystone: KeystoneServer, nursery: Nursery, directory: Path
    ) -> None:
        self.api = api
        self.proxy = proxy
        self.nursery = nursery
        self.keystone = keystone
        self.namespace = f"lane-{uuid.uuid4().hex[:8]}"
        self.operators: list[ForkedOperator] = []
        self.starts = 0
        self._directory = directory
        path = keystone.auth_url.removeprefix(keystone.root_url)
        self._auth_url = proxy.add_server(KEYSTONE, keystone.root_url) + path

    def prepare(self) -> None:
        """Make the namespace and what every scenario takes for granted."""
        self.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}})
        self.nursery.programs.behave(self.namespace, "quick")
        for manifest in prepared(self.namespace):
            self.api.apply(manifest, manager=USER)

    def start_operator(self, **settings: str) -> ForkedOperator:
        """Start one more operator of this namespace, with a Lease that nobody else wants."""
        self.starts += 1
        own = {"namespaces": self.namespace, "lease_namespace": self.namespace, "lease_name": f"lease-{self.starts}"}
        settings = {"log_level": "INFO", **LEASE_SECONDS, **own, **settings}
        operator = self.nursery.start(self.proxy.kubeconfig, self._directory / f"{self.namespace}.log", **settings)
        self.operators.append(operator)
        return operator

    def dead(self) -> list[ForkedOperator]:
        """Take the operators that have ended out of the list and return them."""
        ended = [operator for operator in self.operators if not operator.running]
        self.operators = [operator for operator in self.operators if operator not in ended]
        return ended

    def kill_operators(self) -> None:
        """End all operators at once."""
        for operator in self.operators:
            operator.kill()
        for operator in self.operators:
            operator.wait()
        self.operators = []

    def carry_out(self, step: Step) -> None:
        """Do what the user does in a step."""
        for manifest in step.manifests(self._auth_url):
            self.api.apply(manifest | {"metadata": {"namespace": self.namespace} | manifest["metadata"]}, manager=USER)
        for kind, name in step.delete:
            live = self.api.find(kind, self.namespace, name)
            if live is not None:
                self.api.delete(live)

    def objects(self, kinds: tuple[str, ...] = KINDS) -> list[Manifest]:
        """Return the objects of some kinds, ours and the user's."""
        return [manifest for kind in kinds for manifest in self.api.list(kind, self.namespace)]

    def state(self) -> EndState:
        """Return the state of the namespace, of its catalogue in Keystone, and of what its nodes were told."""
        objects = self.objects()
        return {**self._comparable(objects), CATALOGUE: self._catalogue(), AGENTS: self._agents(objects)}

    def own_state(self) -> EndState:
        """Return the part of `state` that is quick to read: the objects that the operator serves, with their status."""
        return self._comparable(self.objects(OWN_KINDS))

    def versions(self) -> dict[str, str]:
        """Return the resourceVersion of every object."""
        return versions(self.objects())

    def _comparable(self, objects: list[Manifest]) -> EndState:
        """Return the end state without what only this lane can have: its Keystone's URL and what is a hash of that."""
        text = json.dumps(end_state(objects, self.namespace)).replace(self._auth_url, "<auth URL>")
        state: EndState = json.loads(_HASHES.sub(lambda found: found[1] + "<hash>", text))
        return state

    def _catalogue(self) -> Manifest:
        """Return the image services and endpoints in the Keystone of this lane."""
        services = self.keystone.image_services()
        kept = ("region_id", "interface", "url", "enabled", "managed_by", "managed_for")
        endpoints = [
            {key: str(entry.get(key)).replace(self.namespace, "<namespace>") for key in kept}
            for service in services
            for entry in self.keystone.endpoints(service["id"])
        ]
        return {"services": [service["name"] for service in services], "endpoints": endpoints}

    def _agents(self, objects: list[Manifest]) -> Manifest:
        """Return which images nodes were told to have, by policy and node.

        Those of a policy that is gone nobody can tell any more. Who may fetch is not looked at: with all there, it is
        taken back some time later.
        """
        policies = {found["metadata"]["name"] for found in objects if found["kind"] == "CachePolicy"}
        alive = {found["metadata"]["uid"] for found in objects if found["kind"] == "ImagePrecache"}
        return {
            place: {told["name"]: told["images"] for uid, told in sets.items() if uid in alive}
            for place, sets in self.nursery.programs.sets(self.namespace).items()
            if place.partition("/")[0] in policies
        }

    def wait_empty(self) -> None:
        """Wait until nothing that a scenario made is left; the nodes get new disks."""
        made = (*OWN_KINDS, "Pod", "ReplicaSet", "Job")
        deadline = time.monotonic() + EMPTY_SECONDS
        while left := [key_of(manifest) for manifest in self.objects(made)]:
            if time.monotonic() > deadline:
                raise AssertionError(f"{self.namespace} is not empty after {EMPTY_SECONDS} s: {left}")
            time.sleep(0.2)
        self.nursery.programs.wipe(self.namespace)

    def close(self) -> None:
        """End the operators and delete the namespace, without waiting for it."""
        self.kill_operators()
        for live in self.objects(OWN_KINDS):  # no operator is left to take a finalizer off
            self.api.merge(live, {"metadata": {"finalizers": None}})
        for kind, name in (("Namespace", self.namespace), ("PersistentVolume", f"{self.namespace}-images")):
            with contextlib.suppress(Exception):
                self.api.delete(self.api.get(kind, None, name))


@contextlib.contextmanager
def open_lane(api: ApiClient, keystone: KeystoneServer, nursery: Nursery, directory: Path) -> Iterator[Lane]:
    """Give a lane, with all it needs in its namespace; it is taken away with the block.

    Of the Keystone stand-in it gets a cloud of its own; a real Keystone it takes for its own as a whole.
    """
    seen = copy.copy(keystone)
    if isinstance(keystone, KeystoneStandIn):
        seen.auth_url = keystone.cloud(uuid.uuid4().hex)
    else:
        keystone.empty_the_catalog()
    directory.mkdir(parents=True, exist_ok=True)
    with FaultProxy(api, directory) as proxy:
        lane = Lane(api, proxy, seen, nursery, directory)
        try:
            lane.prepare()
            yield lane
        finally:
            lane.close()
