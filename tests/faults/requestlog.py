"""What a client asked of the API server, request by request, as the proxy between the two saw it."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

READS = frozenset(("get", "list", "watch", "discover"))
WRITES = frozenset(("create", "update", "patch", "delete", "deletecollection"))
_BY_METHOD = {"POST": "create", "PUT": "update", "PATCH": "patch"}
LEASES = "leases"
_LOGINS = "auth"
"""The first word of the path below which Keystone hands out tokens: a POST there changes nothing that lasts."""


@dataclass
class Request:
    """One request. Times are in seconds of `time.monotonic`.

    `server` is empty for the API server, else the name of another one behind the same proxy (`FaultProxy.add_server`).
    `verb` is that of Kubernetes authorization (`discover` for what concerns no resource), `resource` the plural in the
    path. `reached` is the status that the server answered with, None where it was not asked; `status` is what the
    client was told, None where it was told nothing. `faults` names what was done to the request.
    """

    method: str
    path: str
    verb: str
    server: str = ""
    group: str = ""
    resource: str = ""
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    manager: str = ""
    began: float = field(default_factory=time.monotonic)
    ended: float | None = None
    reached: int | None = None
    status: int | None = None
    faults: list[str] = field(default_factory=list)

    @property
    def is_write(self) -> bool:
        """Whether it is a write under test: not one of a Lease, and no login."""
        return self.verb in WRITES and self.resource not in (LEASES, _LOGINS)

    def __str__(self) -> str:
        parts = (self.server, self.namespace, self.resource, self.name, self.subresource)
        where = "/".join(part for part in parts if part)
        told = "no answer" if self.status is None else str(self.status)
        return f"{self.verb} {where or self.path}: {told}" + (f" ({', '.join(self.faults)})" if self.faults else "")


def parse(method: str, path: str, query: Mapping[str, str], server: str = "") -> Request:
    """Return the request to a path of the Kubernetes API, or of another one (Keystone's), of which less is known."""
    segments = [unquote(segment) for segment in path.split("/") if segment]
    group, rest = _below_version(segments)
    namespace = ""
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    resource, name, subresource = (*rest[:3], "", "", "")[:3]
    return Request(
        method=method,
        path=path,
        verb=_verb(method, resource, name, query),
        server=server,
        group=group,
        resource=resource,
        namespace=namespace,
        name=name,
        subresource=subresource,
        manager=query.get("fieldManager", ""),
    )


def _below_version(segments: list[str]) -> tuple[str, list[str]]:
    """Return the API group and the segments after its version."""
    if segments[:1] == ["api"]:
        return "", segments[2:]
    if segments[:1] == ["apis"]:
        return (segments[1] if len(segments) > 1 else ""), segments[3:]
    if "v3" in segments:
        return "", segments[segments.index("v3") + 1 :]
    return "", []


def _verb(method: str, resource: str, name: str, query: Mapping[str, str]) -> str:
    if not resource:
        return "discover"
    if method == "DELETE":
        return "delete" if name else "deletecollection"
    if method in _BY_METHOD:
        return _BY_METHOD[method]
    if query.get("watch") in ("true", "1"):
        return "watch"
    return "get" if name else "list"


class RequestLog:
    """All requests in the order in which they came. Any thread may read it while the proxy writes it."""

    def __init__(self) -> None:
        self._requests: list[Request] = []
        self._lock = threading.Lock()

    def add(self, request: Request) -> None:
        """Note a request that has come; the proxy fills in the rest as it goes on."""
        with self._lock:
            self._requests.append(request)

    def __len__(self) -> int:
        return len(self._requests)

    def __iter__(self) -> Iterator[Request]:
        return iter(self.since(0))

    def since(self, position: int) -> list[Request]:
        """Return the requests that came after the first `position` ones: `len(log)` at some time marks that time."""
        with self._lock:
            return self._requests[position:]

    def writes(self, position: int = 0) -> list[Request]:
        """Return the writes that the server was asked to carry out, those of Leases aside."""
        return [request for request in self.since(position) if request.is_write and request.reached is not None]

    def count(self, by: Callable[[Request], str], position: int = 0) -> Counter[str]:
        """Count requests: `log.count(lambda request: request.verb)`."""
        return Counter(by(request) for request in self.since(position))

    def open_watches(self) -> list[Request]:
        """Return the watches that have not ended."""
        return [request for request in self.since(0) if request.verb == "watch" and request.ended is None]

    def quiet_seconds(self) -> float:
        """Return for how long no write has come; endless where none ever did."""
        return time.monotonic() - max((request.began for request in self._recent_writes()), default=float("-inf"))

    def _recent_writes(self) -> Iterable[Request]:
        newest_first = reversed(self.since(0))
        return [next((request for request in newest_first if request.is_write), None) or _NEVER]


_NEVER = Request("", "", "", began=float("-inf"))
