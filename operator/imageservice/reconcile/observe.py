"""Read what an ImageService depends on, live: its stores, the claims of both, and the Secrets that it names."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from imageservice.api.v1alpha1 import ImageServiceSpec
from imageservice.api.vocabulary import ACCEPTED
from imageservice.errors import Blocked
from imageservice.manifest import Manifest
from imageservice.reconcile import resolve, store_credentials, stores
from imageservice.reconcile.children import is_controlled_by
from imageservice.reconcile.staging import staging_is_shared
from imageservice.reconcile.store_credentials import Found
from imageservice.reconcile.stores import StoreVerdict, store_id_of
from imageservice.reconcile.together import together
from imageservice.releases import RELEASES, Release
from imageservice.render.imports import staging_claim
from imageservice.render.inputs import Credentials, ImageServiceInputs, KeptFiles
from imageservice.render.names import store_secret_name
from imageservice.render.options import check_extra_config
from imageservice.runtime.cached import CachedKube
from imageservice.runtime.kinds import CONFIG_MAP, IMAGE_STORE, PERSISTENT_VOLUME_CLAIM, SECRET, Kind
from imageservice.runtime.settings import Settings
from imageservice.sensitive import Sensitive


@dataclass(frozen=True)
class World:
    """All that was read for one reconcile of one ImageService. A Secret or claim that does not exist is None."""

    stores: list[Manifest]
    verdicts: list[StoreVerdict]
    secrets: dict[str, Manifest | None]
    claims: dict[str, Manifest | None] = field(default_factory=dict)

    @property
    def confidential(self) -> list[Sensitive]:
        """Every confidential value that was read, to be masked wherever text of a pod is repeated."""
        of_stores = (store_credentials.confidential(verdict.credentials) for verdict in self.verdicts)
        return [*secret_values(self.secrets), *(value for values in of_stores for value in values)]

    @property
    def edges(self) -> set[str]:
        """The names of the stores that have an edge, or may have one."""
        return {verdict.name for verdict in self.verdicts if verdict.is_edge or verdict.spec is None}


async def observe(kube: CachedKube, live: Manifest, spec: ImageServiceSpec, release: Release) -> World:
    """Read the stores of the namespace, the claims of those that refer to this service and its own, and its Secrets."""
    namespace, name = live["metadata"]["namespace"], live["metadata"]["name"]
    found, secrets = await together(kube.list(IMAGE_STORE, namespace), _read_all(kube, namespace, secret_names(spec)))
    mine = stores.referring(name, found)
    claims, credentials = await together(
        read_claims(kube, namespace, mine, staging_claim(spec)), read_credentials(kube, namespace, mine, release)
    )
    kept = await _read_kept(kube, live, mine, credentials)
    verdicts = stores.judge(mine, claims, release, spec.api.replicas, credentials, kept=kept)
    return World(found, verdicts, secrets, claims)


async def read_claims(
    kube: CachedKube, namespace: str, manifests: Iterable[Manifest], staging: str | None = None
) -> dict[str, Manifest | None]:
    """Read every PersistentVolumeClaim that the stores name, and that of staging; None for one that does not exist."""
    names = claim_names(manifests, staging)
    found = await together(*(kube.get(PERSISTENT_VOLUME_CLAIM, namespace, name) for name in names))
    return dict(zip(names, found, strict=True))


def claim_names(manifests: Iterable[Manifest], staging: str | None) -> list[str]:
    """Return the names of the PersistentVolumeClaims of these stores and of staging, each once."""
    return sorted({name for name in (staging, *map(stores.claim_name, manifests)) if name})


def secret_names(spec: ImageServiceSpec) -> list[str]:
    """Return the names of all Secrets that the spec refers to, each once."""
    names = {spec.database.secret_ref.name, spec.identity.secret_ref.name}
    catalog = spec.identity.catalog
    if catalog and catalog.secret_ref:
        names.add(catalog.secret_ref.name)
    return sorted(names)


async def read_credentials(
    kube: CachedKube, namespace: str, mine: Sequence[Manifest], release: Release | None
) -> dict[str, Found]:
    """Read the Secrets and ConfigMaps of stores; return name -> credentials, or what is wrong with them."""
    referred = [store_credentials.references(store) for store in mine]
    secrets, config_maps = await together(
        _read_all(kube, namespace, sorted({found.secret for found in referred if found.secret})),
        _read_all(kube, namespace, sorted({found.config_map for found in referred if found.config_map}), CONFIG_MAP),
    )
    return store_credentials.resolve_all(mine, secrets, config_maps, release)


async def _read_kept(
    kube: CachedKube, live: Manifest, mine: Sequence[Manifest], credentials: Mapping[str, Found]
) -> dict[str, KeptFiles]:
    """Return, of stores whose credentials are unusable now, the files that their pods have from before."""
    metadata = live["metadata"]
    unusable = [store for store in mine if isinstance(credentials.get(store["metadata"]["name"]), Blocked)]
    found = {}
    for store in unusable:
        name = store_secret_name(metadata["name"], store_id_of(store))
        secret = await kube.get(SECRET, metadata["namespace"], name)
        if secret is not None and is_controlled_by(secret, live):
            found[store["metadata"]["name"]] = store_credentials.kept_files(secret)
    return found


async def _read_all(
    kube: CachedKube, namespace: str, names: list[str], kind: Kind = SECRET
) -> dict[str, Manifest | None]:
    found = await together(*(kube.get(kind, namespace, name) for name in names))
    return dict(zip(names, found, strict=True))


def accept(spec: ImageServiceSpec, release: Release, verdicts: list[StoreVerdict]) -> None:
    """Raise Blocked where the spec asks for what cannot be, whatever it refers to."""
    serving = [verdict.inputs for verdict in verdicts if verdict.problem is None]
    problems = check_extra_config(release, spec.extra_config, serving)
    if problems:
        raise Blocked(ACCEPTED, "InvalidExtraConfig", " ".join(problems))


def resolve_inputs(live: Manifest, spec: ImageServiceSpec, world: World, settings: Settings) -> ImageServiceInputs:
    """Return what rendering needs, from what was read. Raise Blocked where a reference leads nowhere. Pure."""
    metadata = live["metadata"]
    default = stores.choose_default(spec, metadata["name"], world.stores, world.verdicts)
    staging = staging_is_shared(spec, world.stores, world.claims)
    others = sorted(
        (verdict for verdict in world.verdicts if verdict.problem is None and verdict.name != default.name),
        key=lambda verdict: verdict.store_id,
    )
    serving = [default, *others]
    database, identity = spec.database.secret_ref, spec.identity.secret_ref
    return ImageServiceInputs(
        name=metadata["name"],
        namespace=metadata["namespace"],
        uid=metadata["uid"],
        spec=spec,
        release=RELEASES[spec.release],
        image=spec.image or settings.glance_image(spec.release),
        database_url=resolve.database_url(database, world.secrets.get(database.name)),
        credentials=resolve.credentials(identity.name, world.secrets.get(identity.name), "spec.identity.secretRef"),
        stores=tuple(verdict.inputs for verdict in serving),
        default_store_id=default.store_id,
        cluster_domain=settings.cluster_domain,
        staging_is_shared=staging,
    )


def catalog_credentials(spec: ImageServiceSpec, secrets: dict[str, Manifest | None]) -> Credentials | None:
    """Return the credentials for the service catalogue; None where the catalogue is not ours to keep."""
    catalog = spec.identity.catalog
    if catalog is None or not catalog.register or catalog.secret_ref is None:
        return None
    name = catalog.secret_ref.name
    return resolve.credentials(name, secrets.get(name), "spec.identity.catalog.secretRef")


def secret_values(secrets: dict[str, Manifest | None]) -> list[Sensitive]:
    """Return every confidential value of the Secrets, to be masked wherever text of a pod is repeated."""
    return [value for secret in secrets.values() for value in resolve.confidential(secret)]
