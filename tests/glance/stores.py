"""Stores on the real storage of the tests as the renderer's inputs, and a Glance that serves them."""

import contextlib
import dataclasses
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.ceph.cluster import CephCluster
from tests.ceph.gateway import Gateway
from tests.ceph.sites import POOL
from tests.glance import client
from tests.glance.api_process import GlanceProcess, running_glance, write_store_files
from tests.glance.client import User
from tests.glance.conftest import InstalledGlance
from tests.keystone import REGION, KeystoneServer
from tests.unit.render import samples

from imageservice.render.inputs import CephCredentials, Credentials, S3Credentials, StoreInputs
from imageservice.sensitive import Sensitive

USER = "glance"


def ceph_store(store_id: str, ceph: CephCluster, key: str, *, user: str = USER, **options: Any) -> StoreInputs:
    """A store in a pool of a cluster, `images` where `options`, fields of spec.ceph, do not name another."""
    credentials = CephCredentials(user, Sensitive(key), tuple(ceph.monitors), ceph.fsid)
    return samples.store_of("Ceph", store_id, credentials, **{"pool": POOL, **options})


def with_key(store: StoreInputs, key: str) -> StoreInputs:
    """A Ceph store whose Secret has another key."""
    assert isinstance(store.credentials, CephCredentials)
    return dataclasses.replace(store, credentials=dataclasses.replace(store.credentials, key=Sensitive(key)))


def s3_store(store_id: str, objects: Gateway, **options: Any) -> StoreInputs:
    """A store in a bucket of a gateway's S3 user; `options` are fields of spec.s3."""
    credentials = S3Credentials(Sensitive(objects.access_key), Sensitive(objects.secret_key))
    where = {"endpointURL": objects.url, "addressingStyle": "Path"}
    return samples.store_of("S3", store_id, credentials, **where, **options)


def swift_store(store_id: str, keystone: KeystoneServer, credentials: Credentials, **options: Any) -> StoreInputs:
    """A store in a container of the object store in Keystone's catalogue; `options` are fields of spec.swift."""
    where = {"authURL": keystone.auth_url, "region": REGION}
    return samples.store_of("Swift", store_id, credentials, **where, **options)


@dataclass(frozen=True)
class StoresGlance:
    """A running Glance with some stores, and those who use it."""

    glance: GlanceProcess
    user: User
    administrator: User
    service: User

    def locations(self, image_id: str) -> Mapping[str, str]:
        """Where the data of an image is: store -> URL."""
        return client.locations(self.glance, self.administrator, self.service, image_id)

    def rewrite(self, store: StoreInputs) -> list[Path]:
        """Write a store's files anew, as the kubelet does when its Secret has changed; return them."""
        return write_store_files(store, self.glance.directory)


@contextlib.contextmanager
def glance_with(  # noqa: PLR0917 - one for each thing that it runs on
    stores: tuple[StoreInputs, ...],
    installed: InstalledGlance,
    environment: Path,
    keystone: KeystoneServer,
    directory: Path,
    variables: Mapping[str, str] = {},
    database_url: str = "",
    **spec: Any,
) -> Iterator[StoresGlance]:
    """Run Glance with these stores, the first the default one; `variables` are added to its environment.

    It has a database of its own, unless it is given one.
    """
    inputs = samples.inputs(
        release=installed.release,
        database_url=database_url or installed.new_server_database(directory),
        credentials=keystone.service_user,
        stores=stores,
        api={"processes": 1, "threads": 4},
        identity={
            "authURL": keystone.auth_url,
            "region": REGION,
            "secretRef": {"name": "unused"},
            "catalog": {"register": False},
        },
        **spec,
    )
    users = (_user(keystone, *who) for who in (("demo", "member"), ("admin", "admin"), ("service", "service")))
    with running_glance(environment, inputs, directory, variables) as glance:
        yield StoresGlance(glance, *users)


def _user(keystone: KeystoneServer, project: str, *roles: str) -> User:
    name, password = f"{roles[0]}-{uuid.uuid4().hex[:8]}", "user-password"
    keystone.create_user(name, password, project, *roles)
    return User(keystone.login(name, password, project)[0])
