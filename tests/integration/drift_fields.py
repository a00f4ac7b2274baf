"""The fields that a field manager owns in an object, and other values for each of them.

What is owned is read from `metadata.managedFields`, in the notation of the API server ("FieldsV1": `f:name` a field,
`k:{...}` the item of a list by its keys, `v:...` the item of a set), so a field of a later release, or of a later kind,
is found without a word here. Only a field of which few values are legal needs a line in a table.
"""

import base64
import copy
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, TypeVar

Manifest = dict[str, Any]
_Entry = TypeVar("_Entry")


@dataclass(frozen=True)
class Item:
    """A step into a list: the item with these keys (JSON)."""

    keys: str

    @property
    def fields(self) -> Manifest:
        found: Manifest = json.loads(self.keys)
        return found

    def of(self, items: list[Manifest]) -> Manifest | None:
        """Return the item; None where it is not in the list."""
        wanted = self.fields.items()
        return next((item for item in items if all(item.get(name) == value for name, value in wanted)), None)


Step = str | Item


@dataclass(frozen=True)
class Field:
    """An owned field, by the way to it from the root of the object."""

    steps: tuple[Step, ...]

    def __str__(self) -> str:
        return "".join(
            f"[{','.join(map(str, step.fields.values()))}]" if isinstance(step, Item) else f".{step}"
            for step in self.steps
        )[1:]

    @property
    def place(self) -> str:
        """The way without the keys of items."""
        return ".".join(step for step in self.steps if isinstance(step, str))

    @property
    def is_key(self) -> bool:
        """Tell whether the field is what its item in a list is known by: another value is another item."""
        before = self.steps[-2] if len(self.steps) > 1 else None
        return isinstance(before, Item) and self.steps[-1] in before.fields

    def value(self, live: Manifest) -> Any:
        """Return the value in an object; None where it has none."""
        found: Any = live
        for step in self.steps:
            if found is None:
                return None
            found = step.of(found) if isinstance(step, Item) else found.get(step)
        return found

    def pointer(self, live: Manifest) -> str:
        """Return the way as a JSON pointer (RFC 6901) into an object."""
        pointer = ""
        found: Any = live
        for step in self.steps:
            token = found.index(step.of(found)) if isinstance(step, Item) else step
            found = found[token]
            pointer += "/" + str(token).replace("~", "~0").replace("/", "~1")
        return pointer

    def put(self, manifest: Manifest, value: Any) -> None:
        """Put a value into a manifest that may lack all on the way; items of lists get their keys, and no more."""
        at: Any = manifest
        for step, following in zip(self.steps[:-1], self.steps[1:], strict=True):
            if isinstance(step, str):
                at = at.setdefault(step, [] if isinstance(following, Item) else {})
            elif (item := step.of(at)) is not None:
                at = item
            else:
                at.append(step.fields)
                at = at[-1]
        last = self.steps[-1]
        if isinstance(last, str):
            at[last] = value
        else:
            at[:] = [item for item in at if item != last.of(at)] + [value]


def owned(live: Manifest, manager: str) -> list[Field]:
    """Return the fields that a manager owns by server-side apply: those that no owned field lies within."""
    entries = live["metadata"].get("managedFields", [])
    mine = [e for e in entries if (e["manager"], e["operation"], e.get("subresource")) == (manager, "Apply", None)]
    return [Field(steps) for entry in mine for steps in _leaves(entry["fieldsV1"], ())]


def _leaves(fields: Manifest, way: tuple[Step, ...]) -> Iterator[tuple[Step, ...]]:
    inner = {name: value for name, value in fields.items() if name != "."}
    if not inner:
        yield way
    for name, value in inner.items():
        sort, _, text = name.partition(":")
        if sort == "v":
            raise ValueError(f"a set of scalars at {way}: teach the walk to change one")
        yield from _leaves(value, (*way, Item(text) if sort == "k" else text))


def alone(live: Manifest, values: dict[Field, Any]) -> Manifest:
    """Return a manifest of the object `live` with these fields only, to be applied."""
    metadata = {name: live["metadata"][name] for name in ("name", "namespace")}
    manifest: Manifest = {"apiVersion": live["apiVersion"], "kind": live["kind"], "metadata": metadata}
    for field, value in values.items():
        field.put(manifest, copy.deepcopy(value))
    return manifest


HEADLESS = "Service without an address"


def sort_of(child: Manifest) -> str:
    """Return what the tables below know a child as: its kind, but for a Service that has no address."""
    return HEADLESS if child.get("spec", {}).get("clusterIP") == "None" else str(child["kind"])


_Change = Callable[[Any], list[Any]]


def _one_of(*values: Any) -> _Change:
    return lambda value: [next(other for other in values if other != value)]


def _in_map(values: Any) -> list[Any]:
    """Return a map with an entry more, with one fewer, and with another value of one."""
    first = min(values)
    rest = {key: value for key, value in values.items() if key != first}
    return [{**values, "drift": "added"}, rest, {**values, first: "drifted"}]


