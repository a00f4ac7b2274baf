"""The place of a measurement: a cluster of its own, the operator's user, the programs beside the operator."""

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml
from tests.cluster import local, state
from tests.cluster.control_plane import PROGRAMS
from tests.cluster.local import LocalCluster

from bench import audit
from bench.api import Api, Manifest
from bench.process import MeasuredProcess
from bench.subject import Access, Subject, render

ROOT = Path(__file__).parents[1]
FAKE_NODES = 20
"""Enough for the pods of 500 instances at 110 pods a node, twice."""
_COMPANION_SECONDS = 30
_CRD_LOOKS, _CRD_PAUSE_SECONDS = 300, 0.2
_CRD = "CustomResourceDefinition"
_RBAC = {"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}


@contextmanager
def cluster(name: str, results: Path, *, keep_logs: bool) -> Iterator[LocalCluster]:
    """Give a new control plane with fake nodes and an audit log; it is taken down with the block."""
    folder = state.registry() / f"bench-{os.getpid()}-{name}"
    policy = results / "audit-policy.yaml"
    policy.write_text(yaml.safe_dump(audit.POLICY, sort_keys=False))
    made = local.up(folder, nodes=0, fake_nodes=FAKE_NODES, keep=False, audit_policy=policy)
    try:
        yield made
    finally:
        for log in ("kube-apiserver", "audit") if keep_logs else ():
            shutil.copy(made.state.log(log), results / f"{name}-{log}.log")
        made.down()


@dataclass(frozen=True)
class Site:
    """What an operator is started with. Obtain it from `prepared`."""

    subject: Subject
    api: Api
    audit_log: Path
    user: str
    values: Mapping[str, object]
    """What templates may use."""
    results: Path
    programs: Mapping[str, int]
    """The process ids of the cluster's programs, of the companions and of the bench, by name."""

    def start_operator(self) -> MeasuredProcess:
        """Start the operator as its own user."""
        values = {**self.values, "port": _free_port()}
        command = [render(word, values) for word in self.subject.command]
        environment = {name: render(text, values) for name, text in self.subject.environment.items()}
        log = self.results / f"{self.subject.name}.log"
        return MeasuredProcess(command, {**_clean_environment(), **environment}, log, ROOT)


@asynccontextmanager
async def prepared(subject: Subject, api: Api, made: LocalCluster, results: Path) -> AsyncIterator[Site]:
    """Install what the subject needs into its cluster, start its companions, and give the site."""
    user = f"bench:{subject.name}"
    plane = made.control_plane
    plane.certificates.issue("operator", f"/O={audit.GROUP}/CN={user}")
    kubeconfig = plane.kubeconfig("operator")
    plane.certificates.write_kubeconfig(kubeconfig, "operator", plane.server)
    await _install(subject, api)
    await _grant(subject.access, user, api)
    found = {name: made.state.process(name) for name in (*PROGRAMS, "kwok")}
    programs = {name: process.pid for name, process in found.items() if process} | {"bench": os.getpid()}
    values = {"python": sys.executable, "bin": str(Path(sys.executable).parent), "kubeconfig": str(kubeconfig)}
    with contextlib.ExitStack() as running, _silent_server() as silent:
        said: dict[str, str] = {"silent": silent}
        for name, words in subject.companions.items():
            admin = {**values, "kubeconfig": str(made.kubeconfig)}
            command = [render(word, admin) for word in words]
            companion = _start_companion(running, name, command, made.kubeconfig, results)
            programs[name] = companion.pid
            said[name] = await asyncio.to_thread(_first_line, name, companion)
        yield Site(subject, api, plane.audit_log, user, {**values, **said}, results, programs)


async def _install(subject: Subject, api: Api) -> None:
    """Apply the manifests that have to be there, and wait until the kinds among them are served."""
    files = [
        file for place in subject.install for file in (sorted(place.glob("*.y*ml")) if place.is_dir() else [place])
    ]
    manifests = [manifest for file in files for manifest in _manifests(file)]
    await api.apply(*manifests)
    wanted = {kind for manifest in manifests if manifest["kind"] == _CRD for kind in _kinds_of(manifest)}
    for _ in range(_CRD_LOOKS):
        if await api.serves(wanted):
            return
        await asyncio.sleep(_CRD_PAUSE_SECONDS)
    raise TimeoutError("the kinds that were installed are not served")


def _kinds_of(crd: Manifest) -> set[tuple[str, str]]:
    """Return the kinds that a CustomResourceDefinition makes, each an `apiVersion` and a `kind`."""
    spec = crd["spec"]
    return {(f"{spec['group']}/{v['name']}", spec["names"]["kind"]) for v in spec["versions"] if v["served"]}


async def _grant(access: Access, user: str, api: Api) -> None:
    """Let the user do what the access says."""
    subjects = [{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}]
    if access.manifest is None:
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
        metadata = {"name": "bench-operator"}
        binding = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": metadata}
        await api.apply({**binding, "subjects": subjects, "roleRef": role})
        return
    for manifest in _manifests(access.manifest):
        if manifest["kind"] == "Namespace":
            await api.apply(manifest)
        elif manifest["kind"] in _RBAC:
            found = manifest.get("subjects", [])
            if any(one["kind"] == "ServiceAccount" and one["name"] == access.service_account for one in found):
                manifest["subjects"] = subjects
            await api.apply(manifest)


def _manifests(file: Path) -> list[Manifest]:
    return [manifest for manifest in yaml.safe_load_all(file.read_text()) if manifest]


def _clean_environment() -> dict[str, str]:
    """Return what every program gets: no proxies, no KUBECONFIG, nothing of the caller's that would change it."""
    return {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}


def _start_companion(
    running: contextlib.ExitStack, name: str, command: list[str], kubeconfig: Path, results: Path
) -> subprocess.Popen[str]:
    """Start a program that is ended with `running`."""
    with (results / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *command],
            env={**_clean_environment(), "KUBECONFIG": str(kubeconfig)},
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            text=True,
        )
    running.callback(_end, process)
    return process


def _first_line(name: str, process: subprocess.Popen[str]) -> str:
    """Return the first line that a companion prints; it has some seconds for that."""
    assert process.stdout is not None
    deadline = threading.Timer(_COMPANION_SECONDS, process.kill)
    deadline.start()
    line = process.stdout.readline().strip()
    deadline.cancel()
    if not line:
        raise RuntimeError(f"the companion {name} said nothing within {_COMPANION_SECONDS} s")
    return line


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _silent_server() -> Iterator[str]:
    """Give the URL of a server that takes connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(1024)
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
