"""Which ImageStores an ImageService serves, and what is wrong with the others. Pure: manifests in, verdicts out.

Both reconcilers ask here, so that the ImageService and each ImageStore always tell the same story.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from imageservice.api.reading import InvalidObject, read
from imageservice.api.v1alpha1 import (
    CREDENTIALS_VALID,
    MAX_STORES,
    READY,
    ImageServiceSpec,
    ImageStore,
    ImageStoreSpec,
)
from imageservice.api.vocabulary import ACCEPTED, RESOLVED_REFS
from imageservice.errors import Blocked
from imageservice.manifest import Manifest
from imageservice.reconcile.store_credentials import MEMBERS, Found
from imageservice.releases import Release
from imageservice.render.inputs import KeptFiles, StoreCredentials, StoreInputs
from imageservice.render.options import check_store_options, reserved_store_ids
from imageservice.status import conditions
from imageservice.status.imageservice import StoreState

SHARED_ACCESS_MODE = "ReadWriteMany"
FINALIZER = "imageservice.dev/image-data"
"""On a store while it may hold images (`leaving.py`)."""


@dataclass(frozen=True)
class StoreVerdict:
    """One ImageStore that refers to the service; `problem` is None where the service can serve it.

    `shared` tells whether pods on several nodes can have the store at once. `credentials` are those of its own Secret.
    """

    name: str
    store_id: str
    spec: ImageStoreSpec | None
    shared: bool = True
    problem: Blocked | None = None
    credentials: StoreCredentials | None = None

    @property
    def is_edge(self) -> bool:
        """Whether the store is an edge site."""
        return self.spec is not None and self.spec.edge is not None

    @property
    def inputs(self) -> StoreInputs:
        """What rendering needs of this store. Only for stores without a problem."""
        if self.spec is None:
            raise ValueError(f"ImageStore {self.name} has no readable spec")
        return StoreInputs(self.name, self.store_id, self.spec, self.credentials, shared=self.shared)


def referring(service_name: str, stores: Sequence[Manifest]) -> list[Manifest]:
    """Return the stores that refer to the service and are not gone, oldest first.

    One that is being deleted is served until our finalizer is off: until then it may hold images.
    """
    mine = [store for store in stores if service_of(store) == service_name and not _is_gone(store)]
    return sorted(mine, key=lambda store: (store["metadata"].get("creationTimestamp", ""), store["metadata"]["name"]))


def service_of(store: Manifest) -> str:
    """Return the name of the ImageService that the store refers to; empty where an old object has none."""
    return str((store.get("spec", {}).get("imageServiceRef") or {}).get("name", ""))


def store_id_of(store: Manifest) -> str:
    """Return the id that the store has inside Glance; of an odd old object as far as can be told."""
    return str(store.get("spec", {}).get("storeID") or store["metadata"]["name"])


def of_one_id(store_id: str, stores: Sequence[Manifest]) -> list[Manifest]:
    """Return those of the stores that want this id inside Glance: only these bear on each other's verdicts."""
    return [store for store in stores if store_id_of(store) == store_id]


def claim_name(store: Manifest) -> str | None:
    """Return the name of the PersistentVolumeClaim that the store wants mounted, if any."""
    volume = (store.get("spec", {}).get("filesystem") or {}).get("volume") or {}
    if volume.get("type") != "PersistentVolumeClaim":
        return None
    return (volume.get("persistentVolumeClaim") or {}).get("claimName")


def judge(
    stores: Sequence[Manifest],
    claims: Mapping[str, Manifest | None],
    release: Release | None,
    replicas: int,
    credentials: Mapping[str, Found] = MappingProxyType({}),
    *,
    kept: Mapping[str, KeptFiles] = MappingProxyType({}),
) -> list[StoreVerdict]:
    """Judge all stores of one service. `stores` comes from `referring`; `claims` holds every claim they name.

    `credentials` comes from `store_credentials.resolve_all`: a store of a type that has some is refused without them,
    unless there are files of an earlier day in `kept`, with which its pods go on.
    Of two stores with one id the oldest has it. A store that only one pod can have is refused while the service runs
    several replicas: each would see other images, or never start.
    """
    seen = _Seen(claims, release, replicas, credentials, kept)
    verdicts: list[StoreVerdict] = []
    taken: dict[str, str] = {}
    for manifest in stores:
        verdict = _judge_one(manifest, seen, taken)
        if verdict.problem is None or verdict.problem.condition != ACCEPTED:
            taken.setdefault(verdict.store_id, verdict.name)
        verdicts.append(verdict)
    return verdicts


