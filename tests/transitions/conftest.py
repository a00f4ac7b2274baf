"""The cluster with a running operator that the transitions are tried on, and what was tried, told at the end.

IMAGE_SERVICE_TRANSITIONS          how many generated transitions are tried at least (200)
IMAGE_SERVICE_TRANSITIONS_SEED     which ones (1): the same number gives the same ones
IMAGE_SERVICE_TRANSITIONS_NUMBERS  only these of them, by number, like 27,45 (all)
IMAGE_SERVICE_TRANSITIONS_AT_ONCE  how many trials go on at once, each in namespaces of its own (10)
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from tests import caches_stand_in, keystone_stand_in
from tests.api_client import ApiClient
from tests.caches_stand_in import Running
from tests.cluster.cluster import Cluster
from tests.cluster.progress import say
from tests.keystone_stand_in import KeystoneStandIn
from tests.operator_process import OperatorProcess, running
from tests.transitions.home import Surroundings
from tests.transitions.oracle import Oracle
from tests.transitions.schema import CRDS
from tests.transitions.trial import Homes
from tests.transitions.view import View

FEWEST = 200
_TRIED = "transitions"


def number(variable: str, default: int) -> int:
    """Return a whole number from the environment."""
    return int(os.environ.get(f"IMAGE_SERVICE_{variable}") or default)


@dataclass(frozen=True)
class Effort:
    """How much is tried: at least so many generated transitions, those of a seed, and so many trials at once.

    `numbers` are the trials of the seed that alone are tried; none of them: all are.
    """

    transitions: int
    seed: int
    at_once: int
    numbers: tuple[int, ...]


@pytest.fixture(scope="session")
def effort() -> Effort:
    """How much is tried."""
    chosen = os.environ.get("IMAGE_SERVICE_TRANSITIONS_NUMBERS", "")
    return Effort(
        number("TRANSITIONS", FEWEST),
        number("TRANSITIONS_SEED", 1),
        number("TRANSITIONS_AT_ONCE", 10),
        tuple(int(one) for one in chosen.split(",") if one),
    )


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Return a function that notes a sentence for the end of the test run."""
    return lambda sentence: record_property(_TRIED, sentence)


@pytest.fixture
def progress(capfd: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Return a function that prints a line at once, past what captures a test's output."""

    def tell_at_once(line: str) -> None:
        with capfd.disabled():
            say(line)

    return tell_at_once


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what was noted, also by tests that ran in another process."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, [])]
    sentences = [text for report in reports for name, text in report.user_properties if name == _TRIED]
    if sentences:
        terminalreporter.section("transitions tried")
        for sentence in sentences:
            terminalreporter.write_line(str(sentence))


@pytest.fixture(scope="module")
def api(control_plane: Cluster) -> ApiClient:
    """An API server that serves our kinds."""
    control_plane.kubectl("apply", "--server-side", "-f", CRDS)
    control_plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    return ApiClient(control_plane.kubeconfig)


@pytest.fixture(scope="module")
def clouds() -> Iterator[KeystoneStandIn]:
    """A Keystone for each namespace."""
    with keystone_stand_in.running() as keystone:
        yield keystone


@pytest.fixture(scope="module")
def programs() -> Iterator[Running]:
    """The programs in the pods."""
    with caches_stand_in.running() as found:
        yield found


@pytest.fixture(scope="module")
def operator(
    api: ApiClient, programs: Running, control_plane: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    """One operator for all namespaces."""
    assert api
    log = tmp_path_factory.mktemp("operator") / "log"
    settings = {"lease_name": "transitions", "lease_namespace": "default"} | programs.settings
    with running(control_plane, log, **settings) as process:
        yield process


@pytest.fixture(scope="module")
def surroundings(
    api: ApiClient, clouds: KeystoneStandIn, programs: Running, operator: OperatorProcess
) -> Iterator[Surroundings]:
    """What all namespaces share."""
    assert operator
    user = clouds.create_user("robot", "robot-password", "service", "service")
    view = View(api).start()
    credential = clouds.create_application_credential(user, "glance", "service")
    yield Surroundings(api, view, clouds, programs, credential)
    view.stop()


@pytest.fixture(scope="module")
def homes(surroundings: Surroundings) -> Iterator[Homes]:
    """Namespaces to borrow."""
    lent = Homes(surroundings)
    yield lent
    lent.close()


@pytest.fixture
def oracle(operator: OperatorProcess) -> Iterator[Oracle]:
    """Watches over the operator; a test fails at its end where the operator crashed, or complained in its log."""
    watching = Oracle(operator)
    yield watching
    assert watching.complaints() == []
