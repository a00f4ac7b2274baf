"""Provider `local`: a real Kubernetes from plain processes of this machine."""

import contextlib
import os
import secrets
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import coredns, images, kwok, network, packages
from . import state as states
from .api import ready, wait_until
from .cluster import Cluster
from .control_plane import ControlPlane
from .errors import ClusterError, Unavailable
from .node import Node, nodes_of
from .progress import say
from .state import State

# Nodes that boot, or load an image, at the same time.
_AT_ONCE = 2
# Runs "$@" with the resolver file named by $0, in a mount namespace of its own.
_WITH_RESOLVER = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'


class LocalCluster(Cluster):
    """A cluster of this machine; everything about it is in its state directory."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.kubeconfig = state.root / "kubeconfig"
        self.shared = state.root / "shared"
        self.control_plane = ControlPlane(state)

    @property
    def loopback(self) -> bool:
        """Whether it has a control plane only, on the loopback address."""
        return bool(self.state.settings()["loopback"])

    @property
    def environment(self) -> dict[str, str]:
        """The caller's environment with KUBECONFIG, and PATH where kubectl and helm are found; without proxies.

        What kubectl remembers of an API server it keeps by address, and the next cluster has the same one: so each
        cluster has a memory of its own.
        """
        # The cluster is on this machine, and from within its network no proxy is reached.
        environment = {
            name: value for name, value in super().environment.items() if not name.lower().endswith("_proxy")
        }
        path = f"{self.state.root / 'bin'}:{environment.get('PATH', '')}"
        return {**environment, "PATH": path, "KUBECACHEDIR": str(self.state.root / "kube-cache")}

    def command(self, argv: Sequence[str | Path]) -> list[str]:
        """The words that run a command where pods and Services can be reached."""
        program, *arguments = map(str, argv)
        ours = self.state.root / "bin" / program
        words = [str(ours) if "/" not in program and ours.exists() else program, *arguments]
        if self.loopback:
            return words
        resolver = self.state.root / "resolv.conf"
        return [*network.enter(self.state), "unshare", "--mount", "sh", "-c", _WITH_RESOLVER, str(resolver), *words]

    def complete(self, nodes: int, fake_nodes: int) -> None:
        """Start whatever does not run."""
        if self.loopback and nodes:
            raise ClusterError(f"{self.state.root} has a control plane only: take it down first")
        packages.ensure(packages.NODES if nodes else packages.CONTROL_PLANE)
        (self.state.root / "resolv.conf").write_text(f"nameserver {network.SERVICE_DNS}\noptions timeout:2\n")
        say(f"starting a control plane, state in {self.state.root}")
        self.control_plane.start()
        say(f"control plane ready ({self.control_plane.server})")
        if nodes:
            self._start_nodes(nodes)
        if fake_nodes:
            kwok.start(self.control_plane, fake_nodes)
            say(f"{fake_nodes} fake nodes Ready")

    def network(self) -> contextlib.AbstractContextManager[None]:
        """A block in which the calling thread opens its sockets where pods and Services can be reached, by address."""
        return contextlib.nullcontext() if self.loopback else network.inside(network.namespace(self.state))

    def _start_nodes(self, count: int) -> None:
        archives = [images.build("pause"), images.build("coredns")]
        ready_made = images.built()
        pause = images.reference("pause")
        self.state.change_settings(sandbox_image=pause)
        wanted = [Node(self.control_plane, index) for index in range(1, count + 1)]

        def start(node: Node) -> None:
            node.furnish(ready_made)
            node.on(pause)
            for archive in archives:
                node.import_image(archive)

        say(f"starting {count} nodes")
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(start, wanted))
        self._route_services()
        say(f"{count} nodes have power")
        api = self.control_plane.api
        coredns.deploy(api, images.reference("coredns"), count)

        def complete() -> bool:
            return coredns.is_available(api) and all(ready(api.get(f"/api/v1/nodes/{node.name}")) for node in wanted)

        wait_until(complete, seconds=180, what="nodes and cluster DNS", still_possible=lambda: self._check(wanted))
        say(f"{count} nodes Ready, cluster DNS answers")

    def _check(self, wanted: list[Node]) -> None:
        for node in wanted:
            if not node.is_on():
                raise ClusterError(f"{node.name} ended; see {self.state.log(node.name)}")

    def _powered(self) -> list[Node]:
        return [node for node in nodes_of(self.control_plane) if node.is_on()]

    def _route_services(self) -> None:
        powered = self._powered()
        if powered:
            network.route_services(self.state, powered[0].index)

    def import_images(self, *archives: Path) -> None:
        """Load docker-archive tars on every real node that has power."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for archive in archives:
                list(pool.map(lambda node, archive=archive: node.import_image(archive), self._powered()))
                say(f"{archive.name} is on {len(self._powered())} nodes")

    def node_off(self, name: str) -> None:
        """Cut the power of a node: all on it ends at once, its disk stays. Images that are loaded now pass it by."""
        with self.state.locked():
            Node.named(self.control_plane, name).off()
            self._route_services()
        say(f"{name} is off")

    def node_on(self, name: str) -> None:
        """Power a node on again; return when it runs, not when it is Ready."""
        with self.state.locked():
            Node.named(self.control_plane, name).on(self.state.settings()["sandbox_image"])
            self._route_services()
        say(f"{name} is on")

    def api_server_off(self) -> None:
        """End the API server at once: connections to it are refused, nodes and pods go on without."""
        with self.state.locked():
            self.state.stop("kube-apiserver")
        say("the API server is off")

    def api_server_on(self) -> None:
        """Start the API server again; return when it is ready."""
        with self.state.locked():
            self.control_plane.start()
        say("the API server is on")

    def node_command(self, name: str, argv: Sequence[str | Path]) -> list[str]:
        """The words that run a command on a node."""
        return Node.named(self.control_plane, name).command(argv)

    def down(self) -> None:
        """Take everything away."""
        began = time.monotonic()
        with self.state.locked():
            self.state.destroy()
        say(f"down in {time.monotonic() - began:.1f} s, nothing left of {self.state.root}")


def up(root: Path, *, nodes: int, fake_nodes: int, keep: bool, audit_policy: Path | None = None) -> LocalCluster:
    """Bring a cluster up, or the rest of it if some of it runs; `nodes` 0 means control plane only, on loopback.

    With `keep` it stays until `down`; without, and until it is complete, it belongs to the calling process. When a
    new cluster fails, or is interrupted, nothing stays of it but the message. The API server of a new cluster follows
    `audit_policy` (`control_plane.audit_log`).
    """
    if nodes and os.geteuid() != 0:
        raise Unavailable("real nodes are made of namespaces and cgroups: that takes root")
    for swept in states.sweep():
        say(f"removed what a dead run left: {swept}")
    state = State.open(root)
    with state.locked():
        new = state.claim()
        if not state.settings():
            audit = {"audit_policy": str(audit_policy.resolve())} if audit_policy else {}
            state.change_settings(provider="local", id=secrets.token_hex(3), loopback=nodes == 0, **audit)
        cluster = LocalCluster(state)
        try:
            cluster.complete(nodes, fake_nodes)
        except BaseException:
            if new:
                state.destroy()
            raise
        if keep:
            state.keep()
    return cluster
