"""The name of each type's driver in Glance, and which options of its section are rendered from fields."""

from collections.abc import Mapping

DRIVERS: Mapping[str, str] = {"Filesystem": "file", "Ceph": "rbd", "S3": "s3", "Swift": "swift", "Cinder": "cinder"}
"""Type of an ImageStore -> name of Glance's driver for it in `enabled_backends`."""

_EVERY_STORE = {
    "store_description": "it comes from spec.description of the ImageStore",
    "weight": "it comes from spec.defaultStore",
}
_VOLUME = "it comes from spec.filesystem.volume of the ImageStore"
_CHECKED = "the certificate of the identity service is always checked"


def _from(field: str) -> str:
    return f"it comes from {field} of the ImageStore"


def _secret_of(member: str) -> str:
    return f"it comes from the Secret that spec.{member}.secretRef of the ImageStore names"


OWNED_IN_STORES: Mapping[str, Mapping[str, str]] = {
    "file": {
        **_EVERY_STORE,
        "filesystem_store_datadir": _VOLUME,
        "filesystem_store_datadirs": _VOLUME,
        "filesystem_store_metadata_file": "locations are not shown to clients",
        "filesystem_thin_provisioning": _from("spec.filesystem.sparseUpload"),
    },
    "rbd": {
        **_EVERY_STORE,
        "rados_connect_timeout": _from("spec.ceph.connectTimeoutSeconds"),
        "rbd_store_ceph_conf": "it is made of spec.ceph of the ImageStore",
        "rbd_store_chunk_size": _from("spec.ceph.chunkSize"),
        "rbd_store_pool": _from("spec.ceph.pool"),
        "rbd_store_user": _from("spec.ceph.user"),
        "rbd_thin_provisioning": _from("spec.ceph.sparseUpload"),
    },
    "s3": {
        **_EVERY_STORE,
        "s3_store_access_key": _secret_of("s3"),
        "s3_store_bucket": _from("spec.s3.bucket"),
        "s3_store_bucket_url_format": _from("spec.s3.addressingStyle"),
        "s3_store_create_bucket_on_put": _from("spec.s3.createBucket"),
        "s3_store_host": _from("spec.s3.endpointURL"),
        "s3_store_large_object_chunk_size": _from("spec.s3.largeObjectChunkSize"),
        "s3_store_large_object_size": _from("spec.s3.largeObjectSize"),
        "s3_store_region_name": _from("spec.s3.region"),
        "s3_store_secret_key": _secret_of("s3"),
        "s3_store_thread_pools": _from("spec.s3.uploadThreads"),
    },
    "swift": {
        **_EVERY_STORE,
        **dict.fromkeys(
            (
                *("swift_store_user", "swift_store_key", "swift_store_project_id", "swift_store_project_name"),
                *("swift_store_application_credential_id", "swift_store_application_credential_secret"),
            ),
            _secret_of("swift"),
        ),
        "default_swift_reference": "the account is called like the store",
        "swift_store_auth_address": _from("spec.swift.authURL"),
        "swift_store_auth_insecure": _CHECKED,
        "swift_store_auth_version": "it is always 3",
        "swift_store_config_file": "it is made of the Secret that spec.swift.secretRef of the ImageStore names",
        "swift_store_container": _from("spec.swift.container"),
        "swift_store_create_container_on_put": _from("spec.swift.createContainer"),
        "swift_store_endpoint_type": _from("spec.swift.endpointType"),
        "swift_store_large_object_chunk_size": _from("spec.swift.largeObjectChunkSize"),
        "swift_store_large_object_size": _from("spec.swift.largeObjectSize"),
        "swift_store_multi_tenant": "all images are in the account that the Secret names",
        "swift_store_region": _from("spec.swift.region"),
    },
    "cinder": {
        **_EVERY_STORE,
        **dict.fromkeys(
            (
                *("cinder_store_user_name", "cinder_store_user_domain_name", "cinder_store_password"),
                *("cinder_store_project_name", "cinder_store_project_domain_name"),
                *("cinder_store_application_credential_id", "cinder_store_application_credential_secret"),
            ),
            _secret_of("cinder"),
        ),
        "cinder_api_insecure": _CHECKED,
        "cinder_catalog_info": _from("spec.cinder.endpointType"),
        "cinder_endpoint_template": "the volume service is found in the catalogue of Keystone",
        "cinder_os_region_name": _from("spec.cinder.region"),
        "cinder_store_auth_address": _from("spec.cinder.authURL"),
        "cinder_use_multipath": _from("spec.cinder.multipath"),
        "cinder_volume_type": _from("spec.cinder.volumeType"),
        "rootwrap_config": "the pods that serve such a store are root already",
    },
}
"""Driver -> option of its section -> why it is not for extraConfig, with the field to use where there is one."""
