"""A user of a running Glance, who imports images."""

import json
from dataclasses import dataclass
from typing import Any

from tests.glance.api_process import Answer, GlanceProcess
from tests.waiting import wait_for

JSON = {"Content-Type": "application/json"}
DATA = {"Content-Type": "application/octet-stream"}
IMPORT_SECONDS = 60


@dataclass
class Client:
    """A user of a Glance."""

    glance: GlanceProcess
    token: str

    def call(self, method: str, path: str, body: Any = None) -> Answer:
        """Send JSON, or bytes as they are."""
        is_data = isinstance(body, bytes)
        sent = body if body is None or is_data else json.dumps(body).encode()
        return self.glance.call(
            method, f"/v2/images{path}", token=self.token, headers=DATA if is_data else JSON, body=sent
        )

    def create(self, disk_format: str = "raw", container_format: str = "bare") -> str:
        answer = self.call("POST", "", {"name": "x", "disk_format": disk_format, "container_format": container_format})
        assert answer.status == 201, answer.body
        return str(json.loads(answer.body)["id"])

    def staged(self, data: bytes, disk_format: str = "raw") -> str:
        """Create an image, put its data into staging, and return its id."""
        image_id = self.create(disk_format)
        answer = self.call("PUT", f"/{image_id}/stage", data)
        assert answer.status == 204, answer.body
        return image_id

    def start(self, image_id: str, method: str = "glance-direct", **more: str) -> Answer:
        """Ask for an import."""
        return self.call("POST", f"/{image_id}/import", {"method": {"name": method, **more}})

    def image(self, image_id: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.call("GET", f"/{image_id}").body)
        return found

    def imported(self, image_id: str, method: str = "glance-direct", **more: str) -> dict[str, Any]:
        """Import an image and return it once it is active."""
        answer = self.start(image_id, method, **more)
        assert answer.status == 202, answer.body
        return self.active(image_id)

    def active(self, image_id: str) -> dict[str, Any]:
        """Return an image once its import has ended well."""
        wait_for(
            lambda: self.image(image_id)["status"] == "active" or self.failed(image_id), IMPORT_SECONDS, "it has ended"
        )
        found = self.image(image_id)
        assert found["status"] == "active", f"{found}\n{self.glance.log[-6000:]}"
        return found

    def fails(self, image_id: str, method: str = "glance-direct", **more: str) -> dict[str, Any]:
        """Import an image and return it once that has failed."""
        answer = self.start(image_id, method, **more)
        assert answer.status == 202, answer.body
        wait_for(lambda: self.failed(image_id), IMPORT_SECONDS, "the import has failed")
        found = self.image(image_id)
        assert found["status"] != "active"
        return found

    def failed(self, image_id: str) -> bool:
        """Tell whether the last import of an image has failed."""
        tasks = json.loads(self.call("GET", f"/{image_id}/tasks").body)["tasks"]
        return bool(tasks) and tasks[-1]["status"] == "failure"

    def data(self, image_id: str) -> bytes:
        return self.call("GET", f"/{image_id}/file").body
