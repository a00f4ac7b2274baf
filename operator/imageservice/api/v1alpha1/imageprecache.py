"""ImagePrecache: images that are to be in the caches of nodes."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from imageservice.api.markers import ATOMIC, IN_SCHEMA, Cel, Column, Resource, schema_format, unit, unset
from imageservice.api.shares import Share
from imageservice.api.v1alpha1.common import (
    CATEGORY,
    READY_EXAMPLE,
    ApiModel,
    Bytes,
    Conditions,
    Count,
    Generation,
    ImageServiceReference,
    ObjectMeta,
    ObjectName,
    Percent,
    initial_status,
)
from imageservice.api.v1alpha1.selectors import LabelSelector, NodeSelector
from imageservice.api.v1alpha1.wanted_images import ImageID, ImageSelector, WantedImage
from imageservice.api.v1alpha1.windows import FetchWindow
from imageservice.api.vocabulary import API_VERSION, IMAGE_PRECACHE_CONDITIONS

MAX_IMAGE_ROWS = 64
MAX_FAILING_NODES = 20
"""How many rows the tables of the status have at most, so that the object stays small with any number of nodes."""


class Backoff(ApiModel):
    """How long a node waits after a failed fetch before it tries that image anew: twice as long after each failure."""

    rules: ClassVar[tuple[Cel, ...]] = (
        Cel(
            # Kubernetes looks at the default of `backoff` before it fills in those of the fields.
            "!has(self.initialSeconds) || !has(self.maxSeconds) || self.initialSeconds <= self.maxSeconds",
            "`initialSeconds` must not be more than `maxSeconds`",
            field_path=".initialSeconds",
            check=lambda backoff: backoff.initial_seconds <= backoff.max_seconds,
        ),
    )

    initial_seconds: Annotated[
        int,
        Field(ge=1, le=86400, description="How long it waits after the first failure.", examples=[60]),
        schema_format("int64"),
        unit("seconds"),
        IN_SCHEMA,
    ] = 30
    max_seconds: Annotated[
        int,
        Field(ge=1, le=86400, description="How long it waits at most.", examples=[1800]),
        schema_format("int64"),
        unit("seconds"),
        IN_SCHEMA,
    ] = 3600


class ImagePrecacheSpec(ApiModel):
    """What the user wants to be cached, and where."""

    rules: ClassVar[tuple[Cel, ...]] = (
        Cel(
            "(has(self.images) && size(self.images) > 0) || has(self.imageSelector)",
            "`images` or `imageSelector` must be set, or both",
            reason="FieldValueRequired",
            check=lambda spec: bool(spec.images) or spec.image_selector is not None,
        ),
    )

    image_service_ref: Annotated[
        ImageServiceReference,
        Field(
            description="The ImageService in this namespace whose images are wanted. It may be made later.",
            examples=[{"name": "glance"}],
        ),
    ]
    images: Annotated[
        list[WantedImage],
        Field(
            max_length=100,
            description="Images, each by its id or its name.",
            examples=[[{"name": "ubuntu-26.04"}, {"id": "3f0e7f1e-5d0c-4c5e-8f6a-2a1c9d7b6e54"}]],
        ),
        unset("none"),
        ATOMIC,
    ] = Field(default_factory=list)
    image_selector: Annotated[
        ImageSelector | None,
        Field(
            description="Images by their tags and properties, besides those in `images`. One that gets the tag is "
            "fetched, one that loses it may be evicted.",
            examples=[{"tags": ["golden"]}],
        ),
        unset("none"),
    ] = None
    cache_policy_selector: Annotated[
        LabelSelector | None,
        Field(
            description="Labels of the CachePolicies whose nodes are to have the images.",
            examples=[{"matchLabels": {"imageservice.dev/tier": "gold"}}],
        ),
        unset("every CachePolicy of the ImageService and its edges"),
    ] = None
    node_selector: Annotated[
        NodeSelector,
        Field(
            description="Labels that a node must have too, besides a cache.",
            examples=[{"topology.kubernetes.io/zone": "dcn0"}],
        ),
        unset("every node of these CachePolicies"),
    ] = Field(default_factory=dict)
    parallelism: Annotated[
        Share,
        Field(
            description="How many nodes may fetch at once; a share is one of the nodes that are to have the images, "
            "rounded up. 0 begins no more fetches.",
            examples=["20%"],
            json_schema_extra={"default": 10},
        ),
        IN_SCHEMA,
    ] = "10"
    timeout_seconds: Annotated[
        int,
        Field(
            ge=10,
            le=604_800,
            description="How long the fetch of one image to one node may take. Then it is given up and tried anew.",
            examples=[7200],
        ),
        schema_format("int64"),
        unit("seconds"),
        IN_SCHEMA,
    ] = 3600
    backoff: Annotated[
        Backoff,
        Field(
            description="How long a node waits before it tries an image again that it could not fetch.",
            examples=[{"initialSeconds": 60, "maxSeconds": 1800}],
        ),
        unset("the defaults of its fields"),
        IN_SCHEMA,
    ] = Field(default_factory=Backoff)
    windows: Annotated[
        list[FetchWindow],
        Field(
            max_length=16,
            description="When nodes may fetch. What is cached is served and kept at any time.",
            examples=[[{"schedule": "0 22 * * MON-FRI", "durationSeconds": 28800, "timeZone": "Europe/Berlin"}]],
        ),
        unset("at any time"),
        ATOMIC,
    ] = Field(default_factory=list)
    suspend: Annotated[
        bool,
        Field(
            description="Whether to fetch nothing more. Fetches that run are stopped, what is cached is kept.",
            examples=[True],
        ),
        IN_SCHEMA,
    ] = False


NodeCount = Annotated[Count, unit("nodes")]


class PrecacheNodes(ApiModel):
    """The nodes that are to have the images, counted: each is in one of the counts below `desired`."""

    desired: Annotated[NodeCount, Field(description="How many nodes are to have the images.", examples=[3])]
    cached: Annotated[NodeCount, Field(description="How many have all of them.", examples=[1])]
    fetching: Annotated[NodeCount, Field(description="How many fetch one now.", examples=[1])]
    pending: Annotated[NodeCount, Field(description="How many wait for their turn, or for a window.", examples=[1])]
    failed: Annotated[
        NodeCount, Field(description="How many could not fetch an image, and wait to try again.", examples=[0])
    ]
    unavailable: Annotated[
        NodeCount, Field(description="How many do not answer: the others do not wait for them.", examples=[0])
    ]


class PrecachedImage(ApiModel):
    """One wanted image, and where it is."""

    id: Annotated[ImageID, Field(description="Id of the image.", examples=["3f0e7f1e-5d0c-4c5e-8f6a-2a1c9d7b6e54"])]
    name: Annotated[
        Annotated[str, Field(max_length=255)] | None,
        Field(description="Name of the image.", examples=["ubuntu-26.04"]),
    ] = None
    size_bytes: Annotated[Bytes | None, Field(description="Size of the image.", examples=[644874240])] = None
    cached_nodes: Annotated[NodeCount, Field(description="On how many nodes it is cached.", examples=[3])]
    failed_nodes: Annotated[
        NodeCount, Field(description="How many nodes could not fetch it the last time.", examples=[0])
    ]


class FailingNode(ApiModel):
    """One image that one node could not fetch the last time, or a node whose agent gives no answer to use."""

    node: Annotated[ObjectName, Field(description="Name of the node.", examples=["compute-7"])]
    image_id: Annotated[
        ImageID | None,
        Field(
            alias="imageID",
            description="Id of the image. Not there where the agent of the node gives no answer to use.",
            examples=["3f0e7f1e-5d0c-4c5e-8f6a-2a1c9d7b6e54"],
        ),
    ] = None
    reason: Annotated[
        Annotated[str, Field(min_length=1, max_length=64)],
        Field(description="Why, as one CamelCase word.", examples=["HashMismatch"]),
    ]
    message: Annotated[
        Annotated[str, Field(max_length=256)],
        Field(description="Why, in words.", examples=["the data in the store `central` is not that of the image"]),
    ]
    attempts: Annotated[
        Annotated[Count, unit("attempts")],
        Field(description="How often in a row the node has failed.", examples=[4]),
    ]


class ImagePrecacheStatus(ApiModel):
    """What the operator observed about the images on the nodes."""

    observed_generation: Annotated[
        Generation | None,
        Field(description="The `metadata.generation` that this status is about.", examples=[1]),
    ] = None
    conditions: Annotated[
        Conditions,
        Field(
            description="Accepted: the spec is valid. ResolvedRefs: the ImageService, its CachePolicies and the images "
            "are there. Ready: every wanted image is on every wanted node. Reconciling and Stalled are there only "
            "while True.",
            examples=[[READY_EXAMPLE]],
        ),
    ] = Field(default_factory=list)
    nodes: Annotated[
        PrecacheNodes | None,
        Field(
            description="The nodes that are to have the images, counted.",
            examples=[{"desired": 3, "cached": 1, "fetching": 1, "pending": 1, "failed": 0, "unavailable": 0}],
        ),
    ] = None
    images: Annotated[
        list[PrecachedImage],
        Field(
            max_length=MAX_IMAGE_ROWS,
            description="The wanted images, those that fail first: no more than fit into the table.",
            examples=[
                [
                    {
                        "id": "3f0e7f1e-5d0c-4c5e-8f6a-2a1c9d7b6e54",
                        "name": "ubuntu-26.04",
                        "sizeBytes": 644874240,
                        "cachedNodes": 3,
                        "failedNodes": 0,
                    }
                ]
            ],
        ),
        ATOMIC,
    ] = Field(default_factory=list)
    images_total: Annotated[
        Annotated[Count, unit("images")] | None,
        Field(description="How many images are wanted, also those without a row.", examples=[2]),
    ] = None
    bytes_done: Annotated[
        Bytes | None,
        Field(description="How much of the wanted images the nodes have, all together.", examples=[1934622720]),
    ] = None
    bytes_total: Annotated[
        Bytes | None,
        Field(description="How much they will have when every image is on every node.", examples=[3869245440]),
    ] = None
    progress_percent: Annotated[
        Percent | None,
        Field(description="`bytesDone` in percent of `bytesTotal`; 100 only when all is there.", examples=[50]),
    ] = None
    estimated_seconds_left: Annotated[
        Annotated[int, Field(ge=0, le=31_536_000), schema_format("int64"), unit("seconds")] | None,
        Field(
            description="How long the rest will take at the pace of now. Not there while nothing is fetched.",
            examples=[340],
        ),
    ] = None
    failing_nodes: Annotated[
        list[FailingNode],
        Field(
            max_length=MAX_FAILING_NODES,
            description="Images that nodes could not fetch the last time, until they have them, and nodes whose agents "
            "give no answer to use: no more than fit into the table.",
            examples=[
                [
                    {
                        "node": "compute-7",
                        "imageID": "3f0e7f1e-5d0c-4c5e-8f6a-2a1c9d7b6e54",
                        "reason": "HashMismatch",
                        "message": "the data in the store `central` is not that of the image",
                        "attempts": 4,
                    }
                ]
            ],
        ),
        ATOMIC,
    ] = Field(default_factory=list)
    revision: Annotated[
        Annotated[str, Field(min_length=1, max_length=64)] | None,
        Field(description="Which set of images the nodes were told last, as a hash.", examples=["5b1f0c9a3e7d2468"]),
    ] = None
    next_window: Annotated[
        Annotated[str, Field(min_length=20, max_length=40), schema_format("date-time")] | None,
        Field(
            description="When the next window opens (RFC 3339). Not there while one is open, and without `windows`.",
            examples=["2026-11-23T21:00:00Z"],
        ),
    ] = None


class ImagePrecache(ApiModel):
    """Images that are to be in the caches of nodes, now and whenever a node, a CachePolicy or an image is added."""

    resource: ClassVar[Resource] = Resource(
        kind="ImagePrecache",
        plural="imageprecaches",
        singular="imageprecache",
        short_names=("precache",),
        categories=(CATEGORY,),
        columns=(
            Column(
                "Ready",
                "string",
                '.status.conditions[?(@.type=="Ready")].status',
                "Whether every wanted image is on every wanted node.",
            ),
            Column("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason', "Why it is ready or not."),
            Column("Cached", "integer", ".status.nodes.cached", "Nodes that have all the images."),
            Column("Nodes", "integer", ".status.nodes.desired", "Nodes that are to have them."),
            Column("Progress %", "integer", ".status.progressPercent", "How much of the images is there."),
            Column("Fetching", "integer", ".status.nodes.fetching", "Nodes that fetch an image now.", priority=1),
            Column("Pending", "integer", ".status.nodes.pending", "Nodes that wait for their turn.", priority=1),
            Column("Failed", "integer", ".status.nodes.failed", "Nodes that could not fetch an image.", priority=1),
            Column(
                "Seconds Left",
                "integer",
                ".status.estimatedSecondsLeft",
                "How long the rest will take at the pace of now.",
                priority=1,
            ),
            Column("Message", "string", '.status.conditions[?(@.type=="Ready")].message', "Why, in words.", priority=1),
            Column("Age", "date", ".metadata.creationTimestamp", "Time since the ImagePrecache was made."),
        ),
        initial_status=initial_status(IMAGE_PRECACHE_CONDITIONS),
        selectable_fields=(".spec.imageServiceRef.name",),
    )

    api_version: Literal["imageservice.dev/v1alpha1"] = API_VERSION
    kind: Literal["ImagePrecache"] = "ImagePrecache"
    metadata: ObjectMeta
    spec: Annotated[ImagePrecacheSpec, Field(description="Which images are to be where.")]
    status: Annotated[ImagePrecacheStatus, Field(description="What the operator observed; written by it alone.")] = (
        Field(default_factory=ImagePrecacheStatus)
    )
