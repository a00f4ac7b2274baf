"""Real Glance with rendered files on a real object store: S3 with keys, Swift with a user of a real Keystone.

Both are Ceph's object gateway, which speaks either.
"""

import hashlib
import random
import urllib.parse
import uuid
from collections.abc import Iterator

import pytest
from tests.ceph.gateway import Gateway, gateway
from tests.ceph.sites import TwoClusters
from tests.glance import client
from tests.glance.conftest import InstalledGlance
from tests.glance.stores import StoresGlance, glance_with, s3_store, swift_store
from tests.glance_environments import RELEASES
from tests.keystone import KeystoneServer
from tests.waiting import wait_for

from imageservice.render.inputs import PasswordCredential

pytestmark = [
    pytest.mark.glance,
    pytest.mark.ceph,
    pytest.mark.parametrize("installed", [RELEASES[0], RELEASES[-1]], indirect=True, scope="session"),
]

MEBIBYTE = 2**20
SMALL = random.Random(9).randbytes(MEBIBYTE // 2)
LARGE = random.Random(10).randbytes(12 * MEBIBYTE + 5)
WHOLE = LARGE[: 2 * 5 * 1000 * 1024]
"""As long as two pieces: a megabyte of Glance's driver for Swift has 1000 KiB. The third piece of LARGE is short."""
TAKES_A_SHORT_PIECE = ("2025.1",)
"""Releases that put an image into Swift whose last piece is short. The others announce it as long as the rest, and
Swift waits for what never comes, until its time-out ends the upload."""
HOSTILE_PASSWORD = "%(key)s 100% \"quoted' \\$ # ; = : ${DEFAULT.debug}"
WITH_KEYS_IN_LOCATIONS = ("2025.1", "2025.2", "2026.1")
"""Releases whose driver for S3 writes the keys into the location of each image, as it stands in the database."""
BUCKET, CONTAINER = "images-s3", "images-swift"


@pytest.fixture(scope="module")
def objects(two_ceph_clusters: TwoClusters, keystone: KeystoneServer) -> Iterator[Gateway]:
    with gateway(two_ceph_clusters.central, keystone) as running:
        running.create_bucket(BUCKET)
        yield running


@pytest.fixture(scope="module")
def account(keystone: KeystoneServer) -> PasswordCredential:
    """A user whose password tries everything that a file could take for something else."""
    return keystone.create_user(f"swift-{uuid.uuid4().hex[:8]}", HOSTILE_PASSWORD, "service", "member")


@pytest.fixture(scope="module")
def at(
    installed: InstalledGlance,
    keystone: KeystoneServer,
    objects: Gateway,
    account: PasswordCredential,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[StoresGlance]:
    parts = {"largeObjectSize": 1, "largeObjectChunkSize": 5}
    stores = (
        s3_store("s3", objects, bucket=BUCKET, **parts),
        swift_store("swift", keystone, account, container=CONTAINER, createContainer=True, **parts),
    )
    directory = tmp_path_factory.mktemp("glance")
    with glance_with(stores, installed, installed.environment, keystone, directory) as running:
        yield running


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["one-piece", "many-pieces"])
def test_an_image_in_s3_comes_back_bit_for_bit_and_leaves_nothing(
    at: StoresGlance, objects: Gateway, data: bytes
) -> None:
    image_id = client.upload(at.glance, at.user, data)
    assert client.image(at.glance, at.user, image_id)["stores"] == "s3"
    assert objects.objects(BUCKET)[image_id] == len(data)
    assert objects.sha512(BUCKET, image_id) == hashlib.sha512(data).hexdigest()
    assert client.download(at.glance, at.user, image_id) == data
    client.delete(at.glance, at.user, image_id)
    assert image_id not in objects.objects(BUCKET)


@pytest.mark.parametrize(
    ("data", "pieces"), [(SMALL, 0), (WHOLE, 2), (LARGE, 3)], ids=["one-piece", "whole-pieces", "a-short-piece"]
)
def test_an_image_in_swift_comes_back_bit_for_bit_and_leaves_nothing(
    installed: InstalledGlance, at: StoresGlance, objects: Gateway, data: bytes, pieces: int
) -> None:
    if data == LARGE and installed.release not in TAKES_A_SHORT_PIECE:
        pytest.skip(f"Glance {installed.release} cannot put an image into Swift whose last piece is short")
    image_id = client.upload(at.glance, at.user, data, store="swift")
    assert client.image(at.glance, at.user, image_id)["stores"] == "swift"
    stored = {name: size for name, size in objects.objects(CONTAINER).items() if name.startswith(image_id)}
    assert (len(stored), sum(stored.values())) == (1 + pieces, len(data))
    assert client.download(at.glance, at.user, image_id) == data
    client.delete(at.glance, at.user, image_id)
    assert not [name for name in objects.objects(CONTAINER) if name.startswith(image_id)]


def test_locations_in_the_database_hold_no_credentials_but_for_s3_in_older_releases(
    installed: InstalledGlance, at: StoresGlance, objects: Gateway, account: PasswordCredential
) -> None:
    secrets = {"s3": objects.secret_key, "swift": account.password.reveal()}
    for store, secret in secrets.items():
        image_id = client.upload(at.glance, at.user, SMALL, store=store)
        url = urllib.parse.unquote(at.locations(image_id)[store])
        assert image_id in url
        assert (secret in url) == (store == "s3" and installed.release in WITH_KEYS_IN_LOCATIONS)
        client.delete(at.glance, at.user, image_id)


def test_an_import_brings_an_image_into_both(at: StoresGlance, objects: Gateway) -> None:
    image_id = client.upload(at.glance, at.user, WHOLE, path="stage")
    assert client.import_image(at.glance, at.user, image_id, all_stores=True).status == 202

    def is_in_both() -> bool:
        found = client.image(at.glance, at.user, image_id)
        return (found["status"], client.names(found.get("stores", ""))) == ("active", {"s3", "swift"})

    wait_for(is_in_both, 60, "the image is in both stores")
    for place in (BUCKET, CONTAINER):
        # In Swift the image's own object is empty and lists its pieces.
        found = {name: size for name, size in objects.objects(place).items() if name.startswith(image_id)}
        assert sum(found.values()) == len(WHOLE)
    assert client.download(at.glance, at.user, image_id) == WHOLE


def test_a_gateway_that_is_down_fails_an_upload_and_is_used_again_when_it_is_back(
    at: StoresGlance, objects: Gateway
) -> None:
    for store in ("s3", "swift"):
        image_id = client.create_image(at.glance, at.user)
        objects.stop()
        try:
            assert client.send(at.glance, at.user, image_id, b"small", store=store).status >= 400
        finally:
            objects.start()
        assert client.send(at.glance, at.user, image_id, b"small", store=store).status == 204
        assert client.download(at.glance, at.user, image_id) == b"small"
