"""What the operator itself tells of how it fares: its log, its metrics, and that it is there at all."""

import json
from collections.abc import Iterator

from prometheus_client.parser import text_string_to_metric_families
from tests.operator_process import OperatorProcess

WRITES = frozenset(("POST", "PUT", "PATCH", "DELETE"))
_PREFIX = "image_service_operator_"


class Oracle:
    """Looks at one operator process from now on."""

    def __init__(self, operator: OperatorProcess) -> None:
        self._operator = operator
        self._pid = operator.pid
        self._read = operator.log.stat().st_size

    def complaints(self) -> list[str]:
        """Return what is wrong with the operator since the last look, in words; nothing where all is well."""
        found = [line for line in self._new_lines() if _is_bad(line)]
        if not self._operator.answers("/livez"):
            found.append(f"the operator (process {self._pid}) does not answer /livez")
        return found

    def _new_lines(self) -> Iterator[str]:
        with self._operator.log.open("rb") as log:
            log.seek(self._read)
            content = log.read()
        self._read += len(content)
        yield from content.decode().splitlines()

    def writes(self) -> float:
        """Return how many writes the operator has sent since it started, but for those to its Lease."""
        return sum(
            value
            for labels, value in self._samples("rest_client_requests_total")
            if labels["method"] in WRITES and labels["kind"] != "Lease"
        )

    def errors(self) -> float:
        """Return how many reconciles have ended in an error since the operator started."""
        return sum(value for _, value in self._samples("reconcile_errors_total"))

    def _samples(self, name: str) -> Iterator[tuple[dict[str, str], float]]:
        for family in text_string_to_metric_families(self._operator.fetch("/metrics")):
            for sample in family.samples:
                if sample.name == _PREFIX + name:
                    yield sample.labels, sample.value


def _is_bad(line: str) -> bool:
    """Tell whether a line of the log complains of something. One that is no JSON is a traceback or worse."""
    try:
        entry = json.loads(line)
    except ValueError:
        return True
    return entry["level"] not in ("debug", "info") or "bug" in entry["message"]
