"""One operator with the namespaces that it serves, behind a fault proxy or not."""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench.process import MeasuredProcess
from tests.api_client import ApiClient, Manifest
from tests.caches_stand_in import Running
from tests.end_state import EndState, differences, end_state, key_of, versions
from tests.end_state import read as read_everything
from tests.faults.proxy import FaultProxy
from tests.faults.scenarios import CHILD_KINDS, OWN_KINDS, prepared
from tests.ports import free_port
from tests.waiting import wait_for

USER = "user"
READY_SECONDS = 150
QUIET_SECONDS = 4.0


@dataclass
class Side:
    """An operator, its namespaces and its proxy, if it has one. `memory` and `sockets` are read at each rest.

    `auth_url` gives each namespace a Keystone of its own; `programs` answer in place of those in the pods.
    """

    name: str
    api: ApiClient
    kubeconfig: Path
    directory: Path
    namespaces: tuple[str, ...]
    auth_url: Callable[[str], str]
    programs: Running
    proxy: FaultProxy | None = None
    operator: MeasuredProcess | None = None
    starts: int = 0
    memory: list[float] = field(default_factory=list)
    sockets: list[int] = field(default_factory=list)

    def prepare(self) -> None:
        """Make the namespaces with what an ImageService refers to."""
        for namespace in self.namespaces:
            self.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
            self.restore(namespace)

    def restore(self, namespace: str) -> None:
        """Make the user's Secrets and claims there, and the agents on the nodes, be as they were at first."""
        self.programs.behave(namespace, "full")
        for manifest in prepared(namespace):
            self.api.apply(manifest, manager=USER)

    def start(self) -> None:
        """Start the operator; after a kill it takes its predecessor's Lease over when that has run out."""
        settings = {
            "NAMESPACES": ",".join(self.namespaces),
            "LEASE_NAME": self.name,
            "LEASE_NAMESPACE": self.namespaces[0],
            "LEASE_DURATION_SECONDS": "6",
            "LEASE_RENEW_DEADLINE_SECONDS": "4",
            "LEASE_RETRY_SECONDS": "1",
            "RESYNC_SECONDS": "20",
            "HEALTH_HOST": "127.0.0.1",
            "HEALTH_PORT": str(free_port()),
            "MONITOR_URL": self.programs.monitor_url,
            "AGENT_URL": self.programs.agent_url,
        }
        program = str(Path(sys.executable).with_name("image-service-operator"))
        environment = os.environ | {f"IMAGE_SERVICE_OPERATOR_{name}": value for name, value in settings.items()}
        command = [program, "run", "--kubeconfig", str(self.kubeconfig)]
        self.operator = MeasuredProcess(command, environment, self.directory / f"{self.name}.log", self.directory)
        self.starts += 1

    def kill(self) -> None:
        """End the operator without a chance to clean up, and start another."""
        assert self.operator
        self.operator.kill()
        self.start()

    def revive(self) -> bool:
        """Start the operator again if it ended: a Lease lost in a fault ends it, as it should."""
        assert self.operator
        if self.operator.is_alive():
            return False
        self.start()
        return True

    def at_home(self, namespace: str, manifest: Manifest) -> Manifest:
        """Return the manifest in this namespace, with the Keystone of this side."""
        placed = manifest | {"metadata": manifest["metadata"] | {"namespace": namespace}}
        if placed["kind"] == "ImageService":
            identity = placed["spec"]["identity"] | {"authURL": self.auth_url(namespace)}
            placed = placed | {"spec": placed["spec"] | {"identity": identity}}
        return placed

    def children(self, namespace: str) -> list[Manifest]:
        """Return what objects of ours control there."""
        controlled = "app.kubernetes.io/managed-by=image-service-operator"
        return [item for kind in CHILD_KINDS for item in self.api.list(kind, namespace, labels=controlled)]

    def wait_settled(self, good: tuple[Manifest, ...], alive: Callable[[], object]) -> None:
        """Wait until all is Ready in every namespace and nothing moves. `alive` is called now and then."""

        def settled() -> bool:
            alive()
            return all(self._is_ready(namespace, len(good)) for namespace in self.namespaces) and self._is_quiet(alive)

        try:
            wait_for(settled, READY_SECONDS, "settled", pause=0.5)
        except AssertionError:
            raise AssertionError(f"{self.name}: not settled in {READY_SECONDS} s:\n{self._standing()}") from None

    def wait_gone(self, alive: Callable[[], object]) -> None:
        """Wait until nothing of ours is being deleted: what is applied to such an object goes with it."""

        def gone() -> bool:
            alive()
            own = [item for name in self.namespaces for kind in OWN_KINDS for item in self.api.list(kind, name)]
            return not any(item["metadata"].get("deletionTimestamp") for item in own)

        wait_for(gone, READY_SECONDS, f"{self.name}: what was deleted is gone", pause=0.5)

    def end_states(self) -> dict[str, EndState]:
        """Return the state of each namespace without what may differ."""
        found = {}
        for namespace in self.namespaces:
            found[namespace] = end_state(read_everything(self.api, namespace), namespace)
        return found

    def read_levels(self) -> None:
        """Note the memory (MiB) and the number of sockets of the operator."""
        assert self.operator
        self.memory.append(self.operator.rss_mib())
        files = Path(f"/proc/{self.operator.pid}/fd").iterdir()
        self.sockets.append(sum(str(file.readlink()).startswith("socket:") for file in files))

    def _is_ready(self, namespace: str, wanted: int) -> bool:
        own = [item for kind in OWN_KINDS for item in self.api.list(kind, namespace)]
        return len(own) == wanted and all(_is_ready(item) for item in own)

    def _is_quiet(self, alive: Callable[[], object]) -> bool:
        before = [versions(read_everything(self.api, namespace)) for namespace in self.namespaces]
        alive()
        time.sleep(QUIET_SECONDS)
        return before == [versions(read_everything(self.api, namespace)) for namespace in self.namespaces]

    def _standing(self) -> str:
        lines = []
        for namespace in self.namespaces:
            for item in (item for kind in OWN_KINDS for item in self.api.list(kind, namespace)):
                if not _is_ready(item):
                    conditions = item.get("status", {}).get("conditions", [])
                    told = [f"{c['type']}: {c['reason']}: {c['message']}" for c in conditions if c["status"] != "True"]
                    lines.append(f"{namespace} {key_of(item)}: {'; '.join(told)}")
        assert self.operator
        return "\n".join([*lines, self.operator.last_words()])


def differences_of(states: dict[str, EndState]) -> list[str]:
    """Return in words how namespaces differ that were brought to the same spec on different ways; empty if not."""
    (first, wanted), *others = states.items()
    return [line for name, found in others for line in differences(wanted, found, first, name)]


def _is_ready(item: Manifest) -> bool:
    """Tell whether an object is Ready for its newest spec, and its schema, if it has one, is contracted already."""
    status = item.get("status", {})
    conditions = status.get("conditions", [])
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    contracted = all(c["reason"] != "SchemaUsable" for c in conditions)
    return ready and contracted and status.get("observedGeneration") == item["metadata"]["generation"]
