"""etcd, kube-apiserver, kube-controller-manager and kube-scheduler as plain processes."""

import random
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from . import binaries, network
from .api import Api, wait_until
from .certificates import Certificates
from .errors import ClusterError
from .progress import say
from .state import State

_LOOPBACK = "127.0.0.1"
# Below the range from which kernels take the local ports of outgoing connections (32768 and up).
_PORT_RANGE = range(20000, 32000)
_PORT_NAMES = ("etcd", "etcd-peer", "api", "kwok")
_FIXED_PORTS = {"etcd": 2379, "etcd-peer": 2380, "api": 6443, "kwok": 10247}
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
_ADMIN = "/O=system:masters"
# Client certificates of the components: name of the files -> subject.
_CLIENTS = {
    "admin": f"{_ADMIN}/CN=admin",
    "controller-manager": "/CN=system:kube-controller-manager",
    "scheduler": "/CN=system:kube-scheduler",
    "proxy": "/CN=system:kube-proxy",
    "kubelet-client": f"{_ADMIN}/CN=kube-apiserver-kubelet-client",
    "kwok": f"{_ADMIN}/CN=kwok",
}


def free_ports() -> dict[str, int]:
    """Ports of the loopback address that nobody listens on at this moment."""
    found: dict[str, int] = {}
    candidates = random.sample(_PORT_RANGE, 200)
    for name in _PORT_NAMES:
        while True:
            port = candidates.pop()
            with socket.socket() as probe:
                try:
                    probe.bind((_LOOPBACK, port))
                except OSError:
                    continue
            found[name] = port
            break
    return found


