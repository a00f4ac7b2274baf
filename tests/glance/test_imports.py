"""Real Glance of each release imports images as spec.formats and spec.imports say: converted, unpacked, filtered."""

import gzip
import hashlib
import io
import itertools
import json
import random
import subprocess
import uuid
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.cluster import packages
from tests.glance.api_process import GlanceProcess, local, running_glance
from tests.glance.conftest import InstalledGlance
from tests.glance.image_client import Client
from tests.glance.mirror import Mirror, serving
from tests.keystone import REGION, KeystoneServer
from tests.unit.render import samples
from tests.waiting import wait_for

from imageservice.render import glance_config
from imageservice.render.inputs import ImageServiceInputs

pytestmark = pytest.mark.glance

MEBIBYTE = 1024 * 1024
DISK = random.Random(5).randbytes(MEBIBYTE)
"""What a machine would see of the disk."""
PASSWORD = "member-password"
SHARED_STAGING = {"type": "PersistentVolumeClaim", "persistentVolumeClaim": {"claimName": "staging"}}


@pytest.fixture(scope="module")
def mirror() -> Iterator[Mirror]:
    with serving() as found:
        yield found


@pytest.fixture(scope="module")
def qcow2(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The disk as a qcow2 image."""
    packages.ensure(packages.DISK_IMAGES)
    directory = tmp_path_factory.mktemp("qcow2")
    (directory / "disk").write_bytes(DISK)
    command = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "disk", "qcow2"]
    subprocess.run(command, cwd=directory, check=True, capture_output=True, timeout=60)
    return (directory / "qcow2").read_bytes()


@pytest.fixture(scope="module")
def disks(qcow2: bytes) -> dict[str, bytes]:
    """The disk in each format."""
    return {"raw": DISK, "qcow2": qcow2}


def inputs_for(installed: InstalledGlance, keystone: KeystoneServer, url: str, **spec: Any) -> ImageServiceInputs:
    return samples.inputs(
        release=installed.release,
        database_url=url,
        credentials=keystone.service_user,
        api={"processes": 1, "threads": 4, "terminationGracePeriodSeconds": 60},
        identity={
            "authURL": keystone.auth_url,
            "region": REGION,
            "secretRef": {"name": "unused"},
            "catalog": {"register": False},
        },
        **spec,
    )


def token_of(keystone: KeystoneServer, *roles: str) -> str:
    """Return a token of a new user with roles in a project."""
    name = f"member-{uuid.uuid4().hex[:8]}"
    keystone.create_user(name, PASSWORD, "demo", *roles)
    return keystone.login(name, PASSWORD, "demo")[0]


@pytest.fixture(scope="module")
def member(keystone: KeystoneServer) -> str:
    return token_of(keystone, "member")


@dataclass(frozen=True)
class Service:
    """A Glance with everything on, and what another one needs to share its database."""

    glance: GlanceProcess
    inputs: ImageServiceInputs


@pytest.fixture(scope="module")
def service(
    installed: InstalledGlance,
    keystone: KeystoneServer,
    mirror: Mirror,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("imports")
    inputs = inputs_for(
        installed,
        keystone,
        installed.new_server_database(directory),
        formats={"disk": ["raw", "qcow2", "iso"], "container": ["bare"]},
        imports={
            "methods": ["glance-direct", "web-download"],
            "webDownload": {
                "allowedHosts": ["127.0.0.1"],
                "allowedSchemes": ["http"],
                "allowedPorts": [mirror.port],
            },
            "conversion": {"outputFormat": "raw"},
            "decompression": True,
            "injectProperties": {
                "properties": {"hw_disk_bus": "scsi", "os_cost": "$5: 'a lot'"},
                "ignoreUserRoles": ["manager"],
            },
        },
    )
    with running_glance(installed.environment, inputs, directory) as glance:
        yield Service(glance, inputs)


@pytest.fixture
def client(service: Service, member: str) -> Client:
    return Client(service.glance, member)


def test_a_qcow2_image_becomes_raw_on_its_way_in(client: Client, qcow2: bytes) -> None:
    image_id = client.staged(qcow2, "qcow2")
    found = client.imported(image_id)
    assert (found["disk_format"], found["container_format"], found["size"]) == ("raw", "bare", len(DISK))
    assert found["os_hash_value"] == hashlib.sha512(DISK).hexdigest()
    assert client.data(image_id) == DISK
    staging = client.glance.path(glance_config.STAGING_DIR)
    wait_for(lambda: not list(staging.iterdir()), 10, "nothing is left in staging")


def test_an_iso_image_stays_what_it_is(client: Client) -> None:
    # A primary volume descriptor (ECMA-119) in the sixteenth sector, and the rest of it.
    data = bytes(32 * 1024) + b"\x01CD001\x01" + bytes(MEBIBYTE)
    image_id = client.staged(data, "iso")
    assert client.imported(image_id)["disk_format"] == "iso"
    assert client.data(image_id) == data


def test_an_image_that_is_not_what_it_says_is_not_converted(client: Client, qcow2: bytes) -> None:
    client.fails(client.staged(qcow2, "raw"))


def zipped(data: bytes) -> bytes:
    """Return a zip archive with one file."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("disk", data)
    return written.getvalue()


PACK: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zip": zipped}
ZIP_FAILS = ("2025.1", "2025.2")
"""Releases whose plugin unpacks the file of a zip archive into a directory, and then looks for it in its place."""
SIZE_IS_KEPT = ("2025.1", "2025.2")
"""Releases that keep, when they have unpacked what was staged, its packed size; a conversion then corrects it."""


@pytest.mark.parametrize("packed", list(itertools.product(("gzip", "zip"), ("raw", "qcow2"))), ids="-".join)
def test_a_packed_image_is_unpacked_before_it_is_converted(
    client: Client, installed: InstalledGlance, mirror: Mirror, disks: dict[str, bytes], packed: tuple[str, str]
) -> None:
    archive, disk_format = packed
    path = f"/{disk_format}.{archive}"
    mirror.files[path] = PACK[archive](disks[disk_format])
    image_id = client.create(disk_format)
    if archive == "zip" and installed.release in ZIP_FAILS:
        client.fails(image_id, "web-download", uri=mirror.url(path))
        return
    found = client.imported(image_id, "web-download", uri=mirror.url(path))
    assert (found["disk_format"], found["size"]) == ("raw", len(DISK))
    assert client.data(image_id) == DISK


@pytest.mark.parametrize("disk_format", ["raw", "qcow2"])
def test_what_was_staged_packed_is_unpacked_too(
    client: Client, installed: InstalledGlance, disks: dict[str, bytes], disk_format: str
) -> None:
    image_id = client.staged(gzip.compress(disks[disk_format]), disk_format)
    if disk_format == "raw" and installed.release in SIZE_IS_KEPT:
        client.fails(image_id)
        assert "size of uploaded data is different" in client.glance.log
        return
    assert client.imported(image_id)["disk_format"] == "raw"
    assert client.data(image_id) == DISK


def test_an_upload_that_is_no_import_stays_as_it_comes(client: Client, qcow2: bytes) -> None:
    image_id = client.create("qcow2")
    assert client.call("PUT", f"/{image_id}/file", qcow2).status == 204
    found = client.image(image_id)
    assert found["disk_format"] == "qcow2"
    assert "hw_disk_bus" not in found
    assert client.data(image_id) == qcow2


def test_an_imported_image_gets_the_properties_whatever_the_client_has_set(client: Client) -> None:
    image_id = client.staged(DISK)
    found = client.imported(image_id)
    assert (found["hw_disk_bus"], found["os_cost"]) == ("scsi", "$5: 'a lot'")


def test_whoever_has_an_ignored_role_imports_without_them(service: Service, keystone: KeystoneServer) -> None:
    manager = Client(service.glance, token_of(keystone, "member", "manager"))
    found = manager.imported(manager.staged(DISK))
    assert not {"hw_disk_bus", "os_cost"} & set(found)


@pytest.mark.parametrize(("disk_format", "container_format"), [("vmdk", "bare"), ("raw", "ovf")])
def test_an_image_of_a_format_that_is_not_allowed_cannot_be_made(
    client: Client, disk_format: str, container_format: str
) -> None:
    answer = client.call("POST", "", {"name": "x", "disk_format": disk_format, "container_format": container_format})
    assert answer.status == 400
    assert (disk_format if disk_format != "raw" else container_format) in answer.body.decode()


def test_an_image_is_fetched_from_an_allowed_host_and_converted(client: Client, mirror: Mirror, qcow2: bytes) -> None:
    mirror.files["/good"] = qcow2
    image_id = client.create("qcow2")
    found = client.imported(image_id, "web-download", uri=mirror.url("/good"))
    assert (found["disk_format"], found["hw_disk_bus"]) == ("raw", "scsi")
    assert client.data(image_id) == DISK


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:PORT/image",
        "http://127.1:PORT/image",
        "http://2130706433:PORT/image",
        "http://[::1]:PORT/image",
        "http://169.254.169.254/latest/meta-data",
        "http://mirror.example/image",
        "http://127.0.0.1:22/image",
        "https://127.0.0.1:PORT/image",
        "file:///etc/passwd",
    ],
)
def test_nothing_is_fetched_from_elsewhere(client: Client, mirror: Mirror, url: str) -> None:
    image_id = client.create()
    answer = client.start(image_id, "web-download", uri=url.replace("PORT", str(mirror.port)))
    assert answer.status == 400
    assert client.image(image_id)["status"] == "queued"
    assert "/image" not in mirror.asked


