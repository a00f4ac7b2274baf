"""Which of the providers makes the cluster, and which one made a given one."""

import os
from pathlib import Path

from . import current, kind, local
from .cluster import Cluster
from .errors import ClusterError, Unavailable
from .progress import say
from .state import State, registry

PROVIDERS = ("local", "kind", "current")


def default_state() -> Path:
    """The state directory that the command line uses: IMAGE_SERVICE_CLUSTER_STATE, or one per user."""
    given = os.environ.get("IMAGE_SERVICE_CLUSTER_STATE")
    return Path(given) if given else registry() / "default"


def choose() -> str:
    """The provider named by IMAGE_SERVICE_CLUSTER_PROVIDER, else the first that fits this machine.

    A kubeconfig named explicitly comes first; then kind, where Docker answers and has the node image; then local.
    """
    named = os.environ.get("IMAGE_SERVICE_CLUSTER_PROVIDER")
    if named:
        if named not in PROVIDERS:
            raise ClusterError(f"IMAGE_SERVICE_CLUSTER_PROVIDER is {named!r}; known: {', '.join(PROVIDERS)}")
        return named
    if current.is_named():
        return "current"
    return "kind" if kind.why_not() is None else "local"


def up(root: Path, *, nodes: int, fake_nodes: int = 0, keep: bool) -> Cluster:
    """Bring a cluster up; `nodes` 0 asks for a control plane only, which only `local` has."""
    made_by = State(root.resolve()).settings().get("provider")
    provider = made_by or ("local" if nodes == 0 else choose())
    if provider == "local":
        return local.up(root, nodes=nodes, fake_nodes=fake_nodes, keep=keep)
    if fake_nodes:
        raise Unavailable(f"fake nodes are for the provider `local`, this is `{provider}`")
    if provider == "kind":
        return kind.up(root, nodes=nodes, keep=keep)
    return current.open_named()


def down(root: Path) -> None:
    """Take a cluster away, also one of which a crash left no more than records."""
    state = State(root.resolve())
    if state.settings().get("provider") in {None, "local"}:
        if not state.root.exists():
            say(f"there is no cluster at {root}")
        else:
            local.LocalCluster(state).down()
    else:
        find(root).down()


def find(root: Path) -> Cluster:
    """The cluster of a state directory, or the one that is named explicitly."""
    state = State(root.resolve())
    provider = state.settings().get("provider")
    if provider == "local":
        return local.LocalCluster(state)
    if provider == "kind":
        return kind.KindCluster(state)
    if current.is_named():
        return current.open_named()
    raise ClusterError(f"no cluster at {root}: `python -m tests.cluster up` makes one")
