"""ImageService: one OpenStack Glance."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from imageservice.api.markers import (
    ATOMIC,
    IN_SCHEMA,
    Cel,
    Column,
    OneOf,
    Pattern,
    Resource,
    Scale,
    list_map,
    map_keys,
    unit,
    unset,
)
from imageservice.api.v1alpha1.apiservers import ApiServers
from imageservice.api.v1alpha1.common import (
    CATEGORY,
    MAX_STORES,
    READY_EXAMPLE,
    ApiModel,
    Conditions,
    Count,
    Generation,
    ObjectMeta,
    ObjectName,
    Options,
    SecretKey,
    Url,
    initial_status,
)
from imageservice.api.v1alpha1.formats import Formats
from imageservice.api.v1alpha1.identity import Identity
from imageservice.api.v1alpha1.imagestore import StoreID
from imageservice.api.v1alpha1.imports import CONVERSION_RULES, Imports
from imageservice.api.vocabulary import API_VERSION, IMAGE_SERVICE_CONDITIONS
from imageservice.releases import RELEASES

SECTION_NAME = r"^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"

ReleaseName = Annotated[str, Field(max_length=16), OneOf(tuple(RELEASES))]

REGISTRY = r"(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?)(:[0-9]{1,5})?"
REPOSITORY = r"[a-z0-9]+([-._]+[a-z0-9]+)*"

ContainerImage = Annotated[
    str,
    Field(min_length=1, max_length=512),
    Pattern(
        rf"^({REGISTRY}/)?{REPOSITORY}(/{REPOSITORY})*(:[A-Za-z0-9_][-A-Za-z0-9_.]{{0,127}})?(@sha256:[0-9a-f]{{64}})?$",
        "must be a container image, like registry.example/glance:2026.1 or registry.example/glance@sha256:...",
    ),
]

ExtraConfig = Annotated[
    dict[str, Options],
    Field(max_length=32),
    map_keys(SECTION_NAME, "each section must be up to 63 letters, digits, `-`, `_` and `.`"),
]


class ImagePullSecret(ApiModel):
    """A Secret of type kubernetes.io/dockerconfigjson in the same namespace."""

    name: Annotated[ObjectName, Field(description="Name of the Secret.", examples=["registry-login"])]


class DatabaseSecretReference(ApiModel):
    """A key of a Secret in the same namespace that holds the URL of the database."""

    name: Annotated[ObjectName, Field(description="Name of the Secret.", examples=["glance-db"])]
    key: Annotated[
        SecretKey,
        Field(description="Key of the Secret that holds the URL.", examples=["url"]),
        IN_SCHEMA,
    ] = "url"


class Database(ApiModel):
    """The database of Glance: made and backed up by others; its tables are made and upgraded by the operator."""

    secret_ref: Annotated[
        DatabaseSecretReference,
        Field(
            description="The Secret with the SQLAlchemy URL of the database, which starts with mysql+pymysql:// or "
            "postgresql+psycopg2://.",
            examples=[{"name": "glance-db", "key": "url"}],
        ),
    ]


class ImageServiceSpec(ApiModel):
    """What the user wants of a Glance."""

    rules: ClassVar[tuple[Cel, ...]] = CONVERSION_RULES

    release: Annotated[
        ReleaseName,
        Field(
            description="OpenStack release of Glance: 2025.1 is Glance 30, 2025.2 is 31, 2026.1 is 32, 2026.2 is 33. "
            "Going back to an older release than the database has is refused.",
            examples=["2026.1"],
        ),
    ]
    image: Annotated[
        ContainerImage | None,
        Field(
            description="Container image of Glance, of the same release.",
            examples=["registry.example/glance:2026.1"],
        ),
        unset("the image that the operator knows for the release"),
    ] = None
    image_pull_secrets: Annotated[
        list[ImagePullSecret],
        Field(
            max_length=16,
            description="Secrets in this namespace with which the nodes pull the image.",
            examples=[[{"name": "registry-login"}]],
        ),
        unset("none"),
        list_map("name"),
    ] = Field(default_factory=list)
    default_store: Annotated[
        ObjectName | None,
        Field(
            description="Name of the ImageStore that takes images for which the client names no store.",
            examples=["central"],
        ),
        unset("the one ImageStore that refers to this service; required where there is more than one"),
    ] = None
    api: Annotated[
        ApiServers,
        Field(description="The pods that serve the API.", examples=[{"replicas": 3}]),
        unset("the defaults of its fields"),
        IN_SCHEMA,
    ] = Field(default_factory=ApiServers)
    database: Annotated[
        Database,
        Field(description="The database of Glance.", examples=[{"secretRef": {"name": "glance-db"}}]),
    ]
    identity: Annotated[
        Identity,
        Field(
            description="Keystone: who checks tokens, and the entries in its catalogue.",
            examples=[
                {
                    "authURL": "https://keystone.example/v3",
                    "secretRef": {"name": "glance-service-user"},
                    "catalog": {"register": False},
                }
            ],
        ),
    ]
    formats: Annotated[
        Formats | None,
        Field(
            description="The formats that images may have.",
            examples=[{"disk": ["raw", "qcow2", "iso"], "container": ["bare"]}],
        ),
        unset("all that Glance knows"),
    ] = None
    imports: Annotated[
        Imports,
        Field(
            description="How images are imported, and what is done to them on the way.",
            examples=[{"conversion": {"outputFormat": "raw"}}],
        ),
        unset("the defaults of its fields"),
        IN_SCHEMA,
    ] = Field(default_factory=Imports)
    extra_config: Annotated[
        ExtraConfig,
        Field(
            description="More options of glance-api.conf: section, option, value. Options that Glance does not know "
            "and those that the operator sets itself are refused.",
            examples=[{"DEFAULT": {"image_size_cap": "1099511627776"}}],
        ),
        unset("none"),
    ] = Field(default_factory=dict)


class Endpoint(ApiModel):
    """One URL at which the service is reached."""

    interface: Annotated[
        Literal["Public", "Internal"],
        Field(description="Who the URL is for.", examples=["Public"]),
    ]
    url: Annotated[Url, Field(description="The URL.", examples=["https://image.example"])]


class ServedStore(ApiModel):
    """One ImageStore that refers to the service, as the service sees it."""

    name: Annotated[ObjectName, Field(description="Name of the ImageStore.", examples=["central"])]
    id: Annotated[StoreID, Field(description="Id of the store inside Glance.", examples=["central"])]
    type: Annotated[str, Field(min_length=1, max_length=63, description="Kind of store.", examples=["Filesystem"])]
    default: Annotated[bool, Field(description="Whether it is the default store.", examples=[True])]
    attached: Annotated[bool, Field(description="Whether the service is configured with it.", examples=[True])]
    ready: Annotated[bool, Field(description="Whether images can be kept in it.", examples=[True])]
    reason: Annotated[
        Annotated[str, Field(min_length=1, max_length=1024)] | None,
        Field(description="Why it is ready or not, as one CamelCase word.", examples=["Attached"]),
    ] = None


class Site(ApiModel):
    """The API pods of one place: the centre, or the edge of an ImageStore."""

    name: Annotated[
        ObjectName,
        Field(description="`central`, or the name of the ImageStore whose edge it is.", examples=["dcn0"]),
    ]
    edge: Annotated[bool, Field(description="Whether it is an edge.", examples=[True])]
    url: Annotated[
        Url,
        Field(
            description="Where it is reached inside the cluster.",
            examples=["http://glance-edge-dcn0.openstack.svc.cluster.local:9292"],
        ),
    ]
    replicas: Annotated[Annotated[Count, unit("pods")], Field(description="How many pods are wanted.", examples=[2])]
    ready_replicas: Annotated[
        Annotated[Count, unit("pods")], Field(description="How many pods serve the API.", examples=[2])
    ]
    ready: Annotated[bool, Field(description="Whether it serves as wanted.", examples=[True])]
    rolled_out: Annotated[bool, Field(description="Whether every pod runs the configuration of now.", examples=[True])]
    reason: Annotated[
        Annotated[str, Field(min_length=1, max_length=1024)],
        Field(description="Why it is ready or not, as one CamelCase word.", examples=["Available"]),
    ]
    message: Annotated[
        Annotated[str, Field(min_length=1, max_length=256)] | None,
        Field(description="Why it is not ready, in words.", examples=["1 of 2 replicas are ready."]),
    ] = None


class ImageServiceStatus(ApiModel):
    """What the operator observed about a Glance."""

    observed_generation: Annotated[
        Generation | None,
        Field(description="The `metadata.generation` that this status is about.", examples=[1]),
    ] = None
    conditions: Annotated[
        Conditions,
        Field(
            description="Accepted: the spec is valid. ResolvedRefs: all it refers to is there. DatabaseReady: the "
            "tables are those of the release. ConfigRendered: the configuration is written. IdentityReady: Keystone "
            "takes the service user. CatalogRegistered: the catalogue is right. ApiAvailable: enough pods serve. "
            "Ready: all of these. Reconciling and Stalled are there only while True.",
            examples=[[READY_EXAMPLE]],
        ),
    ] = Field(default_factory=list)
    release: Annotated[
        Annotated[str, Field(min_length=1, max_length=16)] | None,
        Field(description="OpenStack release that the pods run.", examples=["2026.1"]),
    ] = None
    image: Annotated[
        Annotated[str, Field(min_length=1, max_length=512)] | None,
        Field(description="Container image that the pods run.", examples=["imageservice.dev/glance:2026.1"]),
    ] = None
    replicas: Annotated[
        Annotated[Count, unit("pods")] | None,
        Field(description="How many pods there are.", examples=[2]),
    ] = None
    ready_replicas: Annotated[
        Annotated[Count, unit("pods")] | None,
        Field(description="How many pods serve the API.", examples=[2]),
    ] = None
    updated_replicas: Annotated[
        Annotated[Count, unit("pods")] | None,
        Field(description="How many pods run the spec of now.", examples=[2]),
    ] = None
    selector: Annotated[
        Annotated[str, Field(min_length=1, max_length=1024)] | None,
        Field(
            description="Label selector of the pods as text, for autoscalers.",
            examples=["app.kubernetes.io/name=glance,app.kubernetes.io/instance=glance"],
        ),
    ] = None
    endpoints: Annotated[
        list[Endpoint],
        Field(
            max_length=2,
            description="Where the service is reached.",
            examples=[[{"interface": "Public", "url": "https://image.example"}]],
        ),
        ATOMIC,
    ] = Field(default_factory=list)
    stores: Annotated[
        list[ServedStore],
        Field(
            max_length=MAX_STORES,
            description="The ImageStores that refer to this service.",
            examples=[
                [
                    {
                        "name": "central",
                        "id": "central",
                        "type": "Filesystem",
                        "default": True,
                        "attached": True,
                        "ready": True,
                        "reason": "Ready",
                    }
                ]
            ],
        ),
        ATOMIC,
    ] = Field(default_factory=list)
    sites: Annotated[
        list[Site],
        Field(
            max_length=MAX_STORES + 1,
            description="The places where the API is served: the centre, then the edges.",
            examples=[
                [
                    {
                        "name": "central",
                        "edge": False,
                        "url": "http://glance-api.openstack.svc.cluster.local:9292",
                        "replicas": 2,
                        "readyReplicas": 2,
                        "ready": True,
                        "rolledOut": True,
                        "reason": "Available",
                    }
                ]
            ],
        ),
        ATOMIC,
    ] = Field(default_factory=list)
    sites_ready: Annotated[
        Annotated[str, Field(pattern=r"^[0-9]+/[0-9]+$", max_length=16)] | None,
        Field(description="How many of the sites are ready, of how many.", examples=["3/3"]),
    ] = None


class ImageService(ApiModel):
    """One OpenStack Glance: its release, database, identity, API pods and default store."""

    resource: ClassVar[Resource] = Resource(
        kind="ImageService",
        plural="imageservices",
        singular="imageservice",
        short_names=("imgsvc",),
        categories=(CATEGORY,),
        columns=(
            Column(
                "Ready",
                "string",
                '.status.conditions[?(@.type=="Ready")].status',
                "Whether the service works as wanted.",
            ),
            Column("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason', "Why it is ready or not."),
            Column("Release", "string", ".status.release", "OpenStack release that the pods run."),
            Column("Ready Replicas", "integer", ".status.readyReplicas", "Pods that serve the API."),
            Column("Desired", "integer", ".spec.api.replicas", "Pods that are wanted."),
            Column("Sites", "string", ".status.sitesReady", "Sites that serve the API, of how many: centre and edges."),
            Column("Message", "string", '.status.conditions[?(@.type=="Ready")].message', "Why, in words.", priority=1),
            Column(
                "URL",
                "string",
                '.status.endpoints[?(@.interface=="Public")].url',
                "Where clients reach it.",
                priority=1,
            ),
            Column("Age", "date", ".metadata.creationTimestamp", "Time since the ImageService was made."),
        ),
        initial_status=initial_status(IMAGE_SERVICE_CONDITIONS),
        scale=Scale(".spec.api.replicas", ".status.replicas", ".status.selector"),
    )

    api_version: Literal["imageservice.dev/v1alpha1"] = API_VERSION
    kind: Literal["ImageService"] = "ImageService"
    metadata: ObjectMeta
    spec: Annotated[ImageServiceSpec, Field(description="What the service is to be.")]
    status: Annotated[ImageServiceStatus, Field(description="What the operator observed; written by it alone.")] = (
        Field(default_factory=ImageServiceStatus)
    )
