"""What users do with the images of a running Glance."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.glance.api_process import Answer, GlanceProcess

JSON = {"Content-Type": "application/json"}
BYTES = {"Content-Type": "application/octet-stream"}
IMPORTING = "os_glance_importing_to_stores"
"""The property of an image that names the stores in which an import has not put it yet."""
FAILED = "os_glance_failed_import"
"""The property of an image that names the stores in which an import could not put it."""


@dataclass(frozen=True)
class User:
    """A project member, or the administrator, with a token."""

    token: str


def create_image(glance: GlanceProcess, user: User, name: str = "image") -> str:
    """Create an image record and return its id."""
    body = json.dumps({"name": name, "disk_format": "raw", "container_format": "bare"}).encode()
    answer = glance.call("POST", "/v2/images", token=user.token, headers=JSON, body=body)
    assert answer.status == 201, answer.body + glance.log[-3000:].encode()
    return str(json.loads(answer.body)["id"])


def image(glance: GlanceProcess, user: User, image_id: str) -> dict[str, Any]:
    """Return what Glance says about an image."""
    found: dict[str, Any] = json.loads(glance.call("GET", f"/v2/images/{image_id}", token=user.token).body)
    return found


def names(listed: str) -> set[str]:
    """Return the stores that a property of an image names."""
    return set(filter(None, listed.split(",")))


def send(
    glance: GlanceProcess, user: User, image_id: str, data: bytes, *, path: str = "file", store: str = ""
) -> Answer:
    """Send the data of an image, to the default store where none is named; return whatever comes back."""
    headers = {**BYTES, **({"X-Image-Meta-Store": store} if store else {})}
    return glance.call("PUT", f"/v2/images/{image_id}/{path}", token=user.token, headers=headers, body=data)


def upload(glance: GlanceProcess, user: User, data: bytes, path: str = "file", store: str = "") -> str:
    """Create an image with data and return its id."""
    image_id = create_image(glance, user)
    answer = send(glance, user, image_id, data, path=path, store=store)
    assert answer.status == 204, answer.body + glance.log[-3000:].encode()
    return image_id


def download(glance: GlanceProcess, user: User, image_id: str) -> bytes:
    """Return the data of an image."""
    answer = glance.call("GET", f"/v2/images/{image_id}/file", token=user.token)
    assert answer.status == 200, answer.body
    return answer.body


def import_image(
    glance: GlanceProcess, user: User, image_id: str, method: str = "glance-direct", **where: Any
) -> Answer:
    """Ask for an import into stores: `stores`, `all_stores`, `all_stores_must_succeed`; return whatever comes back."""
    body = json.dumps({"method": {"name": method}, **where}).encode()
    return glance.call("POST", f"/v2/images/{image_id}/import", token=user.token, headers=JSON, body=body)


def tasks(glance: GlanceProcess, user: User, image_id: str) -> list[dict[str, Any]]:
    """Return the tasks of an image: an import each."""
    answer = glance.call("GET", f"/v2/images/{image_id}/tasks", token=user.token)
    found: list[dict[str, Any]] = json.loads(answer.body)["tasks"]
    return found


def locations(glance: GlanceProcess, administrator: User, service: User, image_id: str) -> Mapping[str, str]:
    """Return where the data of an image is: store -> URL.

    Older releases tell a service that acts for somebody, newer ones the administrator: this is both.
    """
    headers = {"X-Service-Token": service.token}
    answer = glance.call("GET", f"/v2/images/{image_id}/locations", token=administrator.token, headers=headers)
    assert answer.status == 200, answer.body
    return {entry["metadata"]["store"]: entry["url"] for entry in json.loads(answer.body)}


def delete_from(glance: GlanceProcess, user: User, image_id: str, store: str) -> Answer:
    """Remove the copy of an image in one store; return whatever comes back."""
    return glance.call("DELETE", f"/v2/stores/{store}/{image_id}", token=user.token)


def delete(glance: GlanceProcess, user: User, image_id: str) -> None:
    """Remove an image with all its copies."""
    answer = glance.call("DELETE", f"/v2/images/{image_id}", token=user.token)
    assert answer.status == 204, answer.body
