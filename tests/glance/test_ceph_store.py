"""Real Glance on two real Ceph clusters, with rendered files: an image's life in the stores of a centre and of an edge.

Three stores: `central` in one cluster, `dcn0` and `dcn1` in two pools of another, each with a user of its own.
"""

import contextlib
import hashlib
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.ceph.cluster import CephCluster
from tests.ceph.sites import POOL, TwoClusters
from tests.cluster.errors import Unavailable
from tests.glance import client
from tests.glance.client import FAILED, IMPORTING
from tests.glance.conftest import InstalledGlance
from tests.glance.stores import StoresGlance, ceph_store, glance_with, with_key
from tests.glance_environments import RELEASES, with_ceph
from tests.keystone import KeystoneServer
from tests.waiting import wait_for

from imageservice.render.inputs import StoreInputs
from imageservice.render.stores.ceph import OPERATION_TIMEOUT_SECONDS

pytestmark = [
    pytest.mark.glance,
    pytest.mark.ceph,
    pytest.mark.parametrize("installed", [RELEASES[0], RELEASES[-1]], indirect=True, scope="session"),
]

MEBIBYTE = 2**20
DATA = random.Random(8).randbytes(5 * MEBIBYTE + 17)
DIGEST = hashlib.sha512(DATA).hexdigest()
WRONG_KEY = "AQAAAAAAAAAAABAAAAAAAAAAAAAAAAAAAAAAAA=="
SECOND_POOL = "images-dcn1"
OPENS_TO_READ = ("2026.1", "2026.2")
"""Releases that open an image for reading only. The others open it for writing too, and Ceph keeps them waiting for
that where the pool is full: no image in it can be read."""
IMPORT_SECONDS = 180
"""On a busy machine; it takes one, and where Ceph has to be waited for a minute more."""


class Place(NamedTuple):
    """Where a store keeps its images."""

    ceph: CephCluster
    pool: str


class Sites(NamedTuple):
    """The stores, by their id, and where each of them is."""

    stores: dict[str, StoreInputs]
    places: dict[str, Place]

    def having(self, image_id: str) -> set[str]:
        """The stores in whose pool the image is, whatever Glance says."""
        return {name for name, place in self.places.items() if image_id in place.ceph.images(place.pool)}


@pytest.fixture(scope="module")
def sites(two_ceph_clusters: TwoClusters) -> Iterator[Sites]:
    central, dcn0 = two_ceph_clusters
    dcn0.create_pool(SECOND_POOL)
    stores = (
        ceph_store("central", central, central.user("glance", POOL)),
        ceph_store("dcn0", dcn0, dcn0.user("glance", POOL), sparseUpload=True),
        ceph_store("dcn1", dcn0, dcn0.user("glance-dcn1", SECOND_POOL), user="glance-dcn1", pool=SECOND_POOL),
    )
    places = {"central": Place(central, POOL), "dcn0": Place(dcn0, POOL), "dcn1": Place(dcn0, SECOND_POOL)}
    yield Sites({store.store_id: store for store in stores}, places)
    dcn0.delete_pool(SECOND_POOL)


@pytest.fixture(scope="module")
def at(
    installed: InstalledGlance, keystone: KeystoneServer, sites: Sites, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StoresGlance]:
    try:
        environment = with_ceph(installed.environment)
    except Unavailable as reason:
        pytest.skip(str(reason))
    stores, directory = tuple(sites.stores.values()), tmp_path_factory.mktemp("glance")
    with glance_with(stores, installed, environment, keystone, directory) as running:
        yield running


def seen(at: StoresGlance, image_id: str) -> tuple[str, set[str], set[str], set[str]]:
    """Status of an image, the stores it is in, those it is still to come to, those that failed."""
    found = client.image(at.glance, at.user, image_id)
    return found["status"], *(client.names(found.get(name, "")) for name in ("stores", IMPORTING, FAILED))


def wait_until(at: StoresGlance, image_id: str, wanted: tuple[str, set[str], set[str], set[str]]) -> None:
    """Wait until an image is seen so, and nothing works on it where no store is to come; fail with what is seen."""
    with contextlib.suppress(AssertionError):
        wait_for(lambda: seen(at, image_id) == wanted, IMPORT_SECONDS, "")
    assert seen(at, image_id) == wanted, at.glance.log[-3000:]
    if not wanted[2]:
        # It is in all stores a moment before the import ends, and until then no other is begun.
        wait_for(lambda: not is_worked_on(at, image_id), IMPORT_SECONDS, "nothing works on the image")


