"""What a test may ask of a cluster, whoever provides it."""

import abc
import contextlib
import functools
import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .direct import Direct, NotSimple
from .errors import ClusterError, Unavailable

Completed = subprocess.CompletedProcess[str]


class Cluster(abc.ABC):
    """A running Kubernetes.

    `shared` is a directory of this machine that every node sees as SHARED_ON_NODES, or None where there is none: it
    stands for storage that many nodes can mount (a hostPath volume or PersistentVolume of that path).
    """

    SHARED_ON_NODES = "/mnt/shared"

    kubeconfig: Path
    shared: Path | None = None

    @property
    def environment(self) -> dict[str, str]:
        """The caller's environment with KUBECONFIG, and PATH where kubectl and helm are found."""
        # A third of what a short kubectl does is collecting garbage.
        return {"GOGC": "off", "GOMEMLIMIT": "512MiB", **os.environ, "KUBECONFIG": str(self.kubeconfig)}

    def command(self, argv: Sequence[str | Path]) -> list[str]:
        """The words that run a command where pods and Services can be reached; for Popen, with `environment`."""
        return [str(word) for word in argv]

    def network(self) -> contextlib.AbstractContextManager[None]:
        """A block in which the calling thread opens its sockets where pods and Services can be reached, by address."""
        return contextlib.nullcontext()

    def run(
        self, argv: Sequence[str | Path], *, stdin: str | None = None, check: bool = True, timeout: float = 60
    ) -> Completed:
        """Run a command where pods and Services can be reached (and cluster DNS answers, if the provider can).

        `timeout` is in seconds. Raises ClusterError with the command's own words when `check` and it fails.
        """
        result = subprocess.run(
            self.command(argv),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=self.environment,
            check=False,
        )
        if check and result.returncode:
            said = result.stderr.strip() or result.stdout.strip()
            raise ClusterError(f"{' '.join(map(str, argv))}: exit {result.returncode}: {said}")
        return result

    def kubectl(
        self, *arguments: str | Path, stdin: str | None = None, check: bool = True, timeout: float = 60
    ) -> Completed:
        """Run kubectl against this cluster and no other."""
        return self.run(["kubectl", *arguments], stdin=stdin, check=check, timeout=timeout)

    @functools.cached_property
    def _direct(self) -> Direct:
        return Direct(self.kubeconfig)

    def get(self, *arguments: str) -> Any:
        """What `kubectl get … -o json` says."""
        with contextlib.suppress(NotSimple), self.network():
            return self._direct.get(arguments)
        return json.loads(self.kubectl("get", *arguments, "-o", "json").stdout)

    def find(self, kind: str, name: str, namespace: str) -> Any:
        """An object, or None where there is none of that name."""
        with contextlib.suppress(NotSimple), self.network():
            return self._direct.get((kind, name, "-n", namespace))
        said = self.kubectl("-n", namespace, "get", kind, name, "-o", "json", "--ignore-not-found").stdout
        return json.loads(said) if said else None

    def apply(self, *manifests: dict[str, Any]) -> None:
        """Server-side apply some objects."""
        with contextlib.suppress(NotSimple), self.network():
            self._direct.apply(manifests)
            return
        document = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifests)})
        self.kubectl("apply", "--server-side", "-f", "-", stdin=document)

    def nodes(self) -> list[str]:
        """The names of all nodes."""
        return sorted(item["metadata"]["name"] for item in self.get("nodes")["items"])

    @abc.abstractmethod
    def import_images(self, *archives: Path) -> None:
        """Load docker-archive tars on every real node."""

    def node_off(self, name: str) -> None:
        """Cut the power of a node: all on it ends at once, its disk stays."""
        raise Unavailable(f"{type(self).__name__} cannot switch nodes off ({name})")

    def node_on(self, name: str) -> None:
        """Power a node on again; return when it runs, not when it is Ready."""
        raise Unavailable(f"{type(self).__name__} cannot switch nodes on ({name})")

    def api_server_off(self) -> None:
        """End the API server at once: connections to it are refused, nodes and pods go on without."""
        raise Unavailable(f"{type(self).__name__} cannot end its API server")

    def api_server_on(self) -> None:
        """Start the API server again; return when it is ready."""
        raise Unavailable(f"{type(self).__name__} cannot start its API server")

    def node_command(self, name: str, argv: Sequence[str | Path]) -> list[str]:
        """The words that run a command on a node."""
        raise Unavailable(f"{type(self).__name__} cannot run a command on a node ({name}: {' '.join(map(str, argv))})")

    @abc.abstractmethod
    def down(self) -> None:
        """Take away all that was started for it; a cluster that we did not start is left alone."""
