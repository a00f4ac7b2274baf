"""Provider `current`: a cluster that is there already, named by IMAGE_SERVICE_KUBECONFIG and IMAGE_SERVICE_CONTEXT.

Both must be given: tests create and delete things, so no cluster is ever taken because it was the default of something.
"""

import os
from pathlib import Path

from .cluster import Cluster, Completed
from .errors import ClusterError, Unavailable

_KUBECONFIG = "IMAGE_SERVICE_KUBECONFIG"
_CONTEXT = "IMAGE_SERVICE_CONTEXT"


def is_named() -> bool:
    """Whether a kubeconfig is named."""
    return bool(os.environ.get(_KUBECONFIG))


class CurrentCluster(Cluster):
    """A cluster that somebody else runs; kubectl must be on PATH."""

    def __init__(self, kubeconfig: Path, context: str) -> None:
        self.kubeconfig = kubeconfig
        self.context = context

    def kubectl(
        self, *arguments: str | Path, stdin: str | None = None, check: bool = True, timeout: float = 60
    ) -> Completed:
        """Run kubectl against this cluster and no other."""
        command = ["kubectl", f"--context={self.context}", *arguments]
        return self.run(command, stdin=stdin, check=check, timeout=timeout)

    def import_images(self, *archives: Path) -> None:
        """Not possible: such a cluster pulls its images."""
        raise Unavailable("a cluster named by kubeconfig has to pull its images; they cannot be imported")

    def down(self) -> None:
        """Nothing was started for it, and nothing is taken away."""


def open_named() -> CurrentCluster:
    """The cluster that the two variables name. Raises ClusterError when one is missing or the context is unknown."""
    kubeconfig, context = os.environ.get(_KUBECONFIG), os.environ.get(_CONTEXT)
    if not kubeconfig or not context:
        raise ClusterError(f"name the cluster with both {_KUBECONFIG} and {_CONTEXT}")
    if not Path(kubeconfig).is_file():
        raise ClusterError(f"{_KUBECONFIG}: no file {kubeconfig}")
    cluster = CurrentCluster(Path(kubeconfig), context)
    known = cluster.run(["kubectl", "config", "get-contexts", "-o", "name"]).stdout.split()
    if context not in known:
        raise ClusterError(f"{_CONTEXT}: {kubeconfig} has no context {context!r}, only {', '.join(known) or 'none'}")
    return cluster
