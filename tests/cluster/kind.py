"""Provider `kind`: nodes as containers, for machines where Docker runs and holds (or can pull) kind's node image."""

import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from .cluster import Cluster
from .errors import ClusterError, Unavailable
from .progress import say
from .state import State

_IMAGE = "IMAGE_SERVICE_KIND_IMAGE"


def why_not() -> str | None:
    """Why this provider cannot be used here; None where it can."""
    for program in ("docker", "kind", "kubectl"):
        if shutil.which(program) is None:
            return f"there is no {program} on PATH"
    image = os.environ.get(_IMAGE)
    if not image:
        return f"{_IMAGE} does not name the node image (for example kindest/node:v1.37.2)"
    try:
        answer = _docker("version", "--format", "{{.Server.Version}}")
    except subprocess.TimeoutExpired:
        return "docker did not answer within 20 s"
    if answer.returncode:
        return f"docker does not answer: {answer.stderr.strip().splitlines()[-1]}"
    if _docker("image", "inspect", image).returncode:
        return f"docker does not have the image {image}: `docker pull {image}` gets it"
    return None


def _docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=20, check=False)


class KindCluster(Cluster):
    """A cluster made by kind; the name of it, and so of its containers, carries the cluster's id."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.kubeconfig = state.root / "kubeconfig"
        self.shared = state.root / "shared"
        self.name = f"is-{state.settings()['id']}"

    def command(self, argv: Sequence[str | Path]) -> list[str]:
        """The words that run a command in the first node's network, where Services can be reached; that takes root."""
        if os.geteuid() != 0 or str(argv[0]) == "kubectl":
            return super().command(argv)
        inspected = _docker("inspect", "--format", "{{.State.Pid}}", f"{self.name}-control-plane")
        if inspected.returncode:
            raise ClusterError(f"kind's container is gone: {inspected.stderr.strip()}")
        return ["nsenter", f"--net=/proc/{inspected.stdout.strip()}/ns/net", "--", *super().command(argv)]

    def import_images(self, *archives: Path) -> None:
        """Load docker-archive tars on every node."""
        for archive in archives:
            self.run(["kind", "load", "image-archive", archive, "--name", self.name], timeout=600)

    def down(self) -> None:
        """Delete the cluster and its state directory."""
        with self.state.locked():
            self.run(["kind", "delete", "cluster", "--name", self.name], timeout=300)
            self.state.destroy()


def up(root: Path, *, nodes: int, keep: bool) -> KindCluster:
    """Make a cluster with a control plane and `nodes` workers, or take the one that is there."""
    if reason := why_not():
        raise Unavailable(f"kind cannot be used: {reason}")
    state = State.open(root)
    with state.locked():
        state.claim()
        if not state.settings():
            state.change_settings(provider="kind", id=secrets.token_hex(3))
        cluster = KindCluster(state)
        if cluster.name not in cluster.run(["kind", "get", "clusters"]).stdout.split():
            say(f"kind makes the cluster {cluster.name}")
            config = {
                "kind": "Cluster",
                "apiVersion": "kind.x-k8s.io/v1alpha4",
                "nodes": [
                    {"role": role, "extraMounts": [{"hostPath": str(cluster.shared), "containerPath": "/mnt/shared"}]}
                    for role in ("control-plane", *["worker"] * nodes)
                ],
            }
            create = ["kind", "create", "cluster", "--name", cluster.name, "--image", os.environ[_IMAGE]]
            target = ["--config=-", "--wait=120s", f"--kubeconfig={cluster.kubeconfig}"]
            try:
                cluster.run([*create, *target], stdin=json.dumps(config), timeout=600)
            except BaseException:
                cluster.run(["kind", "delete", "cluster", "--name", cluster.name], check=False, timeout=300)
                raise
        if keep:
            state.keep()
    return cluster
