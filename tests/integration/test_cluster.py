"""The control plane of the test cluster: that it is real, and that nothing stays of it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.cluster import current, leftovers, local
from tests.cluster import state as states
from tests.cluster.cluster import Cluster
from tests.cluster.errors import ClusterError
from tests.cluster.processes import Process
from tests.cluster.state import State

pytestmark = pytest.mark.cluster

# Brings a cluster up that belongs to this process, says so and stays; arguments: state directory, number of nodes.
_OWNER = """
import sys, time
from pathlib import Path
from tests.cluster import local
local.up(Path(sys.argv[1]), nodes=int(sys.argv[2]), fake_nodes=1, keep=False)
print("up", flush=True)
time.sleep(600)
"""


def _pod(name: str, **container: Any) -> dict[str, Any]:
    return {"containers": [{"name": name, "image": "registry.example/none:1", **container}]}


def test_a_deployment_becomes_ready_on_fake_nodes(control_plane: Cluster) -> None:
    labels = {"app": "smoke"}
    spec = {
        "replicas": 3,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": _pod("smoke")},
    }
    control_plane.kubectl("create", "namespace", "smoke")
    metadata = {"name": "smoke", "namespace": "smoke"}
    control_plane.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})
    control_plane.kubectl("-n", "smoke", "rollout", "status", "deployment/smoke", "--timeout=60s", timeout=70)
    pods = control_plane.get("pods", "-n", "smoke")["items"]
    assert len(pods) == 3
    assert {pod["spec"]["nodeName"] for pod in pods} <= set(control_plane.nodes())
    control_plane.kubectl("delete", "namespace", "smoke", "--wait=false")


def test_pod_security_refuses_what_the_namespace_does_not_allow(control_plane: Cluster) -> None:
    control_plane.kubectl("create", "namespace", "restricted")
    control_plane.kubectl("label", "namespace", "restricted", "pod-security.kubernetes.io/enforce=restricted")
    metadata = {"name": "privileged", "namespace": "restricted"}
    spec = _pod("privileged", securityContext={"privileged": True})
    with pytest.raises(ClusterError, match="violates PodSecurity"):
        control_plane.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    control_plane.kubectl("delete", "namespace", "restricted", "--wait=false")


def test_a_named_cluster_is_used_and_an_unknown_context_refused(
    control_plane: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", control_plane.environment["PATH"])
    monkeypatch.setenv("IMAGE_SERVICE_KUBECONFIG", str(control_plane.kubeconfig))
    monkeypatch.setenv("IMAGE_SERVICE_CONTEXT", "image-service-test")
    assert current.open_named().nodes() == control_plane.nodes()
    monkeypatch.setenv("IMAGE_SERVICE_CONTEXT", "production")
    with pytest.raises(ClusterError, match="has no context 'production', only image-service-test"):
        current.open_named()


def test_two_clusters_side_by_side_do_not_meet(control_plane: Cluster, tmp_path: Path) -> None:
    other = local.up(tmp_path / "other", nodes=0, fake_nodes=0, keep=False)
    identity = other.state.settings()["id"]
    other.kubectl("create", "namespace", "only-there")
    assert control_plane.kubectl("get", "namespace", "only-there", check=False).returncode == 1
    other.down()
    assert leftovers.of(tmp_path / "other", identity) == []
    assert control_plane.nodes()


def test_up_again_takes_the_running_cluster(tmp_path: Path) -> None:
    first = local.up(tmp_path / "cluster", nodes=0, fake_nodes=0, keep=False)
    try:
        first.kubectl("create", "namespace", "kept")
        before = first.state.process("kube-apiserver")
        again = local.up(tmp_path / "cluster", nodes=0, fake_nodes=1, keep=False)
        assert again.state.process("kube-apiserver") == before
        assert again.nodes() == ["fake-1"]
        again.kubectl("get", "namespace", "kept")
    finally:
        first.down()


def test_up_again_starts_what_has_died(tmp_path: Path) -> None:
    cluster = local.up(tmp_path / "cluster", nodes=0, fake_nodes=0, keep=False)
    try:
        cluster.kubectl("create", "namespace", "kept")
        cluster.state.stop("kube-apiserver", "kube-scheduler")
        again = local.up(tmp_path / "cluster", nodes=0, fake_nodes=0, keep=False)
        again.kubectl("get", "namespace", "kept")
        assert again.state.process("kube-scheduler")
    finally:
        cluster.down()


def _owner(root: Path, nodes: int = 0) -> "subprocess.Popen[str]":
    argv = [sys.executable, "-c", _OWNER, str(root), str(nodes)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path.cwd())


def test_a_killed_owner_leaves_nothing_after_a_sweep(tmp_path: Path) -> None:
    root = tmp_path / "cluster"
    with _owner(root) as owner:
        assert owner.stdout
        assert owner.stdout.readline() == "up\n", owner.communicate()[1]
        owner.kill()
    identity = State(root).settings()["id"]
    assert leftovers.of(root, identity), "the cluster is gone before it was swept: this test proves nothing"
    assert root in states.sweep()
    assert leftovers.of(root, identity) == []


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=lambda sent: sent.name)
def test_an_interrupted_up_leaves_nothing(tmp_path: Path, sent: signal.Signals) -> None:
    root = tmp_path / "cluster"
    argv = [sys.executable, "-m", "tests.cluster", "--state", str(root), "up", "--control-plane-only"]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as command:
        _wait_for(root / "process" / "kube-apiserver")
        identity = State(root).settings()["id"]
        command.send_signal(sent)
        said = command.communicate(timeout=60)[1]
    assert command.returncode == 130, said
    assert leftovers.of(root, identity) == []


def _wait_for(file: Path) -> None:
    deadline = time.monotonic() + 60
    while not file.exists():
        assert time.monotonic() < deadline, f"{file} did not appear"
        time.sleep(0.01)


def test_what_a_living_run_owns_is_neither_swept_nor_taken(tmp_path: Path) -> None:
    root = tmp_path / "cluster"
    program = """
import sys, time
from pathlib import Path
from tests.cluster.state import State
state = State.open(Path(sys.argv[1]))
state.claim()
state.spawn("something", ["sleep", "600"])
print("up", flush=True)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", program, str(root)], stdout=subprocess.PIPE, text=True) as owner:
        try:
            assert owner.stdout
            assert owner.stdout.readline() == "up\n"
            assert root not in states.sweep()
            with pytest.raises(ClusterError, match=f"belongs to the running process {owner.pid}"):
                local.up(root, nodes=0, fake_nodes=0, keep=False)
            assert State(root).process("something")
        finally:
            owner.kill()
    assert root in states.sweep()


def test_a_process_that_got_the_pid_of_a_dead_one_is_not_killed(tmp_path: Path) -> None:
    state = State.open(tmp_path / "cluster")
    stranger = subprocess.Popen(["sleep", "600"])
    try:
        stat = Path(f"/proc/{stranger.pid}/stat").read_text()
        head, tail = stat.rsplit(")", 1)
        fields = tail.split(" ")
        fields[20] = str(int(fields[20]) - 1)  # started one tick earlier: another process
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
        (state.root / "process" / "etcd").write_text(f"{head}){' '.join(fields)}".rstrip("\n") + f"\n{boot}")
        recorded = Process.recorded(state.root / "process" / "etcd")
        assert recorded
        assert recorded.pid == stranger.pid
        state.destroy()
        assert stranger.poll() is None
        os.kill(stranger.pid, 0)
    finally:
        stranger.kill()
        stranger.wait()
