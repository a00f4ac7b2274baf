"""Telling our own writes from those of others, so that an echo of a write wakes nobody.

Every write comes back as a watch event. The reconcile that wrote has the answer of the API server in hand already, so
looking at the same state once more would only double the reads. An event is our echo if it carries the very
resourceVersion that the API server gave us as the answer to a write.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from imageservice.manifest import Manifest
from imageservice.runtime.kinds import Kind

_REMEMBERED = 8192
_WAIT_SECONDS = 1.0

_Object = tuple[Kind, str, str]
_Version = tuple[str, str]


class OwnWrites:
    """Remembers the last few thousand writes, and which objects are being written right now."""

    def __init__(self) -> None:
        self._versions: OrderedDict[_Version, None] = OrderedDict()
        self._in_flight: dict[_Object, list[asyncio.Event]] = {}

    @contextmanager
    def writing(self, kind: Kind, namespace: str, name: str) -> Iterator[None]:
        """Mark the object as being written, for as long as the request runs."""
        key = (kind, namespace, name)
        done = asyncio.Event()
        self._in_flight.setdefault(key, []).append(done)
        try:
            yield
        finally:
            self._in_flight[key].remove(done)
            if not self._in_flight[key]:
                del self._in_flight[key]
            done.set()

    def wrote(self, answer: Manifest) -> None:
        """Remember the object that the API server answered a write with."""
        self._versions[_version(answer)] = None
        while len(self._versions) > _REMEMBERED:
            self._versions.popitem(last=False)

    async def is_echo(self, kind: Kind, manifest: Manifest) -> bool:
        """Tell whether this state of the object is one that we wrote.

        The event may overtake the answer of the write that caused it: while one is under way, its answer is waited for.
        """
        metadata = manifest["metadata"]
        running = list(self._in_flight.get((kind, metadata.get("namespace", ""), metadata["name"]), []))
        if running and _version(manifest) not in self._versions:
            try:
                async with asyncio.timeout(_WAIT_SECONDS):
                    for done in running:
                        await done.wait()
            except TimeoutError:
                return False
        return _version(manifest) in self._versions


def _version(manifest: Manifest) -> _Version:
    metadata = manifest["metadata"]
    return metadata.get("uid", ""), metadata.get("resourceVersion", "")
