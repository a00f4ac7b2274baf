"""A store of volumes of Cinder, OpenStack's block storage service."""

from typing import Annotated

from pydantic import Field

from imageservice.api.markers import IN_SCHEMA, unset
from imageservice.api.v1alpha1.common import ApiModel, Line, SecretReference, Url
from imageservice.api.v1alpha1.identity import CREDENTIAL_KEYS
from imageservice.api.v1alpha1.store_swift import EndpointType, Region


class CinderStore(ApiModel):
    """A store that keeps each image as a volume, which the pod attaches to its node (Glance: store type `cinder`)."""

    secret_ref: Annotated[
        SecretReference,
        Field(
            description="The Secret of the Keystone user whose project holds the volumes: "
            f"{CREDENTIAL_KEYS}. Application credentials need release 2026.1 or newer.",
            examples=[{"name": "glance-cinder-user"}],
        ),
    ]
    auth_url: Annotated[
        Url,
        Field(
            alias="authURL",
            description="URL of the Keystone that knows the user and the volume service, as the pods reach it (Glance "
            "option cinder_store_auth_address).",
            examples=["https://keystone.example/v3"],
        ),
    ]
    volume_type: Annotated[
        Annotated[str, Field(min_length=1, max_length=255), Line] | None,
        Field(
            description="Type of the volumes (Glance option cinder_volume_type). Where it is set, Glance asks Cinder "
            "for it at each start, and does not start while Keystone or Cinder is away.",
            examples=["images"],
        ),
        unset("Cinder's own default type"),
    ] = None
    region: Annotated[
        Region | None,
        Field(
            description="Region of the volume service in the catalogue (Glance option cinder_os_region_name).",
            examples=["RegionOne"],
        ),
        unset("the first that the catalogue has"),
    ] = None
    endpoint_type: Annotated[
        EndpointType,
        Field(
            description="Which endpoint of the volume service is used (Glance option cinder_catalog_info).",
            examples=["Internal"],
        ),
        IN_SCHEMA,
    ] = "Public"
    multipath: Annotated[
        bool,
        Field(
            description="Whether volumes are attached over several paths; multipathd must run on the nodes (Glance "
            "option cinder_use_multipath).",
            examples=[True],
        ),
        IN_SCHEMA,
    ] = False
