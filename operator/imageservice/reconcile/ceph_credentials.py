"""The user of a Ceph store and the way to its cluster, out of every shape of Secret and ConfigMap that the field uses.

| Who made it | Keys of the Secret | The user |
|---|---|---|
| Rook, for a CephClient | `userID`, `userKey`, `<user>` | the third key: `userID` is the name of the CephClient |
| ceph-csi | `userID`, `userKey`, or `adminID`, `adminKey` | `userID`, `adminID` |
| openstack-helm | `key` | spec.ceph.user, else glance |
| kolla, RHOSO | `<cluster>.client.<user>.keyring`, `<cluster>.conf` | the section of the keyring |
"""

import re
from dataclasses import dataclass

from imageservice.api.v1alpha1 import CREDENTIALS_VALID, CephStore
from imageservice.api.v1alpha1.store_ceph import CEPH_USER, MAX_CEPH_USER_LENGTH
from imageservice.errors import Blocked
from imageservice.manifest import Manifest
from imageservice.reconcile import ceph_files
from imageservice.reconcile.ceph_files import CephConf
from imageservice.reconcile.store_sources import Source
from imageservice.render.inputs import CephCredentials
from imageservice.sensitive import Sensitive

DEFAULT_USER = "glance"
ID_AND_KEY = (("userID", "userKey"), ("adminID", "adminKey"))
LOOKED_FOR = "`userID` and `userKey`, `adminID` and `adminKey`, `key`, or a file that ends in `.keyring`"
BAD_CREDENTIALS, BAD_CONFIG = "InvalidCephCredentials", "InvalidCephConfig"
_CEPH_USER = re.compile(CEPH_USER)


@dataclass(frozen=True)
class _User:
    """A user and its key; `conf` is the key of the Secret that holds the ceph.conf that goes with them."""

    name: str
    key: Sensitive
    conf: str | None = None


def ceph_credentials(
    store_id: str, ceph: CephStore, secret: Manifest | None, config_map: Manifest | None
) -> CephCredentials:
    """Return the user, its key and the way to the cluster; raise Blocked where one is missing or wrong."""
    source = Source.of_secret(ceph.secret_ref.name, secret, "spec.ceph.secretRef")
    user = _user(store_id, ceph, source)
    given = [_conf(source, user.conf, user.name)] if user.conf else []
    if ceph.config_map_ref is not None:
        place = Source.of_config_map(ceph.config_map_ref.name, config_map, "spec.ceph.configMapRef")
        given.insert(0, _conf_of_map(place, user.name))
    monitors = next((found for found in (tuple(ceph.monitors), *(conf.monitors for conf in given)) if found), ())
    if not monitors:
        raise Blocked(
            CREDENTIALS_VALID,
            "MonitorsMissing",
            "Nothing says where the monitors are. Set spec.ceph.monitors, or set spec.ceph.configMapRef to a ConfigMap "
            "with the key `ceph.conf` or `data`, or put a `.conf` file with mon_host into the Secret.",
        )
    settings = {name: value for conf in reversed(given) for name, value in conf.settings}
    return CephCredentials(user.name, user.key, monitors, _fsid(ceph, given), tuple(sorted(settings.items())))


def _user(store_id: str, ceph: CephStore, source: Source) -> _User:
    """Return the user of the Secret, by the shape that its keys tell."""
    conf = _conf_key(store_id, source)
    keyrings = [key for key in source.data if key.endswith(".keyring")]
    if keyrings:
        return _of_keyring(source, _keyring_key(store_id, ceph, source, keyrings, conf), ceph.user, conf)
    for id_key, secret_key in ID_AND_KEY:
        if id_key in source.data and secret_key in source.data:
            name = _rook_user(source, ceph.user) or source.line(id_key, BAD_CREDENTIALS).removeprefix("client.")
            _check_asked_for(source, ceph.user, [name])
            return _checked(source, secret_key, name, source.line(secret_key, BAD_CREDENTIALS), conf)
    if "key" in source.data:
        return _checked(source, "key", ceph.user or DEFAULT_USER, source.line("key", BAD_CREDENTIALS), conf)
    raise source.blocked(BAD_CREDENTIALS, f"has none of the keys that Ceph credentials have: {LOOKED_FOR}.")


def _rook_user(source: Source, wanted: str | None) -> str | None:
    """Return the user of a Secret of Rook: the name of a further key that holds the same key as `userKey`."""
    if "userKey" not in source.data:
        return None
    others = sorted(
        key for key, value in source.data.items() if value == source.data["userKey"] and key not in ("userKey", "key")
    )
    if wanted in others:
        return wanted
    return others[0] if len(others) == 1 else None


