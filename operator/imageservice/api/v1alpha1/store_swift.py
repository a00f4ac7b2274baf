"""A store in a container of Swift, or of Ceph's object gateway where it speaks Swift's protocol."""

from typing import Annotated, Literal

from pydantic import Field

from imageservice.api.markers import IN_SCHEMA, Pattern, schema_format, unit, unset
from imageservice.api.v1alpha1.common import ApiModel, Line, SecretReference, Url
from imageservice.api.v1alpha1.identity import CREDENTIAL_KEYS

EndpointType = Literal["Public", "Internal", "Admin"]
"""Which endpoint of a service in the catalogue of Keystone."""

Region = Annotated[str, Field(min_length=1, max_length=255), Line]


class SwiftStore(ApiModel):
    """A store that keeps each image as an object of a container (Glance: store type `swift`)."""

    secret_ref: Annotated[
        SecretReference,
        Field(
            description="The Secret of the Keystone user whose account holds the images: "
            f"{CREDENTIAL_KEYS}. Application credentials need release 2026.1 or newer.",
            examples=[{"name": "glance-swift-user"}],
        ),
    ]
    auth_url: Annotated[
        Url,
        Field(
            alias="authURL",
            description="URL of the Keystone that knows the user and the object store, as the pods reach it.",
            examples=["https://keystone.example/v3"],
        ),
    ]
    container: Annotated[
        str,
        Field(
            min_length=1,
            max_length=128,
            description="Container that holds the images (Glance option swift_store_container).",
            examples=["glance"],
        ),
        Pattern(r"^[A-Za-z0-9_][-A-Za-z0-9_.]*$", "must be the name of a container: letters, digits, `-`, `_` and `.`"),
        IN_SCHEMA,
    ] = "glance"
    create_container: Annotated[
        bool,
        Field(
            description="Whether Glance makes the container with the first image where it is missing (Glance option "
            "swift_store_create_container_on_put).",
            examples=[True],
        ),
        IN_SCHEMA,
    ] = False
    region: Annotated[
        Region | None,
        Field(
            description="Region of the object store in the catalogue (Glance option swift_store_region).",
            examples=["RegionOne"],
        ),
        unset("the first that the catalogue has"),
    ] = None
    endpoint_type: Annotated[
        EndpointType,
        Field(
            description="Which endpoint of the object store is used (Glance option swift_store_endpoint_type).",
            examples=["Internal"],
        ),
        IN_SCHEMA,
    ] = "Public"
    large_object_size: Annotated[
        int,
        Field(
            ge=1,
            le=5120,
            description="Images larger than this are stored in segments; not more than Swift takes as one object "
            "(Glance option swift_store_large_object_size).",
            examples=[5120],
        ),
        schema_format("int32"),
        unit("MiB"),
        IN_SCHEMA,
    ] = 5120
    large_object_chunk_size: Annotated[
        int,
        Field(
            ge=1,
            le=5120,
            description="Size of one segment (Glance option swift_store_large_object_chunk_size).",
            examples=[200],
        ),
        schema_format("int32"),
        unit("MiB"),
        IN_SCHEMA,
    ] = 200
