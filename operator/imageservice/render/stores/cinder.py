"""Options of a store in Cinder (driver `cinder`).

Attaching a volume takes root and the node's own iSCSI, multipath and NVMe programs: `deployment.py` gives both to the
pods that serve such a store, and to no others.
"""

from collections.abc import Mapping

from imageservice.render import ini
from imageservice.render.inputs import ApplicationCredential, StoreInputs
from imageservice.render.stores.members import cinder_of, keystone_credentials
from imageservice.render.stores.paths import conf_name
from imageservice.render.stores.values import ENDPOINT_TYPES, boolean

PRIVILEGES: Mapping[str, Mapping[str, str]] = {"privsep_osbrick": {"helper_command": "privsep-helper"}}
"""Section -> option -> value where such a store is served: the pod is root, so no sudo (the image has none)."""


def section(store: StoreInputs) -> dict[str, str]:
    """Return the options of the section that are not confidential."""
    cinder = cinder_of(store)
    return {
        "cinder_store_auth_address": cinder.auth_url,
        "cinder_catalog_info": f"volumev3::{ENDPOINT_TYPES[cinder.endpoint_type]}",
        **({"cinder_os_region_name": cinder.region} if cinder.region else {}),
        **({"cinder_volume_type": cinder.volume_type} if cinder.volume_type else {}),
        "cinder_use_multipath": boolean(cinder.multipath),
    }


def files(store: StoreInputs) -> dict[str, str]:
    """Return the file of options with the account."""
    return {conf_name(store.store_id): ini.render({store.store_id: _account(store)})}


def _account(store: StoreInputs) -> dict[str, str]:
    credentials = keystone_credentials(store)
    if isinstance(credentials, ApplicationCredential):
        return {
            "cinder_store_application_credential_id": credentials.id,
            "cinder_store_application_credential_secret": credentials.secret.reveal(),
        }
    return {
        "cinder_store_user_name": credentials.username,
        "cinder_store_password": credentials.password.reveal(),
        "cinder_store_project_name": credentials.project_name,
        "cinder_store_user_domain_name": credentials.user_domain_name,
        "cinder_store_project_domain_name": credentials.project_domain_name,
    }
