"""Get and apply without kubectl, which takes 0.2 s of CPU to start, where a test asks a hundred times.

What is asked is what `kubectl get ... -o json` and `kubectl apply --server-side` ask, and the answer has the same form.
What is not as simple as that, or is refused, is left to kubectl: it knows more, and tests look for its words.
"""

import contextlib
import http.client
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.api_client import APPLY, JSON, ApiClient, Refused

Manifest = dict[str, Any]

# All kinds that are served in two answers; see https://kubernetes.io/docs/concepts/overview/kubernetes-api/
_DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_MANAGER = "kubectl"


class NotSimple(Exception):  # noqa: N818 - no error: kubectl does it
    """What is asked is for kubectl."""


@dataclass(frozen=True)
class Served:
    """A kind as it is served: `root` is `/api/v1` or `/apis/<group>/<version>`."""

    root: str
    api_version: str
    kind: str
    plural: str
    namespaced: bool

    def path(self, namespace: str, name: str = "") -> str:
        """The path of an object, or of all of a namespace; no namespace means all of them."""
        home = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{self.root}{home}/{self.plural}" + (f"/{name}" if name else "")


@dataclass
class Direct:
    """The API server of a kubeconfig."""

    kubeconfig: Path
    _by_word: dict[str, Served] = field(init=False, default_factory=dict)
    _by_manifest: dict[tuple[str, str], Served] = field(init=False, default_factory=dict)
    _clients: dict[str, ApiClient] = field(init=False, default_factory=dict)

    def get(self, arguments: tuple[str, ...]) -> Any:
        """What `kubectl get` with these arguments gives. Raises NotSimple where kubectl has to be asked."""
        words, namespace, labels = _parse(arguments)
        if not 1 <= len(words) <= 2 or (len(words) == 2 and "," in words[0]):
            raise NotSimple
        kinds = [self._served(word) for word in words[0].split(",")]
        if len(words) == 2:
            return _shown(self._request("GET", kinds[0].path(namespace, words[1])), kinds[0])
        query = {"labelSelector": labels} if labels else {}
        found = [
            _shown(item, kind)
            for kind in kinds
            for item in self._request("GET", kind.path(namespace), query=query)["items"]
        ]
        return {"apiVersion": "v1", "kind": "List", "items": found, "metadata": {"resourceVersion": ""}}

    def apply(self, manifests: tuple[Manifest, ...]) -> None:
        """Server-side apply. Raises NotSimple where one is refused: kubectl may do all of it once more."""
        query = {"fieldManager": _MANAGER, "fieldValidation": "Strict", "force": "false"}
        for manifest in manifests:
            metadata = manifest["metadata"]
            served = self._known(lambda m=manifest: self._by_manifest.get((m["apiVersion"], m["kind"])))
            path = served.path(metadata.get("namespace", "default"), metadata["name"])
            self._request("PATCH", path, manifest, content_type=APPLY, query=query)

    def _request(self, method: str, path: str, body: Any = None, *, accept: str = JSON, **options: Any) -> Any:
        try:
            if accept not in self._clients:
                client = ApiClient(self.kubeconfig)
                client.headers["Accept"] = accept
                self._clients[accept] = client
            return self._clients[accept].request(method, path, body, **options)
        except (Refused, OSError, http.client.HTTPException) as reason:
            raise NotSimple(str(reason)) from reason

    def _served(self, word: str) -> Served:
        return self._known(lambda: self._by_word.get(word.lower()))

    def _known(self, look: Callable[[], Served | None]) -> Served:
        """What `look` finds; where that is nothing, kinds may have come since the last look."""
        found = look()
        if found is None:
            self._discover()
            found = look()
        if found is None:
            raise NotSimple
        return found

    def _discover(self) -> None:
        by_word: dict[str, Served] = {}
        by_manifest: dict[tuple[str, str], Served] = {}
        for root in ("/api", "/apis"):
            for group in self._request("GET", root, accept=_DISCOVERY)["items"]:
                name = group["metadata"].get("name", "")
                for number, version in enumerate(group["versions"]):
                    api_version = "/".join(part for part in (name, version["version"]) if part)
                    for resource in version["resources"]:
                        served = _served_as(f"{root}/{api_version}", api_version, resource)
                        by_manifest[api_version, served.kind] = served
                        if number == 0:  # the preferred version; of kinds of one name that of the first group
                            for word in _words(resource, name):
                                by_word.setdefault(word, served)
        self._by_word, self._by_manifest = by_word, by_manifest


def _served_as(root: str, api_version: str, resource: Manifest) -> Served:
    kind, namespaced = resource["responseKind"]["kind"], resource["scope"] == "Namespaced"
    return Served(root, api_version, kind, resource["resource"], namespaced)


def _words(resource: Manifest, group: str) -> list[str]:
    """What kubectl takes for a kind."""
    plural, singular = resource["resource"], resource.get("singularResource", "")
    words = [plural, singular, resource["responseKind"]["kind"].lower(), *resource.get("shortNames", [])]
    return [word for word in words if word] + [f"{plural}.{group}", f"{singular}.{group}"]


def _parse(arguments: tuple[str, ...]) -> tuple[list[str], str, str]:
    """The plain words, the namespace (empty: all) and the label selector of a simple call."""
    words, namespace, labels = [], "default", ""
    rest = iter(arguments)
    for argument in rest:
        if argument == "-A":
            namespace = ""
        elif argument == "-n":
            namespace = next(rest)
        elif argument == "-l":
            labels = next(rest)
        elif argument.startswith("-"):
            raise NotSimple
        else:
            words.append(argument)
    return words, namespace, labels


def _shown(item: Manifest, kind: Served) -> Manifest:
    """An object as kubectl shows it: with its kind, without who wrote what."""
    with contextlib.suppress(KeyError):
        del item["metadata"]["managedFields"]
    return {"apiVersion": kind.api_version, "kind": kind.kind} | item
