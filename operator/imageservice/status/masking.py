"""Confidential values are masked wherever text of others is repeated, however a program may have written them."""

import base64
import html
import json
import re
from collections.abc import Iterator, Sequence
from urllib.parse import quote, quote_plus

from imageservice.manifest import Manifest
from imageservice.sensitive import Sensitive

MASK = "***"
LEAST_LENGTH = 4
"""Other forms of a value that is shorter are not looked for: they would be found everywhere."""

_URL_PASSWORD = re.compile(r"(://[^:/\s@]*):[^@\s]*@")


def redact(text: str, secrets: Sequence[Sensitive]) -> str:
    """Return `text` with every value of `secrets`, and every password inside a URL, replaced by `***`.

    A value is found as it is, and as URLs, JSON, Python, HTML, ini files and base64 have it.
    """
    forms = {form for secret in secrets for form in _forms(secret.reveal()) if form}
    if forms:
        longest_first = sorted(forms, key=len, reverse=True)
        text = re.sub("|".join(map(re.escape, longest_first)), MASK, text)
    return _URL_PASSWORD.sub(rf"\1:{MASK}@", text)


def redact_all(manifest: Manifest, secrets: Sequence[Sensitive]) -> Manifest:
    """Return a copy of an object in which every text is redacted."""
    return {key: _redact_value(value, secrets) for key, value in manifest.items()}


def _redact_value(value: object, secrets: Sequence[Sensitive]) -> object:
    if isinstance(value, str):
        return redact(value, secrets)
    if isinstance(value, dict):
        return redact_all(value, secrets)
    return [_redact_value(item, secrets) for item in value] if isinstance(value, list) else value


def _forms(value: str) -> Iterator[str]:
    yield value
    if len(value) < LEAST_LENGTH:
        return
    content = value.encode(errors="replace")
    for in_json in (json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]):
        yield in_json
        yield json.dumps(in_json)[1:-1]
    yield from (quote(value, safe=""), quote(value), quote_plus(value))
    yield from (repr(value)[1:-1], ascii(value)[1:-1], repr(content)[2:-1])
    yield from (
        value.replace("'", "\\'"),
        value.replace("'", "''"),
        html.escape(value),
        html.escape(value, quote=False),
    )
    yield from (value.replace("$", "\\$"), value.replace("$", "$$"), value.replace("%", "%%"))
    yield from (encode(content).decode().rstrip("=") for encode in (base64.b64encode, base64.urlsafe_b64encode))
