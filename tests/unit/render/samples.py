"""Inputs of the renderer for tests: one ordinary service, and the ways to make it another one."""

import dataclasses
from typing import Any

from imageservice.api.v1alpha1 import ImageServiceSpec, ImageStoreSpec
from imageservice.manifest import Manifest
from imageservice.releases import RELEASES
from imageservice.render.inputs import (
    CephCredentials,
    Credentials,
    ImageServiceInputs,
    PasswordCredential,
    S3Credentials,
    StoreCredentials,
    StoreInputs,
)
from imageservice.sensitive import Sensitive

PASSWORD = "user-secret-9f2c"
DATABASE_URL = "mysql+pymysql://glance:database-secret-71aa@mariadb.example/glance"
SERVICE_USER = PasswordCredential(username="glance", password=Sensitive(PASSWORD), project_name="service")
CLAIM = {"type": "PersistentVolumeClaim", "persistentVolumeClaim": {"claimName": "images"}}
NFS = {"type": "NFS", "nfs": {"server": "nfs.example", "path": "/exports/images"}}
EMPTY_DIR = {"type": "EmptyDir", "emptyDir": {}}
CEPH_KEY = "AQBQYWlnkH8vBxAAqKq5bLXyM2Zb9sYQm4mJVA=="
CEPH_USER = CephCredentials("glance", Sensitive(CEPH_KEY), ("192.0.2.1:6789", "[v2:192.0.2.2:3300,v1:192.0.2.2:6789]"))
ACCESS_KEY = S3Credentials(Sensitive("access-key-4c"), Sensitive("secret-key-7d"))
STORE_USER = PasswordCredential("images", Sensitive("store-secret-5b"), "image-data", "ops", "cloud")
MEMBERS: Manifest = {
    "Ceph": {"secretRef": {"name": "store-secret"}},
    "S3": {"endpointURL": "https://s3.example", "bucket": "images", "secretRef": {"name": "store-secret"}},
    "Swift": {"authURL": "https://keystone.example/v3", "secretRef": {"name": "store-secret"}},
    "Cinder": {"authURL": "https://keystone.example/v3", "secretRef": {"name": "store-secret"}},
}
"""Type of a store with credentials -> the least of its member in the spec."""
CREDENTIALS: dict[str, StoreCredentials] = {
    "Ceph": CEPH_USER,
    "S3": ACCESS_KEY,
    "Swift": STORE_USER,
    "Cinder": STORE_USER,
}


def spec(**changes: Any) -> ImageServiceSpec:
    """Return a spec; `changes` are in the words of the manifest."""
    manifest: Manifest = {
        "release": "2026.1",
        "database": {"secretRef": {"name": "glance-db"}},
        "identity": {
            "authURL": "http://keystone.example:5000/v3",
            "secretRef": {"name": "glance-service-user"},
            "catalog": {"register": False},
        },
    }
    return ImageServiceSpec.model_validate({**manifest, **changes})


def store(store_id: str = "central", volume: Manifest | None = None, **changes: Any) -> StoreInputs:
    """Return a filesystem store."""
    manifest = {
        "imageServiceRef": {"name": "glance"},
        "type": "Filesystem",
        "filesystem": {"volume": volume or CLAIM},
        **changes,
    }
    return StoreInputs(name=store_id, store_id=store_id, spec=ImageStoreSpec.model_validate(manifest))


def store_of(
    kind: str,
    store_id: str = "",
    credentials: StoreCredentials | None = None,
    *,
    spec: Manifest | None = None,
    **member: Any,
) -> StoreInputs:
    """Return a store of a type with credentials; `member` changes what is in the member of that type."""
    manifest = {
        "imageServiceRef": {"name": "glance"},
        "type": kind,
        kind.lower(): {**MEMBERS[kind], **member},
        **(spec or {}),
    }
    name = store_id or kind.lower()
    return StoreInputs(name, name, ImageStoreSpec.model_validate(manifest), credentials or CREDENTIALS[kind])


def inputs(
    *,
    name: str = "glance",
    stores: tuple[StoreInputs, ...] = (),
    credentials: Credentials = SERVICE_USER,
    database_url: str = DATABASE_URL,
    release: str = "2026.1",
    **spec_changes: Any,
) -> ImageServiceInputs:
    """Return the inputs for one service; the first store is the default one."""
    served = stores or (store(),)
    return ImageServiceInputs(
        name=name,
        namespace="openstack",
        uid="5f0b2f4e-7d7c-4e0e-9b0a-0c1d2e3f4a5b",
        spec=spec(release=release, **spec_changes),
        release=RELEASES[release],
        image=f"imageservice.dev/glance:{release}",
        database_url=Sensitive(database_url),
        credentials=credentials,
        stores=served,
        default_store_id=served[0].store_id,
    )


def other(base: ImageServiceInputs, **changes: Any) -> ImageServiceInputs:
    """Return `base` with some fields replaced."""
    return dataclasses.replace(base, **changes)
