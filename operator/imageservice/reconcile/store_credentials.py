"""A store's own Secret and ConfigMap -> typed credentials. Pure: what was read goes in, values or Blocked come out.

Whoever made a Secret, its shape is told by its keys. What does not exist is told by the condition ResolvedRefs, what is
in it by CredentialsValid; no message ever repeats a value.
"""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from imageservice.api.reading import InvalidObject, read
from imageservice.api.v1alpha1 import CREDENTIALS_VALID, ImageStore, ImageStoreSpec
from imageservice.errors import Blocked
from imageservice.manifest import Manifest
from imageservice.reconcile import resolve
from imageservice.reconcile.ceph_credentials import ceph_credentials
from imageservice.reconcile.store_sources import Source
from imageservice.releases import Release
from imageservice.render import ini
from imageservice.render.inputs import (
    ApplicationCredential,
    CephCredentials,
    Credentials,
    KeptFiles,
    S3Credentials,
    StoreCredentials,
)
from imageservice.render.options import store_options
from imageservice.render.stores import swift
from imageservice.render.stores.drivers import DRIVERS
from imageservice.sensitive import Sensitive

S3_KEYS = (("access_key", "secret_key"), ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))
MEMBERS = {"Ceph": "ceph", "S3": "s3", "Swift": "swift", "Cinder": "cinder"}
"""Type of a store with credentials -> the member of its spec that refers to them."""
_CONFIDENTIAL_OPTIONS = ("key", "secret", "password")
"""How the names of confidential options end, in every file that is written for a store."""

Found = StoreCredentials | Blocked


@dataclass(frozen=True)
class References:
    """The objects that a store's credentials are in, by name; None where it refers to none."""

    secret: str | None = None
    config_map: str | None = None


def references(store: Manifest) -> References:
    """Return which Secret and ConfigMap an ImageStore refers to; of an odd old object as far as can be told."""
    spec = store.get("spec") or {}
    member = spec.get(MEMBERS.get(spec.get("type", ""), "")) or {}
    return References(
        secret=(member.get("secretRef") or {}).get("name"), config_map=(member.get("configMapRef") or {}).get("name")
    )


def resolve_all(
    stores: Sequence[Manifest],
    secrets: Mapping[str, Manifest | None],
    config_maps: Mapping[str, Manifest | None],
    release: Release | None,
) -> dict[str, Found]:
    """Return name -> credentials, or what is wrong with them, of every readable store that has some.

    `secrets` and `config_maps` hold all that the stores refer to, None for what does not exist. `release` is None where
    the service is not known.
    """
    found: dict[str, Found] = {}
    for manifest in stores:
        store = read(ImageStore, manifest)
        if isinstance(store, InvalidObject) or store.spec.type not in MEMBERS:
            continue
        names = references(manifest)
        secret, config_map = secrets.get(names.secret or ""), config_maps.get(names.config_map or "")
        try:
            found[store.metadata.name] = resolve_one(store.store_id, store.spec, secret, config_map, release)
        except Blocked as problem:
            found[store.metadata.name] = problem
    return found


def resolve_one(
    store_id: str, spec: ImageStoreSpec, secret: Manifest | None, config_map: Manifest | None, release: Release | None
) -> StoreCredentials:
    """Return the credentials of one store of a type that has some; raise Blocked where they are missing or wrong."""
    if spec.ceph is not None:
        return ceph_credentials(store_id, spec.ceph, secret, config_map)
    if spec.s3 is not None:
        return _s3(spec.s3.secret_ref.name, secret)
    account = spec.swift or spec.cinder
    if account is None:
        raise ValueError(f"a store of type {spec.type} has no credentials")
    found = _keystone(account.secret_ref.name, secret, f"spec.{MEMBERS[spec.type]}.secretRef")
    _check_release(spec.type, found, release, account.secret_ref.name)
    if spec.type == "Swift":
        _check_swift_names(found, account.secret_ref.name)
    return found


def _s3(name: str, secret: Manifest | None) -> S3Credentials:
    source = Source.of_secret(name, secret, "spec.s3.secretRef")
    pair = next((keys for keys in S3_KEYS if any(key in source.data for key in keys)), None)
    if pair is None:
        raise source.blocked(
            "SecretKeyMissing",
            "has neither `access_key` and `secret_key` nor `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`. Add them.",
        )
    access_key, secret_key = (Sensitive(source.line(key)) for key in pair)
    return S3Credentials(access_key, secret_key)


def _keystone(name: str, secret: Manifest | None, field: str) -> Credentials:
    """Return a Keystone user, as `resolve.credentials`; a wrong content is a matter of CredentialsValid here."""
    try:
        return resolve.credentials(name, secret, field)
    except Blocked as problem:
        if problem.reason == "SecretNotFound":
            raise
        raise Blocked(CREDENTIALS_VALID, problem.reason, problem.message) from None


def _check_release(kind: str, found: Credentials, release: Release | None, name: str) -> None:
    if release is None or not isinstance(found, ApplicationCredential):
        return
    driver = DRIVERS[kind]
    if f"{driver}_store_application_credential_id" not in store_options(release, driver):
        raise Blocked(
            CREDENTIALS_VALID,
            "ApplicationCredentialUnsupported",
            f"{kind} stores of Glance {release.name} cannot use the application credential in the Secret `{name}`. "
            "Give username, password and project_name, or a newer release to the ImageService.",
        )


def _check_swift_names(found: Credentials, name: str) -> None:
    """The driver has one option for project and user, parted by a colon."""
    if isinstance(found, ApplicationCredential):
        return
    for key, value in (("username", found.username), ("project_name", found.project_name)):
        if ":" in value:
            raise Blocked(
                CREDENTIALS_VALID,
                "InvalidCredentials",
                f"The key `{key}` of the Secret `{name}` (spec.swift.secretRef) has a colon, which Glance's driver for "
                "Swift cannot take. Use another user or project.",
            )


def kept_files(secret: Manifest) -> KeptFiles:
    """Return what is in the Secret that was made of a store's credentials on an earlier day."""
    data = secret.get("data") or {}
    return KeptFiles(tuple((name, Sensitive(base64.b64decode(text).decode())) for name, text in sorted(data.items())))


def confidential(credentials: StoreCredentials | None) -> list[Sensitive]:
    """Return what of the credentials must be masked wherever text of others is repeated."""
    if credentials is None:
        return []
    if isinstance(credentials, KeptFiles):
        values = {value for _, text in credentials.files for value in _confidential_of(text.reveal())}
        return [Sensitive(value) for value in sorted(values) if value]
    if isinstance(credentials, CephCredentials):
        return [credentials.key]
    if isinstance(credentials, S3Credentials):
        return [credentials.access_key, credentials.secret_key]
    return [credentials.secret if isinstance(credentials, ApplicationCredential) else credentials.password]


def _confidential_of(file: str) -> Iterator[str]:
    """Yield the confidential values in a file of ours: as they stand there, and as its readers understand them."""
    for line in file.split("\n"):
        name, _, value = line.partition("=")
        if name.strip().endswith(_CONFIDENTIAL_OPTIONS):
            written = value.strip()
            bare = written[1:-1] if len(written) > 1 and written[0] == written[-1] == '"' else written
            yield from (written, bare, ini.unescaped(bare), swift.unescaped(bare))
