"""Objects for the tests on a real API server, and the looks at them."""

import contextlib
import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

from tests.cluster.cluster import Cluster
from tests.keystone import ADMIN_PASSWORD, GLANCE_PASSWORD, KeystoneServer
from tests.operator_process import wait_for

API = "imageservice.dev/v1alpha1"
DATABASE_URL = "mysql+pymysql://glance:database-password@mariadb:3306/glance"
Manifest = dict[str, Any]


class Namespace:
    """A namespace of its own for one test, with what an ImageService refers to."""

    def __init__(self, cluster: Cluster, keystone: KeystoneServer) -> None:
        self.cluster = cluster
        self.keystone = keystone
        self.name = f"t-{uuid.uuid4().hex[:8]}"
        cluster.apply(
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": self.name, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
            }
        )

    def apply(self, *manifests: Manifest) -> None:
        self.cluster.apply(*(self.at_home(manifest) for manifest in manifests))

    def at_home(self, manifest: Manifest) -> Manifest:
        return manifest | {"metadata": {"namespace": self.name} | manifest["metadata"]}

    def kubectl(self, *arguments: str, **options: Any) -> Any:
        return self.cluster.kubectl("-n", self.name, *arguments, **options)

    def get(self, *arguments: str) -> Any:
        return self.cluster.get("-n", self.name, *arguments)

    def find(self, kind: str, name: str) -> Manifest | None:
        found: Manifest | None = self.cluster.find(kind, name, self.name)
        return found

    def conditions(self, kind: str = "imageservice", name: str = "glance") -> dict[str, Manifest]:
        found = self.find(kind, name) or {}
        return {c["type"]: c for c in found.get("status", {}).get("conditions", [])}

    def wait_ready(self, name: str = "glance", kind: str = "imageservice", seconds: float = 40) -> None:
        """Wait with kubectl, as a user would; say what stands in the way where it takes too long."""
        arguments = [f"{kind}/{name}", "--for=condition=Ready", f"--timeout={seconds}s"]
        waited = self.kubectl("wait", *arguments, check=False, timeout=seconds + 10)
        reasons = {type_: c.get("message") for type_, c in self.conditions(kind, name).items() if c["status"] != "True"}
        assert waited.returncode == 0, f"{kind} {name} is not Ready within {seconds} s: {reasons}"

    def wait_settled(self, name: str = "glance") -> None:
        """Wait until nobody has anything left to do: the Job is over, and the pods are more than just ready.

        Kubernetes counts a pod as available `minReadySeconds` after it is ready, and writes that.
        """

        def settled() -> bool:
            jobs = self.get("jobs")["items"]
            deployment = self.find("deployment", f"{name}-api") or {}
            counts = [deployment.get("status", {}).get(field) for field in ("availableReplicas", "readyReplicas")]
            return [job.get("status", {}).get("succeeded") for job in jobs] == [1] and counts[0] == counts[1]

        wait_for(settled, 40, f"{name} is settled")
        time.sleep(2)

    def wait_reason(
        self, reason: str, type_: str = "Ready", kind: str = "imageservice", name: str = "glance", seconds: float = 30
    ) -> Manifest:
        """Wait until a condition has a reason, and return the condition."""

        def found() -> Manifest | None:
            condition = self.conditions(kind, name).get(type_, {})
            return condition if condition.get("reason") == reason else None

        condition: Manifest = wait_for(found, seconds, f"{type_}={reason} of {name}: {self.conditions(kind, name)}")
        return condition

    def versions(self) -> dict[str, str]:
        """Return the resourceVersion of everything in the namespace that is ours or the user's."""
        kinds = "imageservices,imagestores,deployments,services,secrets,jobs,poddisruptionbudgets,pvc"
        return {
            f"{item['kind']}/{item['metadata']['name']}": item["metadata"]["resourceVersion"]
            for item in self.get(kinds)["items"]
        }

    def quickstart(self, **spec: Any) -> None:
        """Make everything that an ImageService needs, and the ImageService."""
        self.claim()
        self.apply(*secrets(), image_store(), image_service(self.keystone, **spec))

    def claim(self, name: str = "images", mode: str = "ReadWriteMany") -> None:
        """Make a PersistentVolumeClaim and the PersistentVolume that it is bound to."""
        size = {"storage": "1Gi"}
        volume = {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": f"{self.name}-{name}"},
            "spec": {
                "accessModes": [mode],
                "capacity": size,
                "claimRef": {"namespace": self.name, "name": name},
                "hostPath": {"path": "/mnt/shared"},
                "persistentVolumeReclaimPolicy": "Retain",
            },
        }
        claim = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name},
            "spec": {
                "accessModes": [mode],
                "resources": {"requests": size},
                "storageClassName": "",
                "volumeName": volume["metadata"]["name"],
            },
        }
        self.cluster.apply(volume, self.at_home(claim))

    @contextlib.contextmanager
    def refusing(self, resource: str, rule: str, message: str) -> Iterator[None]:
        """Have the API server refuse objects of apps/v1 in this namespace unless they meet a CEL rule."""
        names = {"name": f"{self.name}-{resource}"}
        rules = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["*"], "resources": [resource]}
        home = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": self.name}}}
        group = "admissionregistration.k8s.io/v1"
        policy = {"matchConstraints": {"resourceRules": [rules]} | home}
        policy |= {"validations": [{"expression": rule, "message": message}]}
        binding = {"policyName": names["name"], "validationActions": ["Deny"]}
        self.cluster.apply(
            {"apiVersion": group, "kind": "ValidatingAdmissionPolicy", "metadata": names, "spec": policy},
            {"apiVersion": group, "kind": "ValidatingAdmissionPolicyBinding", "metadata": names, "spec": binding},
        )
        try:
            probe = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "probe"}}
            labels = {"app": "probe"}
            pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "probe", "image": "probe"}]}}
            probe["spec"] = {"replicas": 9, "selector": {"matchLabels": labels}, "template": pod}

            def refused() -> bool:
                arguments = ["-n", self.name, "create", "--dry-run=server", "-f", "-"]
                return message in self.cluster.kubectl(*arguments, stdin=json.dumps(probe), check=False).stderr

            wait_for(refused, 30, "the policy is in force")
            yield
        finally:
            kinds = "validatingadmissionpolicybinding,validatingadmissionpolicy"
            self.cluster.kubectl("delete", kinds, names["name"], "--wait=false")

    def delete(self) -> None:
        """Delete it. Its ImageServices go first: as long as one is there, it writes to the catalogue."""
        self.kubectl("delete", "imageservices", "--all", "--timeout=10s", check=False)
        rest = (f"namespace/{self.name}", f"persistentvolume/{self.name}-images")
        self.cluster.kubectl("delete", *rest, "--wait=false", "--ignore-not-found")


