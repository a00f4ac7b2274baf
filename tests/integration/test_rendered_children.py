"""What the renderer makes, on a real API server: taken as it is, strictly checked, and left as it was written."""

import json
import uuid
from typing import Any

import pytest
from tests.cluster.cluster import Cluster
from tests.unit.render import samples
from tests.unit.render.test_manifests import FULL, children
from tests.unit.render.test_names import LONGEST

from imageservice.manifest import Manifest
from imageservice.render.deployment import deployment
from imageservice.render.inputs import ImageServiceInputs
from imageservice.runtime.apply import is_settled, with_digest

pytestmark = pytest.mark.cluster

STORES = (samples.store("central"), samples.store("a_b"), samples.store("c", samples.EMPTY_DIR))
CASES: dict[str, ImageServiceInputs] = {
    "small": samples.inputs(),
    "every type": samples.inputs(
        stores=(*(samples.store_of(kind) for kind in ("Ceph", "S3", "Swift")), samples.store_of("Ceph", "x" * 63))
    ),
    "full": samples.inputs(name=LONGEST, stores=STORES, **FULL),
    "alone": samples.other(samples.inputs(api={"replicas": 1}), stores_are_shared=False),
}


@pytest.fixture(scope="module")
def namespace(control_plane: Cluster) -> str:
    name = f"render-{uuid.uuid4().hex[:8]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    control_plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    return name


def in_namespace(case: str, namespace: str) -> list[Manifest]:
    """Return the children of a case, which nobody owns here: the garbage collector would take them away."""
    found = children(samples.other(CASES[case], namespace=namespace))
    for child in found:
        del child["metadata"]["ownerReferences"]
    return found


def server_side_apply(cluster: Cluster, namespace: str, manifest: Manifest) -> Manifest:
    """Apply as the operator does, but with every unknown field and every warning an error."""
    arguments = ["--server-side", "--validate=strict", "--warnings-as-errors", "--field-manager=image-service-operator"]
    cluster.kubectl("-n", namespace, "apply", *arguments, "-f", "-", stdin=json.dumps(manifest))
    kind, name = manifest["kind"], manifest["metadata"]["name"]
    live: dict[str, Any] = json.loads(cluster.kubectl("-n", namespace, "get", kind, name, "-o", "json").stdout)
    return live


RESTRICTED = ("small", "every type")
"""The cases whose stores no restricted namespace has anything against."""


@pytest.mark.parametrize("case", CASES)
def test_every_child_is_taken_without_a_warning_and_is_then_as_wanted(
    control_plane: Cluster, namespace: str, case: str
) -> None:
    for child in in_namespace(case, namespace):
        wanted = with_digest(child)
        live = server_side_apply(control_plane, namespace, wanted)
        assert is_settled(wanted, live), f"{child['kind']} {child['metadata']['name']}"


@pytest.mark.parametrize("case", RESTRICTED)
def test_the_pods_pass_the_restricted_pod_security_standard_of_the_api_server(
    control_plane: Cluster, namespace: str, case: str
) -> None:
    for index, child in enumerate(in_namespace(case, namespace)):
        if "template" in child.get("spec", {}):
            metadata = {"name": f"pod-{index}", "namespace": namespace}
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": child["spec"]["template"]["spec"]}
            control_plane.kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(pod))


def test_an_nfs_volume_is_all_that_the_restricted_standard_has_against_a_service_on_nfs(
    control_plane: Cluster, namespace: str
) -> None:
    on_nfs = samples.inputs(stores=(samples.store("central", samples.NFS),))
    spec = deployment(on_nfs, "config")["spec"]["template"]["spec"]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "nfs", "namespace": namespace}, "spec": spec}
    answer = control_plane.kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(pod), check=False)
    assert answer.stderr.strip().endswith(
        'violates PodSecurity "restricted:latest": restricted volume types '
        '(volume "store-central" uses restricted volume type "nfs")'
    )


def test_pods_that_attach_volumes_of_cinder_are_valid_and_a_restricted_namespace_says_what_it_has_against_them(
    control_plane: Cluster, namespace: str
) -> None:
    inputs = samples.inputs(stores=(samples.store_of("Cinder"),))
    spec = deployment(inputs, "config")["spec"]["template"]["spec"]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "cinder", "namespace": namespace}, "spec": spec}
    refused = control_plane.kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(pod), check=False)
    for word in ("host namespaces (hostPID=true)", "privileged", 'restricted volume type "hostPath"', "runAsUser=0"):
        assert word in refused.stderr
    pod["metadata"] = {"name": "cinder", "namespace": "default"}
    control_plane.kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(pod))


def test_a_deployment_turns_from_rolling_to_recreate_and_back(control_plane: Cluster, namespace: str) -> None:
    """The fields of a rolling update must go with it: the API server refuses them beside `Recreate`."""
    for case in ("alone", "small", "alone"):
        wanted = next(child for child in in_namespace(case, namespace) if child["kind"] == "Deployment")
        live = server_side_apply(control_plane, namespace, wanted)
        assert live["spec"]["strategy"] == wanted["spec"]["strategy"]
