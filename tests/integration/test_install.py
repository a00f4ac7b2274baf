"""Installing on a real API server: by Helm and by the one manifest, with upgrades, removal, rights and the samples.

The cluster is one of its own, as CRDs are installed and removed here. Its pods are kwok's: Ready, but not there; the
operator that works with the chart's rights is a process of this test.
"""

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests import monitor_stand_in
from tests.cluster import local, state
from tests.cluster.cluster import Cluster
from tests.cluster.errors import Unavailable
from tests.ports import free_port
from tests.waiting import wait_for
from tools import manifests

from imageservice.api.v1alpha1 import GROUP, KINDS

pytestmark = pytest.mark.cluster

QUICKSTART = manifests.ROOT / "manifests" / "samples" / "quickstart"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
CRDS = sorted(f"{kind.resource.plural}.{GROUP}" for kind in KINDS)
NAMESPACE = "operators"
ACCOUNT = f"system:serviceaccount:{NAMESPACE}:ours-image-service-operator"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A control plane of our own with two kwok nodes, and a namespace that admits restricted pods only."""
    if sys.platform != "linux":
        pytest.skip(f"the control plane runs on Linux, this is {sys.platform}")
    try:
        made = local.up(state.registry() / f"test-{os.getpid()}-install", nodes=0, fake_nodes=2, keep=False)
    except Unavailable as reason:
        pytest.skip(str(reason))
    for name in (NAMESPACE, "images", "elsewhere"):
        made.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": RESTRICTED}})
    yield made
    made.down()


def helm(cluster: Cluster, *arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    return cluster.run(["helm", *arguments, "--namespace", NAMESPACE], check=check, timeout=120)


def installed(cluster: Cluster, *values: str) -> None:
    """Install the chart, or upgrade it to these values; do not wait for its pods."""
    chosen = [word for value in values for word in ("--set", value)]
    helm(cluster, "upgrade", "--install", "ours", manifests.CHART, *chosen)


@pytest.fixture(scope="module")
def release(cluster: Cluster) -> Iterator[Cluster]:
    """The chart installed with its defaults, once; a test that changes the release puts that back."""
    helm(cluster, "install", "ours", manifests.CHART, "--wait", "--timeout", "90s")
    yield cluster
    helm(cluster, "uninstall", "ours", "--ignore-not-found")


def present(cluster: Cluster, kind: str, *scope: str) -> list[str]:
    return [item["metadata"]["name"] for item in cluster.get(kind, *scope)["items"]]


def crds(cluster: Cluster) -> list[str]:
    return [name for name in present(cluster, "crd") if name in CRDS]


def may(cluster: Cluster, user: str, verb: str, resource: str, namespace: str, *, name: str = "") -> bool:
    """Ask whether a user may; `resource` is as in a role (pods, pods/exec)."""
    resource, _, subresource = resource.partition("/")
    command = ["auth", "can-i", verb, f"{resource}/{name}" if name else resource, "-n", namespace, "--as", user]
    answer = cluster.kubectl(*command, f"--subresource={subresource}", check=False)
    return answer.stdout.strip() == "yes"


def test_helm_installs_ready_replicas_that_pass_the_restricted_standard(release: Cluster) -> None:
    deployment = release.get("deployment", "ours-image-service-operator", "-n", NAMESPACE)
    assert deployment["status"]["readyReplicas"] == 2
    pods = release.get("pods", "-n", NAMESPACE)["items"]
    assert len({pod["spec"]["nodeName"] for pod in pods}) == 2
    release.kubectl("wait", "--for=condition=Established", "--timeout=30s", *[f"crd/{name}" for name in CRDS])
    assert "imgsvc" in release.kubectl("api-resources", "--categories=glance").stdout


def test_the_operator_may_work_everywhere_and_do_nothing_else(release: Cluster) -> None:
    allowed = [
        ("patch", "imageservices"),
        ("patch", "imageservices/status"),
        ("patch", "imageprecaches/status"),
        ("create", "deployments.apps"),
        ("create", "daemonsets.apps"),
        ("list", "endpointslices.discovery.k8s.io"),
        ("list", "nodes"),
        ("delete", "secrets"),
        ("list", "pods"),
        ("get", "persistentvolumeclaims"),
        ("get", "configmaps"),
    ]
    forbidden = [
        ("create", "imageservices"),
        ("delete", "imageservices"),
        ("create", "pods"),
        ("create", "pods/exec"),
        ("delete", "persistentvolumeclaims"),
        ("create", "configmaps"),
        ("get", "nodes"),
        ("patch", "nodes"),
        ("create", "endpointslices.discovery.k8s.io"),
        ("create", "rolebindings"),
        ("get", "leases"),
    ]
    answers = {pair: may(release, ACCOUNT, *pair, "images") for pair in allowed + forbidden}
    assert answers == {pair: pair in allowed for pair in allowed + forbidden}
    assert may(release, ACCOUNT, "update", "leases", NAMESPACE, name="ours-image-service-operator")
    assert not may(release, ACCOUNT, "update", "leases", NAMESPACE, name="theirs")


def test_people_with_the_clusters_own_roles_may_use_our_kinds(release: Cluster) -> None:
    for role in ("view", "edit"):
        release.kubectl("create", "rolebinding", role, f"--clusterrole={role}", f"--user={role}er", "-n", "images")
    try:
        # The controller that adds up roles works behind our back.
        wait_for(lambda: may(release, "editer", "create", "imageservices", "images"), 30, "an editor may create")
        assert may(release, "editer", "patch", "imageservices/scale", "images")
        assert may(release, "viewer", "list", "imagestores", "images")
        assert not may(release, "viewer", "create", "imageservices", "images")
        assert not may(release, "editer", "patch", "imageservices/status", "images")
    finally:
        release.kubectl("delete", "rolebinding", "view", "edit", "-n", "images")


# The samples


def test_the_quickstart_is_accepted_in_a_restricted_namespace(release: Cluster) -> None:
    told = release.kubectl("apply", "-n", "images", "--dry-run=server", "--validate=strict", "-f", QUICKSTART).stdout
    assert sorted(line.split()[0] for line in told.splitlines()) == [
        "imageservice.imageservice.dev/glance",
        "imagestore.imageservice.dev/central",
        "persistentvolumeclaim/images",
        "secret/glance-db",
        "secret/glance-service-user",
        "secret/keystone-admin",
    ]


OTHERS_KINDS = ("CephBlockPool", "CephClient", "ExternalSecret")
"""What Rook and External Secrets are told: their CRDs are not in this cluster."""


@pytest.mark.parametrize("sample", ["cinder", "dcn", "external-secrets", "nfs", "rook", "s3", "swift"])
def test_the_sample_of_each_store_is_accepted_in_a_restricted_namespace(release: Cluster, sample: str) -> None:
    files = sorted((QUICKSTART.parent / sample).glob("*.yaml"))
    found = [item for path in files for item in yaml.safe_load_all(path.read_text()) if item]
    ours = [item for item in found if item["kind"] not in OTHERS_KINDS]
    command = ("apply", "-n", "images", "--dry-run=server", "--validate=strict", "--warnings-as-errors", "-f", "-")
    told = release.kubectl(*command, stdin=yaml.safe_dump_all(ours)).stdout
    assert len(told.splitlines()) == len(ours)
    assert {"ImageService", "ImageStore"} <= {item["kind"] for item in ours}


# The operator with the rights of the chart


def kubeconfig_of_the_account(cluster: Cluster, folder: Path) -> Path:
    """Return a kubeconfig by which a process is what the operator's pod would be."""
    token = cluster.kubectl("create", "token", "ours-image-service-operator", "-n", NAMESPACE).stdout.strip()
    config = json.loads(cluster.kubectl("config", "view", "--raw", "--flatten", "-o", "json").stdout)
    config["users"] = [{"name": user["name"], "user": {"token": token}} for user in config["users"]]
    file = folder / "kubeconfig"
    file.write_text(json.dumps(config))
    return file


