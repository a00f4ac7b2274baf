"""References -> values. Pure: the Secrets that were read go in, typed and redacted values come out, or Blocked."""

import base64
import binascii
import re
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from imageservice.api.v1alpha1 import DatabaseSecretReference
from imageservice.api.vocabulary import RESOLVED_REFS
from imageservice.errors import Blocked
from imageservice.manifest import Manifest
from imageservice.render.inputs import ApplicationCredential, Credentials, PasswordCredential
from imageservice.sensitive import Sensitive

# What the Glance images bring a driver for; SQLite is for one process on one node.
DATABASE_SCHEMES = ("mysql+pymysql", "postgresql+psycopg2")
APPLICATION_CREDENTIAL_KEYS = ("application_credential_id", "application_credential_secret")
OPEN_KEYS = {
    *("username", "project_name", "user_domain_name", "project_domain_name", "application_credential_id"),
    *("userID", "adminID"),
}
"""Keys of Secrets whose values are names."""
CEPH_FILES = (".conf", ".keyring")
PASSWORD_KEYS = ("username", "password", "project_name")
LEAST_LINE_LENGTH = 8
"""Shorter lines of a value are like other words."""


def database_url(reference: DatabaseSecretReference, secret: Manifest | None) -> Sensitive:
    """Return the SQLAlchemy URL of the database out of the Secret that spec.database.secretRef names."""
    field = "spec.database.secretRef"
    values = _values(reference.name, secret, field)
    url = _required(values, reference.key, reference.name, field)
    problem = _url_problem(url.reveal())
    if problem:
        raise Blocked(
            RESOLVED_REFS,
            "InvalidDatabaseURL",
            f"The key `{reference.key}` of the Secret `{reference.name}` ({field}) is no database URL: {problem} "
            "It must look like mysql+pymysql://user:password@host:3306/glance, one line, with special characters of "
            "the password percent-encoded.",
        )
    return url


def _url_problem(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "it cannot be parsed."
    if parts.scheme not in DATABASE_SCHEMES:
        return f"its scheme must be one of {', '.join(DATABASE_SCHEMES)}."
    if not parts.hostname:
        return "it names no host."
    if not parts.path.strip("/"):
        return "it names no database."
    return None


def credentials(name: str, secret: Manifest | None, field: str) -> Credentials:
    """Return the Keystone credentials in the Secret `name`; `field` is the reference's path, for the message.

    The keys are those of clouds.yaml: an application credential, or a user with a password and a project.
    """
    values = _values(name, secret, field)
    if all(key in values for key in APPLICATION_CREDENTIAL_KEYS):
        identifier, secret_text = (_required(values, key, name, field) for key in APPLICATION_CREDENTIAL_KEYS)
        return ApplicationCredential(id=identifier.reveal(), secret=secret_text)
    if not any(key in values for key in PASSWORD_KEYS):
        raise Blocked(
            RESOLVED_REFS,
            "SecretKeyMissing",
            f"The Secret `{name}` ({field}) has neither {_list(APPLICATION_CREDENTIAL_KEYS)} nor "
            f"{_list(PASSWORD_KEYS)}.",
        )
    username, password, project = (_required(values, key, name, field) for key in PASSWORD_KEYS)
    domains = {
        key: _required(values, key, name, field).reveal()
        for key in ("user_domain_name", "project_domain_name")
        if key in values
    }
    return PasswordCredential(username=username.reveal(), password=password, project_name=project.reveal(), **domains)


def _values(name: str, secret: Manifest | None, field: str) -> Mapping[str, str]:
    """Return the Secret's data as it is on the wire (base64)."""
    if secret is None:
        raise Blocked(
            RESOLVED_REFS, "SecretNotFound", f"There is no Secret `{name}` in this namespace ({field}). Create it."
        )
    return secret.get("data") or {}


def _required(values: Mapping[str, str], key: str, name: str, field: str) -> Sensitive:
    """Return one value of a Secret; a line end after it, as `echo` leaves one, does not count."""
    where = f"The key `{key}` of the Secret `{name}` ({field})"
    if key not in values:
        raise Blocked(RESOLVED_REFS, "SecretKeyMissing", f"The Secret `{name}` ({field}) has no key `{key}`. Add it.")
    try:
        text = base64.b64decode(values[key], validate=True).decode().rstrip("\r\n")
    except (binascii.Error, UnicodeDecodeError):
        raise Blocked(RESOLVED_REFS, "InvalidCredentials", f"{where} is not UTF-8 text.") from None
    if not text:
        raise Blocked(RESOLVED_REFS, "SecretKeyMissing", f"{where} is empty.")
    if not text.isprintable():
        raise Blocked(RESOLVED_REFS, "InvalidCredentials", f"{where} must be one line without control characters.")
    return Sensitive(text)


def confidential(secret: Manifest | None) -> list[Sensitive]:
    """Return what of a Secret must be masked: all values but the names in credentials, and a URL's password by itself.

    Of a value of several lines each line that is not short is one too, as pods print lines; of Ceph's files just the
    keys in them. The names are left out because masking `glance` would make every message unreadable.
    """
    values = []
    for key, encoded in ((secret or {}).get("data") or {}).items():
        text = "" if key in OPEN_KEYS else _text(encoded)
        parts = _ceph_keys(text) if key.endswith(CEPH_FILES) else _lines(text)
        values += [text, *_passwords(text), *parts]
    return [Sensitive(value) for value in values if value]


def _ceph_keys(text: str) -> list[str]:
    """Return the keys in a ceph.conf or a keyring."""
    return re.findall(r"^\s*key\s*=\s*[\"']?([^\s\"']+)", text, re.MULTILINE)


def _lines(text: str) -> list[str]:
    """Return the lines of a text of several that are long enough to be told from other words."""
    return [line.strip() for line in text.splitlines() if len(line.strip()) >= LEAST_LINE_LENGTH]


def _text(encoded: str) -> str:
    try:
        return base64.b64decode(encoded, validate=True).decode().strip()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _passwords(text: str) -> list[str]:
    """Return the password inside a URL, as written there and as it reads once decoded."""
    try:
        password = urlsplit(text).password or ""
    except ValueError:
        return []
    return [password, unquote(password)]


def _list(keys: tuple[str, ...]) -> str:
    return ", ".join(f"`{key}`" for key in keys)