@dataclass(frozen=True)
class _Seen:
    """What was read beside the stores: the arguments of `judge`."""

    claims: Mapping[str, Manifest | None]
    release: Release | None
    replicas: int
    credentials: Mapping[str, Found]
    kept: Mapping[str, KeptFiles]


def _judge_one(manifest: Manifest, seen: _Seen, taken: Mapping[str, str]) -> StoreVerdict:
    name = manifest["metadata"]["name"]
    found = read(ImageStore, manifest)
    if isinstance(found, InvalidObject):
        return StoreVerdict(name, "", None, problem=Blocked(ACCEPTED, "InvalidSpec", found.message))
    spec, store_id = found.spec, found.store_id
    shared, credentials = _shared(spec, seen.claims), seen.credentials.get(name)
    problem = (
        _id_problem(store_id, name, seen.release, taken)
        or _options_problem(StoreInputs(name, store_id, spec), seen.release)
        or _claim_problem(claim_name(manifest), seen.claims)
        or (_sharing_problem(seen.replicas) if not shared and seen.replicas > 1 else None)
        or (_edge_sharing_problem() if not shared and spec.edge is not None else None)
        or _credentials_problem(spec, credentials)
    )
    kept = seen.kept.get(name)
    if kept is not None and problem is not None and problem is credentials:
        return StoreVerdict(name, store_id, spec, shared, None, kept)
    usable = None if isinstance(credentials, Blocked) else credentials
    return StoreVerdict(name, store_id, spec, shared, problem, usable)


def _id_problem(store_id: str, name: str, release: Release | None, taken: Mapping[str, str]) -> Blocked | None:
    if release and store_id in reserved_store_ids(release):
        return Blocked(
            ACCEPTED,
            "ReservedStoreID",
            f"`{store_id}` cannot be the id of a store: Glance has configuration of that name. "
            "Delete this ImageStore and create it with another spec.storeID.",
        )
    if store_id in taken:
        return Blocked(
            ACCEPTED,
            "StoreIDConflict",
            f"The ImageStore `{taken[store_id]}` is older and has the id `{store_id}`. Delete this ImageStore and "
            "create it with another spec.storeID.",
        )
    return None


def _options_problem(store: StoreInputs, release: Release | None) -> Blocked | None:
    problems = check_store_options(release, store) if release else []
    return Blocked(ACCEPTED, "InvalidExtraConfig", " ".join(problems)) if problems else None


def _credentials_problem(spec: ImageStoreSpec, credentials: Found | None) -> Blocked | None:
    if isinstance(credentials, Blocked):
        return credentials
    if spec.type not in MEMBERS or credentials is not None:
        return None
    return Blocked(CREDENTIALS_VALID, "NotEvaluated", "The credentials of the store have not been read yet.")


def _claim_problem(claim: str | None, claims: Mapping[str, Manifest | None]) -> Blocked | None:
    if claim is None or claims.get(claim) is not None:
        return None
    return Blocked(
        RESOLVED_REFS, "ClaimNotFound", f"There is no PersistentVolumeClaim `{claim}` in this namespace. Create it."
    )


def _sharing_problem(replicas: int) -> Blocked:
    return Blocked(
        ACCEPTED,
        "StoreNotShared",
        f"{replicas} API replicas cannot share this store. Use a PersistentVolumeClaim with access mode "
        f"{SHARED_ACCESS_MODE} or NFS, or set spec.api.replicas of the ImageService to 1.",
    )


def _edge_sharing_problem() -> Blocked:
    return Blocked(
        ACCEPTED,
        "StoreNotShared",
        "The store of an edge is served at the edge and at the centre: use a PersistentVolumeClaim with access mode "
        f"{SHARED_ACCESS_MODE} or NFS, or take spec.edge out.",
    )


def _shared(spec: ImageStoreSpec, claims: Mapping[str, Manifest | None]) -> bool:
    volume = spec.filesystem.volume if spec.filesystem else None
    if volume is None or volume.type == "NFS":
        return True
    if volume.type == "EmptyDir" or volume.persistent_volume_claim is None:
        return False
    claim = claims.get(volume.persistent_volume_claim.claim_name)
    return claim is None or SHARED_ACCESS_MODE in claim.get("spec", {}).get("accessModes", [])


