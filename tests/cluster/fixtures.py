"""Clusters as pytest fixtures; `tests/conftest.py` makes them known to every test.

They belong to the test run: they end with it, and what a killed run leaves is removed by the next one (or by
`python -m tests.cluster sweep`). With IMAGE_SERVICE_CLUSTER_STATE set, `real_cluster` is the cluster of that state
directory, brought up where it is not, and it is left running.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from . import local, providers, state
from .cluster import Cluster
from .errors import Unavailable

FAKE_NODES = 3
REAL_NODES = 2


def _own_state(name: str) -> Path:
    return state.registry() / f"test-{os.getpid()}-{name}"


@pytest.fixture(scope="session")
def control_plane() -> Iterator[Cluster]:
    """A real API server with all its controllers and three kwok nodes. Its pods are Ready but do not exist."""
    if sys.platform != "linux":
        pytest.skip(f"the control plane runs on Linux, this is {sys.platform}")
    try:
        cluster = local.up(_own_state("control-plane"), nodes=0, fake_nodes=FAKE_NODES, keep=False)
    except Unavailable as reason:
        pytest.skip(str(reason))
    yield cluster
    cluster.down()


def no_longer_than_needed(fixture_name: str, config: pytest.Config) -> Literal["session", "module"]:
    """Nodes take processor time even when nothing runs on them: with workers beside, they end with the file."""
    return "module" if "PYTEST_XDIST_WORKER" in os.environ else "session"


@pytest.fixture(scope=no_longer_than_needed)
def real_cluster() -> Iterator[Cluster]:
    """A cluster with two real nodes and cluster DNS; its pods run."""
    keep = "IMAGE_SERVICE_CLUSTER_STATE" in os.environ
    root = providers.default_state() if keep else _own_state("nodes")
    try:
        cluster = providers.up(root, nodes=REAL_NODES, keep=keep)
    except Unavailable as reason:
        pytest.skip(str(reason))
    yield cluster
    if not keep:
        cluster.down()