@dataclass(frozen=True)
class ControlPlane:
    """The control plane of one cluster, on the loopback address or in the lab's network namespace."""

    state: State

    @property
    def _loopback(self) -> bool:
        return bool(self.state.settings()["loopback"])

    @property
    def _host(self) -> str:
        return _LOOPBACK if self._loopback else network.LAB_ADDRESS

    def port(self, name: str) -> int:
        """The port of `etcd`, `etcd-peer`, `api` or `kwok`."""
        ports: dict[str, int] = self.state.settings()["ports"]
        return ports[name]

    @property
    def server(self) -> str:
        """The address of the API server."""
        return f"https://{self._host}:{self.port('api')}"

    @property
    def certificates(self) -> Certificates:
        """All keys and certificates of the cluster."""
        return Certificates(self.state.root / "pki")

    @property
    def api(self) -> Api:
        """The API server, called as administrator."""
        return Api(self.server, self.certificates, None if self._loopback else network.namespace(self.state))

    def kubeconfig(self, user: str) -> Path:
        """The kubeconfig of one of the components."""
        return self.state.root / "pki" / f"{user}.kubeconfig"

    @property
    def audit_log(self) -> Path:
        """Where the API server tells of requests, one JSON document a line, where it was given an audit policy."""
        return self.state.log("audit")

    def command(self, program: str, *arguments: str) -> list[str | Path]:
        """The command that runs a program beside the control plane, called by its own name."""
        entry = [] if self._loopback else network.enter(self.state)
        return [*entry, self.state.root / "bin" / program, *arguments]

    # -- start -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start what does not run; return when the API server is ready and pods can be made."""
        if "ports" not in self.state.settings():
            self.state.change_settings(ports=free_ports() if self._loopback else _FIXED_PORTS)
        binaries.link(self.state.root / "bin", *PROGRAMS, "kubectl", "helm")
        if not self._loopback:
            network.make_lab(self.state)
        for attempt in (1, 2, 3):
            try:
                self._start_api_server()
                break
            except _PortTakenError:
                if attempt == 3:
                    raise
                say("a port was taken by somebody else meanwhile; trying others")
                self._choose_other_ports()
        self._ensure("kube-controller-manager", self._controller_manager)
        self._ensure("kube-scheduler", self._scheduler)
        # Pods are refused in a namespace until it has its default ServiceAccount.
        wait_until(
            lambda: self.api.get("/api/v1/namespaces/default/serviceaccounts/default") is not None,
            seconds=120,
            what="the default ServiceAccount",
            still_possible=self._check,
        )

    def _start_api_server(self) -> None:
        # etcd needs no certificate, so it comes up while they are made.
        self._ensure("etcd", self._etcd)
        self._make_certificates()
        self._ensure("kube-apiserver", self._api_server)
        wait_until(self.api.healthy, seconds=120, what="the API server", still_possible=self._check)

    def _choose_other_ports(self) -> None:
        self.state.stop(*PROGRAMS)
        for name in PROGRAMS:
            self.state.log(name).unlink(missing_ok=True)
        self.state.change_settings(ports=free_ports())
        for file in (self.state.root / "pki").glob("*.kubeconfig"):
            file.unlink()

    def _ensure(self, name: str, arguments: Callable[[], list[str]], **environment: str) -> None:
        if self.state.process(name) is None:
            self.state.spawn(name, self.command(name, *arguments()), **environment)

    def _check(self) -> None:
        """Raise when one of the programs has ended."""
        for name in PROGRAMS:
            record = self.state.root / "process" / name
            if record.exists() and self.state.process(name) is None:
                log = self.state.log(name)
                text = log.read_text(errors="replace")
                problem = f"{name} ended; the last lines of {log}:\n" + "\n".join(text.splitlines()[-8:])
                raise _PortTakenError(problem) if "address already in use" in text else ClusterError(problem)

    def _make_certificates(self) -> None:
        certificates = self.certificates
        service = "kubernetes.default.svc"
        names = ("localhost", "kubernetes", "kubernetes.default", service, f"{service}.{network.CLUSTER_DOMAIN}")
        addresses = (_LOOPBACK, network.LAB_ADDRESS, network.SERVICE_API)
        server_names = (*(f"IP:{address}" for address in addresses), *(f"DNS:{name}" for name in names))
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(certificates.authority, ("ca", "front-proxy-ca")))
            jobs = [pool.submit(certificates.issue, name, subject) for name, subject in _CLIENTS.items()]
            jobs += [
                pool.submit(certificates.signing_key, "service-accounts"),
                pool.submit(certificates.issue, "apiserver", "/CN=kube-apiserver", names=server_names),
                pool.submit(certificates.issue, "front-proxy", "/CN=front-proxy-client", authority="front-proxy-ca"),
            ]
            for job in jobs:
                job.result()
        for user in _CLIENTS:
            if not self.kubeconfig(user).exists():
                certificates.write_kubeconfig(self.kubeconfig(user), user, self.server)
        certificates.write_kubeconfig(self.state.root / "kubeconfig", "admin", self.server)

    # -- the command lines -----------------------------------------------------------------------------------------

    def _etcd(self) -> list[str]:
        client = f"http://{_LOOPBACK}:{self.port('etcd')}"
        peer = f"http://{_LOOPBACK}:{self.port('etcd-peer')}"
        return [
            f"--data-dir={self.state.root / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",  # the data dies with the cluster
            "--log-level=warn",
        ]

    def _api_server(self) -> list[str]:
        pki = self.state.root / "pki"
        # Pods reach the lab's API server by the `kubernetes` Service; a loopback address is no endpoint for one.
        # Pods of a dead node are given up after 30 s instead of 5 minutes: tests wait for it.
        placed = (
            ["--endpoint-reconciler-type=none"]
            if self._loopback
            else ["--default-not-ready-toleration-seconds=30", "--default-unreachable-toleration-seconds=30"]
        )
        policy = self.state.settings().get("audit_policy")
        audit = [f"--audit-policy-file={policy}", f"--audit-log-path={self.audit_log}", "--audit-log-maxsize=100000"]
        return [
            *placed,
            *(audit if policy else []),
            f"--etcd-servers=http://{_LOOPBACK}:{self.port('etcd')}",
            f"--bind-address={self._host}",
            f"--advertise-address={self._host}",
            f"--secure-port={self.port('api')}",
            f"--tls-cert-file={pki}/apiserver.crt",
            f"--tls-private-key-file={pki}/apiserver.key",
            f"--client-ca-file={pki}/ca.crt",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            f"--service-account-issuer=https://kubernetes.default.svc.{network.CLUSTER_DOMAIN}",
            f"--service-account-key-file={pki}/service-accounts.pub",
            f"--service-account-signing-key-file={pki}/service-accounts.key",
            f"--service-cluster-ip-range={network.SERVICE_NETWORK}",
            f"--kubelet-client-certificate={pki}/kubelet-client.crt",
            f"--kubelet-client-key={pki}/kubelet-client.key",
            f"--kubelet-certificate-authority={pki}/ca.crt",
            "--kubelet-preferred-address-types=InternalIP",
            f"--requestheader-client-ca-file={pki}/front-proxy-ca.crt",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={pki}/front-proxy.crt",
            f"--proxy-client-key-file={pki}/front-proxy.key",
            "--profiling=false",
        ]

    def _controller_manager(self) -> list[str]:
        pki, kubeconfig = self.state.root / "pki", self.kubeconfig("controller-manager")
        return [
            f"--kubeconfig={kubeconfig}",
            "--secure-port=0",
            "--leader-elect=false",
            "--use-service-account-credentials=true",
            # It asks for a token for each of its controllers, one by one: at the default rate that takes 6 s.
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
            "--pvclaimbinder-sync-period=2s",  # a claim that met its volume half made is not looked at before
            f"--service-account-private-key-file={pki}/service-accounts.key",
            f"--root-ca-file={pki}/ca.crt",
            f"--cluster-signing-cert-file={pki}/ca.crt",
            f"--cluster-signing-key-file={pki}/ca.key",
            "--allocate-node-cidrs=false",  # we number the nodes and their pods' networks
            f"--service-cluster-ip-range={network.SERVICE_NETWORK}",
            "--node-monitor-grace-period=20s",
            "--profiling=false",
        ]

    def _scheduler(self) -> list[str]:
        return [
            f"--kubeconfig={self.kubeconfig('scheduler')}",
            "--secure-port=0",
            "--leader-elect=false",
            # At the default rate of 50 requests a second a hundred pods take 4 s to be placed.
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
            "--profiling=false",
        ]


class _PortTakenError(ClusterError):
    """Somebody else listens on a port that was free when it was chosen."""
