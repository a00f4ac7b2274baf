"""One real node: containerd, kubelet and kube-proxy in namespaces of their own, with a disk of their own."""

import hashlib
import io
import json
import re
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from . import binaries, cgroups, disk, images_store, network
from .api import wait_until
from .control_plane import ControlPlane
from .errors import ClusterError
from .processes import Process
from .state import State

_INIT = Path(__file__).with_name("node-init.sh")
_NAMES = re.compile(r"node-([1-9][0-9]*)")
# Where the node finds its folder; see node-init.sh.
_HERE = "/run/node"
_SOCKET = "/run/containerd/containerd.sock"


@dataclass(frozen=True)
class Node:
    """A node, on or off. Its files are in nodes/NAME of the state directory, its disk too (see disk.py)."""

    control_plane: ControlPlane
    index: int

    @classmethod
    def named(cls, control_plane: ControlPlane, name: str) -> "Node":
        """The node of that name. Raises ClusterError where the cluster has none."""
        match = _NAMES.fullmatch(name)
        if match:
            node = cls(control_plane, int(match[1]))
            if node.folder.exists():
                return node
        raise ClusterError(f"there is no node {name}; nodes: {', '.join(n.name for n in nodes_of(control_plane))}")

    @property
    def name(self) -> str:
        """Its name in Kubernetes."""
        return f"node-{self.index}"

    @property
    def state(self) -> State:
        """The state directory of the cluster."""
        return self.control_plane.state

    @property
    def folder(self) -> Path:
        """Its settings, logs and disk."""
        return self.state.root / "nodes" / self.name

    @property
    def cgroup(self) -> str:
        """The cgroup that holds its pods, named for the cluster so that two clusters do not share one."""
        return f"image-service-{self.state.settings()['id']}-{self.name}"

    def is_on(self) -> bool:
        """Whether it has power."""
        return self.state.process(self.name) is not None

    # -- power -----------------------------------------------------------------------------------------------------

    def on(self, sandbox_image: str) -> None:
        """Power the node on, which a running one does not notice; return when its containerd answers.

        `sandbox_image` is what holds the namespaces of each pod; it has to be imported.
        """
        if self.is_on():
            return
        self.off()  # what a crash left of it
        self._write_settings(sandbox_image)
        (self.state.root / "cgroup" / self.cgroup).touch()
        cgroups.make(self.cgroup)
        network.make_node(self.state, self.name, self.index)
        (self.folder / "booted").unlink(missing_ok=True)
        namespaces = ("--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child=KILL", "--mount-proc")
        programs = (binaries.program("kubelet"), binaries.program("kube-proxy"))
        init = ("bash", self.folder / "init.sh", self.name, self.folder, self.state.root / "shared", *programs)
        command = [*network.enter(self.state, self.name), "unshare", *namespaces, *map(str, init)]
        self.state.spawn(self.name, command, NODE_ADDRESS=network.node_address(self.index))
        wait_until(self._answers, seconds=60, what=f"containerd of {self.name}", still_possible=self._check)

    def off(self) -> None:
        """Cut the power: every process on it ends at once, its address answers nothing, its disk stays."""
        self.state.stop(self.name)
        network.remove_node(self.state, self.name, self.index)
        disk.wait_until_free(self.folder)
        cgroups.remove(self.cgroup)
        (self.state.root / "cgroup" / self.cgroup).unlink(missing_ok=True)

    def _answers(self) -> bool:
        # Before it has booted, the host's own containerd could answer in its place.
        if not (self.folder / "booted").exists():
            return False
        return self._ctr("version").returncode == 0

    def _check(self) -> None:
        if not self.is_on():
            raise ClusterError(f"{self.name} ended; see {self.state.log(self.name)}")

    def _init(self) -> Process:
        """The first process of the node's namespaces."""
        shell = self.state.process(self.name)
        children = shell.children() if shell else []
        if not children:
            raise ClusterError(f"{self.name} is off")
        return children[0]

    def command(self, argv: Sequence[str | Path]) -> list[str]:
        """The words that run a command on the node."""
        namespaces = ("--mount", "--uts", "--ipc", "--net", "--pid")
        return ["nsenter", f"--target={self._init().pid}", *namespaces, "--", *map(str, argv)]

    # -- images ----------------------------------------------------------------------------------------------------

    def furnish(self, archives: Sequence[Path]) -> None:
        """Give a node that is new these images before it gets power, where that is possible; else import them later."""
        self.folder.mkdir(parents=True, exist_ok=True)
        disk.make(self.folder)
        if (self.folder / "images").exists() or _snapshotter(self.folder) != "overlayfs" or not images_store.usable():
            return
        images_store.furnish(self.folder, archives)
        for archive in archives:
            self._mark(archive).touch()

    def _mark(self, archive: Path) -> Path:
        """The file that says that the node has the image of an archive."""
        (self.folder / "images").mkdir(exist_ok=True)
        return self.folder / "images" / _content(archive)

    def import_image(self, archive: Path) -> None:
        """Load a docker-archive tar; one that this node has already is not loaded again."""
        mark = self._mark(archive)
        if mark.exists():
            return
        with archive.open("rb") as content:
            snapshotter = ("--snapshotter", _snapshotter(self.folder))
            result = self._ctr("--namespace=k8s.io", "images", "import", *snapshotter, "-", stdin=content)
        if result.returncode:
            raise ClusterError(f"{self.name} cannot import {archive}: {result.stderr.strip()}")
        mark.touch()

    def _ctr(self, *arguments: str, stdin: BinaryIO | None = None) -> subprocess.CompletedProcess[str]:
        command = self.command(["ctr", f"--address={_SOCKET}", *arguments])
        source = stdin if stdin is not None else subprocess.DEVNULL
        return subprocess.run(command, stdin=source, capture_output=True, text=True, timeout=300, check=False)

    # -- settings --------------------------------------------------------------------------------------------------

    def _write_settings(self, sandbox_image: str) -> None:
        (self.folder / "log").mkdir(parents=True, exist_ok=True)
        (self.folder / "cni").mkdir(exist_ok=True)
        disk.make(self.folder)
        # A copy: bash reads a script while it runs it, and the original may be edited meanwhile.
        shutil.copyfile(_INIT, self.folder / "init.sh")
        self._issue_certificates()
        (self.folder / "resolv.conf").write_text(
            f"search svc.{network.CLUSTER_DOMAIN}\nnameserver {network.SERVICE_DNS}\noptions timeout:2 attempts:2\n"
        )
        (self.folder / "containerd.toml").write_text(_containerd(sandbox_image, _snapshotter(self.folder)))
        documents = {
            "kubelet.yaml": _kubelet(network.node_address(self.index), self.cgroup),
            "kube-proxy.yaml": {**_KUBE_PROXY, "mode": _proxy_mode(self.state)},
            "cni/10-lab.conflist": _cni(network.node_pod_network(self.index)),
        }
        for name, document in documents.items():
            (self.folder / name).write_text(json.dumps(document, indent=1))

    def _issue_certificates(self) -> None:
        certificates, name = self.control_plane.certificates, self.name
        address = network.node_address(self.index)
        names = (f"IP:{address}", "IP:127.0.0.1", f"DNS:{name}")
        certificates.issue(name, f"/O=system:nodes/CN=system:node:{name}", names=names)
        for source, place in (("ca.crt", "ca.crt"), (f"{name}.crt", "node.crt"), (f"{name}.key", "node.key")):
            shutil.copyfile(certificates.folder / source, self.folder / place)
            (self.folder / place).chmod(0o600)
        server = self.control_plane.server
        certificates.write_kubeconfig(self.folder / "kubelet.kubeconfig", name, server)
        certificates.write_kubeconfig(self.folder / "proxy.kubeconfig", "proxy", server)