def _in_selector(selector: Any) -> list[Any]:
    return [{**selector, "matchLabels": changed} for changed in _in_map(selector["matchLabels"])]


def _in_list(values: Any) -> list[Any]:
    return [[*values, values[-1] if isinstance(values[-1], dict) else "drift"], values[:-1]]


_BY_TYPE: list[tuple[type, _Change]] = [
    (bool, lambda value: [not value]),
    (int, lambda value: [value + 1]),
    (str, lambda value: [f"{value}-drift"]),
    (list, _in_list),
    (dict, _in_map),
]
_BY_PLACE: dict[tuple[str, str], _Change] = {
    ("*", "*.fieldRef"): _one_of({"apiVersion": "v1", "fieldPath": "status.hostIP"}),
    ("*", "*.fsGroupChangePolicy"): _one_of("Always", "OnRootMismatch"),
    ("*", "*.imagePullPolicy"): _one_of("Always", "IfNotPresent"),
    ("*", "*.labelSelector"): _in_selector,
    ("*", "*.medium"): _one_of("HugePages", "Memory"),
    ("*", "*.protocol"): _one_of("UDP", "TCP"),
    ("*", "*.resources.limits.*"): _one_of("1Ti"),
    ("*", "*.resources.requests.*"): _one_of("1"),
    ("*", "*.scheme"): _one_of("HTTPS", "HTTP"),
    ("*", "*.seccompProfile.type"): _one_of("Unconfined", "RuntimeDefault"),
    ("*", "*.sizeLimit"): _one_of("3Mi"),
    ("*", "*.terminationMessagePolicy"): _one_of("File", "FallbackToLogsOnError"),
    ("*", "*.volumeMounts.name"): _one_of("tmp", "config"),
    ("DaemonSet", "spec.selector"): _in_selector,
    ("DaemonSet", "spec.updateStrategy.type"): _one_of("OnDelete", "RollingUpdate"),
    ("Deployment", "spec.selector"): _in_selector,
    ("PodDisruptionBudget", "spec.selector"): _in_selector,
    ("PodDisruptionBudget", "spec.unhealthyPodEvictionPolicy"): _one_of("IfHealthyBudget", "AlwaysAllow"),
    ("Secret", "data.*"): _one_of(base64.b64encode(b"drifted").decode()),
    ("Service*", "spec.internalTrafficPolicy"): _one_of("Cluster", "Local"),
    ("Service*", "spec.ports.appProtocol"): _one_of("https"),
    ("Service", "spec.type"): _one_of("NodePort", "ClusterIP"),
}
"""Other legal values where not anything of the type is legal, by patterns of the kind and the place."""

ONLY_VALUE: dict[tuple[str, str], str] = {
    ("*", "*.livenessProbe.successThreshold"): "must be 1",
    ("*", "*.startupProbe.successThreshold"): "must be 1",
    (HEADLESS, "spec.clusterIP"): "is immutable",
    (HEADLESS, "spec.type"): "others need an address",
    ("DaemonSet", "spec.updateStrategy.rollingUpdate.maxSurge"): "must be 0 beside `maxUnavailable`",
    ("DaemonSet", "spec.template.metadata.labels.app.kubernetes.io/component"): "is in the immutable selector",
    ("DaemonSet", "spec.template.metadata.labels.app.kubernetes.io/name"): "is in the immutable selector",
    ("DaemonSet", "spec.template.metadata.labels.imageservice.dev/cache-policy"): "is in the immutable selector",
    ("Deployment", "spec.strategy.type"): "`Recreate` is not legal beside `rollingUpdate`",
    ("Deployment", "spec.template.metadata.labels.app.kubernetes.io/component"): "is in the immutable selector",
    ("Deployment", "spec.template.metadata.labels.app.kubernetes.io/instance"): "is in the immutable selector",
    ("Deployment", "spec.template.metadata.labels.app.kubernetes.io/name"): "is in the immutable selector",
    ("Deployment", "spec.template.metadata.labels.imageservice.dev/edge"): "is in the immutable selector",
}
"""Fields of which no other value is legal as long as the rest is as it is, and why. Patterns as above."""


def in_table(table: Mapping[tuple[str, str], _Entry], kind: str, field: Field) -> _Entry | None:
    """Return the entry of a table for a field, None where it has none."""
    wanted = (kind, field.place)
    return next((entry for patterns, entry in table.items() if all(map(fnmatchcase, wanted, patterns))), None)


def other_values(kind: str, field: Field, value: Any) -> list[Any]:
    """Return values that the field might drift to; none where there is nothing in it to be changed."""
    change = in_table(_BY_PLACE, kind, field)
    if change is None:
        change = next(change for sort, change in _BY_TYPE if isinstance(value, sort))
    return [] if value == {} else change(value)