def secret(name: str, **values: str) -> Manifest:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values}


def secrets() -> list[Manifest]:
    return [
        secret("glance-db", url=DATABASE_URL),
        secret("glance-user", username="glance", password=GLANCE_PASSWORD, project_name="service"),
        secret("keystone-admin", username="admin", password=ADMIN_PASSWORD, project_name="admin"),
    ]


def image_store(name: str = "central", service: str = "glance", **spec: Any) -> Manifest:
    volume = {"type": "PersistentVolumeClaim", "persistentVolumeClaim": {"claimName": "images"}}
    wanted = {"imageServiceRef": {"name": service}, "type": "Filesystem", "filesystem": {"volume": volume}}
    return {"apiVersion": API, "kind": "ImageStore", "metadata": {"name": name}, "spec": wanted | spec}


def image_service(keystone: KeystoneServer | None, name: str = "glance", **spec: Any) -> Manifest:
    auth_url = keystone.auth_url if keystone else "http://127.0.0.1:9/v3"
    identity = {
        "authURL": auth_url,
        "secretRef": {"name": "glance-user"},
        "catalog": {"secretRef": {"name": "keystone-admin"}, "publicURL": "https://image.example"},
    }
    wanted = {"release": "2026.1", "database": {"secretRef": {"name": "glance-db"}}, "identity": identity}
    return {"apiVersion": API, "kind": "ImageService", "metadata": {"name": name}, "spec": wanted | spec}