def is_worked_on(at: StoresGlance, image_id: str) -> bool:
    """Whether an import has not ended: it holds the image until then."""
    return bool(client.image(at.glance, at.user, image_id).get("os_glance_import_task"))


def import_states(at: StoresGlance, image_id: str) -> set[str]:
    """How the imports of an image ended, or go."""
    return {task["status"] for task in client.tasks(at.glance, at.user, image_id)}


def staged(at: StoresGlance) -> str:
    """An image whose data waits for an import."""
    return client.upload(at.glance, at.user, DATA, path="stage")


@contextlib.contextmanager
def refused_at(at: StoresGlance, store: StoreInputs) -> Iterator[None]:
    """A block in which the cluster does not take the key that the store's keyring has."""
    at.rewrite(with_key(store, WRONG_KEY))
    try:
        yield
    finally:
        at.rewrite(store)


def test_the_stores_tell_which_cluster_they_are_in(at: StoresGlance, sites: Sites) -> None:
    answer = at.glance.call("GET", "/v2/info/stores/detail", token=at.administrator.token)
    told = {store["id"]: store["properties"] for store in json.loads(answer.body)["stores"]}
    assert {name: (found["fsid"], found["pool"]) for name, found in told.items()} == {
        name: (place.ceph.fsid, place.pool) for name, place in sites.places.items()
    }


def test_an_upload_comes_back_bit_for_bit_and_lies_in_ceph_as_a_protected_snapshot(
    at: StoresGlance, sites: Sites
) -> None:
    image_id = client.upload(at.glance, at.user, DATA)
    assert seen(at, image_id) == ("active", {"central"}, set(), set())
    assert client.image(at.glance, at.user, image_id)["os_hash_value"] == DIGEST
    assert client.download(at.glance, at.user, image_id) == DATA
    ceph, pool = sites.places["central"]
    assert sites.having(image_id) == {"central"}
    assert ceph.snapshots(pool, image_id) == {"snap": True}
    assert ceph.export(pool, image_id) == DIGEST
    url = f"rbd://{ceph.fsid}/{pool}/{image_id}/snap"
    assert at.locations(image_id) == {"central": url}


@pytest.mark.parametrize(("store", "allocated"), [("dcn0", 16 * MEBIBYTE), ("dcn1", 64 * MEBIBYTE)])
def test_a_sparse_upload_leaves_holes_out_and_another_does_not(
    at: StoresGlance, sites: Sites, store: str, allocated: int
) -> None:
    """5 MiB at 20 MiB are in two of Ceph's objects of 8 MiB each."""
    data = DATA[: 5 * MEBIBYTE].rjust(25 * MEBIBYTE, b"\0").ljust(64 * MEBIBYTE, b"\0")
    image_id = client.upload(at.glance, at.user, data, store=store)
    ceph, pool = sites.places[store]
    assert ceph.virtual_bytes(pool, image_id) == len(data)
    assert ceph.allocated_bytes(pool, image_id) == allocated
    assert ceph.export(pool, image_id) == hashlib.sha512(data).hexdigest()
    assert client.download(at.glance, at.user, image_id) == data
    client.delete(at.glance, at.user, image_id)


def test_an_import_brings_an_image_into_the_stores_that_are_named(at: StoresGlance, sites: Sites) -> None:
    image_id = staged(at)
    assert client.import_image(at.glance, at.user, image_id, stores=["dcn0", "central"]).status == 202
    wait_until(at, image_id, ("active", {"central", "dcn0"}, set(), set()))
    assert sites.having(image_id) == {"central", "dcn0"}
    for name in ("central", "dcn0"):
        ceph, pool = sites.places[name]
        assert ceph.export(pool, image_id) == DIGEST
        assert ceph.snapshots(pool, image_id) == {"snap": True}
    assert at.locations(image_id) == {
        name: f"rbd://{sites.places[name].ceph.fsid}/{POOL}/{image_id}/snap" for name in ("central", "dcn0")
    }


def test_an_import_into_all_stores_brings_it_everywhere(at: StoresGlance, sites: Sites) -> None:
    image_id = staged(at)
    assert client.import_image(at.glance, at.user, image_id, all_stores=True).status == 202
    wait_until(at, image_id, ("active", {"central", "dcn0", "dcn1"}, set(), set()))
    assert sites.having(image_id) == {"central", "dcn0", "dcn1"}


