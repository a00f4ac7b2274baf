"""What the pods that serve stores have beside their config: volumes, mounts, variables, annotations and privileges."""

from collections.abc import Callable, Mapping, Sequence

from imageservice.api.v1alpha1 import FilesystemVolume
from imageservice.manifest import Manifest
from imageservice.render import stores
from imageservice.render.inputs import StoreInputs
from imageservice.render.names import store_secret_name, volume_name
from imageservice.render.pods import host_path, projected_volume, with_node_privileges
from imageservice.render.stores import Place, s3
from imageservice.render.stores.members import filesystem_of
from imageservice.render.stores.paths import store_directory

CREDENTIAL_VOLUMES = {Place.DRIVER_FILES: "driver-files", Place.OPTIONS: "driver-options"}
"""The volumes with credentials. Those with images are called `store-<id>`."""

NODE_DIRECTORIES = (
    ("node-dev", "/dev", "Directory"),
    ("node-sys", "/sys", "Directory"),
    ("node-iscsi", "/etc/iscsi", "DirectoryOrCreate"),
    ("node-nvme", "/etc/nvme", "DirectoryOrCreate"),
)
"""Volume, directory of the node and of the pod, type: where attached volumes appear, and who the node is to storage."""

PATH_ON_THE_NODE = "/opt/glance/on-node:/opt/glance/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""PATH of the image with the programs in front that run as the node's own (containers/glance/on-node)."""


def store_volumes(service: str, served: Sequence[StoreInputs]) -> list[Manifest]:
    """Return the volumes of the stores. Raises ValueError where the member that a `type` names is missing."""
    return [
        *(
            projected_volume(CREDENTIAL_VOLUMES[place], [store_secret_name(service, store.store_id) for store in found])
            for place, found in _by_place(served).items()
        ),
        *(host_path(name, path, kind) for name, path, kind in (NODE_DIRECTORIES if _attaches(served) else ())),
        *(_image_volume(store) for store in served if store.spec.type == "Filesystem"),
    ]


def store_mounts(served: Sequence[StoreInputs]) -> list[Manifest]:
    """Return where the volumes are in the container."""
    return [
        *(
            {"name": CREDENTIAL_VOLUMES[place], "mountPath": place.value, "readOnly": True}
            for place in _by_place(served)
        ),
        *({"name": name, "mountPath": path} for name, path, _ in (NODE_DIRECTORIES if _attaches(served) else ())),
        *(
            {"name": volume_name(store.store_id), "mountPath": store_directory(store.store_id)}
            for store in served
            if store.spec.type == "Filesystem"
        ),
    ]


def store_variables(served: Sequence[StoreInputs]) -> list[Manifest]:
    """Return the environment variables that drivers need."""
    variables: dict[str, str] = {}
    if any(store.spec.type == "S3" for store in served):
        variables |= s3.ENVIRONMENT
    if _attaches(served):
        variables["PATH"] = PATH_ON_THE_NODE
    return [{"name": name, "value": value} for name, value in variables.items()]


def with_store_privileges(pod: Manifest, served: Sequence[StoreInputs]) -> Manifest:
    """Return the pod's spec as the stores need it: unchanged, but where volumes are attached to the node."""
    return with_node_privileges(pod) if _attaches(served) else pod


def _attaches(served: Sequence[StoreInputs]) -> bool:
    return any(store.spec.type == "Cinder" for store in served)


def _by_place(served: Sequence[StoreInputs]) -> dict[Place, list[StoreInputs]]:
    """Return the stores that have credentials, by the directory that they are in."""
    found: dict[Place, list[StoreInputs]] = {}
    for place in Place:
        mine = [store for store in served if stores.place(store) is place]
        if mine:
            found[place] = mine
    return found


def _image_volume(store: StoreInputs) -> Manifest:
    volume = filesystem_of(store).volume
    source = _SOURCES[volume.type](volume)
    if source is None:
        raise ValueError(f"the volume of ImageStore {store.name} is of type {volume.type} but has no such member")
    return {"name": volume_name(store.store_id), **source}


def _claim(volume: FilesystemVolume) -> Manifest | None:
    claim = volume.persistent_volume_claim
    return None if claim is None else {"persistentVolumeClaim": claim.to_manifest()}


def _nfs(volume: FilesystemVolume) -> Manifest | None:
    return None if volume.nfs is None else {"nfs": volume.nfs.to_manifest()}


def _pod_directory(volume: FilesystemVolume) -> Manifest | None:
    return None if volume.empty_dir is None else {"emptyDir": volume.empty_dir.to_manifest()}


_SOURCES: Mapping[str, Callable[[FilesystemVolume], Manifest | None]] = {
    "PersistentVolumeClaim": _claim,
    "NFS": _nfs,
    "EmptyDir": _pod_directory,
}