def is_held(store: Manifest) -> bool:
    """Tell whether our finalizer is on the store."""
    return FINALIZER in store["metadata"].get("finalizers", [])


def _is_gone(store: Manifest) -> bool:
    return bool(store["metadata"].get("deletionTimestamp")) and not is_held(store)


def choose_default(
    spec: ImageServiceSpec, service_name: str, stores: Sequence[Manifest], verdicts: Sequence[StoreVerdict]
) -> StoreVerdict:
    """Return the default store; raise Blocked where there is none that can be used.

    `stores` are all ImageStores of the namespace, `verdicts` those of this service.
    """
    if spec.default_store:
        return _named_default(spec.default_store, service_name, stores, verdicts)
    if not verdicts:
        raise Blocked(
            RESOLVED_REFS, "NoStore", f"No ImageStore has spec.imageServiceRef.name `{service_name}`. Create one."
        )
    central = [verdict for verdict in verdicts if not verdict.is_edge] or verdicts
    if len(central) > 1:
        names = ", ".join(f"`{verdict.name}`" for verdict in central[:5])
        raise Blocked(
            ACCEPTED, "DefaultStoreAmbiguous", f"Several stores refer to this service: {names}. Set spec.defaultStore."
        )
    return _usable(central[0])


def _named_default(
    name: str, service_name: str, stores: Sequence[Manifest], verdicts: Sequence[StoreVerdict]
) -> StoreVerdict:
    found = next((verdict for verdict in verdicts if verdict.name == name), None)
    if found:
        return _usable(found)
    other = next((store for store in stores if store["metadata"]["name"] == name and not _is_gone(store)), None)
    if other is not None:
        raise Blocked(
            ACCEPTED,
            "DefaultStoreOfAnotherService",
            f"The ImageStore `{name}` in spec.defaultStore refers to the ImageService `{service_of(other)}`, not to "
            f"`{service_name}`. Name a store of this service.",
        )
    raise Blocked(
        RESOLVED_REFS, "DefaultStoreNotFound", f"There is no ImageStore `{name}` (spec.defaultStore). Create it."
    )


def _usable(verdict: StoreVerdict) -> StoreVerdict:
    if verdict.problem is None:
        return verdict
    raise Blocked(
        RESOLVED_REFS,
        "DefaultStoreNotUsable",
        f"The default store `{verdict.name}` cannot be used: {verdict.problem.reason}: {verdict.problem.message}",
    )


def rows(
    live: Manifest,
    verdicts: Sequence[StoreVerdict],
    default: str | None,
    rolled_out: Collection[str | None],
    stores: Sequence[Manifest],
) -> list[StoreState]:
    """Return one row for each store of the ImageService `live`.

    `rolled_out` are the sites (edges; None: the centre) where all pods have the configuration of this very pass. A
    store is attached where no pod that should serve it runs an older one; once it is, it stays so in later roll-outs,
    and while nothing can be rolled out, as it stays mounted.
    """
    before = {row["name"] for row in live.get("status", {}).get("stores", []) if row.get("attached")}
    ready = {store["metadata"]["name"]: _readiness(store) for store in stores}
    found = []
    for verdict in verdicts[:MAX_STORES]:
        if verdict.spec is None:
            continue  # it has no id to be listed by; its own status tells why
        served = None in rolled_out and (not verdict.is_edge or verdict.name in rolled_out)
        attached = verdict.problem is None and (served or verdict.name in before)
        is_ready, reason = ready.get(verdict.name, (False, ""))
        found.append(
            StoreState(
                name=verdict.name,
                id=verdict.store_id,
                type=verdict.spec.type,
                default=verdict.name == default,
                attached=attached,
                ready=attached and is_ready,
                reason=verdict.problem.reason if verdict.problem else reason if attached else "Attaching",
            )
        )
    return found


def _readiness(store: Manifest) -> tuple[bool, str]:
    """Return whether a store says that it is ready, and its reason where it is not."""
    ready = conditions.told(store.get("status", {}), READY)
    is_ready = ready.get("status") == "True"
    return is_ready, "" if is_ready else str(ready.get("reason", ""))