def test_an_import_that_may_fail_is_active_with_the_first_store_and_tells_which_are_to_come(
    at: StoresGlance, sites: Sites
) -> None:
    image_id = staged(at)
    with sites.places["dcn0"].ceph.frozen_osd():
        where = {"stores": ["central", "dcn0", "dcn1"], "all_stores_must_succeed": False}
        assert client.import_image(at.glance, at.user, image_id, **where).status == 202
        wait_until(at, image_id, ("active", {"central"}, {"dcn0", "dcn1"}, set()))
        assert client.download(at.glance, at.user, image_id) == DATA
    wait_until(at, image_id, ("active", {"central", "dcn0", "dcn1"}, set(), set()))


def test_an_import_that_must_not_fail_is_active_with_the_last_store(at: StoresGlance, sites: Sites) -> None:
    image_id = staged(at)
    with sites.places["dcn0"].ceph.frozen_osd():
        where = {"stores": ["central", "dcn0"], "all_stores_must_succeed": True}
        assert client.import_image(at.glance, at.user, image_id, **where).status == 202
        wait_until(at, image_id, ("importing", {"central"}, {"dcn0"}, set()))
    wait_until(at, image_id, ("active", {"central", "dcn0"}, set(), set()))


def test_an_import_that_may_fail_names_the_store_that_refused_and_serves_the_others(
    at: StoresGlance, sites: Sites
) -> None:
    image_id = staged(at)
    with refused_at(at, sites.stores["dcn1"]):
        where = {"all_stores": True, "all_stores_must_succeed": False}
        assert client.import_image(at.glance, at.user, image_id, **where).status == 202
        wait_until(at, image_id, ("active", {"central", "dcn0"}, set(), {"dcn1"}))
    assert import_states(at, image_id) == {"success"}
    assert sites.having(image_id) == {"central", "dcn0"}

    answer = client.import_image(at.glance, at.administrator, image_id, "copy-image", all_stores=True)
    assert answer.status == 202, answer.body
    wait_until(at, image_id, ("active", {"central", "dcn0", "dcn1"}, set(), set()))


def test_an_import_that_must_not_fail_leaves_nothing_in_any_store(at: StoresGlance, sites: Sites) -> None:
    image_id = staged(at)
    with refused_at(at, sites.stores["dcn1"]):
        where = {"all_stores": True, "all_stores_must_succeed": True}
        assert client.import_image(at.glance, at.user, image_id, **where).status == 202
        wait_for(lambda: import_states(at, image_id) == {"failure"}, IMPORT_SECONDS, "the import fails")
        wait_for(lambda: not is_worked_on(at, image_id), IMPORT_SECONDS, "nothing works on the image")
    status, stores, to_come, failed = seen(at, image_id)
    assert (stores, to_come) == (set(), set())
    assert "dcn1" in failed  # with those that were undone, where the import has converted the image
    assert status != "active"
    assert sites.having(image_id) == set()
    client.delete(at.glance, at.user, image_id)


def test_an_image_is_copied_to_another_store_by_the_administrator_once(at: StoresGlance, sites: Sites) -> None:
    image_id = client.upload(at.glance, at.user, DATA)

    def copy(who: client.User) -> int:
        return client.import_image(at.glance, who, image_id, "copy-image", stores=["dcn1"]).status

    assert copy(at.user) == 403
    assert copy(at.administrator) == 202
    wait_until(at, image_id, ("active", {"central", "dcn1"}, set(), set()))
    ceph, pool = sites.places["dcn1"]
    assert ceph.export(pool, image_id) == DIGEST
    assert copy(at.administrator) == 400


def test_a_copy_leaves_one_store_and_the_last_one_stays(at: StoresGlance, sites: Sites) -> None:
    image_id = staged(at)
    assert client.import_image(at.glance, at.user, image_id, stores=["central", "dcn0"]).status == 202
    wait_until(at, image_id, ("active", {"central", "dcn0"}, set(), set()))
    assert client.delete_from(at.glance, at.administrator, image_id, "central").status == 204
    assert seen(at, image_id)[:2] == ("active", {"dcn0"})
    assert sites.having(image_id) == {"dcn0"}
    assert client.download(at.glance, at.user, image_id) == DATA
    assert client.delete_from(at.glance, at.administrator, image_id, "dcn0").status == 403
    assert sites.having(image_id) == {"dcn0"}


