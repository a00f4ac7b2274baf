"""What tests have measured, told at the end of a test run."""

from collections.abc import Callable
from typing import Any

import pytest

_TOLD = "measured"


@pytest.fixture
def told(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Return a function that notes a sentence with a figure in it, for the end of the test run."""
    return lambda sentence: record_property(_TOLD, sentence)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what was noted, also by tests that ran in another process."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, [])]
    sentences = [text for report in reports for name, text in report.user_properties if name == _TOLD]
    if sentences:
        terminalreporter.section("measured")
        for sentence in sentences:
            terminalreporter.write_line(str(sentence))
