"""The few calls to the API server that bringing a cluster up needs, without the cost of starting kubectl for each."""

import contextlib
import http.client
import json
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from . import network
from .certificates import Certificates
from .errors import ClusterError


@dataclass(frozen=True)
class Api:
    """An API server, called as cluster administrator from within its network namespace (None: from where we are)."""

    server: str
    certificates: Certificates
    namespace: Path | None = None

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, str]:
        """One request; the HTTP status and the body. Raises OSError where there is no answer."""
        context = ssl.create_default_context(cafile=str(self.certificates.certificate("ca")))
        context.load_cert_chain(self.certificates.certificate("admin"), self.certificates.key("admin"))
        address = urlsplit(self.server)
        assert address.hostname is not None
        headers = {"Content-Type": "application/apply-patch+yaml" if method == "PATCH" else "application/json"}
        with network.inside(self.namespace) if self.namespace else contextlib.nullcontext():
            connection = http.client.HTTPSConnection(address.hostname, address.port, timeout=10, context=context)
            try:
                connection.request(method, path, json.dumps(body) if body is not None else None, headers)
                answer = connection.getresponse()
                return answer.status, answer.read().decode()
            finally:
                connection.close()

    def get(self, path: str) -> dict[str, Any] | None:
        """The object at a path; None where there is none or no answer."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            status, body = self.call("GET", path)
            if status == 200:
                found: dict[str, Any] = json.loads(body)
                return found
        return None

    def healthy(self) -> bool:
        """Whether the API server says that it is ready."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.call("GET", "/readyz") == (200, "ok")
        return False

    def apply(self, path: str, manifest: dict[str, Any]) -> None:
        """Server-side apply one object."""
        status, body = self.call("PATCH", f"{path}?fieldManager=test-cluster&force=true", manifest)
        if status not in {200, 201}:
            raise ClusterError(f"cannot apply {path}: {status} {body}")


def wait_until(condition: Callable[[], bool], *, seconds: float, what: str, still_possible: Callable[[], None]) -> None:
    """Wait for a condition; `still_possible` raises as soon as waiting is in vain."""
    deadline = time.monotonic() + seconds
    while not condition():
        still_possible()
        if time.monotonic() > deadline:
            raise ClusterError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.1)


def ready(found: dict[str, Any] | None, condition: str = "Ready") -> bool:
    """Whether an object has that condition with status True."""
    conditions = ((found or {}).get("status") or {}).get("conditions") or []
    return any(entry["type"] == condition and entry["status"] == "True" for entry in conditions)
