"""What was tried, told at the end of a test run, and the fixtures that the tests of faults share."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests import caches_stand_in, keystone_stand_in
from tests.api_client import ApiClient, Refused
from tests.cluster.cluster import Cluster
from tests.faults.forked import Nursery
from tests.faults.scenarios import OWN_KINDS
from tests.keystone_stand_in import KeystoneStandIn
from tests.operator_process import wait_for

CRDS = "crds"
_FIGURE = "figure"


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Return a function that notes a sentence with a number in it, for the end of the test run."""
    return lambda sentence: record_property(_FIGURE, sentence)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what was noted, also by tests that ran in another process."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, [])]
    sentences = [text for report in reports for name, text in report.user_properties if name == _FIGURE]
    if sentences:
        terminalreporter.section("faults tried")
        for sentence in sentences:
            terminalreporter.write_line(str(sentence))


@pytest.fixture(scope="session")
def cluster(control_plane: Cluster) -> Cluster:
    """A control plane that serves our kinds."""
    control_plane.kubectl("apply", "--server-side", "-f", CRDS)
    control_plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    return control_plane


@pytest.fixture(scope="session")
def api(cluster: Cluster) -> ApiClient:
    """The API server as the tests see it: past every proxy. It serves our kinds for good."""
    client = ApiClient(cluster.kubeconfig)

    def serves() -> bool:
        with contextlib.suppress(Refused):  # a kind that is new is not there at once
            return all(client.list(kind) is not None for kind in OWN_KINDS)
        return False

    wait_for(serves, 30, f"the API server lists {OWN_KINDS}")
    return client


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Operator processes that are quick to start."""
    with caches_stand_in.running() as programs, Nursery(programs) as started:
        yield started


@pytest.fixture(scope="session")
def keystone_clouds() -> Iterator[KeystoneStandIn]:
    """Any number of small Keystones, one for each lane."""
    with keystone_stand_in.running() as keystone:
        yield keystone
