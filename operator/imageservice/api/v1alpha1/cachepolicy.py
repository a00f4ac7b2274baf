"""CachePolicy: nodes that keep a cache of images."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from imageservice.api.markers import IN_SCHEMA, Cel, Column, Resource, schema_format, unit, unset
from imageservice.api.quantities import Size, amount, between
from imageservice.api.shares import SomeShare
from imageservice.api.v1alpha1.cache_volume import LEAST_SIZE, MOST_SIZE, CacheVolume
from imageservice.api.v1alpha1.common import (
    CATEGORY,
    READY_EXAMPLE,
    ApiModel,
    Bytes,
    Conditions,
    Count,
    Generation,
    ObjectMeta,
    ObjectName,
    Percent,
    Port,
    Url,
    initial_status,
)
from imageservice.api.v1alpha1.placement import Resources, Tolerations
from imageservice.api.v1alpha1.selectors import NodeSelector
from imageservice.api.vocabulary import API_VERSION, CACHE_POLICY_CONDITIONS

Watermark = Annotated[int, Field(ge=1, le=100), schema_format("int32"), unit("percent of `maxSize`")]
Interval = Annotated[int, Field(ge=10, le=86400), schema_format("int64"), unit("seconds")]


class CacheTarget(ApiModel):
    """What a cache is in front of, in the same namespace."""

    kind: Annotated[
        Literal["ImageService", "ImageStore"],
        Field(
            description="ImageService: the stores that the API at the centre serves. ImageStore: those that the API at "
            "the edge of that store serves, so the store must have `edge`.",
            examples=["ImageService"],
        ),
    ]
    name: Annotated[ObjectName, Field(description="Name of the ImageService or ImageStore.", examples=["glance"])]


class Exposure(ApiModel):
    """How clients reach the cache of a node, besides the Service that leads each of them to its own node."""

    host_port: Annotated[
        Port | None,
        Field(
            description="Port of the node's addresses at which the API with the cache is reached. Pods that have one "
            "need a namespace whose Pod Security level is privileged.",
            examples=[9292],
        ),
        unit("port"),
        unset("none"),
    ] = None
    join_site_service: Annotated[
        bool,
        Field(
            description="Whether the pods also serve clients of the site's own Service, beside the site's API pods.",
            examples=[True],
        ),
        IN_SCHEMA,
    ] = False


class CacheUpdateStrategy(ApiModel):
    """How the pods are replaced when something about them changes."""

    max_unavailable: Annotated[
        SomeShare,
        Field(
            description="On how many nodes the pod may be away at once.",
            examples=["10%"],
            json_schema_extra={"default": 1},
        ),
        IN_SCHEMA,
    ] = "1"


class CachePolicySpec(ApiModel):
    """What the user wants of the caches of some nodes."""

    rules: ClassVar[tuple[Cel, ...]] = (
        Cel(
            "self.lowWatermarkPercent < self.highWatermarkPercent",
            "`lowWatermarkPercent` must be less than `highWatermarkPercent`",
            field_path=".lowWatermarkPercent",
            check=lambda spec: spec.low_watermark_percent < spec.high_watermark_percent,
        ),
        Cel(
            "!has(self.volume) || !has(self.volume.ephemeral) || !has(self.volume.ephemeral.size) || "
            "quantity(string(self.volume.ephemeral.size)).compareTo(quantity(string(self.maxSize))) >= 0",
            "`volume.ephemeral.size` must be `maxSize` or more",
            field_path=".volume.ephemeral.size",
            check=lambda spec: (
                spec.volume is None
                or spec.volume.ephemeral is None
                or spec.volume.ephemeral.size is None
                or amount(spec.volume.ephemeral.size) >= amount(spec.max_size)
            ),
        ),
    )

    target_ref: Annotated[
        CacheTarget,
        Field(
            description="What the cache is in front of. It may be made later.",
            examples=[{"kind": "ImageService", "name": "glance"}],
        ),
    ]
    node_selector: Annotated[
        NodeSelector,
        Field(
            description="Labels of the nodes that get a cache. Where two policies of one ImageService choose the same "
            "node, the older policy has it.",
            examples=[{"openstack.org/compute": "true"}],
        ),
        unset("the nodes of the edge where the target is an ImageStore, every node where it is an ImageService"),
    ] = Field(default_factory=dict)
    tolerations: Annotated[
        Tolerations,
        Field(
            description="Taints of nodes that the pods put up with.",
            examples=[[{"key": "openstack.org/compute", "operator": "Exists"}]],
        ),
        unset("those of the edge where the target is an ImageStore, none where it is an ImageService"),
    ] = Field(default_factory=list)
    max_size: Annotated[
        Size,
        between(LEAST_SIZE, MOST_SIZE),
        Field(
            description="How much the cached images of a node may take: more than the largest image that is to be "
            "cached. An image that finds no room is refused before its first byte.",
            examples=["200Gi"],
        ),
    ]
    high_watermark_percent: Annotated[
        Watermark,
        Field(
            description="When the cache is fuller than this, the images that were read longest ago are removed. An "
            "image that an ImagePrecache wants is never removed.",
            examples=[95],
        ),
        IN_SCHEMA,
    ] = 90
    low_watermark_percent: Annotated[
        Watermark,
        Field(description="How full the cache is after that, if enough may be removed.", examples=[70]),
        IN_SCHEMA,
    ] = 80
    volume: Annotated[
        CacheVolume | None,
        Field(
            description="Where a node keeps the images.",
            examples=[{"type": "HostPath", "hostPath": {"path": "/var/lib/glance-cache"}}],
        ),
        unset("an EmptyDir on the disk of the node"),
    ] = None
    prune_interval_seconds: Annotated[
        Interval,
        Field(description="How often each node looks whether its cache is too full.", examples=[60]),
        IN_SCHEMA,
    ] = 300
    prefetch_interval_seconds: Annotated[
        Interval,
        Field(
            description="How often each node looks whether it lacks an image, besides at every change of what is "
            "wanted, and reads the queue of Glance's own (`PUT /v2/cache`).",
            examples=[60],
        ),
        IN_SCHEMA,
    ] = 300
    stall_time_seconds: Annotated[
        Interval,
        Field(
            description="After how long without a byte a fetch is given up, and an unfinished file counts as left "
            "behind. Longer than the pauses of the slowest client that reads through the cache.",
            examples=[120],
        ),
        IN_SCHEMA,
    ] = 600
    bandwidth_limit: Annotated[
        Annotated[Size, between("64Ki", "1Ti"), unit("bytes per second and node")] | None,
        Field(
            description="How fast each node may fetch images that are wanted. What clients read is not slowed down.",
            examples=["50Mi"],
        ),
        unset("no limit"),
    ] = None
    resources: Annotated[
        Resources | None,
        Field(
            description="CPU and memory of the container that serves the API on each node.",
            examples=[{"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}}],
        ),
        unset("none set"),
    ] = None
    prefetcher_resources: Annotated[
        Resources | None,
        Field(
            description="CPU and memory of the container that fetches images on each node. It takes the same memory "
            "for an image of any size.",
            examples=[{"requests": {"cpu": "50m", "memory": "160Mi"}, "limits": {"memory": "320Mi"}}],
        ),
        unset("none set"),
    ] = None
    processes: Annotated[
        int,
        Field(ge=1, le=64, description="How many processes serve requests on each node.", examples=[2]),
        schema_format("int32"),
        unit("processes per pod"),
        IN_SCHEMA,
    ] = 1
    exposure: Annotated[
        Exposure,
        Field(
            description="How clients reach the cache of a node, besides the Service in `status.url`.",
            examples=[{"hostPort": 9292}],
        ),
        unset("the defaults of its fields"),
        IN_SCHEMA,
    ] = Field(default_factory=Exposure)
    update_strategy: Annotated[
        CacheUpdateStrategy,
        Field(
            description="How the pods are replaced when something about them changes.",
            examples=[{"maxUnavailable": "10%"}],
        ),
        unset("the defaults of its fields"),
        IN_SCHEMA,
    ] = Field(default_factory=CacheUpdateStrategy)
    termination_grace_period_seconds: Annotated[
        int,
        Field(
            ge=30,
            le=86400,
            description="How long downloads that run in a pod may go on when it is replaced.",
            examples=[900],
        ),
        schema_format("int64"),
        unit("seconds"),
        IN_SCHEMA,
    ] = 600


NodeCount = Annotated[Count, unit("nodes")]


class CacheNodes(ApiModel):
    """The nodes of a policy, counted."""

    desired: Annotated[NodeCount, Field(description="How many nodes are to have a cache.", examples=[3])]
    ready: Annotated[NodeCount, Field(description="On how many of them the pod serves.", examples=[3])]
    updated: Annotated[NodeCount, Field(description="On how many of them the pod is that of the spec.", examples=[3])]


class CacheContents(ApiModel):
    """What is in the caches of all nodes that told it."""

    used_bytes: Annotated[Bytes, Field(description="How much the caches hold together.", examples=[128849018880])]
    max_bytes: Annotated[
        Bytes, Field(description="How much they may hold together: `maxSize` of each.", examples=[644245094400])
    ]
    used_percent: Annotated[
        Percent,
        Field(description="How full the caches are together; 100 where they hold more than they may.", examples=[20]),
    ]
    images: Annotated[
        Annotated[Count, unit("images")],
        Field(description="How many images they hold together; one that two nodes hold counts twice.", examples=[9]),
    ]


class CachePolicyStatus(ApiModel):
    """What the operator observed about the caches of some nodes."""

    observed_generation: Annotated[
        Generation | None,
        Field(description="The `metadata.generation` that this status is about.", examples=[1]),
    ] = None
    conditions: Annotated[
        Conditions,
        Field(
            description="Accepted: the spec is valid, and no older policy has all its nodes. ResolvedRefs: the target "
            "is there and can be served. Programmed: the pods are those of the spec on every node. Effective: the "
            "cache can spare its clients the way to a store. Ready: it is programmed and serves on every node. "
            "Reconciling, Stalled and Conflicted are there only while True.",
            examples=[[READY_EXAMPLE]],
        ),
    ] = Field(default_factory=list)
    nodes: Annotated[
        CacheNodes | None,
        Field(description="The nodes of the policy, counted.", examples=[{"desired": 3, "ready": 3, "updated": 3}]),
    ] = None
    cache: Annotated[
        CacheContents | None,
        Field(
            description="What is in the caches of all nodes that told it.",
            examples=[{"usedBytes": 128849018880, "maxBytes": 644245094400, "usedPercent": 20, "images": 9}],
        ),
    ] = None
    image_service_name: Annotated[
        ObjectName | None,
        Field(description="Name of the ImageService that the target is or belongs to.", examples=["glance"]),
    ] = None
    url: Annotated[
        Url | None,
        Field(
            description="Where pods reach the cache of the node that they run on.",
            examples=["http://compute-cache.openstack.svc.cluster.local:9292"],
        ),
    ] = None


class CachePolicy(ApiModel):
    """Nodes that keep a cache of images in front of the stores of an ImageService, or of one of its edges."""

    resource: ClassVar[Resource] = Resource(
        kind="CachePolicy",
        plural="cachepolicies",
        singular="cachepolicy",
        short_names=("cachepol",),
        categories=(CATEGORY,),
        columns=(
            Column(
                "Ready",
                "string",
                '.status.conditions[?(@.type=="Ready")].status',
                "Whether every node of the policy serves its cache.",
            ),
            Column("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason', "Why it is ready or not."),
            Column("Target", "string", ".spec.targetRef.name", "ImageService or ImageStore behind the cache."),
            Column("Desired", "integer", ".status.nodes.desired", "Nodes that are to have a cache."),
            Column("Ready Nodes", "integer", ".status.nodes.ready", "Nodes whose cache serves."),
            Column("Max Size", "string", ".spec.maxSize", "How much the cache of a node may hold."),
            Column("Used %", "integer", ".status.cache.usedPercent", "How full the caches are together."),
            Column("Images", "integer", ".status.cache.images", "Images in all caches together.", priority=1),
            Column("URL", "string", ".status.url", "Where pods reach the cache of their node.", priority=1),
            Column("Message", "string", '.status.conditions[?(@.type=="Ready")].message', "Why, in words.", priority=1),
            Column("Age", "date", ".metadata.creationTimestamp", "Time since the CachePolicy was made."),
        ),
        initial_status=initial_status(CACHE_POLICY_CONDITIONS),
        selectable_fields=(".spec.targetRef.kind", ".spec.targetRef.name"),
    )

    api_version: Literal["imageservice.dev/v1alpha1"] = API_VERSION
    kind: Literal["CachePolicy"] = "CachePolicy"
    metadata: ObjectMeta
    spec: Annotated[CachePolicySpec, Field(description="What the caches are to be.")]
    status: Annotated[CachePolicyStatus, Field(description="What the operator observed; written by it alone.")] = Field(
        default_factory=CachePolicyStatus
    )
