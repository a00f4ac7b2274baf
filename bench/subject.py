"""What is measured: an operator's command and the objects of one instance, read from a file.

`subjects/image-service-operator.yaml` is the example. Every text in it is a jinja2 template; what may be used in it is
said at each member of `Subject`. An instance has a namespace to itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import yaml

from bench.api import Manifest

_TEMPLATES = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False, keep_trailing_newline=True)
Values = Mapping[str, object]


class BadSubject(Exception):  # noqa: N818 - names what is wrong
    """A subject's file cannot be used; the message says why."""


@dataclass(frozen=True)
class Kind:
    """A kind by the names that a manifest says it with."""

    api_version: str
    kind: str

    @classmethod
    def read(cls, entry: Mapping[str, str]) -> "Kind":
        """Read it from a mapping with `apiVersion` and `kind`."""
        return cls(entry["apiVersion"], entry["kind"])


@dataclass(frozen=True)
class Access:
    """What the operator's user may do: all, or what a manifest gives to a service account."""

    manifest: Path | None = None
    service_account: str = ""


@dataclass(frozen=True)
class Stuck:
    """An instance that cannot get ready: other objects than those of a good one.

    `change` maps a kind to what is merged into its object; None leaves that object out. `extra` are more objects,
    `namespace` and the values of companions may be used in both.
    """

    name: str
    change: Mapping[str, Any] = field(default_factory=dict)
    extra: str = ""


@dataclass(frozen=True)
class Parts:
    """What one instance may have many of: the kind, how many, and the objects that a user makes for each of them.

    In `objects` `{{ number }}` may be used, from 1 on, beside what those of an instance use. `instance` is merged into
    the instance that has so many.
    """

    kind: Kind
    count: int
    objects: str
    instance: Mapping[str, Any] = field(default_factory=dict)

    def of(self, number: int, namespace: str, values: Values) -> list[Manifest]:
        """Return the objects of one part."""
        return documents(self.objects, {**values, "namespace": namespace, "number": number})


@dataclass(frozen=True)
class Subject:
    """An operator and how it is used.

    `folder` is that of the file: paths in it are relative to it. `{{ python }}` and `{{ bin }}` may be used in commands
    (this Python, and the folder of its programs), `{{ kubeconfig }}`, `{{ port }}` (one that is free) too.
    `companions` are programs that have to run beside the operator, as administrator of the cluster: the first line
    that each prints is the value of its name in all other templates. `namespace` are the objects that an instance
    needs, made before anything is measured; `objects` are those that a user makes, the last of them is the instance.
    Both may use `{{ namespace }}` and `{{ index }}`. `changes` are merged into an instance; they may use `{{ round }}`,
    a number that is never the same twice (`scale` uses `{{ replicas }}`). `parts` may be left out.
    """

    name: str
    description: str
    folder: Path
    command: tuple[str, ...]
    environment: Mapping[str, str]
    companions: Mapping[str, tuple[str, ...]]
    install: tuple[Path, ...]
    access: Access
    instance: Kind
    ready: str
    workload: Kind
    repaired: tuple[Kind, ...]
    edit: str
    namespace: str
    objects: str
    changes: Mapping[str, str]
    change_of_all: str
    stuck: tuple[Stuck, ...]
    parts: Parts | None = None

    @classmethod
    def from_file(cls, path: Path) -> "Subject":
        """Read a subject. Raise BadSubject where something is missing or of the wrong kind."""
        try:
            return _read(path.resolve(), yaml.safe_load(path.read_text()))
        except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadSubject(f"{path}: {type(error).__name__}: {error}") from error

    def objects_of(self, namespace: str, index: int, values: Values) -> list[Manifest]:
        """Return the objects that a user makes for one instance, the instance last."""
        return documents(self.objects, {**values, "namespace": namespace, "index": index})

    def objects_with_parts(self, namespace: str, values: Values) -> list[Manifest]:
        """Return the objects that a user makes for an instance that is to have many parts, without those parts."""
        *others, instance = self.objects_of(namespace, 0, values)
        return [*others, merged(instance, self.parts.instance if self.parts else {})]

    def prepared(self, namespace: str, index: int, values: Values) -> list[Manifest]:
        """Return the objects that one instance needs beforehand."""
        return documents(self.namespace, {**values, "namespace": namespace, "index": index})

    def change(self, name: str, **values: object) -> Manifest:
        """Return the patch of one of the `changes`."""
        (patch,) = documents(self.changes[name], values)
        return patch

    def objects_of_stuck(self, stuck: Stuck, namespace: str, values: Values) -> list[Manifest]:
        """Return the objects of an instance that gets stuck: first what is in its way, the instance last."""
        everything = {**values, "namespace": namespace, "index": 0}
        found = documents(stuck.extra, everything)
        for manifest in self.objects_of(namespace, 0, values):
            patch = stuck.change.get(manifest["kind"], {})
            if patch is not None:
                found.append(merged(manifest, render_all(patch, everything)))
        return found


def _read(path: Path, content: Mapping[str, Any]) -> Subject:
    folder = path.parent
    access = content["access"]
    return Subject(
        name=content["name"],
        description=content.get("description", ""),
        folder=folder,
        command=tuple(map(str, content["command"])),
        environment={key: str(value) for key, value in content.get("environment", {}).items()},
        companions={name: tuple(map(str, words)) for name, words in content.get("companions", {}).items()},
        install=tuple(folder / place for place in content.get("install", [])),
        access=Access() if access == "cluster-admin" else Access(folder / access["manifest"], access["serviceAccount"]),
        instance=Kind.read(content["instance"]),
        ready=content["instance"].get("ready", "Ready"),
        workload=Kind.read(content["workload"]),
        repaired=tuple(Kind.read(entry) for entry in content.get("repaired", [])),
        edit=content.get("edit", ""),
        namespace=content["namespace"],
        objects=content["objects"],
        changes=content["changes"],
        change_of_all=content["changeOfAll"],
        stuck=tuple(
            Stuck(entry["name"], entry.get("change", {}), entry.get("extra", "")) for entry in content.get("stuck", [])
        ),
        parts=_read_parts(content.get("parts")),
    )


def _read_parts(entry: Mapping[str, Any] | None) -> Parts | None:
    if entry is None:
        return None
    return Parts(Kind.read(entry["kind"]), int(entry["count"]), entry["objects"], entry.get("instance", {}))


def render(text: str, values: Values) -> str:
    """Fill in a template. Raise BadSubject where it names what is not there."""
    try:
        return _TEMPLATES.from_string(text).render(values)
    except jinja2.TemplateError as error:
        raise BadSubject(f"{error.message}: in {text.strip()[:80]!r}") from error


def render_all(value: Any, values: Values) -> Any:
    """Fill in all texts within a value."""
    if isinstance(value, str):
        return render(value, values)
    if isinstance(value, dict):
        return {key: render_all(part, values) for key, part in value.items()}
    if isinstance(value, list):
        return [render_all(part, values) for part in value]
    return value


def documents(text: str, values: Values) -> list[Manifest]:
    """Fill in a template of YAML documents and return them."""
    return [found for found in yaml.safe_load_all(render(text, values)) if found]


def merged(manifest: Manifest, patch: Manifest) -> Manifest:
    """Return a manifest with a JSON merge patch (RFC 7386) in it."""
    result = dict(manifest)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            below = result.get(key)
            result[key] = merged(below if isinstance(below, dict) else {}, value)
        else:
            result[key] = value
    return result
