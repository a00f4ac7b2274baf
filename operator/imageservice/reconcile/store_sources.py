"""A Secret or ConfigMap that a store refers to: its values as text, and what is said where one is missing or wrong."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from imageservice.api.v1alpha1 import CREDENTIALS_VALID, RESOLVED_REFS
from imageservice.errors import Blocked
from imageservice.manifest import Manifest


@dataclass(frozen=True)
class Source:
    """One object with its values. `field` is the path of the reference to it, for messages."""

    kind: str
    name: str
    field: str
    data: Mapping[str, str]

    @classmethod
    def of_secret(cls, name: str, secret: Manifest | None, field: str) -> Self:
        """Return the Secret; raise Blocked where there is none."""
        return cls._of("Secret", name, secret, field)

    @classmethod
    def of_config_map(cls, name: str, config_map: Manifest | None, field: str) -> Self:
        """Return the ConfigMap; raise Blocked where there is none."""
        return cls._of("ConfigMap", name, config_map, field)

    @classmethod
    def _of(cls, kind: str, name: str, manifest: Manifest | None, field: str) -> Self:
        if manifest is None:
            raise Blocked(
                RESOLVED_REFS,
                f"{kind}NotFound",
                f"There is no {kind} `{name}` in this namespace ({field}). Create it.",
            )
        return cls(kind, name, field, manifest.get("data") or {})

    def blocked(self, reason: str, problem: str) -> Blocked:
        """Return that something is wrong with the object; `problem` goes on where `The Secret ... ` stops."""
        return Blocked(CREDENTIALS_VALID, reason, f"The {self.kind} `{self.name}` ({self.field}) {problem}")

    def blocked_key(self, reason: str, key: str, problem: str) -> Blocked:
        """Return that something is wrong with the value of one key."""
        return Blocked(
            CREDENTIALS_VALID, reason, f"The key `{key}` of the {self.kind} `{self.name}` ({self.field}) {problem}"
        )

    def text(self, key: str, reason: str = "InvalidCredentials") -> str:
        """Return a value, which may have several lines. A ConfigMap holds text, a Secret text in base64."""
        value = self.data[key]
        if self.kind == "ConfigMap":
            return value
        try:
            return base64.b64decode(value, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise self.blocked_key(reason, key, "is not UTF-8 text.") from None

    def line(self, key: str, reason: str = "InvalidCredentials") -> str:
        """Return a value that must be one line; blanks and line ends around it, as `echo` leaves one, do not count."""
        if key not in self.data:
            raise self.blocked("SecretKeyMissing", f"has no key `{key}`. Add it.")
        text = self.text(key, reason).strip()
        if not text:
            raise self.blocked_key("SecretKeyMissing", key, "is empty.")
        if not text.isprintable():
            raise self.blocked_key(reason, key, "must be one line without control characters.")
        return text