def test_an_allowed_host_leads_to_no_other_one(client: Client, mirror: Mirror) -> None:
    mirror.files["/inside"] = DISK
    mirror.moved["/elsewhere"] = mirror.url("/inside", host="localhost")
    client.fails(client.create(), "web-download", uri=mirror.url("/elsewhere"))
    assert "/inside" not in mirror.asked


def test_the_methods_are_those_of_the_spec(client: Client) -> None:
    answer = client.glance.call("GET", "/v2/info/import", token=client.token)
    assert sorted(json.loads(answer.body)["import-methods"]["value"]) == ["glance-direct", "web-download"]
    assert client.start(client.create(), "copy-image").status == 400


def test_a_pod_passes_an_import_on_to_the_pod_that_has_the_data(
    service: Service, installed: InstalledGlance, member: str, tmp_path: Path
) -> None:
    here = Client(service.glance, member)
    with running_glance(installed.environment, service.inputs, tmp_path) as other:
        there = Client(other, member)
        image_id = here.staged(DISK)
        assert list(other.path(glance_config.STAGING_DIR).iterdir()) == []
        there.imported(image_id)
        assert f"Proxying POST request to host http://127.0.0.1:{here.glance.port}" in other.log
        assert here.data(image_id) == DISK


@pytest.mark.parametrize("installed", ["2025.1", "2026.2"], indirect=True)
def test_what_is_staged_in_a_shared_volume_outlives_its_pod(
    installed: InstalledGlance, keystone: KeystoneServer, member: str, tmp_path: Path
) -> None:
    url = installed.new_server_database(tmp_path)
    inputs = inputs_for(installed, keystone, url, imports={"staging": SHARED_STAGING})
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    with running_glance(installed.environment, inputs, one) as glance:
        image_id = Client(glance, member).staged(DISK)
    local(other, glance_config.DATA_DIR).mkdir(parents=True)
    local(other, glance_config.STAGING_DIR).symlink_to(local(one, glance_config.STAGING_DIR))
    with running_glance(installed.environment, inputs, other) as glance:
        client = Client(glance, member)
        client.imported(image_id)
        assert client.data(image_id) == DISK
