"""Is an object already as wanted? Answered from the live object alone, so that a restarted operator writes nothing.

Two facts together make an object settled. Its annotation `imageservice.dev/spec-hash` is that of the wanted manifest:
nothing was taken out of what we want since the last apply. And every field of the wanted manifest is in it: nobody
changed one since. What others added (defaults, injected containers, status) does not count.

The comparison knows how the API server rewrites what it stores: lists that are maps by a key, quantities in canonical
form, empty values left out. Where it finds a difference that is none, the apply cache of `kube.KubeApi` keeps it from
becoming a write on every pass.
"""

import hashlib
import json
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from imageservice.manifest import Manifest

HASH_ANNOTATION = "imageservice.dev/spec-hash"
"""On every child: the hash of the manifest that was applied last."""

_HASH_LENGTH = 32
_SECRET_FIELDS = ("data", "stringData")

_QUANTITY = re.compile(r"([+-]?[0-9]+(?:\.[0-9]*)?|[+-]?\.[0-9]+)(n|u|m|k|[KMGTPE]i|[MGTPE]|[eE][+-]?[0-9]+)?")
_SUFFIXES = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "k": Decimal(10**3),
    **{letter: Decimal(10 ** (3 * power)) for power, letter in enumerate("MGTPE", start=2)},
    **{f"{letter}i": Decimal(1024**power) for power, letter in enumerate("KMGTPE", start=1)},
}
_QUANTITY_MAPS = frozenset({"limits", "requests", "capacity", "allocatable", "hard"})
_QUANTITY_FIELDS = frozenset({"sizeLimit", "storage", "divisor"})

_Key = Callable[[Manifest], str]


def _field(*names: str) -> _Key:
    return lambda item: repr([item.get(name) for name in names])


def _port(item: Manifest) -> str:
    return repr([item.get("containerPort", item.get("port")), item.get("protocol", "TCP")])


_MAP_LISTS: dict[str, _Key] = {
    "ports": _port,
    "volumeMounts": _field("mountPath"),
    "volumeDevices": _field("devicePath"),
    "ownerReferences": _field("uid"),
    "topologySpreadConstraints": _field("topologyKey", "whenUnsatisfiable"),
    "hostAliases": _field("ip"),
    "conditions": _field("type"),
}
"""Lists that are maps, by the key that the OpenAPI schema of Kubernetes declares (`x-kubernetes-list-map-keys`).
Any other list whose items all have a `name` of their own is a map by name; the rest are compared item by item."""


_ATOMIC_MAPS = frozenset({"selector", "matchLabels", "labelSelector", "nodeSelector"})
"""Maps that have one owner as a whole (`x-kubernetes-map-type: atomic`): an entry that others added changes our field.
A selector with one label more selects nothing."""

_MEANT_WHEN_EMPTY = frozenset({"emptyDir"})


def digest(manifest: Manifest) -> str:
    """Return the hash of what is wanted: of the whole manifest without the hash annotation, in any order of keys.

    The values in a Secret stay out of it, their keys do not: the hash is public, and a short secret could be guessed
    from it. `is_settled` compares those values themselves.
    """
    content = dict(manifest)
    metadata = dict(content.get("metadata", {}))
    annotations = {key: value for key, value in metadata.get("annotations", {}).items() if key != HASH_ANNOTATION}
    metadata["annotations"] = annotations
    content["metadata"] = metadata
    if content.get("kind") == "Secret":
        for name in _SECRET_FIELDS:
            if name in content:
                content[name] = sorted(content[name])
    return content_hash(content)[:_HASH_LENGTH]


