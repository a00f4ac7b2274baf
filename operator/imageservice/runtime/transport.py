"""One request to the API server and its answer: pace, timeout, retry where it is safe, count, and one error type."""

import json
import re
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from yarl import URL

from imageservice.manifest import Manifest
from imageservice.runtime.connection import Connection
from imageservice.runtime.failures import ApiError, Unreachable, failure
from imageservice.runtime.kinds import SECRET, Kind
from imageservice.runtime.limits import TokenBucket
from imageservice.runtime.metrics import Metrics
from imageservice.runtime.own_writes import OwnWrites

APPLY = "application/apply-patch+yaml"
JSON = "application/json"
CONNECT_SECONDS = 5.0
CONNECTIONS = 12
"""More than the workers use at once, most of the time. Each costs a third of a megabyte, as asyncio does TLS."""
_ESCAPES = re.compile(r"\\\\|\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}")
"""An escaped backslash (what follows is text), or a pair of surrogates."""


@dataclass(frozen=True)
class Call:
    """A request. `verb` is for the metrics; `wrote` is, for a write, the name of the object that the answer holds."""

    verb: str
    method: str
    kind: Kind
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Manifest | None = None
    content_type: str = JSON
    wrote: str | None = None
    accept: str = JSON

    @property
    def namespace(self) -> str:
        """The namespace of the object in the body."""
        return str((self.body or {}).get("metadata", {}).get("namespace", ""))


class GuardedBody(aiohttp.BytesPayload):
    """The body of a writing request. `guard` is called just before its first byte goes out, with the headers.

    That is the last moment at which a request can be called off: a process that was paused while it waited for a
    connection, or between two steps of the event loop, is still kept from writing.
    """

    def __init__(self, content: Manifest, guard: Callable[[], None]) -> None:
        super().__init__(encode(content), content_type=JSON)
        self._guard = guard
        self.refused: ApiError | None = None

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Write, unless the guard is against it; what it raised is kept in `refused`, as aiohttp wraps it."""
        try:
            self._guard()
        except ApiError as error:
            self.refused = error
            raise
        await super().write_with_length(writer, content_length)


class Transport:
    """Sends calls over a bounded number of connections and at a bounded pace."""

    def __init__(
        self,
        connection: Connection,
        metrics: Metrics,
        bucket: TokenBucket,
        *,
        before_write: Callable[[], None],
        request_seconds: float,
    ) -> None:
        self._connection = connection
        self._metrics = metrics
        self._bucket = bucket
        self._before_write = before_write
        self._timeout = aiohttp.ClientTimeout(total=request_seconds, sock_connect=CONNECT_SECONDS)
        self._session: aiohttp.ClientSession | None = None
        self.own_writes = OwnWrites()

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(self, call: Call) -> Manifest:
        """Send the request when its turn has come and return the answer. Raise ApiError or a subclass of it."""
        await self._bucket.take()
        under_way = self.own_writes.writing(call.kind, call.namespace, call.wrote) if call.wrote else nullcontext()
        with under_way:
            status, answer, retry_after = await self._exchange(call)
            if status >= 400:
                raise failure(status, answer, retry_after, reveal=call.kind != SECRET)
            manifest: Manifest = answer
            if call.wrote:
                self.own_writes.wrote(manifest)
        return manifest

    async def _exchange(self, call: Call) -> tuple[int, Any, str | None]:
        """Send the request; once more where a kept-alive connection or a token had just run out."""
        url = self._connection.server + call.path + (f"?{urlencode(call.query)}" if call.query else "")
        for last_try in (False, True):
            try:
                status, content, retry_after = await self._once(call, URL(url, encoded=True))
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
                # A server closes an idle connection whenever it likes. Applying twice is the same as once.
                if last_try or call.content_type != APPLY or isinstance(error, aiohttp.ClientConnectorError):
                    raise _unreachable(call, type(error).__name__) from None
                continue
            except TimeoutError:
                raise _unreachable(call, f"no answer within {self._timeout.total} s") from None
            except (aiohttp.ClientError, OSError) as error:
                raise _unreachable(call, type(error).__name__) from None
            if status != 401 or last_try:
                return status, _decode(content), retry_after
            await self._connection.renew()
        raise AssertionError("the last try returns or raises")

    async def _once(self, call: Call, url: URL) -> tuple[int, bytes, str | None]:
        body = None if call.body is None else GuardedBody(call.body, self._before_write)
        headers = {"Content-Type": call.content_type, "Accept": call.accept}
        code = "<error>"
        try:
            async with self._open().request(
                call.method, url, data=body, headers=headers, timeout=self._timeout
            ) as response:
                code = str(response.status)
                return response.status, await response.read(), response.headers.get("Retry-After")
        except aiohttp.ClientError:
            if body is not None and body.refused is not None:
                raise body.refused from None
            raise
        finally:
            self._metrics.requests.labels(code=code, method=call.method, verb=call.verb, kind=call.kind.kind).inc()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = self._connection.session(connections=CONNECTIONS)
        return self._session


def encode(content: Manifest) -> bytes:
    """Return the content as JSON that is YAML too, as which the API server reads an apply patch.

    YAML takes control characters only escaped, and characters beyond U+FFFF only as they are: it has no surrogates.
    """
    text = json.dumps(content, separators=(",", ":"))
    return _ESCAPES.sub(_without_surrogates, text).encode() if "\\ud" in text else text.encode()


def _without_surrogates(found: re.Match[str]) -> str:
    return str(json.loads(f'"{found[0]}"')) if found[0].startswith("\\u") else found[0]


def _unreachable(call: Call, what: str) -> Unreachable:
    return Unreachable(f"{call.verb} {call.kind.plural}: {what}")


def _decode(content: bytes) -> Any:
    try:
        return json.loads(content) if content else {}
    except ValueError:
        return {"message": "The answer is not JSON."}
