"""A centre and an edge on real nodes, each with a Ceph cluster of its own, and what the tests ask of them."""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from demo import image_client, platform
from tests.ceph.cluster import CephCluster
from tests.ceph.sites import POOL, TwoClusters
from tests.cluster.cluster import Cluster
from tests.e2e.site import Manifest, Site
from tests.operator_process import wait_for

ZONE = "topology.kubernetes.io/zone"
USER = "glance"
JSON = {"Content-Type": "application/json"}


def ceph_store(home: str, name: str, cluster: CephCluster, ceph: Manifest | None = None, **more: Any) -> Manifest:
    """An ImageStore in Ceph; `more` are further fields of its spec, `ceph` those of the member."""
    member = {"secretRef": {"name": f"{name}-ceph"}, "pool": POOL, "monitors": cluster.monitors} | (ceph or {})
    spec = {"imageServiceRef": {"name": "glance"}, "type": "Ceph", "ceph": member} | more
    return {
        "apiVersion": "imageservice.dev/v1alpha1",
        "kind": "ImageStore",
        "metadata": {"name": name, "namespace": home},
        "spec": spec,
    }


class Dcn(Site):
    """The namespace of an image service with a centre and edges."""

    def __init__(self, cluster: Cluster, home: str, clusters: TwoClusters) -> None:
        super().__init__(cluster, home)
        self.ceph = clusters

    # -- objects -------------------------------------------------------------------------------------------------

    def put(self, *manifests: Manifest) -> None:
        """Apply objects."""
        self.cluster.apply(*manifests)

    def credentials(self, name: str, **values: str) -> None:
        """Make the Secret of a store, or change it to have just these keys."""
        self.put(platform.secret(self.home, f"{name}-ceph", values))

    def store(self, name: str) -> Manifest:
        """An ImageStore as it is."""
        found: Manifest = self.get("imagestore", name)
        return found

    def verdict(self, name: str, type_: str = "Ready") -> tuple[str, str]:
        """Status and reason of a condition of an ImageStore."""
        found = self.store(name).get("status", {}).get("conditions", [])
        condition = next((c for c in found if c["type"] == type_), {"status": "", "reason": ""})
        return condition["status"], condition["reason"]

    def wait_store(self, name: str, reason: str, type_: str = "Ready", seconds: float = 120) -> float:
        """Wait until a condition of an ImageStore has a reason; return how long that took, in seconds."""
        began = time.monotonic()
        try:
            wait_for(lambda: self.verdict(name, type_)[1] == reason, seconds, f"{type_} of {name} is {reason}")
        except AssertionError as late:
            conditions = self.store(name).get("status", {}).get("conditions")
            raise AssertionError(f"{late}: {json.dumps(conditions)}") from None
        return time.monotonic() - began

    def sites(self) -> dict[str, Manifest]:
        """The rows of the sites in the status of the service."""
        return {row["name"]: row for row in self.get("imageservice", "glance")["status"]["sites"]}

    def pods(self, edge: str | None = None) -> list[Manifest]:
        """The API pods at the centre, or of an edge, that are not on their way out."""
        chosen = "app.kubernetes.io/component=api" if edge is None else f"imageservice.dev/edge={edge}"
        found = self.get("pods", "-l", f"imageservice.dev/image-service=glance,{chosen}")["items"]
        return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]

    def uids(self, edge: str | None = None) -> set[str]:
        """The uids of these pods."""
        return {pod["metadata"]["uid"] for pod in self.pods(edge)}

    # -- images --------------------------------------------------------------------------------------------------

    def inside(self, act: Callable[[], Any]) -> Any:
        """Do something whose sockets are in the network of the cluster."""
        with self.cluster.network():
            return act()

    def token(self, name: str = "admin", project: str = "admin") -> str:
        """A token of a user of the platform."""
        keystone, password = self.url("keystone"), platform.PASSWORDS[name]
        return str(self.inside(lambda: image_client.login(keystone, name, password, project)))

    def images(self, service: str, token: str) -> "ImagesAt":
        """The images as a Service shows them."""
        return ImagesAt(self, self.url(service), token)


class ImagesAt(image_client.Images):
    """The images of one site, seen with one token, by a client in the cluster's network."""

    def __init__(self, dcn: Dcn, url: str, token: str) -> None:
        super().__init__(url, token)
        self._dcn = dcn
        self._url = url

    def ask(self, method: str, path: str, body: Any = None) -> Manifest:
        """Send a request with JSON; return the answer's, if it has any."""
        text = None if body is None else json.dumps(body)
        headers = {**self._headers, **JSON}

        def send() -> bytes:
            return image_client.request(self._url, method, path, text, headers).read()

        answer = self._dcn.inside(send)
        return json.loads(answer) if answer else {}

    def put_file(self, image_id: str, path: Path, where: str = "file") -> None:
        """Send the data of an image, or stage it for an import."""
        headers = {**self._headers, "Content-Type": "application/octet-stream"}

        def send() -> None:
            with path.open("rb") as data:
                image_client.request(self._url, "PUT", f"/v2/images/{image_id}/{where}", data, headers).read()

        self._dcn.inside(send)

    def new(self, name: str, disk_format: str) -> str:
        """Create the record of an image and return its id."""
        return str(self._dcn.inside(lambda: self.create(name, disk_format)))

    def record(self, image_id: str) -> Manifest:
        """The record of an image."""
        return self.ask("GET", f"/v2/images/{image_id}")

    def stores_of(self, image_id: str) -> set[str]:
        """The stores that an image is in."""
        return set(filter(None, self.record(image_id).get("stores", "").split(",")))

    def bring(self, image_id: str, method: str, **where: Any) -> None:
        """Ask for an import and wait until it is over."""
        self.ask("POST", f"/v2/images/{image_id}/import", {"method": {"name": method}, **where})

        def over() -> bool:
            found = self.record(image_id)
            return found["status"] == "active" and not found.get("os_glance_import_task")

        wait_for(over, 120, f"the import is over: {self.record(image_id)}")

    def digest(self, image_id: str) -> str:
        """The SHA-512 of the data as it is read from this site."""
        return str(self._dcn.inside(lambda: self.download(image_id))[0])

    def take(self, image_id: str, store: str) -> None:
        """Remove the copy in one store."""
        self.ask("DELETE", f"/v2/stores/{store}/{image_id}")


def qcow2(directory: Path, content: bytes) -> Path:
    """A qcow2 file of some content."""
    raw, packed = directory / "image.raw", directory / "image.qcow2"
    raw.write_bytes(content)
    command = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, packed]
    subprocess.run(command, check=True, timeout=60, capture_output=True)
    return packed
