"""ImageStore: one place where image data lives."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from imageservice.api.markers import (
    IN_SCHEMA,
    Cel,
    Column,
    Pattern,
    Resource,
    immutable,
    pattern_check,
    union_rules,
    unset,
)
from imageservice.api.quantities import Size
from imageservice.api.v1alpha1.common import (
    API_VERSION,
    CATEGORY,
    IMAGE_STORE_CONDITIONS,
    ON_ONE_LINE,
    READY_EXAMPLE,
    ApiModel,
    Conditions,
    Generation,
    ImageServiceReference,
    Line,
    ObjectMeta,
    ObjectName,
    initial_status,
)
from imageservice.api.v1alpha1.edge import Edge

STORE_ID = r"^[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"
MAX_STORE_ID_LENGTH = 63

StoreID = Annotated[
    str,
    Field(min_length=1, max_length=MAX_STORE_ID_LENGTH),
    Pattern(
        STORE_ID, "must be lower-case letters, digits, `-` and `_`, with a letter or digit at both ends, like central"
    ),
    Cel(
        "!self.startsWith('os_glance_')",
        "must not start with os_glance_: Glance keeps such ids for itself",
        check=lambda store_id: not store_id.startswith("os_glance_"),
    ),
]


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


class ImageStoreSpec(ApiModel):
    """What the user wants of a store."""

    rules: ClassVar[tuple[Cel, ...]] = union_rules("type", {"Filesystem": "filesystem"})

    image_service_ref: Annotated[
        ImageServiceReference,
        Field(
            description="The ImageService in this namespace that serves the store. It may be made later. Immutable.",
            examples=[{"name": "glance"}],
        ),
        immutable("`imageServiceRef` must not change: make a new ImageStore for the other ImageService"),
    ]
    store_id: Annotated[
        StoreID | None,
        Field(
            alias="storeID",
            description="Id of the store inside Glance, which Glance keeps with the location of each image. Immutable.",
            examples=["central"],
        ),
        unset("the ImageStore's `metadata.name`"),
    ] = None
    description: Annotated[
        Annotated[str, Field(max_length=255), Line] | None,
        Field(
            description="What users of Glance read about the store in the list of stores. One line.",
            examples=["SSD pool in Tokyo"],
        ),
        unset("none"),
    ] = None
    type: Annotated[
        Literal["Filesystem"],
        Field(description="Kind of store: the member of the same name is set. Immutable.", examples=["Filesystem"]),
        immutable("`type` must not change: make a new ImageStore and copy the images"),
    ]
    filesystem: Annotated[
        FilesystemStore | None,
        Field(
            description="A store of plain files. Set where `type` is Filesystem.",
            examples=[{"volume": {"type": "NFS", "nfs": {"server": "nfs.example", "path": "/exports/images"}}}],
        ),
        unset("not set"),
    ] = None
    edge: Annotated[
        Edge | None,
        Field(
            description="Makes the store an edge site: it gets API pods of its own, which serve this store first and "
            "the service's default store, and no other. The API at the centre serves it too.",
            examples=[{"replicas": 2, "nodeSelector": {"topology.kubernetes.io/zone": "dcn0"}}],
        ),
        unset("the store is served by the API at the centre alone"),
    ] = None


class ImageStoreStatus(ApiModel):
    """What the operator observed about a store."""

    observed_generation: Annotated[
        Generation | None,
        Field(description="The `metadata.generation` that this status is about.", examples=[1]),
    ] = None
    conditions: Annotated[
        Conditions,
        Field(
            description="Accepted: the spec is valid. ResolvedRefs: all it refers to is there. CredentialsValid: the "
            "credentials have the right form. Attached: all API pods that are to serve the store do. Reachable: these "
            "pods reach it (Unknown where nobody can tell). Ready: all of these. Reconciling, Stalled and "
            "DeletionBlocked are there only while True.",
            examples=[[READY_EXAMPLE]],
        ),
    ] = Field(default_factory=list)
    store_id: Annotated[
        StoreID | None,
        Field(alias="storeID", description="Id of the store inside Glance.", examples=["central"]),
    ] = None
    fsid: Annotated[
        Annotated[str, Field(pattern=r"^[0-9a-f-]{36}$", max_length=36)] | None,
        Field(
            description="Id of the Ceph cluster that the pods reach.", examples=["b6c1e7f2-1f5e-4a7c-9f55-0a3d8f5f4c11"]
        ),
    ] = None


class ImageStore(ApiModel):
    """One place where the image data of an ImageService lives: a filesystem on a claim, an NFS share or an EmptyDir."""

    resource: ClassVar[Resource] = Resource(
        kind="ImageStore",
        plural="imagestores",
        singular="imagestore",
        short_names=("imgstore",),
        categories=(CATEGORY,),
        columns=(
            Column(
                "Ready",
                "string",
                '.status.conditions[?(@.type=="Ready")].status',
                "Whether images can be kept in the store.",
            ),
            Column("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason', "Why it is ready or not."),
            Column("Service", "string", ".spec.imageServiceRef.name", "ImageService that serves the store."),
            Column("Type", "string", ".spec.type", "Kind of store."),
            Column("Store ID", "string", ".status.storeID", "Id of the store inside Glance."),
            Column("Message", "string", '.status.conditions[?(@.type=="Ready")].message', "Why, in words.", priority=1),
            Column("Age", "date", ".metadata.creationTimestamp", "Time since the ImageStore was made."),
        ),
        initial_status=initial_status(IMAGE_STORE_CONDITIONS),
        selectable_fields=(".spec.imageServiceRef.name",),
    )
    rules: ClassVar[tuple[Cel, ...]] = (
        Cel(
            "has(self.spec.storeID) || (size(self.metadata.name) <= 63 && "
            "self.metadata.name.matches(r'^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'))",
            "`storeID` must be set where `metadata.name` is longer than 63 characters or has a `.`",
            field_path=".spec.storeID",
            reason="FieldValueRequired",
            check=lambda store: pattern_check(STORE_ID)(store.store_id) and len(store.store_id) <= MAX_STORE_ID_LENGTH,
        ),
        Cel(
            "(has(self.spec.storeID) ? self.spec.storeID : self.metadata.name) == "
            "(has(oldSelf.spec.storeID) ? oldSelf.spec.storeID : oldSelf.metadata.name)",
            "`storeID` must not change: images are found by it (where it is not set, it is `metadata.name`)",
            field_path=".spec.storeID",
            reason="FieldValueForbidden",
        ),
    )

    api_version: Literal["imageservice.dev/v1alpha1"] = API_VERSION
    kind: Literal["ImageStore"] = "ImageStore"
    metadata: ObjectMeta
    spec: Annotated[ImageStoreSpec, Field(description="What the store is to be.")]
    status: Annotated[ImageStoreStatus, Field(description="What the operator observed; written by it alone.")] = Field(
        default_factory=ImageStoreStatus
    )

    @property
    def store_id(self) -> str:
        """The id of the store inside Glance: as given, or the object's name."""
        return self.spec.store_id or self.metadata.name