def test_an_image_that_is_deleted_leaves_every_store(at: StoresGlance, sites: Sites) -> None:
    image_id = staged(at)
    assert client.import_image(at.glance, at.user, image_id, all_stores=True).status == 202
    wait_until(at, image_id, ("active", {"central", "dcn0", "dcn1"}, set(), set()))
    client.delete(at.glance, at.user, image_id)
    assert sites.having(image_id) == set()


def test_a_full_pool_fails_the_upload_within_the_operation_time_out(
    installed: InstalledGlance, at: StoresGlance, sites: Sites
) -> None:
    """Ceph lets writes to a full pool wait for ever. The time-out that is rendered is 45 s: here it is 4 s."""
    store, (ceph, pool) = sites.stores["dcn1"], sites.places["dcn1"]
    (conf,) = (file for file in at.rewrite(store) if file.suffix == ".conf")
    assert f"rados_osd_op_timeout = {OPERATION_TIMEOUT_SECONDS}\n" in conf.read_text()
    conf.write_text(conf.read_text().replace(f" = {OPERATION_TIMEOUT_SECONDS}\n", " = 4\n"))
    image_id = client.create_image(at.glance, at.user)
    filler = client.upload(at.glance, at.user, DATA, store="dcn1")
    ceph.ceph("osd", "pool", "set-quota", pool, "max_bytes", str(MEBIBYTE))
    try:
        wait_for(lambda: "full" in ceph.pool_flags(pool), 30, "the pool is full")
        assert client.send(at.glance, at.user, image_id, b"small", store="dcn1").status in (500, 503)
        assert seen(at, image_id)[:2] == ("queued", set())
        read = at.glance.call("GET", f"/v2/images/{filler}/file", token=at.user.token)
        assert (read.status == 200 and read.body == DATA) == (installed.release in OPENS_TO_READ)
    finally:
        ceph.ceph("osd", "pool", "set-quota", pool, "max_bytes", "0")
        at.rewrite(store)
    wait_for(lambda: "full" not in ceph.pool_flags(pool), 30, "the pool has room")
    assert client.send(at.glance, at.user, image_id, b"small", store="dcn1").status == 204
    assert client.download(at.glance, at.user, image_id) == b"small"


def test_a_key_that_was_wrong_from_the_start_heals_without_a_restart(
    installed: InstalledGlance, keystone: KeystoneServer, sites: Sites, tmp_path: Path
) -> None:
    central, edge = sites.stores["central"], sites.stores["dcn0"]
    broken = with_key(edge, WRONG_KEY)
    with glance_with((central, broken), installed, with_ceph(installed.environment), keystone, tmp_path) as at:
        image_id = client.create_image(at.glance, at.user)
        assert client.send(at.glance, at.user, image_id, b"small", store="dcn0").status == 410
        assert fsid_of(at, "dcn0") is None
        assert client.download(at.glance, at.user, client.upload(at.glance, at.user, DATA)) == DATA

        at.rewrite(edge)
        assert fsid_of(at, "dcn0") == sites.places["dcn0"].ceph.fsid
        assert client.send(at.glance, at.user, image_id, b"small", store="dcn0").status == 204
        assert client.download(at.glance, at.user, image_id) == b"small"


def test_a_key_that_was_rotated_is_refused_until_the_keyring_has_the_new_one(at: StoresGlance, sites: Sites) -> None:
    image_id = client.upload(at.glance, at.user, b"small", store="dcn1")
    key = sites.places["dcn1"].ceph.rotate("glance-dcn1")
    assert fsid_of(at, "dcn1") is None
    assert at.glance.call("GET", f"/v2/images/{image_id}/file", token=at.user.token).status >= 400

    sites.stores["dcn1"] = with_key(sites.stores["dcn1"], key)
    at.rewrite(sites.stores["dcn1"])
    assert fsid_of(at, "dcn1") == sites.places["dcn1"].ceph.fsid
    assert client.download(at.glance, at.user, image_id) == b"small"


def fsid_of(at: StoresGlance, store: str) -> str | None:
    """The id of the cluster that a store says it is in; None where it does not reach one."""
    answer = at.glance.call("GET", "/v2/info/stores/detail", token=at.administrator.token)
    (found,) = (entry for entry in json.loads(answer.body)["stores"] if entry["id"] == store)
    fsid: str | None = found["properties"]["fsid"]
    return fsid
