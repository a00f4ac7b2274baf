"""Real Glance of each release, run with the rendered files as the Deployment runs it, against a real Keystone."""

import hashlib
import http.client
import json
import random
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from tests.glance.api_process import GlanceProcess, environment_variables, running_glance
from tests.glance.client import User, create_image, download, image, import_image, upload
from tests.glance.conftest import InstalledGlance
from tests.keystone import REGION, KeystoneServer
from tests.unit.render import samples
from tests.waiting import wait_for

from imageservice.render import glance_config
from imageservice.render.inputs import Credentials, ImageServiceInputs, PasswordCredential
from imageservice.render.stores.paths import store_directory

pytestmark = pytest.mark.glance

HOSTILE_DESCRIPTION = " [database] $connection ${DEFAULT.debug} \\$ %(here)s 100% \"quoted' # ; = : "
HOSTILE_PASSWORD = "$connection${DEFAULT.debug}\\$ %(here)s 100% [x] \"'#;=:"
MEBIBYTE = 1024 * 1024
MAJOR_VERSIONS = {"2025.1": "30.", "2025.2": "31.", "2026.1": "32.", "2026.2": "33."}
"""What Glance calls itself in each release."""


@pytest.fixture(scope="module")
def user(keystone: KeystoneServer) -> User:
    name = f"member-{uuid.uuid4().hex[:8]}"
    keystone.create_user(name, "member-password", "demo", "member")
    return User(keystone.login(name, "member-password", "demo")[0])


@pytest.fixture(scope="module")
def service_user(keystone: KeystoneServer) -> PasswordCredential:
    """A service user whose password tries everything that an ini file could take for something else."""
    return keystone.create_user(f"glance-{uuid.uuid4().hex[:8]}", HOSTILE_PASSWORD, "service", "service")


def inputs_for(release: str, keystone: KeystoneServer, credentials: Credentials, url: str) -> ImageServiceInputs:
    return samples.inputs(
        release=release,
        database_url=url,
        credentials=credentials,
        stores=(
            samples.store("central", description=HOSTILE_DESCRIPTION),
            samples.store("b_2", description="second"),
            samples.store("default"),
        ),
        api={"processes": 2, "threads": 4, "terminationGracePeriodSeconds": 60},
        identity={
            "authURL": keystone.auth_url,
            "region": REGION,
            "secretRef": {"name": "unused"},
            "catalog": {"register": False},
        },
    )


