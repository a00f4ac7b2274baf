"""Who asked what of the API server, from its audit log: needs nothing of the operator that is counted."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

GROUP = "bench:operators"
"""Operators' users are in this group: only requests of its members are logged."""
POLICY: dict[str, Any] = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata", "userGroups": [GROUP]}, {"level": "None"}],
}
_WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
_LEASES = "leases"


@dataclass(frozen=True)
class Request:
    """One request. `at` is when the API server received it, in seconds since 1970."""

    at: float
    verb: str
    resource: str
    """Plural with the subresource, as in `deployments/scale`; the path of what is no resource, as in `/apis`."""
    namespace: str
    name: str
    status: int

    @property
    def is_write(self) -> bool:
        """Whether it asked for a change."""
        return self.verb in _WRITES

    @property
    def is_lease(self) -> bool:
        """Whether it is about leadership: that goes on by the clock, whatever there is to do."""
        return self.resource == _LEASES

    @property
    def is_work(self) -> bool:
        """Whether it is about the operator's objects: neither leadership nor the (re)opening of a watch."""
        return not self.is_lease and self.verb != "watch"


def parse(line: str, user: str) -> Request | None:
    """Return the request of `user` that a line of the log tells of; None for all other lines.

    A watch is told of twice, when it begins and when it ends: only the beginning counts.
    """
    event = json.loads(line)
    stage = "ResponseStarted" if event["verb"] == "watch" else "ResponseComplete"
    if event["stage"] != stage or event["user"].get("username") != user:
        return None
    about = event.get("objectRef") or {}
    resource = about.get("resource") or event["requestURI"].partition("?")[0]
    if about.get("subresource"):
        resource += f"/{about['subresource']}"
    return Request(
        at=datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp(),
        verb=event["verb"],
        resource=resource,
        namespace=about.get("namespace", ""),
        name=about.get("name", ""),
        status=event.get("responseStatus", {}).get("code", 0),
    )


@dataclass
class AuditLog:
    """The requests of one user, read as the log grows."""

    path: Path
    user: str
    requests: list[Request] = field(default_factory=list)
    _read: int = 0

    def update(self) -> None:
        """Read what was logged since the last time; a line that is still being written waits for the next."""
        with self.path.open("rb") as log:
            log.seek(self._read)
            fresh = log.read()
        complete = fresh[: fresh.rfind(b"\n") + 1]
        self._read += len(complete)
        for line in complete.splitlines():
            request = parse(line.decode(), self.user)
            if request:
                self.requests.append(request)

    def since(self, index: int) -> list[Request]:
        """Return what was asked after the first `index` requests, as far as it has been read."""
        return self.requests[index:]


def by_verb_and_resource(requests: Iterable[Request], per: int = 1) -> dict[str, float]:
    """Return `verb resource` -> how many, the most frequent first, divided by `per`."""
    counts = Counter(f"{request.verb} {request.resource}" for request in requests)
    return {what: round(count / per, 2) for what, count in counts.most_common()}


def by_verb(requests: Iterable[Request], per: int = 1) -> dict[str, float]:
    """Return verb -> how many, the most frequent first, divided by `per`."""
    counts = Counter(request.verb for request in requests)
    return {verb: round(count / per, 2) for verb, count in counts.most_common()}