def nodes_of(control_plane: ControlPlane) -> list[Node]:
    """All nodes of a cluster, on or off."""
    found = [_NAMES.fullmatch(folder.name) for folder in (control_plane.state.root / "nodes").iterdir()]
    return [Node(control_plane, index) for index in sorted(int(match[1]) for match in found if match)]


def _content(archive: Path) -> str:
    """What tells a docker-archive from every other: the digest of its manifest, which has those of all it holds."""
    try:
        with tarfile.open(archive) as tar, tar.extractfile("manifest.json") or io.BytesIO() as manifest:
            return hashlib.sha256(manifest.read()).hexdigest()
    except (KeyError, tarfile.TarError) as error:
        raise ClusterError(f"{archive} is no docker-archive: {error}") from None


def _snapshotter(folder: Path) -> str:
    return "native" if disk.needs_plain_copies(folder) else "overlayfs"


def _proxy_mode(state: State) -> str:
    """How kube-proxy makes Services: with nftables, or, where this kernel has none, with iptables."""
    probe = subprocess.run(
        [*network.enter(state), "nft", "list", "tables"], capture_output=True, timeout=10, check=False
    )
    return "iptables" if probe.returncode else "nftables"


def _containerd(sandbox_image: str, snapshotter: str) -> str:
    # restrict_oom_score_adj: without CAP_SYS_RESOURCE runc dies of the negative value that the kubelet asks for.
    return f"""version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
oom_score = 0
disabled_plugins = [{", ".join(f'"io.containerd.snapshotter.v1.{name}"' for name in ("btrfs", "zfs", "devmapper"))}]
[grpc]
  address = "{_SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{sandbox_image}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  tolerate_missing_hugetlb_controller = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{_HERE}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
"""


def _kubelet(address: str, cgroup: str) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": address,
        "port": 10250,
        "readOnlyPort": 0,
        "healthzBindAddress": "127.0.0.1",
        "tlsCertFile": f"{_HERE}/node.crt",
        "tlsPrivateKeyFile": f"{_HERE}/node.key",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{_HERE}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": f"unix://{_SOCKET}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": ["pods"],
        "clusterDNS": [network.SERVICE_DNS],
        "clusterDomain": network.CLUSTER_DOMAIN,
        "resolvConf": f"{_HERE}/resolv.conf",
        # The host's disk is shared with everything else that runs there, and an image that is thrown away cannot be
        # pulled again.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "nodeStatusUpdateFrequency": "4s",
        "serializeImagePulls": False,
        "maxPods": 110,
    }


_KUBE_PROXY = {
    "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
    "kind": "KubeProxyConfiguration",
    "clusterCIDR": network.POD_NETWORK,
    "clientConnection": {"kubeconfig": f"{_HERE}/proxy.kubeconfig"},
    # Zero leaves the kernel's own settings, which a network namespace may not change.
    "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    "nodePortAddresses": ["primary"],
    "healthzBindAddress": "127.0.0.1:10256",
    "metricsBindAddress": "127.0.0.1:10249",
}


def _cni(pod_network: str) -> dict[str, Any]:
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": pod_network}]], "routes": [{"dst": "0.0.0.0/0"}]},
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "0.4.0", "name": "lab", "plugins": [bridge, ports]}