@pytest.fixture(scope="module")
def glance(
    installed: InstalledGlance,
    keystone: KeystoneServer,
    service_user: PasswordCredential,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[GlanceProcess]:
    directory = tmp_path_factory.mktemp("glance")
    inputs = inputs_for(installed.release, keystone, service_user, installed.new_server_database(directory))
    with running_glance(installed.environment, inputs, directory) as process:
        yield process


def test_the_lock_file_gives_the_major_version_of_its_release(installed: InstalledGlance) -> None:
    manage = installed.environment / "bin" / "glance-manage"
    shown = subprocess.run([manage, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    assert shown.startswith(MAJOR_VERSIONS[installed.release])


def test_the_disable_file_takes_the_pod_out_of_service_and_nothing_else(glance: GlanceProcess) -> None:
    assert glance.call("GET", "/healthcheck").status == 200
    glance.path(glance_config.DISABLE_FILE).touch()
    try:
        assert glance.call("GET", "/healthcheck").status == 503
        assert glance.call("GET", "/").status == 300
    finally:
        glance.path(glance_config.DISABLE_FILE).unlink()
    assert glance.call("GET", "/healthcheck").status == 200


def test_a_request_without_a_token_is_turned_away(glance: GlanceProcess) -> None:
    answer = glance.call("GET", "/v2/images")
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith("Keystone uri=")


def test_a_token_is_checked_though_the_service_password_is_full_of_special_characters(
    glance: GlanceProcess, user: User
) -> None:
    assert glance.call("GET", "/v2/images", token=user.token).status == 200
    assert glance.call("GET", "/v2/images", token="forged").status == 401


def counted(glance: GlanceProcess, installed: InstalledGlance) -> dict[str, dict[str, int]]:
    """Return what the store monitor counts in the database of this Glance."""
    program = resources.files("imageservice.render").joinpath("files", "image_count.py")
    config = glance.path(glance_config.CONFIG_DIR) / glance_config.GLANCE_API_CONF
    command = [installed.environment / "bin" / "python", "-B", str(program), config]
    done = subprocess.run(
        command, env=environment_variables(config.parent), capture_output=True, timeout=60, check=True
    )
    found: dict[str, dict[str, int]] = json.loads(done.stdout)["stores"]
    return found


def test_images_are_counted_in_the_store_in_which_glance_put_them(
    glance: GlanceProcess, user: User, installed: InstalledGlance
) -> None:
    before = counted(glance, installed)
    assert set(before) == {"central", "b_2", "default"}
    upload(glance, user, b"in central")
    in_b_2 = create_image(glance, user)
    headers = {"Content-Type": "application/octet-stream", "X-Image-Meta-Store": "b_2"}
    put = glance.call("PUT", f"/v2/images/{in_b_2}/file", token=user.token, headers=headers, body=b"in b_2")
    assert put.status == 204, put.body
    after = counted(glance, installed)
    more = {store: {what: after[store][what] - before[store][what] for what in after[store]} for store in after}
    one, none = {"images": 1, "onlyHere": 1}, {"images": 0, "onlyHere": 0}
    assert more == {"central": one, "b_2": one, "default": none}
    assert glance.call("DELETE", f"/v2/images/{in_b_2}", token=user.token).status == 204
    assert counted(glance, installed)["b_2"] == before["b_2"]


def test_the_stores_are_listed_as_configured(glance: GlanceProcess, user: User) -> None:
    listed = json.loads(glance.call("GET", "/v2/info/stores", token=user.token).body)["stores"]
    assert listed == [
        {"id": "central", "description": HOSTILE_DESCRIPTION, "default": "true"},
        {"id": "b_2", "description": "second"},
        {"id": "default"},
    ]


def test_an_image_goes_to_the_default_store_and_comes_back(glance: GlanceProcess, user: User) -> None:
    data = random.Random(1).randbytes(3 * MEBIBYTE)
    image_id = upload(glance, user, data)
    found = image(glance, user, image_id)
    assert (found["status"], found["stores"]) == ("active", "central")
    assert found["os_hash_value"] == hashlib.sha512(data).hexdigest()
    assert download(glance, user, image_id) == data
    stored = glance.path(store_directory("central")) / image_id
    assert hashlib.sha256(stored.read_bytes()).digest() == hashlib.sha256(data).digest()


def test_links_follow_the_proxy_that_ends_tls(glance: GlanceProcess) -> None:
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "image.example"}
    versions = json.loads(glance.call("GET", "/", headers=headers).body)["versions"]
    assert "v2.0" in {version["id"] for version in versions}
    assert {version["links"][0]["href"] for version in versions} == {"https://image.example/v2/"}


def test_only_imports_that_fetch_nothing_from_elsewhere_are_offered(glance: GlanceProcess, user: User) -> None:
    methods = json.loads(glance.call("GET", "/v2/info/import", token=user.token).body)["import-methods"]["value"]
    assert sorted(methods) == ["copy-image", "glance-direct"]


@pytest.mark.parametrize(("wanted", "store"), [({}, "central"), ({"stores": ["b_2"]}, "b_2")], ids=["default", "b_2"])
def test_a_staged_image_is_imported(glance: GlanceProcess, user: User, wanted: dict[str, Any], store: str) -> None:
    data = random.Random(2).randbytes(MEBIBYTE)
    image_id = upload(glance, user, data, path="stage")
    assert (glance.path(glance_config.STAGING_DIR) / image_id).stat().st_size == len(data)
    answer = import_image(glance, user, image_id, **wanted)
    assert answer.status == 202, answer.body
    wait_for(lambda: image(glance, user, image_id)["status"] == "active", 30, "the image is active")
    assert image(glance, user, image_id)["stores"] == store
    assert download(glance, user, image_id) == data


def test_every_answer_ends_its_connection(glance: GlanceProcess) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", glance.port, timeout=10)
    connection.request("GET", "/", headers={"Connection": "keep-alive"})
    assert connection.getresponse().headers["Connection"] == "close"
    connection.close()


def test_the_log_has_requests_but_neither_probes_nor_secrets(glance: GlanceProcess, user: User) -> None:
    glance.call("GET", "/v2/info/stores?marker=in-the-log", token=user.token)
    wait_for(lambda: "marker=in-the-log" in glance.log, 10, "the request is in the log")
    assert "/healthcheck" not in glance.log
    assert HOSTILE_PASSWORD not in glance.log
    assert user.token not in glance.log


@dataclass
class SlowDownload:
    """A download whose client reads only when told to."""

    connection: socket.socket
    received: bytes = b""

    @classmethod
    def start(cls, glance: GlanceProcess, user: User, image_id: str) -> "SlowDownload":
        """Ask for the image and read until its first bytes."""
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(60)
        connection.connect(("127.0.0.1", glance.port))
        head = f"GET /v2/images/{image_id}/file HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {user.token}\r\n\r\n"
        connection.sendall(head.encode())
        download = cls(connection)
        while b"\r\n\r\n" not in download.received:
            download.received += connection.recv(1024)
        assert download.received.startswith(b"HTTP/1.1 200")
        return download

    def finish(self) -> bytes:
        """Read the rest and return the body."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, MEBIBYTE)
        parts = [self.received]
        while part := self.connection.recv(65536):
            parts.append(part)
        self.connection.close()
        return b"".join(parts).split(b"\r\n\r\n", 1)[1]


@dataclass
class SlowUpload:
    """A chunked upload whose client sends only when told to."""

    connection: socket.socket

    @classmethod
    def start(cls, glance: GlanceProcess, user: User, image_id: str, data: bytes) -> "SlowUpload":
        """Begin to upload."""
        connection = socket.create_connection(("127.0.0.1", glance.port), timeout=60)
        connection.sendall(
            f"PUT /v2/images/{image_id}/file HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {user.token}\r\n"
            "Content-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        upload = cls(connection)
        upload.send(data)
        return upload

    def send(self, data: bytes) -> None:
        """Send some more."""
        self.connection.sendall(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def finish(self) -> int:
        """End the data and return the status of the answer."""
        self.connection.sendall(b"0\r\n\r\n")
        answer = self.connection.recv(4096)
        self.connection.close()
        return int(answer.split()[1])


def test_a_terminated_pod_finishes_the_transfers_that_run(
    installed: InstalledGlance, keystone: KeystoneServer, user: User, tmp_path: Path
) -> None:
    credentials = keystone.create_application_credential(keystone.service_user, f"drain-{uuid.uuid4().hex}", "service")
    inputs = inputs_for(installed.release, keystone, credentials, installed.new_server_database(tmp_path))
    data = random.Random(3).randbytes(32 * MEBIBYTE)
    with running_glance(installed.environment, inputs, tmp_path) as glance:
        image_id = upload(glance, user, data)
        uploaded_id = create_image(glance, user)
        download = SlowDownload.start(glance, user, image_id)
        slow_upload = SlowUpload.start(glance, user, uploaded_id, data[:MEBIBYTE])
        stored = glance.path(store_directory("central")) / uploaded_id
        wait_for(stored.exists, 20, "the upload has begun")
        glance.terminate()
        _wait_until_refused(glance)
        time.sleep(2)
        assert glance.process.poll() is None
        slow_upload.send(data[MEBIBYTE : 2 * MEBIBYTE])
        assert slow_upload.finish() == 204
        assert hashlib.sha256(download.finish()).digest() == hashlib.sha256(data).digest()
        assert glance.process.wait(timeout=20) == 0
        assert stored.read_bytes() == data[: 2 * MEBIBYTE]
        assert "Traceback" not in glance.log


def _wait_until_refused(glance: GlanceProcess) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", glance.port), timeout=1).close()
        except ConnectionRefusedError:
            return
        time.sleep(0.05)
    raise AssertionError("it still listens")


def test_a_busy_process_leaves_requests_to_the_other_one(glance: GlanceProcess, user: User) -> None:
    """Two processes of four threads each: with seven transfers running, the next request finds the free thread."""
    data = random.Random(4).randbytes(16 * MEBIBYTE)
    image_id = upload(glance, user, data)
    downloads = [SlowDownload.start(glance, user, image_id) for _ in range(7)]
    try:
        answers: list[int] = []
        threads = [
            threading.Thread(target=lambda: answers.append(glance.call("GET", "/healthcheck").status)) for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=10)
        assert answers == [200, 200, 200]
    finally:
        assert all(download.finish() == data for download in downloads)
