"""The test cluster with real nodes: that pods, Services, names, power and disks are what they are elsewhere."""

import http.client
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cluster import images, leftovers
from tests.cluster import state as states
from tests.cluster.cluster import Cluster
from tests.cluster.state import State

pytestmark = pytest.mark.nodes

_NAMESPACE = "nodes-test"
_LABELS = {"app": "web"}
# The image of CoreDNS is at hand on every node and does all that is asked here: it says OK to HTTP on port 8080, and
# on port 53 it tells the name of the node that it runs on.
_COREFILE = """
.:53 {
    errors
    health :8080
    template IN TXT . {
        answer "{{ .Name }} 0 IN TXT {$NODE_NAME}"
    }
}
"""
_FETCH = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=3).read().decode())"


def _until(condition: Callable[[], bool], seconds: float, what: str) -> float:
    """Wait; the seconds it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.5)
    return time.monotonic() - began


def _web(image: str, host_path: str, mount_path: str) -> list[dict[str, Any]]:
    container = {
        "name": "web",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/coredns", "-conf", "/etc/coredns/Corefile"],
        "env": [{"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
        "readinessProbe": {"httpGet": {"path": "/health", "port": 8080}, "periodSeconds": 1},
        "volumeMounts": [
            {"name": "corefile", "mountPath": "/etc/coredns"},
            {"name": "storage", "mountPath": mount_path},
        ],
    }
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": _LABELS},
    }
    pod = {
        "terminationGracePeriodSeconds": 1,
        "containers": [container],
        "topologySpreadConstraints": [spread],
        "volumes": [
            {"name": "corefile", "configMap": {"name": "web"}},
            {"name": "storage", "hostPath": {"path": host_path, "type": "Directory"}},
        ],
    }
    template = {"metadata": {"labels": _LABELS}, "spec": pod}
    ports = [{"name": "http", "port": 80, "targetPort": 8080}, {"name": "dns", "port": 53, "protocol": "UDP"}]
    meta = {"name": "web", "namespace": _NAMESPACE}
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"Corefile": _COREFILE}},
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"selector": _LABELS, "ports": ports}},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": meta,
            "spec": {"replicas": 2, "selector": {"matchLabels": _LABELS}, "template": template},
        },
    ]


@pytest.fixture(scope="module")
def web(real_cluster: Cluster) -> Iterator[Cluster]:
    """The cluster with a Deployment of two pods, one on each node, behind a Service."""
    real_cluster.kubectl("create", "namespace", _NAMESPACE)
    image = images.reference("coredns")
    real_cluster.apply(*_web(image, real_cluster.SHARED_ON_NODES, "/storage"))
    arguments = ("rollout", "status", "deployment/web", "--timeout=120s")
    real_cluster.kubectl("-n", _NAMESPACE, *arguments, timeout=130)
    yield real_cluster
    real_cluster.kubectl("delete", "namespace", _NAMESPACE, "--wait=false")


def _pods(cluster: Cluster) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = cluster.get("pods", "-n", _NAMESPACE, "-l", "app=web")["items"]
    return found


def _is_ready(cluster: Cluster, node: str) -> bool:
    conditions = cluster.get("node", node)["status"]["conditions"]
    return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)


def _answers(cluster: Cluster, url: str) -> bool:
    return cluster.run([sys.executable, "-c", _FETCH, url], check=False).stdout.strip() == "OK"


def test_a_deployment_runs_on_both_nodes(web: Cluster) -> None:
    pods = _pods(web)
    assert len(pods) == 2
    assert {pod["spec"]["nodeName"] for pod in pods} == set(web.nodes())


def test_every_pod_answers_at_its_own_address(web: Cluster) -> None:
    for pod in _pods(web):
        assert _answers(web, f"http://{pod['status']['podIP']}:8080/health"), pod["spec"]["nodeName"]


def test_a_service_answers_at_its_cluster_address_and_by_its_name(web: Cluster) -> None:
    address = web.get("service", "web", "-n", _NAMESPACE)["spec"]["clusterIP"]
    assert _answers(web, f"http://{address}/health")
    assert _answers(web, f"http://web.{_NAMESPACE}.svc.cluster.local/health")


def test_a_test_itself_can_be_in_the_network_of_the_cluster(web: Cluster) -> None:
    address = web.get("service", "web", "-n", _NAMESPACE)["spec"]["clusterIP"]
    home = Path("/proc/thread-self/ns/net").readlink()
    connection = http.client.HTTPConnection(address, timeout=5)
    with web.network():
        assert Path("/proc/thread-self/ns/net").readlink() != home
        connection.request("GET", "/health")
        assert connection.getresponse().read() == b"OK"
    connection.close()
    assert Path("/proc/thread-self/ns/net").readlink() == home


def test_a_name_that_is_not_of_the_cluster_does_not_exist(web: Cluster) -> None:
    program = "import socket; socket.getaddrinfo('example.org', 80)"
    result = web.run([sys.executable, "-c", program], check=False)
    assert "Name or service not known" in result.stderr


def test_nodes_reach_services_by_name(web: Cluster) -> None:
    url = f"http://web.{_NAMESPACE}.svc.cluster.local/health"
    for node in web.nodes():
        command = web.node_command(node, [sys.executable, "-c", _FETCH, url])

        def answers(command: list[str] = command) -> bool:
            found = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
            return found.stdout.strip() == "OK"

        # Each node learns of the pods that are ready by itself, and tries again after half a minute where it could not.
        _until(answers, 45, f"an answer to {node}")


def test_logs_and_exec_reach_the_kubelet(web: Cluster) -> None:
    name = _pods(web)[0]["metadata"]["name"]
    assert "CoreDNS" in web.kubectl("logs", "-n", _NAMESPACE, name).stdout
    assert "CoreDNS" in web.kubectl("exec", "-n", _NAMESPACE, name, "--", "/coredns", "-version").stdout


def test_the_shared_directory_is_one_and_the_disks_are_each_nodes_own(web: Cluster) -> None:
    assert web.shared
    first, second = web.nodes()

    def on(node: str, script: str) -> str:
        command = web.node_command(node, ["sh", "-c", script])
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False).stdout

    on(first, "echo all > /mnt/shared/note; echo mine > /var/lib/note")
    assert (web.shared / "note").read_text() == "all\n"
    assert on(second, "cat /mnt/shared/note") == "all\n"
    assert on(first, "cat /var/lib/note") == "mine\n"
    assert on(second, "cat /var/lib/note") == ""
    assert not Path("/var/lib/note").exists()


def test_a_node_without_power_is_silent_and_comes_back_with_its_disk(web: Cluster) -> None:
    node = web.nodes()[0]
    address = next(a["address"] for a in web.get("node", node)["status"]["addresses"] if a["type"] == "InternalIP")
    keep = web.node_command(node, ["sh", "-c", "echo disk > /var/lib/kept; echo memory > /run/lost"])
    subprocess.run(keep, check=True, timeout=30)
    pod = next(pod for pod in _pods(web) if pod["spec"]["nodeName"] == node)
    web.node_off(node)

    connect = f"import socket; socket.create_connection(({address!r}, 10250), timeout=2)"
    assert web.run([sys.executable, "-c", connect], check=False).returncode != 0
    took = _until(lambda: not _is_ready(web, node), 60, f"{node} not Ready any more")
    print(f"{node} was NotReady {took:.0f} s after its power was cut")
    _until(lambda: _answers(web, f"http://web.{_NAMESPACE}.svc.cluster.local/health"), 30, "the Service on one node")

    web.node_on(node)
    took = _until(lambda: _is_ready(web, node), 60, f"{node} Ready again")
    print(f"{node} was Ready {took:.0f} s after its power came back")
    script = "cat /var/lib/kept; test ! -e /run/lost && echo forgotten"
    kept = subprocess.run(web.node_command(node, ["sh", "-c", script]), capture_output=True, text=True, timeout=30)  # noqa: PLW1510
    assert kept.stdout == "disk\nforgotten\n"

    def all_ready() -> bool:
        pods = _pods(web)
        ready = [pod for pod in pods if _condition(pod, "Ready")]
        return len(ready) == 2 and {pod["spec"]["nodeName"] for pod in ready} == set(web.nodes())

    _until(all_ready, 120, f"two Ready pods again, one on {node} (was {pod['metadata']['name']})")


def _condition(thing: dict[str, Any], name: str) -> bool:
    conditions = thing["status"].get("conditions", [])
    return any(entry["type"] == name and entry["status"] == "True" for entry in conditions)


def test_nothing_is_left_when_the_owner_of_real_nodes_is_killed(tmp_path: Path) -> None:
    program = """