def _conf_key(store_id: str, source: Source) -> str | None:
    """Return which file of the Secret is the ceph.conf: the one named after the store, the only one, or ceph.conf."""
    files = sorted(key for key in source.data if key.endswith(".conf"))
    for name in (f"{store_id}.conf", files[0] if len(files) == 1 else "", "ceph.conf"):
        if name in files:
            return name
    if files:
        raise source.blocked(
            BAD_CONFIG, f"has several `.conf` files and none is called `{store_id}.conf` or `ceph.conf`."
        )
    return None


def _keyring_key(store_id: str, ceph: CephStore, source: Source, keyrings: list[str], conf: str | None) -> str:
    """Return which file of the Secret is the keyring: narrowed down by cluster, by the store's id, and by the user."""
    clusters = [conf.removesuffix(".conf")] if conf else []
    found = sorted(keyrings)
    for cluster in (*clusters, store_id, "ceph"):
        of_cluster = [key for key in found if key.startswith(f"{cluster}.")]
        if of_cluster:
            found = of_cluster
            break
    if ceph.user:
        found = [key for key in found if key.endswith(f"client.{ceph.user}.keyring")] or found
    if len(found) > 1:
        raise source.blocked(
            BAD_CREDENTIALS,
            "has several keyrings that may be meant. Set spec.ceph.user, or name the files "
            f"`{store_id}.client.<user>.keyring`.",
        )
    return found[0]


def _of_keyring(source: Source, key: str, wanted: str | None, conf: str | None) -> _User:
    try:
        users = ceph_files.keyring(source.text(key, BAD_CREDENTIALS))
    except ValueError as problem:
        raise source.blocked_key(BAD_CREDENTIALS, key, f"is no keyring: {problem}.") from None
    if not users:
        raise source.blocked_key(BAD_CREDENTIALS, key, "is no keyring: it has no [client.<user>] with a `key`.")
    _check_asked_for(source, wanted, sorted(users))
    if wanted is None and len(users) > 1:
        raise source.blocked_key(BAD_CREDENTIALS, key, "has several users. Set spec.ceph.user.")
    name = wanted or next(iter(users))
    return _checked(source, key, name, users[name], conf)


def _check_asked_for(source: Source, wanted: str | None, users: list[str]) -> None:
    if wanted is not None and wanted not in users:
        raise source.blocked(
            BAD_CREDENTIALS, f"has the key of another user than spec.ceph.user, `{wanted}`. Correct one of them."
        )


def _checked(source: Source, key: str, name: str, secret: str, conf: str | None) -> _User:
    """Return the user; raise Blocked for a name or a key that Ceph would not take."""
    if len(name) > MAX_CEPH_USER_LENGTH or not _CEPH_USER.fullmatch(name):
        raise source.blocked(BAD_CREDENTIALS, "names a user with other characters than letters, digits, `-`, `_`, `.`.")
    if not ceph_files.is_cephx_key(secret):
        raise source.blocked_key(BAD_CREDENTIALS, key, "is no cephx key (`ceph auth get-key` prints one).")
    return _User(name, Sensitive(secret), conf)


def _conf(source: Source, key: str, user: str) -> CephConf:
    try:
        return ceph_files.ceph_conf(source.text(key, BAD_CONFIG), user)
    except ValueError as problem:
        raise source.blocked_key(BAD_CONFIG, key, f"is no ceph.conf that can be used: {problem}.") from None


def _conf_of_map(source: Source, user: str) -> CephConf:
    if "ceph.conf" in source.data:
        return _conf(source, "ceph.conf", user)
    if "data" not in source.data:
        raise source.blocked(BAD_CONFIG, "has neither the key `ceph.conf` nor the key `data`, as Rook's has.")
    try:
        return CephConf(monitors=ceph_files.rook_monitors(source.text("data")))
    except ValueError as problem:
        raise source.blocked_key(BAD_CONFIG, "data", f"is no list of monitors: {problem}.") from None


def _fsid(ceph: CephStore, given: list[CephConf]) -> str | None:
    """Return the cluster's id; two that differ mean two clusters, which somebody has mixed up."""
    found = {fsid.lower() for fsid in (ceph.fsid, *(conf.fsid for conf in given)) if fsid}
    if len(found) > 1:
        raise Blocked(
            CREDENTIALS_VALID,
            BAD_CONFIG,
            "spec.ceph.fsid and the ceph.conf in the Secret or ConfigMap name different clusters. Correct one of them.",
        )
    return next(iter(found), None)
