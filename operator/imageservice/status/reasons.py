"""Every reason that a condition or an Event can carry, and what it means for the object as a whole.

One table instead of branches: `Reconciling`, `Stalled`, `Ready` and the type of an Event all follow from the nature of
the reasons found. The names are API: a renamed reason is a breaking change.
"""

from enum import Enum


class Nature(Enum):
    """What a reason says about the way on."""

    GOOD = "good"  # as asked for
    PROGRESS = "progress"  # the operator or the cluster is at work; nobody has to do anything
    WAITING = "waiting"  # something that is referred to does not exist (yet); it is looked for again and again
    FAULT = "fault"  # something outside fails; tried again, mends itself when the cause goes
    BAD_INPUT = "bad input"  # only a change by the user mends it
    IDLE = "idle"  # asked to be so: neither good nor bad (scaled to zero)


REASONS: dict[str, Nature] = {
    # Accepted
    "Accepted": Nature.GOOD,
    "InvalidSpec": Nature.BAD_INPUT,
    "InvalidExtraConfig": Nature.BAD_INPUT,
    "ReservedStoreID": Nature.BAD_INPUT,
    "StoreIDConflict": Nature.BAD_INPUT,
    "StoreNotShared": Nature.BAD_INPUT,
    "DefaultStoreAmbiguous": Nature.BAD_INPUT,
    "DefaultStoreOfAnotherService": Nature.BAD_INPUT,
    "NameTaken": Nature.BAD_INPUT,
    "RefusedByAPIServer": Nature.BAD_INPUT,
    "ForbiddenByAPIServer": Nature.FAULT,
    # ResolvedRefs
    "ResolvedRefs": Nature.GOOD,
    "DefaultStoreNotFound": Nature.WAITING,
    "DefaultStoreNotUsable": Nature.WAITING,
    "NoStore": Nature.WAITING,
    "SecretNotFound": Nature.WAITING,
    "SecretKeyMissing": Nature.BAD_INPUT,
    "InvalidDatabaseURL": Nature.BAD_INPUT,
    "InvalidCredentials": Nature.BAD_INPUT,
    "ClaimNotFound": Nature.WAITING,
    "ConfigMapNotFound": Nature.WAITING,
    "ImageServiceNotFound": Nature.WAITING,
    # CredentialsValid (ImageStore)
    "CredentialsValid": Nature.GOOD,
    "InvalidCephCredentials": Nature.BAD_INPUT,
    "InvalidCephConfig": Nature.BAD_INPUT,
    "MonitorsMissing": Nature.BAD_INPUT,
    "ApplicationCredentialUnsupported": Nature.BAD_INPUT,
    # ConfigRendered
    "Rendered": Nature.GOOD,
    "InvalidValue": Nature.BAD_INPUT,
    # DatabaseReady
    "SchemaCurrent": Nature.GOOD,
    "SchemaUsable": Nature.GOOD,  # expanded and migrated; the contraction comes when the last old pod is gone
    "Preparing": Nature.PROGRESS,
    "WaitingForOtherMigration": Nature.PROGRESS,
    "DatabaseUnreachable": Nature.FAULT,
    "DatabaseAccessDenied": Nature.FAULT,
    "DatabaseMissing": Nature.FAULT,
    "DatabaseNewerThanRelease": Nature.BAD_INPUT,
    "DatabaseNotGlance": Nature.BAD_INPUT,
    "MigrationFailed": Nature.FAULT,
    # IdentityReady
    "Authenticated": Nature.GOOD,
    "KeystoneUnreachable": Nature.FAULT,
    "KeystoneRefused": Nature.FAULT,
    "CredentialsRefused": Nature.FAULT,
    "NotAuthorized": Nature.FAULT,
    "RoleMissing": Nature.FAULT,
    # CatalogRegistered
    "Registered": Nature.GOOD,
    "NotManaged": Nature.GOOD,
    "WaitingForAPI": Nature.PROGRESS,
    "EndpointConflict": Nature.BAD_INPUT,
    # ApiAvailable
    "Available": Nature.GOOD,
    "RollingOut": Nature.PROGRESS,
    "NotDeployed": Nature.PROGRESS,
    "ScaledToZero": Nature.IDLE,
    "ReplicasUnavailable": Nature.FAULT,
    "ImageNotPulled": Nature.FAULT,
    "PodCrashing": Nature.FAULT,
    "PodOutOfMemory": Nature.FAULT,
    "PodNotStarted": Nature.FAULT,
    "NoNodeMatches": Nature.FAULT,
    "PodNotScheduled": Nature.FAULT,
    "PodsRefused": Nature.FAULT,
    "ProgressDeadlineExceeded": Nature.BAD_INPUT,
    "DeploymentPaused": Nature.BAD_INPUT,
    # Attached (ImageStore)
    "Attached": Nature.GOOD,
    "Attaching": Nature.PROGRESS,
    "ImageServiceBlocked": Nature.WAITING,
    # Reachable (ImageStore): what the store monitor in the pods says
    "Reachable": Nature.GOOD,
    "NotProbed": Nature.GOOD,  # Unknown, and nothing is known to be wrong
    "Checking": Nature.PROGRESS,
    "MonitorsUnreachable": Nature.FAULT,
    "KeyringRefused": Nature.FAULT,
    "WrongCluster": Nature.BAD_INPUT,
    "PoolNotFound": Nature.FAULT,
    "StorageNotResponding": Nature.FAULT,
    "NotMounted": Nature.FAULT,
    "ReadOnly": Nature.FAULT,
    "DirectoryMissing": Nature.FAULT,
    "ProbeFailed": Nature.FAULT,
    # CachePolicy
    "Conflicted": Nature.BAD_INPUT,
    "TargetNotFound": Nature.WAITING,
    "TargetNotAnEdge": Nature.BAD_INPUT,
    "WaitingForImageService": Nature.PROGRESS,
    "Programmed": Nature.GOOD,
    "PodsNotReady": Nature.PROGRESS,
    "Effective": Nature.GOOD,
    "OnlyCephStores": Nature.IDLE,
    # ImagePrecache
    "NoCachePolicy": Nature.WAITING,
    "ImagesNotFound": Nature.WAITING,
    "NoImages": Nature.IDLE,
    "ImageLookupFailed": Nature.FAULT,
    "Cached": Nature.GOOD,
    "Fetching": Nature.PROGRESS,
    "FetchFailed": Nature.FAULT,
    "NodesUnavailable": Nature.FAULT,
    "Suspended": Nature.IDLE,
    "Paused": Nature.IDLE,
    "WindowClosed": Nature.IDLE,
    # DeletionBlocked (ImageStore)
    "HoldsImages": Nature.WAITING,
    "ImagesNotCounted": Nature.WAITING,
    # any condition
    "NotEvaluated": Nature.PROGRESS,
    "Deleting": Nature.PROGRESS,
    # Ready
    "Ready": Nature.GOOD,
    "Progressing": Nature.PROGRESS,
    # Events only
    "CatalogChanged": Nature.GOOD,
    "CatalogRemoved": Nature.GOOD,
    "CatalogEntriesLeft": Nature.FAULT,
}


def nature(reason: str) -> Nature:
    """Return what `reason` means. An unknown reason is a bug and raises KeyError, in tests first."""
    return REASONS[reason]
