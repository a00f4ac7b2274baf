"""A client of Keystone and Glance in the standard library alone, so that it runs wherever there is a Python.

    image_client.py transfer KEYSTONE GLANCE FILE     upload a file, download it, compare the checksums
    image_client.py loop KEYSTONE GLANCE SECONDS      upload and download small images until the time is over; also ends
                                                      when its standard input is closed; prints a JSON line of counts

The user is demo / demo-password in the project demo, or what OS_USERNAME, OS_PASSWORD and OS_PROJECT_NAME say.
"""

import hashlib
import http.client
import json
import os
import select
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

CHUNK_BYTES = 1 << 20
TIMEOUT_SECONDS = 120
PAUSE_SECONDS = 0.3
"""Between two requests of a worker of the loop: it looks for a request that fails, not for how many can be served."""


class Refused(Exception):  # noqa: N818 - an answer, not a fault of the client
    """A request was answered with an error."""


def request(
    url: str, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> http.client.HTTPResponse:
    """Send one request over a new connection and return the answer, its body unread. Raise Refused on 4xx and 5xx."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port or 80, timeout=TIMEOUT_SECONDS)
    chunked = hasattr(body, "__next__")
    connection.request(method, path, body=body, headers=headers or {}, encode_chunked=chunked)
    answer = connection.getresponse()
    if answer.status >= 400:
        raise Refused(f"{method} {path}: {answer.status} {answer.read(500)!r}")
    return answer


def token(keystone: str) -> str:
    """Log in as the user of the environment and return a token."""
    name, password, project = (
        os.environ.get(variable, default)
        for variable, default in (
            ("OS_USERNAME", "demo"),
            ("OS_PASSWORD", "demo-password"),
            ("OS_PROJECT_NAME", "demo"),
        )
    )
    return login(keystone, name, password, project)


def login(keystone: str, name: str, password: str, project: str) -> str:
    """Log in with a password and return a token."""
    domain = {"name": "Default"}
    wanted = {
        "auth": {
            "identity": {
                "methods": ["password"],
                "password": {"user": {"name": name, "password": password, "domain": domain}},
            },
            "scope": {"project": {"name": project, "domain": domain}},
        }
    }
    headers = {"Content-Type": "application/json"}
    answer = request(keystone, "POST", "/v3/auth/tokens", json.dumps(wanted), headers)
    answer.read()
    return answer.headers["X-Subject-Token"]


class Images:
    """The images of one Glance, seen with one token."""

    def __init__(self, glance: str, auth_token: str) -> None:
        self._glance = glance
        self._headers = {"X-Auth-Token": auth_token}

    def create(self, name: str, disk_format: str) -> str:
        """Create the record of an image and return its id."""
        body = json.dumps({"name": name, "disk_format": disk_format, "container_format": "bare"})
        headers = {**self._headers, "Content-Type": "application/json"}
        answer = request(self._glance, "POST", "/v2/images", body, headers)
        return str(json.loads(answer.read())["id"])

    def upload(self, image_id: str, chunks: Iterator[bytes]) -> str:
        """Send the data and return its SHA-512."""
        digest = hashlib.sha512()

        def counted() -> Iterator[bytes]:
            for chunk in chunks:
                digest.update(chunk)
                yield chunk

        headers = {
            **self._headers,
            "Content-Type": "application/octet-stream",
            "Transfer-Encoding": "chunked",
        }
        request(self._glance, "PUT", f"/v2/images/{image_id}/file", counted(), headers).read()
        return digest.hexdigest()

    def download(self, image_id: str) -> tuple[str, int]:
        """Read the data and return its SHA-512 and its length in bytes."""
        answer = request(self._glance, "GET", f"/v2/images/{image_id}/file", headers=self._headers)
        digest, length = hashlib.sha512(), 0
        while chunk := answer.read(CHUNK_BYTES):
            digest.update(chunk)
            length += len(chunk)
        return digest.hexdigest(), length

    def show(self, image_id: str) -> dict[str, Any]:
        """Return the record of an image."""
        found: dict[str, Any] = json.loads(
            request(self._glance, "GET", f"/v2/images/{image_id}", headers=self._headers).read()
        )
        return found

    def delete(self, image_id: str) -> None:
        """Delete an image."""
        request(self._glance, "DELETE", f"/v2/images/{image_id}", headers=self._headers).read()


def transfer(keystone: str, glance: str, path: Path) -> dict[str, Any]:
    """Upload a file, download it again and return what all three say about it."""
    images = Images(glance, token(keystone))
    disk_format = "iso" if path.suffix == ".iso" else "raw"
    image_id = images.create(path.stem, disk_format)
    with path.open("rb") as file:
        sent = images.upload(image_id, iter(lambda: file.read(CHUNK_BYTES), b""))
    received, length = images.download(image_id)
    record = images.show(image_id)
    return {
        "id": image_id,
        "status": record["status"],
        "stores": record.get("stores"),
        "bytes": length,
        "sha512_sent": sent,
        "sha512_received": received,
        "sha512_in_glance": record["os_hash_value"],
    }


class Loop:
    """Uploads and downloads until told to stop, and counts."""

    def __init__(self, keystone: str, glance: str) -> None:
        self._images = Images(glance, token(keystone))
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self.counts = {"uploads": 0, "downloads": 0, "failed": 0}
        self.failures: list[str] = []

    def run(self, seconds: float, workers: int = 3) -> None:
        """Run for some seconds, or until standard input is closed."""
        threads = [threading.Thread(target=self._work, args=(number,)) for number in range(workers)]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            readable, _, _ = select.select([sys.stdin], [], [], 0.2)
            if readable and not sys.stdin.readline():
                break
        self._stop.set()
        for thread in threads:
            thread.join(TIMEOUT_SECONDS)

    def _work(self, number: int) -> None:
        content = os.urandom(2 << 20)
        digest = hashlib.sha512(content).hexdigest()
        while not self._stop.is_set():
            image_id = self._count("uploads", lambda: self._upload(f"loop-{number}", content))
            if image_id:
                for _ in range(2):
                    self._count("downloads", lambda found=image_id: self._compare(found, digest))
                self._count("uploads", lambda found=image_id: self._images.delete(found), counted=False)

    def _upload(self, name: str, content: bytes) -> str:
        image_id = self._images.create(name, "raw")
        pieces = (content[start : start + 65536] for start in range(0, len(content), 65536))
        self._images.upload(image_id, pieces)
        return image_id

    def _compare(self, image_id: str, digest: str) -> None:
        received, _ = self._images.download(image_id)
        if received != digest:
            raise Refused(f"image {image_id} reads back differently")

    def _count(self, what: str, act: Any, *, counted: bool = True) -> Any:
        try:
            result = act()
        except (OSError, http.client.HTTPException, Refused) as error:
            with self._lock:
                self.counts["failed"] += 1
                self.failures.append(f"{time.strftime('%H:%M:%S')} {what}: {type(error).__name__}: {error}"[:300])
            time.sleep(0.2)
            return None
        if counted:
            with self._lock:
                self.counts[what] += 1
        self._stop.wait(PAUSE_SECONDS)
        return result


def main() -> int:
    """Run one of the two commands; exit status 0 where all went well."""
    command, keystone, glance, argument = sys.argv[1:5]
    if command == "transfer":
        report = transfer(keystone, glance, Path(argument))
        print(json.dumps(report))
        return 0 if len({report[key] for key in report if key.startswith("sha512")}) == 1 else 1
    loop = Loop(keystone, glance)
    loop.run(float(argument))
    print(json.dumps(loop.counts | {"failures": loop.failures[:20]}))
    return 0 if not loop.counts["failed"] else 1


if __name__ == "__main__":
    sys.exit(main())
