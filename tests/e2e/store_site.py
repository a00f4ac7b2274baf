"""A site with stores, sites and images, and what the tests ask of them."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from demo import image_client, platform
from tests.e2e.site import Manifest, Site
from tests.operator_process import wait_for

JSON = {"Content-Type": "application/json"}


class StoreSite(Site):
    """The namespace of an image service, its stores and its images."""

    # -- objects -------------------------------------------------------------------------------------------------

    def put(self, *manifests: Manifest) -> None:
        """Apply objects."""
        self.cluster.apply(*manifests)

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

    def __init__(self, site: StoreSite, url: str, token: str) -> None:
        super().__init__(url, token)
        self._site = site
        self._url = url

    def ask(self, method: str, path: str, body: Any = None) -> Manifest:
        """Send a request with JSON; return the answer's, if it has any."""
        text = None if body is None else json.dumps(body)
        headers = {**self._headers, **JSON}

        def send() -> bytes:
            return image_client.request(self._url, method, path, text, headers).read()

        answer = self._site.inside(send)
        return json.loads(answer) if answer else {}

    def put_file(self, image_id: str, path: Path, where: str = "file") -> None:
        """Send the data of an image, or stage it for an import."""
        headers = {**self._headers, "Content-Type": "application/octet-stream"}

        def send() -> None:
            with path.open("rb") as data:
                image_client.request(self._url, "PUT", f"/v2/images/{image_id}/{where}", data, headers).read()

        self._site.inside(send)

    def upload_to(self, store: str, image_id: str, content: bytes) -> None:
        """Upload the data of an image into one store. Raises Refused."""
        headers = {**self._headers, "Content-Type": "application/octet-stream", "X-Image-Meta-Store": store}
        path = f"/v2/images/{image_id}/file"
        self._site.inside(lambda: image_client.request(self._url, "PUT", path, content, headers).read())

    def new(self, name: str, disk_format: str) -> str:
        """Create the record of an image and return its id."""
        return str(self._site.inside(lambda: self.create(name, disk_format)))

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
        return str(self._site.inside(lambda: self.download(image_id))[0])

    def take(self, image_id: str, store: str) -> None:
        """Remove the copy in one store."""
        self.ask("DELETE", f"/v2/stores/{store}/{image_id}")
