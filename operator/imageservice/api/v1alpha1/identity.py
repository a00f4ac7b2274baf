"""Keystone: who checks tokens, and the service's entries in the catalogue."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from imageservice.api.markers import IN_SCHEMA, LIST_SET, Cel, Pattern, immutable, unset
from imageservice.api.v1alpha1.common import ApiModel, Line, SecretReference, Url

CREDENTIAL_KEYS = (
    "keys application_credential_id and application_credential_secret, or username, password, project_name and, where "
    "not Default, user_domain_name and project_domain_name"
)
"""What a Secret with a Keystone user holds, in the words of clouds.yaml."""

MemcachedServer = Annotated[
    str,
    Field(min_length=3, max_length=260),
    Pattern(
        r"^([A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?|inet6:\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$",
        "must be host:port, like memcached.example:11211, or inet6:[address]:port",
    ),
]


class Catalog(ApiModel):
    """The service and its endpoints in the catalogue of Keystone."""

    rules: ClassVar[tuple[Cel, ...]] = (
        Cel(
            "!self.register || has(self.secretRef)",
            "`secretRef` must be set where `register` is true: registering needs a user with the admin role",
            field_path=".secretRef",
            reason="FieldValueRequired",
            check=lambda catalog: not catalog.register or catalog.secret_ref is not None,
        ),
        Cel(
            "!self.register || has(self.publicURL)",
            "`publicURL` must be set where `register` is true: it is what clients outside the cluster are told",
            field_path=".publicURL",
            reason="FieldValueRequired",
            check=lambda catalog: not catalog.register or catalog.public_url is not None,
        ),
    )

    # Not `register`: pydantic warns about fields of a name that its metaclass has.
    register_: Annotated[
        bool,
        Field(
            alias="register",
            description="Whether the operator makes and repairs the service and its endpoints in the catalogue. "
            "Where false, it leaves the catalogue alone.",
            examples=[False],
        ),
        IN_SCHEMA,
    ] = True
    secret_ref: Annotated[
        SecretReference | None,
        Field(
            description=f"The Secret of a user who may change the catalogue (role admin): {CREDENTIAL_KEYS}.",
            examples=[{"name": "keystone-admin"}],
        ),
        unset("not set; required where `register` is true"),
    ] = None
    public_url: Annotated[
        Url | None,
        Field(
            alias="publicURL",
            description="The public endpoint: where clients outside the cluster reach the service.",
            examples=["https://image.example"],
        ),
        unset("not set; required where `register` is true"),
    ] = None
    internal_url: Annotated[
        Url | None,
        Field(
            alias="internalURL",
            description="The internal endpoint: where other OpenStack services reach the service.",
            examples=["http://glance-api.openstack.svc.cluster.local:9292"],
        ),
        unset("the URL of the Kubernetes Service"),
    ] = None
    deletion_policy: Annotated[
        Literal["Delete", "Retain"],
        Field(
            description="Whether the entries in the catalogue go or stay when the ImageService is deleted.",
            examples=["Retain"],
        ),
        IN_SCHEMA,
    ] = "Delete"

    @property
    def register(self) -> bool:
        """Whether the operator looks after the entries in the catalogue."""
        return self.register_


class Identity(ApiModel):
    """Keystone, which says who a request comes from. There is no mode without it."""

    auth_url: Annotated[
        Url,
        Field(
            alias="authURL",
            description="URL of Keystone, as the pods and the operator reach it.",
            examples=["https://keystone.example/v3"],
        ),
    ]
    region: Annotated[
        str,
        Field(
            min_length=1,
            max_length=255,
            description="Region of OpenStack that the service belongs to. Immutable: entries in the catalogue are "
            "found by it.",
            examples=["RegionOne"],
        ),
        Line,
        immutable("`region` must not change: make a new ImageService for the other region"),
        IN_SCHEMA,
    ] = "RegionOne"
    secret_ref: Annotated[
        SecretReference,
        Field(
            description=f"The Secret of Glance's own user (role service), who checks tokens: {CREDENTIAL_KEYS}.",
            examples=[{"name": "glance-service-user"}],
        ),
    ]
    memcached_servers: Annotated[
        list[MemcachedServer],
        Field(
            max_length=16,
            description="Memcached servers, as host:port, in which checked tokens are remembered.",
            examples=[["memcached-0.memcached:11211", "memcached-1.memcached:11211"]],
        ),
        unset("none; each process then remembers for itself"),
        LIST_SET,
    ] = Field(default_factory=list)
    catalog: Annotated[
        Catalog,
        Field(
            description="The service's entries in the catalogue of Keystone. "
            "Say `register: false` where others look after them.",
            examples=[{"secretRef": {"name": "keystone-admin"}, "publicURL": "https://image.example"}],
        ),
    ]
