"""The words and limits of the API that everybody uses. No models: the operator watches before it has read those."""

from typing import Final

GROUP: Final = "imageservice.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = "imageservice.dev/v1alpha1"

MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "image-service-operator"
"""On every child, and by it the watches find it."""

ACCEPTED = "Accepted"
RESOLVED_REFS = "ResolvedRefs"
DATABASE_READY = "DatabaseReady"
CONFIG_RENDERED = "ConfigRendered"
IDENTITY_READY = "IdentityReady"
CATALOG_REGISTERED = "CatalogRegistered"
API_AVAILABLE = "ApiAvailable"
CREDENTIALS_VALID = "CredentialsValid"
ATTACHED = "Attached"
REACHABLE = "Reachable"
PROGRAMMED = "Programmed"
EFFECTIVE = "Effective"
READY = "Ready"
RECONCILING = "Reconciling"
STALLED = "Stalled"
DELETION_BLOCKED = "DeletionBlocked"
CONFLICTED = "Conflicted"

IMAGE_SERVICE_CONDITIONS = (
    ACCEPTED,
    RESOLVED_REFS,
    DATABASE_READY,
    CONFIG_RENDERED,
    IDENTITY_READY,
    CATALOG_REGISTERED,
    API_AVAILABLE,
    READY,
)
"""The conditions that every ImageService has, from its first moment."""

IMAGE_STORE_CONDITIONS = (ACCEPTED, RESOLVED_REFS, CREDENTIALS_VALID, ATTACHED, REACHABLE, READY)
"""The conditions that every ImageStore has, from its first moment."""

CACHE_POLICY_CONDITIONS = (ACCEPTED, RESOLVED_REFS, PROGRAMMED, EFFECTIVE, READY)
"""The conditions that every CachePolicy has, from its first moment."""

IMAGE_PRECACHE_CONDITIONS = (ACCEPTED, RESOLVED_REFS, READY)
"""The conditions that every ImagePrecache has, from its first moment."""

CONDITIONS_ONLY_WHEN_TRUE = (RECONCILING, STALLED, DELETION_BLOCKED, CONFLICTED)
"""The conditions that are there only while True (kstatus: abnormal-true conditions)."""

MOST_COUNTED = 2**31 - 1
MOST_BYTES = 2**53 - 1
"""The largest numbers that a status can hold: whoever reads it as JSON may keep numbers as floats."""