import sys, time
from pathlib import Path
from tests.cluster import local
local.up(Path(sys.argv[1]), nodes=1, fake_nodes=0, keep=False)
print("up", flush=True)
time.sleep(600)
"""
    root = tmp_path / "cluster"
    with subprocess.Popen([sys.executable, "-c", program, str(root)], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout
        assert owner.stdout.readline() == "up\n"
        owner.send_signal(signal.SIGKILL)
    identity = State(root).settings()["id"]
    kinds = {entry.split()[0] for entry in leftovers.of(root, identity)}
    assert {"process", "mount", "loop", "cgroup"} <= kinds, "what is looked for below was never there"
    began = time.monotonic()
    assert root in states.sweep()
    print(f"swept in {time.monotonic() - began:.1f} s")
    assert leftovers.of(root, identity) == []


def test_nothing_is_left_when_nodes_are_interrupted_while_they_boot(tmp_path: Path) -> None:
    root = tmp_path / "cluster"
    argv = [sys.executable, "-m", "tests.cluster", "--state", str(root), "up", "--nodes", "2"]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as command:
        _until((root / "process" / "node-2").exists, 60, "the second node's first process")
        identity = State(root).settings()["id"]
        command.send_signal(signal.SIGINT)
        said = command.communicate(timeout=90)[1]
    assert command.returncode == 130, said
    assert leftovers.of(root, identity) == []
