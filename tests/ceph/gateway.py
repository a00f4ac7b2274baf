"""Ceph's object gateway (radosgw) on a test cluster: a real S3, and a real Swift that asks a real Keystone.

    with gateway(ceph, keystone) as objects:
        objects.url, objects.access_key, objects.secret_key    # S3
        objects.swift_url                                      # also in Keystone's catalogue, as `object-store`

Everything it stores is in the cluster: what freezes that cluster's OSD hangs the gateway.
"""

import base64
import contextlib
import email.utils
import hashlib
import hmac
import http.client
import json
import secrets
import signal
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.keystone import REGION, KeystoneServer
from tests.waiting import wait_for

from .cluster import CephCluster
from .daemons import run
from .settings import keyring, sections

RADOSGW = "radosgw"
ENTITY = "client.rgw"
START_SECONDS, STOP_SECONDS = 90, 15
_CAPS = {"mon": "allow rw", "osd": "allow rwx"}
_USER = "image-service"
_CONTENT_TYPE = "application/octet-stream"
_CHUNK_BYTES = 2**20


@dataclass(frozen=True)
class Gateway:
    """A running gateway and its S3 user."""

    ceph: CephCluster
    port: int
    access_key: str
    secret_key: str

    @property
    def url(self) -> str:
        """Where the S3 interface is; buckets are in the path."""
        return f"http://{self.ceph.address}:{self.port}"

    @property
    def swift_url(self) -> str:
        """Where the Swift interface is, as it stands in the catalogue; Keystone puts the project's id in."""
        return f"{self.url}/swift/v1/AUTH_%(project_id)s"

    def create_bucket(self, bucket: str) -> None:
        """Make a bucket of the S3 user."""
        self._send("PUT", f"/{bucket}").close()

    def put(self, bucket: str, name: str, data: bytes) -> None:
        """Write an object."""
        self._send("PUT", f"/{bucket}/{name}", data).close()

    def objects(self, bucket: str) -> dict[str, int]:
        """The objects of a bucket, or of a Swift container, and their sizes in bytes; asked without its interfaces."""
        listed = self.administer("bucket", "list", "--bucket", bucket)
        return {entry["name"]: int(entry["meta"]["size"]) for entry in listed}

    def sha512(self, bucket: str, name: str) -> str:
        """The SHA-512 of an object's data, read through S3."""
        digest = hashlib.sha512()
        with self._send("GET", f"/{bucket}/{name}") as answer:
            while chunk := answer.read(_CHUNK_BYTES):
                digest.update(chunk)
        return digest.hexdigest()

    def _send(self, method: str, path: str, data: bytes | None = None) -> http.client.HTTPResponse:
        """Send a request of the S3 user, signed as AWS did before version 4: that takes four lines."""
        date = email.utils.formatdate(usegmt=True)
        to_sign = "\n".join((method, "", _CONTENT_TYPE, date, path))
        signed = hmac.digest(self.secret_key.encode(), to_sign.encode(), "sha1")
        authorization = f"AWS {self.access_key}:{base64.b64encode(signed).decode()}"
        headers = {"Date": date, "Content-Type": _CONTENT_TYPE, "Authorization": authorization}
        request = urllib.request.Request(self.url + path, method=method, headers=headers, data=data)
        with self.ceph.network():
            answer: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=30)
        return answer

    def stop(self) -> None:
        """End the gateway: connections to it are refused.

        It may take leave of the cluster: for one that is killed, every change of a user or bucket waits 30 s.
        """
        state = self.ceph.daemons.state
        process = state.process(RADOSGW)
        if process:
            process.send(signal.SIGTERM)
            with contextlib.suppress(AssertionError):
                wait_for(lambda: not process.alive(), STOP_SECONDS, "its end")
        state.stop(RADOSGW)

    def start(self) -> None:
        """Start the gateway, the first time or again, and wait until it answers."""
        daemons = self.ceph.daemons
        daemons.state.spawn(RADOSGW, self.ceph.words(RADOSGW, "--name", ENTITY, "--foreground"))
        wait_for(self._answers, START_SECONDS, f"an answer of the gateway, see {daemons.state.log(RADOSGW)}")

    def _answers(self) -> bool:
        self.ceph.daemons.process(RADOSGW)
        with contextlib.suppress(OSError), self.ceph.network():
            urllib.request.urlopen(self.url, timeout=5).close()
            return True
        return False

    def administer(self, *arguments: str) -> Any:
        """What `radosgw-admin` says; None where it says nothing."""
        said = run(self.ceph.words("radosgw-admin", "--name", ENTITY, *arguments), seconds=60)
        return json.loads(said) if said.strip() else None


@contextlib.contextmanager
def gateway(ceph: CephCluster, keystone: KeystoneServer | None = None) -> Iterator[Gateway]:
    """Run the gateway of a cluster, from before the block until its end; one at a time.

    With `keystone` it takes that server's tokens for Swift, and is in its catalogue for as long. What it stored is gone
    at the end, and the next one begins with nothing.
    """
    objects = Gateway(ceph, ceph.free_port(), "S3-" + secrets.token_hex(8), secrets.token_hex(20))
    before = ceph.conf.read_text()
    _configure(objects, keystone)
    try:
        objects.start()
        keys = ("--access-key", objects.access_key, "--secret-key", objects.secret_key)
        objects.administer("user", "create", "--uid", _USER, "--display-name", "Image service", *keys)
        with _in_catalog(objects, keystone) if keystone else contextlib.nullcontext():
            yield objects
    finally:
        for user in objects.administer("user", "list"):
            objects.administer("user", "rm", "--uid", user, "--purge-data")
        objects.stop()
        ceph.conf.write_text(before)


def _configure(objects: Gateway, keystone: KeystoneServer | None) -> None:
    ceph = objects.ceph
    key = ceph.put_user(ENTITY, _CAPS)
    file = ceph.conf.with_name(f"{ENTITY}.keyring")
    file.write_text(keyring(ENTITY, key))
    options: dict[str, object] = {
        "rgw frontends": f"beast endpoint={ceph.address}:{objects.port}",
        "rgw data": ceph.conf.with_name("rgw"),
        "rgw swift account in url": "true",
        # Neither other zones nor what ages by days.
        "rgw run sync thread": "false",
        "rgw enable usage log": "false",
    }
    if keystone:
        options |= {
            "rgw keystone url": keystone.root_url,
            "rgw keystone api version": 3,
            "rgw keystone admin user": keystone.admin.username,
            "rgw keystone admin password": keystone.admin.password.reveal(),
            "rgw keystone admin project": keystone.admin.project_name,
            "rgw keystone admin domain": "Default",
            "rgw keystone accepted roles": "admin, member, service",
        }
    with ceph.conf.open("a") as conf:
        conf.write(sections({ENTITY: options}))


@contextlib.contextmanager
def _in_catalog(objects: Gateway, keystone: KeystoneServer) -> Iterator[None]:
    service = keystone.call("POST", "/services", {"service": {"type": "object-store", "name": "swift"}})["service"]
    try:
        for interface in ("public", "internal"):
            where = {"region_id": REGION, "interface": interface, "url": objects.swift_url}
            keystone.call("POST", "/endpoints", {"endpoint": {"service_id": service["id"], **where}})
        yield
    finally:
        keystone.call("DELETE", f"/services/{service['id']}")
