"""What every test may use."""

import os
import signal
from typing import Any

import pytest
from tests import workers
from tests.ceph.fixtures import two_ceph_clusters, two_ceph_clusters_for_pods
from tests.cluster.fixtures import control_plane, real_cluster
from tests.keystone import keystone

__all__ = ["control_plane", "keystone", "real_cluster", "two_ceph_clusters", "two_ceph_clusters_for_pods"]


def pytest_sessionstart() -> None:
    """End on SIGTERM as on Ctrl-C: fixtures take away what they started."""
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("terminated", returncode=143))
    # A shell that starts us in the background has SIGINT ignored, and so would be what we start and mean to interrupt.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where several workers share the tests, begin with what takes longest."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        workers.arrange(items)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> workers.ByUnit | None:
    """Share the tests out by units rather than by files."""
    return workers.ByUnit(config, log) if config.getvalue("dist") == "loadfile" else None
