"""Nodes without a machine: kwok keeps their heartbeats and says of their pods that they run."""

from . import binaries
from .api import ready, wait_until
from .control_plane import ControlPlane
from .errors import ClusterError

_ANNOTATION = "kwok.x-k8s.io/node"
_CAPACITY = {"cpu": "512", "memory": "4Ti", "ephemeral-storage": "1Ti", "pods": "1000"}
"""More than all that tests put on a few nodes: nothing of it is taken."""


def node_name(index: int) -> str:
    """The name of the fake node with that number (1 is the first)."""
    return f"fake-{index}"


def _node(index: int) -> dict[str, object]:
    name = node_name(index)
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {_ANNOTATION: "fake"},
            "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "type": "kwok"},
        },
        "status": {"allocatable": _CAPACITY, "capacity": _CAPACITY},
    }


def start(control_plane: ControlPlane, count: int) -> None:
    """Have `count` fake nodes, Ready; more than that are left as they are."""
    state, api = control_plane.state, control_plane.api
    if state.process("kwok") is None:
        binaries.link(state.root / "bin", "kwok")
        arguments = (
            f"--kubeconfig={control_plane.kubeconfig('kwok')}",
            f"--config={binaries.kwok_stages()}",
            "--manage-all-nodes=false",
            f"--manage-nodes-with-annotation-selector={_ANNOTATION}=fake",
            "--node-lease-duration-seconds=40",
            f"--server-address=127.0.0.1:{control_plane.port('kwok')}",
        )
        state.spawn("kwok", control_plane.command("kwok", *arguments))
    for index in range(1, count + 1):
        api.apply(f"/api/v1/nodes/{node_name(index)}", _node(index))

    def still_runs() -> None:
        if state.process("kwok") is None:
            raise ClusterError(f"kwok ended; see {state.log('kwok')}")

    def all_ready() -> bool:
        return all(ready(api.get(f"/api/v1/nodes/{node_name(index)}")) for index in range(1, count + 1))

    wait_until(all_ready, seconds=60, what="the fake nodes", still_possible=still_runs)
