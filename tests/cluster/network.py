"""Addresses of a cluster with real nodes, and the network namespaces that hold them.

All of it lies in 198.18.0.0/15, set apart for tests (RFC 2544): no packet with such an address leaves the
namespaces, for there is no way out of them. The *lab* namespace is where the control plane, a bridge and the tests
are; each node has its own, wired to the bridge. A namespace is a mount on a file of the cluster's state directory,
so that two clusters cannot meet, whatever they call things.
"""

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from .errors import ClusterError
from .state import State, unmount_below

LAB_ADDRESS = "198.18.0.1"
LAB_NETWORK = "198.18.0.0/24"
POD_NETWORK = "198.18.128.0/17"
SERVICE_NETWORK = "198.19.0.0/20"
SERVICE_API = "198.19.0.1"
SERVICE_DNS = "198.19.0.10"
CLUSTER_DOMAIN = "cluster.local"
MOST_NODES = 100
_BRIDGE = "br0"
_CLONE_NEWNET = 0x40000000  # sched.h
_LAB = "lab"
_MODULES = ("overlay", "br_netfilter", "nf_conntrack", "veth", "bridge")


def node_address(index: int) -> str:
    """The address of the node with that number (1 is the first)."""
    return f"198.18.0.{10 + index}"


def node_pod_network(index: int) -> str:
    """The addresses of that node's pods."""
    return f"198.18.{128 + index}.0/24"


def namespace(state: State, name: str = _LAB) -> Path:
    """The file of a network namespace: the lab's, or a node's."""
    return state.root / "netns" / name


def enter(state: State, name: str = _LAB) -> list[str]:
    """The words before a command that runs it in that network namespace.

    Not `ip netns exec`: that mounts a new /sys, in which the kubelet finds no cgroups.
    """
    return ["nsenter", f"--net={namespace(state, name)}", "--"]


@contextlib.contextmanager
def inside(file: Path) -> Iterator[None]:
    """Move the calling thread, and no other, into a network namespace for a while: its new sockets belong there."""
    libc = ctypes.CDLL(None, use_errno=True)

    def move(descriptor: int) -> None:
        if libc.setns(descriptor, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"cannot enter the network namespace {file}")

    with open("/proc/thread-self/ns/net", "rb") as home, file.open("rb") as there:  # noqa: PTH123 (one kind of open)
        move(there.fileno())
        try:
            yield
        finally:
            move(home.fileno())


def _run(*command: str | Path) -> None:
    words = [str(word) for word in command]
    result = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    if result.returncode:
        raise ClusterError(f"{' '.join(map(str, command))}: {result.stderr.strip()}")


def _make_namespace(state: State, name: str) -> None:
    file = namespace(state, name)
    file.touch()
    _run("unshare", f"--net={file}", "true")
    _run(*enter(state, name), "ip", "link", "set", "lo", "up")
    _run(*enter(state, name), "sysctl", "-qw", "net.ipv4.ip_forward=1")
    if Path("/proc/sys/net/bridge").exists():
        # What a pod sends to a Service whose endpoint is on the same node comes back over the bridge only.
        _run(*enter(state, name), "sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=1")


def make_lab(state: State) -> None:
    """Make the lab namespace with its bridge; an existing one is left as it is."""
    if os.path.ismount(namespace(state)):
        return
    # Built into some kernels, and then there is nothing to load.
    subprocess.run(["modprobe", "--all", *_MODULES], capture_output=True, timeout=30, check=False)
    _make_namespace(state, _LAB)
    ip = (*enter(state), "ip")
    _run(*ip, "link", "add", _BRIDGE, "type", "bridge")
    _run(*ip, "address", "add", f"{LAB_ADDRESS}/24", "dev", _BRIDGE)
    _run(*ip, "link", "set", _BRIDGE, "up")
    # An answer at once, instead of a time-out, for whatever is not ours.
    _run(*ip, "route", "add", "unreachable", "default", "metric", "9999")


def make_node(state: State, name: str, index: int) -> None:
    """Make a node's namespace and wire it to the bridge, with a route to its pods."""
    _make_namespace(state, name)
    wire, lab = f"node{index}", (*enter(state), "ip")
    _run(*lab, "link", "add", wire, "type", "veth", "peer", "name", "eth0", "netns", namespace(state, name))
    _run(*lab, "link", "set", wire, "master", _BRIDGE, "up")
    ip = (*enter(state, name), "ip")
    _run(*ip, "address", "add", f"{node_address(index)}/24", "dev", "eth0")
    _run(*ip, "link", "set", "eth0", "up")
    _run(*ip, "route", "add", "default", "via", LAB_ADDRESS)
    _run(*lab, "route", "replace", node_pod_network(index), "via", node_address(index))


def remove_node(state: State, name: str, index: int) -> None:
    """Cut a node's wire and drop its namespace: from now on nothing at its address answers."""
    # The wire first, by hand: a copy of the namespace's mount, in any mount namespace, would keep it alive.
    cut = [*enter(state), "ip", "link", "delete", f"node{index}"]
    subprocess.run(cut, capture_output=True, timeout=30, check=False)
    unmount_below(namespace(state, name))
    namespace(state, name).unlink(missing_ok=True)


def route_services(state: State, index: int) -> None:
    """Let the lab reach the addresses of Services through the kube-proxy of that node."""
    _run(*enter(state), "ip", "route", "replace", SERVICE_NETWORK, "via", node_address(index))
