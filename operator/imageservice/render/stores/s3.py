"""Options of a store in S3 (driver `s3`)."""

from collections.abc import Mapping

from imageservice.render import ini
from imageservice.render.inputs import StoreInputs
from imageservice.render.stores.members import s3_credentials, s3_of
from imageservice.render.stores.paths import conf_name
from imageservice.render.stores.values import boolean

ENVIRONMENT: Mapping[str, str] = {
    "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
    "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
}
"""What the client library would add by itself, checksums of a newer kind, is not understood by all that speak S3.
From 2026.1 on the driver says so itself; before, only the environment can."""


def section(store: StoreInputs) -> dict[str, str]:
    """Return the options of the section that are not confidential."""
    s3 = s3_of(store)
    return {
        "s3_store_host": s3.endpoint_url,
        **({"s3_store_region_name": s3.region} if s3.region else {}),
        "s3_store_bucket": s3.bucket,
        "s3_store_create_bucket_on_put": boolean(s3.create_bucket),
        "s3_store_bucket_url_format": s3.addressing_style.lower(),
        "s3_store_large_object_size": str(s3.large_object_size),
        "s3_store_large_object_chunk_size": str(s3.large_object_chunk_size),
        "s3_store_thread_pools": str(s3.upload_threads),
    }


def files(store: StoreInputs) -> dict[str, str]:
    """Return the file of options with the access key."""
    credentials = s3_credentials(store)
    options = {
        "s3_store_access_key": credentials.access_key.reveal(),
        "s3_store_secret_key": credentials.secret_key.reveal(),
    }
    return {conf_name(store.store_id): ini.render({store.store_id: options})}
