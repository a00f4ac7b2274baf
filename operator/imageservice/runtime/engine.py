"""kopf's event engine, set up to do nothing but watch: it keeps nothing, writes nothing, and ends no task of ours."""

import random
from collections.abc import Iterator, Mapping
from typing import Any

import kopf
from kopf._core.reactor import inventory

from imageservice.runtime.kinds import Kind

PAGE_SIZE = 500
SERVER_SECONDS = 600
SILENCE_SECONDS = 70.0
"""The API server sends a bookmark every minute, so a watch silent for longer is dead and begun anew."""
REQUEST_SECONDS = 30.0
CONNECT_SECONDS = 10.0
LONGEST_RETRY_SECONDS = 30.0


class Backoffs:
    """Pauses between tries of one request, in seconds: without end, so that an outage of any length is waited out."""

    def __iter__(self) -> Iterator[float]:
        pause = 1.0
        while True:
            yield pause * random.uniform(1.0, 1.5)  # noqa: S311
            pause = min(pause * 2, LONGEST_RETRY_SECONDS)


class AllTasks:
    """A collection that every task is in."""

    def __contains__(self, task: object) -> bool:
        return True


class NoMemories(inventory.ResourceMemories):  # type: ignore[misc]  # `spawn_tasks` takes one, and has no name for it
    """What kopf remembers of each object for handlers of other sorts: kilobytes of nothing."""

    async def recall(self, raw_body: Any, **options: Any) -> inventory.ResourceMemory:
        """Return the memory of an object that was never seen."""
        return await super().recall(raw_body, **{**options, "ephemeral": True})


class NoDiffBase(kopf.DiffBaseStorage):  # type: ignore[misc]  # kopf tells no types of its names
    """What kopf needs for handlers of changes, of which there are none: it would copy every object for it."""

    def build(self, **_: Any) -> Any:
        """Return nothing to compare with."""
        return {}

    def fetch(self, **_: Any) -> Any:
        """Return that nothing was stored."""
        return None

    def store(self, **_: Any) -> None:
        """Store nothing."""


class NoProgress(kopf.ProgressStorage):  # type: ignore[misc]
    """The same for the progress of such handlers."""

    def fetch(self, **_: Any) -> Any:
        """Return that nothing was stored."""
        return None

    def store(self, **_: Any) -> None:
        """Store nothing."""

    def purge(self, **_: Any) -> None:
        """Take nothing away."""

    def touch(self, **_: Any) -> None:
        """Mark nothing."""

    def clear(self, *, essence: Any) -> Any:
        """Return what was given, for nothing of ours is in it."""
        return essence


def engine_settings(selectors: Mapping[Kind, str]) -> kopf.OperatorSettings:
    """Return how kopf is to work: it writes nothing, watches no more than it must, and never gives up on a request.

    `selectors` are the label selectors of the watches, by kind.
    """
    settings = kopf.OperatorSettings()
    settings.persistence.finalizer = "imageservice.dev/event-engine-unused"  # kopf removes this one wherever it sees it
    settings.persistence.diffbase_storage = NoDiffBase()
    settings.persistence.progress_storage = NoProgress()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.process.ultimate_exiting_timeout = None
    settings.queueing.idle_timeout = 1.0
    settings.networking.request_timeout = REQUEST_SECONDS
    settings.networking.connect_timeout = CONNECT_SECONDS
    settings.networking.error_backoffs = Backoffs()
    settings.networking.enforce_retry_after = True
    settings.watching.server_timeout = SERVER_SECONDS
    settings.watching.connect_timeout = CONNECT_SECONDS
    settings.watching.inactivity_timeout = SILENCE_SECONDS
    settings.watching.reconnect_backoff = 0.5
    settings.watching.chunk_size = PAGE_SIZE
    for kind, selector in selectors.items():
        settings.watching.label_selectors[kind.group, kind.version, kind.plural] = selector
    return settings
