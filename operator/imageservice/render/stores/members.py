"""The part of a store's spec, and the credentials, that go with its type.

The API server sees to it that they are there; each function raises ValueError where an old object lacks them.
"""

from typing import TypeVar

from imageservice.api.v1alpha1 import CephStore, CinderStore, FilesystemStore, S3Store, SwiftStore
from imageservice.render.inputs import (
    ApplicationCredential,
    CephCredentials,
    Credentials,
    PasswordCredential,
    S3Credentials,
    StoreInputs,
)

Part = TypeVar("Part")


def filesystem_of(store: StoreInputs) -> FilesystemStore:
    """Return spec.filesystem."""
    return _there(store.spec.filesystem, store, "no such member")


def ceph_of(store: StoreInputs) -> CephStore:
    """Return spec.ceph."""
    return _there(store.spec.ceph, store, "no such member")


def s3_of(store: StoreInputs) -> S3Store:
    """Return spec.s3."""
    return _there(store.spec.s3, store, "no such member")


def swift_of(store: StoreInputs) -> SwiftStore:
    """Return spec.swift."""
    return _there(store.spec.swift, store, "no such member")


def cinder_of(store: StoreInputs) -> CinderStore:
    """Return spec.cinder."""
    return _there(store.spec.cinder, store, "no such member")


def ceph_credentials(store: StoreInputs) -> CephCredentials:
    """Return the credentials of a Ceph store."""
    return _there(
        store.credentials if isinstance(store.credentials, CephCredentials) else None, store, "no such credentials"
    )


def s3_credentials(store: StoreInputs) -> S3Credentials:
    """Return the credentials of an S3 store."""
    return _there(
        store.credentials if isinstance(store.credentials, S3Credentials) else None, store, "no such credentials"
    )


def keystone_credentials(store: StoreInputs) -> Credentials:
    """Return the credentials of a Swift or Cinder store."""
    if isinstance(store.credentials, ApplicationCredential):
        return store.credentials
    return _there(
        store.credentials if isinstance(store.credentials, PasswordCredential) else None, store, "no such credentials"
    )


def _there(part: Part | None, store: StoreInputs, what_is_missing: str) -> Part:
    if part is None:
        raise ValueError(f"ImageStore {store.name} is of type {store.spec.type} but has {what_is_missing}")
    return part
