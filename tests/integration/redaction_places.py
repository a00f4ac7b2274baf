"""Everything that people who may not read Secrets can read: the places where no confidential value may be met.

A later kind that shows something in another place adds a line to PLACES.
"""

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.api_client import ApiClient, Manifest
from tests.integration.redaction_caches import NodeAgent
from tests.operator_process import OperatorProcess


@dataclass(frozen=True)
class Evidence:
    """What was run and where: the places are read from here. `printed` holds what commands wrote, by command.

    `agents` are those of nodes, `processes` any others.
    """

    api: ApiClient
    namespaces: Sequence[str]
    operators: Sequence[OperatorProcess]
    printed: dict[str, str] = field(default_factory=dict)
    processes: Sequence[int] = ()
    agents: Sequence[NodeAgent] = ()

    def objects(self) -> Iterator[Manifest]:
        """Yield every object in the namespaces and every object that is in none."""
        for resource in self.api.resources():
            if "list" in resource.verbs and not (resource.namespaced and resource.api_version in _COPIES):
                for namespace in self.namespaces if resource.namespaced else [None]:
                    yield from self.api.list_of(resource, namespace)


_COPIES = ("events.k8s.io/v1",)
"""Groups that serve objects of the core group once more."""

Read = Callable[[Evidence], Iterator[tuple[str, str]]]


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1)


def _name(manifest: Manifest) -> str:
    metadata = manifest["metadata"]
    return f"{manifest['kind']} {metadata.get('namespace', '')}/{metadata['name']}"


def _of_kind(*kinds: str) -> Read:
    def read(evidence: Evidence) -> Iterator[tuple[str, str]]:
        for namespace in evidence.namespaces:
            for kind in kinds:
                for manifest in evidence.api.list(kind, namespace):
                    yield _name(manifest), _text(manifest)

    return read


def _everything_but_what_secrets_are_for(evidence: Evidence) -> Iterator[tuple[str, str]]:
    for manifest in evidence.objects():
        shown = dict(manifest)
        if manifest["kind"] == "Secret":
            shown.pop("data", None)
        if manifest["kind"] == "Pod":
            shown["status"] = _without_last_words(manifest.get("status", {}))
        yield _name(manifest), _text(shown)


def _without_last_words(status: Manifest) -> Manifest:
    """Take away what the containers themselves have said: it is where the tests plant values, not where they leak."""
    kept: Manifest = json.loads(json.dumps(status))
    for container in [*kept.get("containerStatuses", []), *kept.get("initContainerStatuses", [])]:
        for state in (container.get("state", {}), container.get("lastState", {})):
            state.get("terminated", {}).pop("message", None)
            state.get("waiting", {}).pop("message", None)
    return kept


def _logs(evidence: Evidence) -> Iterator[tuple[str, str]]:
    logs = [operator.log for operator in evidence.operators]
    for log in [*logs, *(found.agent.directory / "log" for found in evidence.agents)]:
        for number, line in enumerate(log.read_text().splitlines(), 1):
            yield f"{log.name}, line {number}", line


def _pages(evidence: Evidence) -> Iterator[tuple[str, str]]:
    for operator in evidence.operators:
        for path in ("/metrics", "/livez", "/readyz"):
            try:
                yield path, operator.fetch(path)
            except urllib.error.HTTPError as refusal:
                yield path, refusal.read().decode()
    for found in evidence.agents:
        yield from found.pages()


def _processes(evidence: Evidence) -> Iterator[tuple[str, str]]:
    of_agents = [pid for found in evidence.agents for pid in found.processes()]
    for pid in [*(operator.pid for operator in evidence.operators), *evidence.processes, *of_agents]:
        for part in ("cmdline", "environ"):
            yield f"/proc/{pid}/{part}", Path(f"/proc/{pid}/{part}").read_text(errors="replace").replace("\0", "\n")


def _printed(evidence: Evidence) -> Iterator[tuple[str, str]]:
    yield from evidence.printed.items()


ANSWERS = "metrics, health, and what agents of nodes answer"
PLACES: dict[str, Read] = {
    "logs and the tracebacks in them": _logs,
    "Events": _of_kind("Event"),
    "ConfigMaps": _of_kind("ConfigMap"),
    "status of our kinds": _of_kind("ImageService", "ImageStore", "CachePolicy", "ImagePrecache"),
    "pod templates": _of_kind("Deployment", "ReplicaSet", "DaemonSet", "ControllerRevision", "Job"),
    "names, labels, annotations and all else of every object": _everything_but_what_secrets_are_for,
    ANSWERS: _pages,
    "process arguments and environment": _processes,
    "what commands print": _printed,
}
"""Name of a place -> how to read it, as pairs of where exactly and the text there."""