@pytest.fixture
def operator(release: Cluster, tmp_path: Path) -> Iterator[str]:
    """An operator that works in all namespaces with the rights of the chart; gives the URL of its health server."""
    port = free_port()
    environment = {
        **os.environ,
        "POD_NAME": "of-the-test",
        "POD_NAMESPACE": NAMESPACE,
        "IMAGE_SERVICE_OPERATOR_LEASE_NAME": "ours-image-service-operator",
        "IMAGE_SERVICE_OPERATOR_HEALTH_HOST": "127.0.0.1",
        "IMAGE_SERVICE_OPERATOR_HEALTH_PORT": str(port),
        "IMAGE_SERVICE_OPERATOR_MONITOR_URL": monitor_stand_in.url(),
    }
    command = ["image-service-operator", "run", "--kubeconfig", str(kubeconfig_of_the_account(release, tmp_path))]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [Path(sys.executable).parent / command[0], *command[1:]], env=environment, stdout=log, stderr=log
        )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
        print((tmp_path / "log").read_text())


def requests_by_code(url: str) -> dict[str, float]:
    """Return how many requests to the API server were answered with each status code."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    counts: dict[str, float] = {}
    for line in lines:
        found = re.match(r'image_service_operator_rest_client_requests_total\{.*?code="(\d+|<error>)".*\} (\S+)', line)
        if found:
            counts[found[1]] = counts.get(found[1], 0) + float(found[2])
    return counts


def test_the_operator_is_refused_nothing_from_the_first_object_to_the_last(operator: str, release: Cluster) -> None:
    def children() -> set[str]:
        kinds = "deployments,services,poddisruptionbudgets,jobs,secrets"
        selection = ["-n", "images", "-l", "app.kubernetes.io/managed-by=image-service-operator"]
        return {item["kind"] for item in release.get(kinds, *selection)["items"]}

    release.kubectl("apply", "-n", "images", "-f", QUICKSTART)
    try:
        everything = {"Deployment", "Service", "PodDisruptionBudget", "Job", "Secret"}
        wait_for(lambda: children() == everything, 60, f"all kinds of children, there are {children()}")
        status = release.get("imageservice", "glance", "-n", "images")["status"]
        assert status["observedGeneration"] == 1
        release.kubectl(
            "patch", "imageservice", "glance", "-n", "images", "--type=merge", "-p", '{"spec":{"api":{"replicas":1}}}'
        )
        wait_for(lambda: "PodDisruptionBudget" not in children(), 60, "the PodDisruptionBudget deleted")
    finally:
        release.kubectl("delete", "-n", "images", "-f", QUICKSTART, timeout=120)
    wait_for(lambda: children() == set(), 60, "no child left")
    counts = requests_by_code(operator)
    assert counts["200"] > 0
    assert "403" not in counts


# The life of a release


@pytest.fixture
def objects(release: Cluster) -> Iterator[None]:
    """An ImageService with all that it refers to."""
    release.kubectl("apply", "-n", "images", "-f", QUICKSTART)
    yield
    release.kubectl("delete", "-n", "images", "-f", QUICKSTART, timeout=120)


def test_with_namespaces_given_the_operator_has_no_right_in_others(release: Cluster) -> None:
    installed(release, "watchNamespaces={images}")
    try:
        assert may(release, ACCOUNT, "get", "secrets", "images")
        assert not may(release, ACCOUNT, "get", "secrets", "elsewhere")
        assert not may(release, ACCOUNT, "list", "imageservices", "elsewhere")
        assert may(release, ACCOUNT, "list", "nodes", "elsewhere")  # they are in no namespace
        assert may(release, ACCOUNT, "update", "leases", NAMESPACE, name="ours-image-service-operator")
    finally:
        installed(release)


def test_an_upgrade_changes_the_deployment_and_leaves_objects_alone(release: Cluster, objects: None) -> None:
    before = release.get("imageservice", "glance", "-n", "images")
    installed(release, "replicaCount=1", "operator.workers=3")
    assert release.get("deployment", "ours-image-service-operator", "-n", NAMESPACE)["spec"]["replicas"] == 1
    assert present(release, "pdb", "-n", NAMESPACE) == []
    assert release.get("imageservice", "glance", "-n", "images") == before


def test_uninstalling_keeps_the_crds_and_every_object_and_installing_again_takes_them_over(
    release: Cluster, objects: None
) -> None:
    before = release.get("imageservice", "glance", "-n", "images")
    helm(release, "uninstall", "ours", "--wait")
    assert present(release, "all", "-n", NAMESPACE) == []
    assert crds(release) == CRDS
    installed(release)
    assert release.get("imageservice", "glance", "-n", "images") == before


def test_uninstalling_leaves_nothing_behind_but_the_crds(release: Cluster) -> None:
    helm(release, "uninstall", "ours", "--wait")
    kinds = "clusterroles,clusterrolebindings,roles,rolebindings,serviceaccounts,deployments,services,pdb,secrets"
    found = release.get(kinds, "-A", "-l", "app.kubernetes.io/instance=ours")["items"]
    assert [(item["kind"], item["metadata"]["name"]) for item in found] == []


@pytest.fixture
def clean(cluster: Cluster) -> Iterator[Cluster]:
    """No CRDs of ours, before and after."""
    cluster.kubectl("delete", "crd", *CRDS, "--ignore-not-found", "--wait")
    yield cluster
    cluster.kubectl("delete", "-f", manifests.INSTALL, "--ignore-not-found", "--wait", timeout=120)


@pytest.mark.parametrize("options", [[], ["--server-side"]], ids=["client-side", "server-side"])
def test_the_manifest_applies_at_once_and_leaves_no_difference(clean: Cluster, options: list[str]) -> None:
    clean.kubectl("apply", *options, "-f", manifests.INSTALL)
    selection = ["-n", manifests.NAMESPACE, "deployment/image-service-operator"]
    clean.kubectl("wait", "--for=condition=Available", "--timeout=60s", *selection, timeout=90)
    # A CRD that is deleted before the API server has begun to serve its kind goes only minutes later.
    wait_for(lambda: clean.kubectl("get", ",".join(CRDS), "-A", check=False).returncode == 0, 30, "every kind served")
    difference = clean.kubectl("diff", *options, "-f", manifests.INSTALL, check=False)
    assert (difference.returncode, difference.stdout) == (0, "")
