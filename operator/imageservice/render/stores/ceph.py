"""Options and files of a store in Ceph (driver `rbd`): its section, `<id>.conf` for librados, and the keyring.

librados reads both files at every connection, and the driver connects for every request: a corrected keyring heals a
process that runs. What is in `<id>.conf` counts from the next connection too, but pods are rolled for it, so that all
of them see one cluster.
"""

from imageservice.render.inputs import StoreInputs
from imageservice.render.stores.members import ceph_credentials, ceph_of
from imageservice.render.stores.paths import DRIVER_FILES_DIR, conf_name
from imageservice.render.stores.values import boolean

OPERATION_TIMEOUT_SECONDS = 45
"""How long one read or write of an OSD may take. Longer than a sound cluster needs to notice that an OSD is gone and to
go on without it (20 s of heartbeats, then peering), so that a lost OSD fails no upload; but bounded, so that a cluster
that hangs never keeps all threads of the API for good."""


def keyring_name(store: StoreInputs) -> str:
    """Return the name of the keyring's file."""
    return f"{store.store_id}.client.{ceph_credentials(store).user}.keyring"


def section(store: StoreInputs) -> dict[str, str]:
    """Return the options of the section.

    Without `rados_connect_timeout`: the driver would set the time-out of every read and write to it, too, and a value
    that is right for connecting fails uploads whenever an OSD is slow.
    """
    ceph = ceph_of(store)
    return {
        "rbd_store_ceph_conf": f"{DRIVER_FILES_DIR}/{conf_name(store.store_id)}",
        "rbd_store_user": ceph_credentials(store).user,
        "rbd_store_pool": ceph.pool,
        "rbd_store_chunk_size": str(ceph.chunk_size),
        "rbd_thin_provisioning": boolean(ceph.sparse_upload),
    }


def files(store: StoreInputs) -> dict[str, str]:
    """Return `<id>.conf` and `<id>.client.<user>.keyring`."""
    credentials = ceph_credentials(store)
    keyring = f"[client.{credentials.user}]\n\tkey = {credentials.key.reveal()}\n"
    return {**conf_file(store), keyring_name(store): keyring}


def conf_file(store: StoreInputs) -> dict[str, str]:
    """Return `<id>.conf`, the ceph.conf of the store; it holds no key."""
    credentials = ceph_credentials(store)
    connect_timeout = str(ceph_of(store).connect_timeout_seconds)
    options = {
        **({"fsid": credentials.fsid} if credentials.fsid else {}),
        "mon_host": ",".join(credentials.monitors),
        **dict(credentials.settings),
        "keyring": f"{DRIVER_FILES_DIR}/{keyring_name(store)}",
        "client_mount_timeout": connect_timeout,
        "rados_mon_op_timeout": connect_timeout,
        "rados_osd_op_timeout": str(OPERATION_TIMEOUT_SECONDS),
    }
    lines = [f"{name} = {value}" for name, value in options.items()]
    return {conf_name(store.store_id): "\n".join(["[global]", *lines]) + "\n"}
