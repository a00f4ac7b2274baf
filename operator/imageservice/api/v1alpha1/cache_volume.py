"""The volume that holds the cached images of a node."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from imageservice.api.markers import Cel, Pattern, union_rules, unset
from imageservice.api.quantities import Size, between
from imageservice.api.v1alpha1.common import ON_ONE_LINE, ApiModel, ObjectName

LEAST_SIZE, MOST_SIZE = "1Mi", "1Pi"
"""The bounds of a cache and of its volume."""


class CacheEmptyDir(ApiModel):
    """A directory of the pod. It outlives restarts of containers, and is gone with the pod."""

    medium: Annotated[
        Literal["Memory"] | None,
        Field(
            description="What the directory lies on. Memory counts as memory of the containers that write to it: "
            "their limits must have room for the whole cache.",
            examples=["Memory"],
        ),
        unset("the disk on which the node keeps the files of its pods"),
    ] = None


class CacheHostPath(ApiModel):
    """A directory of the node. It outlives pods, and nothing keeps other writers from filling its disk."""

    path: Annotated[
        str,
        Field(
            min_length=2,
            max_length=1024,
            description="Absolute path of the directory on each node, for this cache alone. Pods that use it need a "
            "namespace whose Pod Security level is privileged. Where the directory does not exist, the node makes it, "
            "owned by root: see docs/caching.md for one that user 42415 may write to.",
            examples=["/var/lib/glance-cache"],
        ),
        Pattern(f"^/{ON_ONE_LINE}$", "must be an absolute path on one line, like /var/lib/glance-cache"),
        Cel(
            "!self.split('/').exists(part, part == '..') && self.split('/').exists(part, part != '' && part != '.')",
            "must lead to a directory below / and must not have `..` as a part",
            check=lambda path: ".." not in path.split("/") and any(part not in ("", ".") for part in path.split("/")),
        ),
    ]


class CacheEphemeral(ApiModel):
    """A volume that a storage class makes for each pod and deletes with it."""

    storage_class_name: Annotated[
        ObjectName | None,
        Field(
            description="Storage class of the volume: disks of the node itself make the fastest cache.",
            examples=["local-nvme"],
        ),
        unset("the default storage class of the cluster"),
    ] = None
    size: Annotated[
        Annotated[Size, between(LEAST_SIZE, MOST_SIZE)] | None,
        Field(description="Size of the volume, `maxSize` or more.", examples=["220Gi"]),
        unset("`maxSize` and a tenth more, which file systems need for themselves"),
    ] = None


class CacheVolume(ApiModel):
    """The volume of a cache: `type` names the one member that may be set."""

    rules: ClassVar[tuple[Cel, ...]] = union_rules(
        "type", {"EmptyDir": "emptyDir", "HostPath": "hostPath", "Ephemeral": "ephemeral"}
    )

    type: Annotated[
        Literal["EmptyDir", "HostPath", "Ephemeral"],
        Field(
            description="Kind of volume. EmptyDir and Ephemeral begin empty with each new pod. HostPath keeps its "
            "images when a pod is replaced, and is not allowed under the Pod Security levels baseline and restricted.",
            examples=["EmptyDir"],
        ),
    ]
    empty_dir: Annotated[
        CacheEmptyDir | None,
        Field(
            description="A directory of the pod, {} for one on disk. Set where `type` is EmptyDir.",
            examples=[{"medium": "Memory"}],
        ),
        unset("not set"),
    ] = None
    host_path: Annotated[
        CacheHostPath | None,
        Field(
            description="A directory of the node. Set where `type` is HostPath.",
            examples=[{"path": "/var/lib/glance-cache"}],
        ),
        unset("not set"),
    ] = None
    ephemeral: Annotated[
        CacheEphemeral | None,
        Field(
            description="A volume of a storage class, {} for the default one. Set where `type` is Ephemeral.",
            examples=[{"storageClassName": "local-nvme"}],
        ),
        unset("not set"),
    ] = None
