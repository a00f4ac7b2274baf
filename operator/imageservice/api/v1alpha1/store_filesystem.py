"""A store of plain files: on a claim, an NFS share or a directory of the pod."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from imageservice.api.markers import IN_SCHEMA, Cel, Pattern, union_rules, unset
from imageservice.api.quantities import Size
from imageservice.api.v1alpha1.common import ON_ONE_LINE, ApiModel, ObjectName


class PersistentVolumeClaimVolume(ApiModel):
    """A PersistentVolumeClaim that already exists."""

    claim_name: Annotated[
        ObjectName,
        Field(
            description="Name of the PersistentVolumeClaim in this namespace. With more than one API replica it must "
            "be ReadWriteMany. The operator never makes, changes or deletes it.",
            examples=["images"],
        ),
    ]


class NFSVolume(ApiModel):
    """An NFS share that the nodes mount."""

    server: Annotated[
        str,
        Field(
            min_length=1,
            max_length=253,
            description="Host name or IP address of the NFS server, as the nodes resolve it.",
            examples=["nfs.example"],
        ),
        Pattern(r"^[A-Za-z0-9:]([-A-Za-z0-9.:]*[A-Za-z0-9:])?$", "must be a host name or an IP address"),
    ]
    path: Annotated[
        str,
        Field(
            min_length=1,
            max_length=1024,
            description="Path that the server exports.",
            examples=["/exports/images"],
        ),
        Pattern(f"^/{ON_ONE_LINE}$", "must be an absolute path on one line, like /exports/images"),
        Cel(
            "!self.split('/').exists(part, part == '..')",
            "must not have `..` as a part of the path",
            check=lambda path: ".." not in path.split("/"),
        ),
    ]


class EmptyDirVolume(ApiModel):
    """A directory of the pod, gone with the pod."""

    size_limit: Annotated[
        Size | None,
        Field(
            description="How much the directory may hold; the pod is evicted when it holds more.",
            examples=["10Gi"],
        ),
        unset("no limit but the node's disk"),
    ] = None


class FilesystemVolume(ApiModel):
    """The volume of a filesystem store: `type` names the one member that is set."""

    rules: ClassVar[tuple[Cel, ...]] = union_rules(
        "type",
        {"PersistentVolumeClaim": "persistentVolumeClaim", "NFS": "nfs", "EmptyDir": "emptyDir"},
    )

    type: Annotated[
        Literal["PersistentVolumeClaim", "NFS", "EmptyDir"],
        Field(
            description="Kind of volume. EmptyDir loses all images with the pod and is not shared by replicas: use it "
            "for trials only.",
            examples=["PersistentVolumeClaim"],
        ),
    ]
    persistent_volume_claim: Annotated[
        PersistentVolumeClaimVolume | None,
        Field(
            description="An existing PersistentVolumeClaim. Set where `type` is PersistentVolumeClaim.",
            examples=[{"claimName": "images"}],
        ),
        unset("not set"),
    ] = None
    nfs: Annotated[
        NFSVolume | None,
        Field(
            description="An NFS share. Set where `type` is NFS.",
            examples=[{"server": "nfs.example", "path": "/exports/images"}],
        ),
        unset("not set"),
    ] = None
    empty_dir: Annotated[
        EmptyDirVolume | None,
        Field(
            description="A directory of the pod. Set where `type` is EmptyDir.",
            examples=[{"sizeLimit": "10Gi"}],
        ),
        unset("not set"),
    ] = None


class FilesystemStore(ApiModel):
    """A store that keeps each image as a file (Glance: store type `file`)."""

    volume: Annotated[
        FilesystemVolume,
        Field(
            description="The volume that holds the image files.",
            examples=[{"type": "PersistentVolumeClaim", "persistentVolumeClaim": {"claimName": "images"}}],
        ),
    ]
    sparse_upload: Annotated[
        bool,
        Field(
            description="Whether runs of zeros in an image are stored as holes, which saves space in raw images "
            "(Glance option filesystem_thin_provisioning).",
            examples=[True],
        ),
        IN_SCHEMA,
    ] = False
