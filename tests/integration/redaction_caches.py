"""Caches of a scene: their objects, their token, and the agent of a node with the files that its pod would have."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.agent_process import Agent
from tests.api_client import ApiClient, Manifest
from tests.glance_environments import glance_environment
from tests.integration.objects import API
from tests.integration.redaction_forms import END_LENGTH, Planted
from tests.ports import free_port

from imageservice.render.agent_token import TOKEN_FILE, agent_token
from imageservice.render.cache_config import PROGRAM, SETTINGS
from imageservice.sensitive import Sensitive

POLICY, PRECACHE = "nodes", "golden"
IMAGE = "3f0e7f1e-5d0c-4c5e-8f6a-2a1c9d7b6e54"
RELEASE = "2026.1"
PAGES = ("/healthz", "/metrics", "/v1/status", "/v1/cache", "/v1/nowhere", f"/v1/sets/{IMAGE}")


class PlantedToken(Planted):
    """The token of the agents: it is derived from what was planted, and gives away who has it."""

    @property
    def value(self) -> str:
        return self.odd

    @property
    def head(self) -> str:
        return self.odd[:END_LENGTH]

    @property
    def tail(self) -> str:
        return self.odd[-END_LENGTH:]


def token(scene: str, database_url: str, namespace: str) -> Planted:
    """Return the token of the agents of the ImageService `glance`."""
    return PlantedToken(f"{scene}/token", agent_token(Sensitive(database_url), namespace, "glance").reveal())


def caches() -> list[Manifest]:
    """Return a CachePolicy and an ImagePrecache."""
    target = {"kind": "ImageService", "name": "glance"}
    policy = {"targetRef": target, "nodeSelector": {"kubernetes.io/hostname": "fake-1"}, "maxSize": "10Gi"}
    precache = {"imageServiceRef": {"name": "glance"}, "images": [{"id": IMAGE}, {"name": "golden"}]}
    return [
        {"apiVersion": API, "kind": "CachePolicy", "metadata": {"name": POLICY}, "spec": policy},
        {"apiVersion": API, "kind": "ImagePrecache", "metadata": {"name": PRECACHE}, "spec": precache},
    ]


@dataclass(frozen=True)
class NodeAgent:
    """The agent of a node of a scene: its program in a process of Glance's Python, with the files of its Secrets."""

    agent: Agent
    token: str

    @classmethod
    def install(cls, api: ApiClient, namespace: str, directory: Path) -> "NodeAgent":
        """Put the files into a directory as they are in the pod, as far as paths may be other ones here."""
        files = _files(api, namespace)
        for name, content in files.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        ours = {"port": free_port(), "glanceConfigDir": str(directory), "stateDir": str(directory / "state")}
        settings = json.loads(files[SETTINGS]) | ours | {"cacheDir": str(directory / "images")}
        variables = {
            "HOME": str(directory),  # oslo.config reads ~/.glance/glance.conf.d beside /etc/glance/glance.conf.d
            "OS_GLANCE_CONFIG_DIR": str(directory),
            "OS_DEFAULT__IMAGE_CACHE_DIR": settings["cacheDir"],
            "OS_DEFAULT__WORKER_SELF_REFERENCE_URL": "http://fake-1:9292",
        }
        python = glance_environment(RELEASE) / "bin" / "python"
        token_of_all = files[TOKEN_FILE].decode().strip()
        return cls(Agent(directory, settings, variables, python, token=token_of_all), token_of_all)

    def fails(self) -> bool:
        """Tell whether it has tried to fetch what it is told to, in vain: its database is nowhere."""
        if not self._ask("/v1/status")["sets"]:
            told = {"name": PRECACHE, "revision": "1", "images": [IMAGE], "fetch": True, "until": None}
            told |= {"timeoutSeconds": 60, "backoffSeconds": 1, "maxBackoffSeconds": 4}
            self.agent.call("PUT", f"/v1/sets/{IMAGE}", told, token=self.token)
        return bool(self._ask("/v1/status")["images"][IMAGE]["attempts"])

    def _ask(self, path: str) -> Manifest:
        found: Manifest = self.agent.call("GET", path, token=self.token)[1]
        return found

    def pages(self) -> Iterator[tuple[str, str]]:
        """Give what it answers: to who has the token, and to who has another."""
        for path in PAGES:
            for given in (self.token, "another"):
                status, content, headers = self.agent.call("GET", path, token=given)
                yield f"{path} of an agent, {status}", f"{content} {headers}"

    def processes(self) -> list[int]:
        """Return the numbers of its processes."""
        assert self.agent.process
        worker = self.agent.worker_pid()
        return [self.agent.process.pid, *([worker] if worker else [])]


def _files(api: ApiClient, namespace: str) -> dict[str, bytes]:
    """Return path -> content of what the Secrets of a cache's pod hold, of the stores the confidential options."""
    owned = [found["data"] for found in api.list("Secret", namespace) if found["metadata"].get("ownerReferences")]
    found = {}
    for data in owned:
        for key, encoded in data.items():
            content = base64.b64decode(encoded)
            if SETTINGS in data:
                found[key.replace(f"{PROGRAM}.", f"{PROGRAM}/", 1) if key.endswith(".py") else key] = content
            elif content.startswith(f"[{key.removesuffix('.conf')}]".encode()):
                found[f".glance/glance.conf.d/{key}"] = content
    return found
