"""What rendering needs, with every reference already resolved: the only input of the pure builders."""

from dataclasses import dataclass

from imageservice.api.v1alpha1 import ImageServiceSpec, ImageStoreSpec
from imageservice.releases import Release
from imageservice.sensitive import Sensitive


@dataclass(frozen=True)
class ApplicationCredential:
    """A Keystone application credential (keystoneauth plugin `v3applicationcredential`)."""

    id: str
    secret: Sensitive


@dataclass(frozen=True)
class PasswordCredential:
    """A Keystone user with a password, scoped to a project (keystoneauth plugin `password`)."""

    username: str
    password: Sensitive
    project_name: str
    user_domain_name: str = "Default"
    project_domain_name: str = "Default"


Credentials = ApplicationCredential | PasswordCredential


@dataclass(frozen=True)
class CephCredentials:
    """A user of a Ceph cluster, and how to find the cluster.

    `user` is without `client.` in front. `monitors` are as in `mon_host` of ceph.conf, one or more. `fsid` is the id
    that the cluster should have, None where any is taken. `settings` are further options of a given ceph.conf.
    """

    user: str
    key: Sensitive
    monitors: tuple[str, ...]
    fsid: str | None = None
    settings: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class S3Credentials:
    """An access key of S3."""

    access_key: Sensitive
    secret_key: Sensitive


StoreCredentials = CephCredentials | S3Credentials | Credentials


@dataclass(frozen=True)
class StoreInputs:
    """One ImageStore that the service serves. `store_id` is its id inside Glance and the name of its ini section.

    `credentials` are those of the store's own Secret, of the kind that its type has; None for a file system.
    """

    name: str
    store_id: str
    spec: ImageStoreSpec
    credentials: StoreCredentials | None = None


@dataclass(frozen=True)
class ImageServiceInputs:
    """One ImageService with its references resolved.

    `stores` holds the accepted stores, the default one first, the others by id; `default_store_id` is the id of the
    first. `image` is the Glance image to run. `cluster_domain` is the DNS domain of the cluster's Services.
    `stores_are_shared` tells whether pods on different nodes see the same data in every store (an EmptyDir never,
    a claim only if it can be mounted by many nodes); where they do not, old pods go before new ones come.
    """

    name: str
    namespace: str
    uid: str
    spec: ImageServiceSpec
    release: Release
    image: str
    database_url: Sensitive
    credentials: Credentials
    stores: tuple[StoreInputs, ...]
    default_store_id: str
    cluster_domain: str = "cluster.local"
    stores_are_shared: bool = True
