"""ImageStore: one place where image data lives."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from imageservice.api.markers import (
    Cel,
    Column,
    Pattern,
    Resource,
    immutable,
    pattern_check,
    union_rules,
    unset,
)
from imageservice.api.v1alpha1.common import (
    CATEGORY,
    READY_EXAMPLE,
    ApiModel,
    Conditions,
    Generation,
    ImageServiceReference,
    Line,
    ObjectMeta,
    Options,
    initial_status,
)
from imageservice.api.v1alpha1.edge import Edge
from imageservice.api.v1alpha1.store_ceph import CephStore
from imageservice.api.v1alpha1.store_cinder import CinderStore
from imageservice.api.v1alpha1.store_filesystem import FilesystemStore
from imageservice.api.v1alpha1.store_s3 import S3Store
from imageservice.api.v1alpha1.store_swift import SwiftStore
from imageservice.api.vocabulary import API_VERSION, IMAGE_STORE_CONDITIONS

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


class ImageStoreSpec(ApiModel):
    """What the user wants of a store."""

    rules: ClassVar[tuple[Cel, ...]] = union_rules(
        "type",
        {"Filesystem": "filesystem", "Ceph": "ceph", "S3": "s3", "Swift": "swift", "Cinder": "cinder"},
    )

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
        Literal["Filesystem", "Ceph", "S3", "Swift", "Cinder"],
        Field(description="Kind of store: the member of the same name is set. Immutable.", examples=["Ceph"]),
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
    ceph: Annotated[
        CephStore | None,
        Field(
            description="A store of block devices of Ceph. Set where `type` is Ceph.",
            examples=[{"pool": "images", "secretRef": {"name": "central-ceph"}, "monitors": ["192.0.2.1:6789"]}],
        ),
        unset("not set"),
    ] = None
    s3: Annotated[
        S3Store | None,
        Field(
            description="A store in a bucket of S3. Set where `type` is S3.",
            examples=[
                {"endpointURL": "https://s3.example", "bucket": "images", "secretRef": {"name": "images-bucket"}}
            ],
        ),
        unset("not set"),
    ] = None
    swift: Annotated[
        SwiftStore | None,
        Field(
            description="A store in a container of Swift. Set where `type` is Swift.",
            examples=[{"authURL": "https://keystone.example/v3", "secretRef": {"name": "glance-swift-user"}}],
        ),
        unset("not set"),
    ] = None
    cinder: Annotated[
        CinderStore | None,
        Field(
            description="A store of volumes of Cinder. Set where `type` is Cinder. Pods that serve it run as root with "
            "full privileges on their node, because they attach the volumes.",
            examples=[{"authURL": "https://keystone.example/v3", "secretRef": {"name": "glance-cinder-user"}}],
        ),
        unset("not set"),
    ] = None
    extra_config: Annotated[
        Options,
        Field(
            description="More options of the store's section of glance-api.conf: option, value. Options that Glance "
            "does not know for this type of store and those that the operator sets itself are refused.",
            examples=[{"swift_store_retry_get_count": "3"}],
        ),
        unset("none"),
    ] = Field(default_factory=dict)
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
    """One place where the image data of an ImageService lives: a file system, Ceph, S3, Swift or Cinder."""

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
