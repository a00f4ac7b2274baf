"""Values that cannot be mistaken for anything else, and the forms in which text may give one away."""

import base64
import hashlib
import html
import json
import string
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote, quote_plus

import yaml

END_LENGTH = 10
"""How long the beginning and the end of a planted value are: no other text holds one of them."""
DIGEST_LENGTH = 10
"""So much of a hash gives a value away to whoever can guess it; names of objects have no more."""

SHORTEST = min(END_LENGTH, DIGEST_LENGTH)
"""No mark is shorter."""

_PLAIN = string.ascii_letters + string.digits


def end(*words: str) -> str:
    """Return END_LENGTH letters and digits that follow from some words and are never met by chance."""
    digest = hashlib.blake2b("\0".join(words).encode()).digest()
    return "".join(_PLAIN[byte % len(_PLAIN)] for byte in digest[:END_LENGTH])


@dataclass(frozen=True)
class Planted:
    """A confidential value: something odd between a beginning and an end that stand nowhere else.

    Whatever an escape makes of the middle, and wherever the value was cut, one of the ends tells.
    """

    name: str
    odd: str

    @property
    def head(self) -> str:
        return end(self.name, "head")

    @property
    def tail(self) -> str:
        return end(self.name, "tail")

    @property
    def value(self) -> str:
        return f"{self.head}{self.odd}{self.tail}"

    @property
    def encoded(self) -> str:
        """The value as it must be written in a URL."""
        return quote(self.value, safe="")


def written(value: str) -> dict[str, str]:
    """Return the ways in which a text may show a value as a whole, by what they are called."""
    in_json = json.dumps(value)[1:-1]
    return {
        "as it is": value,
        "percent-encoded": quote(value, safe=""),
        "percent-encoded, as a path": quote(value),
        "percent-encoded, as a form": quote_plus(value),
        "in JSON": in_json,
        "in JSON, with all its characters": json.dumps(value, ensure_ascii=False)[1:-1],
        "in JSON in JSON": json.dumps(in_json)[1:-1],
        "in YAML": yaml.safe_dump(value, width=10_000).strip(),
        "as Python shows it": repr(value)[1:-1],
        "as Python shows its bytes": repr(value.encode())[2:-1],
        "in HTML": html.escape(value),
        "in an ini file": value.replace("$", r"\$"),
        "in an ini file of old": value.replace("%", "%%").replace("$", "$$"),
        "in hexadecimal": value.encode().hex(),
        "in base64": base64.b64encode(value.encode()).decode(),
        "in base64 for URLs": base64.urlsafe_b64encode(value.encode()).decode(),
        "in base64 after one byte": base64.b64encode(b":" + value.encode()).decode(),
        "in base64 after two bytes": base64.b64encode(b"::" + value.encode()).decode(),
        **{name: hash_of(value.encode()).hexdigest() for name, hash_of in _HASHES.items()},
        **{f"{name} in base64": _short(hash_of(value.encode()).digest()) for name, hash_of in _HASHES.items()},
    }


_HASHES = {"MD5": hashlib.md5, "SHA-1": hashlib.sha1, "SHA-256": hashlib.sha256, "SHA-512": hashlib.sha512}


def _short(digest: bytes) -> str:
    return base64.b64encode(digest).decode().rstrip("=")


def marks(planted: Planted) -> dict[str, str]:
    """Return what to look for: texts that are in every form of the value, cut or whole."""
    found = {"its beginning": planted.head, "its end": planted.tail}
    for end_of_it, text in list(found.items()):
        found |= {f"{end_of_it} in base64 ({shift})": core for shift, core in _in_base64(text).items()}
        found[f"{end_of_it} in hexadecimal"] = text.encode().hex()
    for text in {planted.value, planted.encoded}:
        for name, hash_of in _HASHES.items():
            found[f"{name} of {len(text)} bytes"] = hash_of(text.encode()).hexdigest()[:DIGEST_LENGTH]
            found[f"{name} of {len(text)} bytes in base64"] = _short(hash_of(text.encode()).digest())[:DIGEST_LENGTH]
    return found


def _in_base64(text: str) -> dict[int, str]:
    """Return what the base64 form of any text with `text` in it must hold, by where in it (modulo 3) that begins."""
    cores = {}
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + text.encode()).decode()
        first = -(-shift * 8 // 6)
        cores[shift] = encoded[first : (shift + len(text)) * 8 // 6]
    return cores


@dataclass(frozen=True)
class Leak:
    """A place where a planted value can be read, and in which form."""

    value: str
    mark: str
    where: str
    around: str

    def __str__(self) -> str:
        return f"{self.value}: {self.mark} in {self.where}: ...{self.around}..."


class Search:
    """Looks for all values that were planted, in one go through a text: by the first characters of their marks."""

    def __init__(self, planted: Iterable[Planted]) -> None:
        self._marks: dict[str, list[tuple[str, str, str]]] = {}
        for value in planted:
            for name, mark in marks(value).items():
                self._marks.setdefault(mark[:SHORTEST], []).append((value.name, name, mark))

    def leaks(self, where: str, text: str) -> list[Leak]:
        """Return every value that `text` gives away, once for each form."""
        found = {}
        for at in range(len(text) - SHORTEST + 1):
            for value, name, mark in self._marks.get(text[at : at + SHORTEST], ()):
                if text.startswith(mark, at):
                    around = text[max(0, at - 120) : at + 60].replace("\n", "\\n")
                    found[value, name] = Leak(value, name, where, around)
        return list(found.values())
