"""How several workers share the tests: in units that set up the same things, the longest first.

The unit is the file, but for two that are worth a finer cut: Glance is one unit a release (it is imported once for
each), and the tests of the operator are one unit a class.
"""

import re

import pytest
from xdist.scheduler import LoadFileScheduling

LONGEST_FIRST = (
    "tests/e2e/test_dcn.py",
    "tests/e2e/test_cache_edge.py",
    "tests/e2e/test_nfs.py",
    "tests/e2e/test_cache_kills.py",
    "tests/e2e/test_caches.py",
    "tests/e2e/test_image_service.py",
    "tests/faults",
    "tests/transitions",
    "tests/integration/test_drift.py",
    "tests/glance[",
    "tests/integration/test_operator.py::TestTheMainJob",
    "tests/integration/test_runtime_lease.py",
    "tests/integration/test_operator.py::TestBadInput",
    "tests/e2e/test_cluster_nodes.py",
    "tests/integration/test_install.py",
    "tests/integration/test_operator.py::TestTheProcess",
    "tests/glance",
    "tests/integration",
    "tests/images",
)
"""Units, or what their names begin with, in the order in which they are begun; what is not named comes last."""

_GLANCE = re.compile(r"tests/glance/.*\[(?:.*-)?(\d{4}\.\d)\b.*\]")
_OPERATOR = "tests/integration/test_operator.py"


def unit(node_id: str) -> str:
    """Return the name of the unit that a test belongs to."""
    file, *inner = node_id.split("::")
    release = _GLANCE.fullmatch(node_id)
    if release:
        return f"tests/glance[{release[1]}]"
    return f"{file}::{inner[0]}" if file == _OPERATOR else file


def turn(node_id: str) -> int:
    """Return when a test has its turn: a number that grows from unit to unit."""
    name = unit(node_id)
    begins = [number for number, beginning in enumerate(LONGEST_FIRST) if name.startswith(beginning)]
    return min(begins, default=len(LONGEST_FIRST))


class ByUnit(LoadFileScheduling):
    """The scheduler of `--dist loadfile`, with units in place of files."""

    def _split_scope(self, nodeid: str) -> str:
        return unit(nodeid)


def arrange(items: list[pytest.Item]) -> None:
    """Put the tests into the order in which the units are begun."""
    items.sort(key=lambda item: (turn(item.nodeid), unit(item.nodeid)))