def content_hash(content: Any) -> str:
    """Return a hash of plain data (hexadecimal, 64 characters); the order of keys does not count."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def with_digest(manifest: Manifest) -> Manifest:
    """Return the manifest with its own hash as an annotation; the argument stays as it is."""
    metadata = dict(manifest.get("metadata", {}))
    metadata["annotations"] = {**metadata.get("annotations", {}), HASH_ANNOTATION: digest(manifest)}
    return {**manifest, "metadata": metadata}


def is_settled(wanted: Manifest, live: Manifest) -> bool:
    """Tell whether `live` already is what `wanted` asks for, so that nothing has to be written."""
    annotations = live.get("metadata", {}).get("annotations") or {}
    if annotations.get(HASH_ANNOTATION) != digest(wanted):
        return False
    return _map_holds(wanted, live, quantities=False)


def replacement(wanted: Any, live: Any) -> Any:
    """Return the merge patch (RFC 7396) that makes `live` be just `wanted`, but for labels and annotations in it."""
    if not (isinstance(wanted, dict) and isinstance(live, dict)):
        return wanted
    patch = {field: None for field in live if field not in wanted and field != "metadata"}
    for field, value in wanted.items():
        patch[field] = value if field == "metadata" else replacement(value, live.get(field))
    return patch


def _holds(wanted: Any, live: Any, field: str) -> bool:
    """Tell whether all of `wanted`, the value of the field `field`, is in `live`."""
    if isinstance(wanted, dict):
        if not isinstance(live, dict) or (field in _ATOMIC_MAPS and not live.keys() <= wanted.keys()):
            return False
        return _map_holds(wanted, live, quantities=field in _QUANTITY_MAPS)
    if isinstance(wanted, list):
        return isinstance(live, list) and _list_holds(wanted, live, field)
    if field in _QUANTITY_FIELDS:
        return _same_quantity(wanted, live)
    return _same_scalar(wanted, live)


def _map_holds(wanted: Manifest, live: Manifest, *, quantities: bool) -> bool:
    for field, value in wanted.items():
        if field not in live or live[field] is None:
            if not _is_left_out(field, value):
                return False
        elif quantities:
            if not _same_quantity(value, live[field]):
                return False
        elif not _holds(value, live[field], field):
            return False
    return True


def _is_left_out(field: str, value: Any) -> bool:
    """Tell whether the API server drops this value when it stores an object (`omitempty`).

    An empty map that says which kind of a thing is meant, as `emptyDir: {}` does, is not dropped. `false` and 0 are, of
    some fields, but not of those where they differ from the default, so these two count as missing: better one write
    too many than a drift not repaired.
    """
    return value is None or (field not in _MEANT_WHEN_EMPTY and not isinstance(value, bool | int | float) and not value)


def _list_holds(wanted: list[Any], live: list[Any], field: str) -> bool:
    key = _key_of(wanted, field)
    if key is None:
        return len(wanted) == len(live) and all(
            _holds(ours, theirs, field) for ours, theirs in zip(wanted, live, strict=True)
        )
    if not all(isinstance(item, dict) for item in live):
        return False
    by_key = {key(item): item for item in live}
    return all(key(item) in by_key and _holds(item, by_key[key(item)], field) for item in wanted)


def _key_of(items: list[Any], field: str) -> _Key | None:
    """Return what tells the items of a list apart; None where it is their position."""
    if not items or not all(isinstance(item, dict) for item in items):
        return None
    key = _MAP_LISTS.get(field)
    if key is None and all("name" in item for item in items):
        key = _field("name")
    if key is None or len({key(item) for item in items}) < len(items):
        return None
    return key


def _same_scalar(wanted: Any, live: Any) -> bool:
    if isinstance(wanted, bool) or isinstance(live, bool):
        return wanted is live
    return bool(wanted == live)


def _same_quantity(wanted: Any, live: Any) -> bool:
    ours, theirs = _quantity(wanted), _quantity(live)
    return _same_scalar(wanted, live) if ours is None or theirs is None else ours == theirs


def _quantity(value: Any) -> Decimal | None:
    """Return the number that a resource quantity (`500m`, `2Gi`, 1) stands for; None where it is none."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    match = _QUANTITY.fullmatch(str(value))
    if match is None:
        return None
    number, suffix = Decimal(match[1]), match[2] or ""
    if suffix[:1] in ("e", "E") and len(suffix) > 1 and suffix != "Ei":
        return number.scaleb(int(suffix[1:]))
    return number * _SUFFIXES.get(suffix, Decimal(1))
