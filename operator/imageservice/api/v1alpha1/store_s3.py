"""A store in a bucket of Amazon S3 or of anything that speaks its protocol, like Ceph's object gateway."""

from typing import Annotated, Literal

from pydantic import Field

from imageservice.api.markers import IN_SCHEMA, Pattern, schema_format, unit, unset
from imageservice.api.v1alpha1.common import ApiModel, SecretReference, Url


class S3Store(ApiModel):
    """A store that keeps each image as an object of a bucket (Glance: store type `s3`)."""

    secret_ref: Annotated[
        SecretReference,
        Field(
            description="The Secret with the access key: keys access_key and secret_key, or AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY as the object bucket claims of Rook have them.",
            examples=[{"name": "images-bucket"}],
        ),
    ]
    endpoint_url: Annotated[
        Url,
        Field(
            alias="endpointURL",
            description="URL of the object storage, as the pods reach it (Glance option s3_store_host).",
            examples=["https://s3.example"],
        ),
    ]
    region: Annotated[
        Annotated[
            str,
            Field(min_length=1, max_length=63),
            Pattern(r"^[A-Za-z0-9]([-A-Za-z0-9_]*[A-Za-z0-9])?$", "must be a region like eu-central-1"),
        ]
        | None,
        Field(
            description="Region of the bucket (Glance option s3_store_region_name).",
            examples=["eu-central-1"],
        ),
        unset("the one in the host name of Amazon, else none"),
    ] = None
    bucket: Annotated[
        str,
        Field(
            min_length=3,
            max_length=63,
            description="Bucket that holds the images (Glance option s3_store_bucket).",
            examples=["glance-images"],
        ),
        Pattern(
            r"^[A-Za-z0-9][-A-Za-z0-9._]*[A-Za-z0-9]$",
            "must be the name of a bucket: letters, digits, `-`, `_` and `.`, with a letter or digit at both ends",
        ),
    ]
    create_bucket: Annotated[
        bool,
        Field(
            description="Whether Glance makes the bucket with the first image where it is missing (Glance option "
            "s3_store_create_bucket_on_put).",
            examples=[True],
        ),
        IN_SCHEMA,
    ] = False
    addressing_style: Annotated[
        Literal["Auto", "Path", "Virtual"],
        Field(
            description="Where the bucket stands in the URL: Path is https://s3.example/bucket, Virtual is "
            "https://bucket.s3.example, Auto lets the client library choose (Glance option "
            "s3_store_bucket_url_format).",
            examples=["Path"],
        ),
        IN_SCHEMA,
    ] = "Auto"
    large_object_size: Annotated[
        int,
        Field(
            ge=1,
            le=5120,
            description="Images larger than this are uploaded in parts (Glance option s3_store_large_object_size).",
            examples=[100],
        ),
        schema_format("int32"),
        unit("MiB"),
        IN_SCHEMA,
    ] = 100
    large_object_chunk_size: Annotated[
        int,
        Field(
            ge=5,
            le=5120,
            description="Size of one part. S3 takes 10000 parts, so that the largest image is 10000 times this size "
            "(Glance option s3_store_large_object_chunk_size).",
            examples=[10],
        ),
        schema_format("int32"),
        unit("MiB"),
        IN_SCHEMA,
    ] = 10
    upload_threads: Annotated[
        int,
        Field(
            ge=1,
            le=64,
            description="How many parts of one image are uploaded at the same time; each is held in memory (Glance "
            "option s3_store_thread_pools).",
            examples=[10],
        ),
        schema_format("int32"),
        unit("threads"),
        IN_SCHEMA,
    ] = 10
