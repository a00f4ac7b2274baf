"""What the monitors of all sites say, asked at most once in a while whoever wants to know."""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import aiohttp

from imageservice.expiring import Expiring
from imageservice.found_images import Found
from imageservice.glance import answers, monitor
from imageservice.glance.lookup import Query, lookup
from imageservice.glance.monitor import MonitorError, Reason
from imageservice.sensitive import Sensitive
from imageservice.store_report import ImageCount, StoreReport

FRESH_SECONDS = 10.0
"""For how long the answer of a site, or its failure to give one, is given again."""
LOOKUP_FRESH_SECONDS = 25.0
"""For how long what images were found is given again: a new one is seen after this."""


@dataclass(frozen=True)
class _Outcome:
    reports: dict[str, StoreReport] | None
    failure: tuple[Reason, str] | None  # not the exception: its frames would be kept with it

    def get(self) -> dict[str, StoreReport]:
        if self.failure is not None:
            raise MonitorError(*self.failure)
        return dict(self.reports or {})


class SiteMonitors:
    """The monitors of the sites, by URL, while the context lasts.

    Reports are remembered for a while, failures too, so that a site that is down costs one timeout and not one for each
    store; those who ask while a request is under way share its answer. Counts are asked for anew each time: they decide
    whether images would be lost.
    """

    def __init__(self, *, fresh_seconds: float = FRESH_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._fresh_seconds = fresh_seconds
        self._outcomes: Expiring[str, _Outcome] = Expiring(clock)
        self._requests: dict[str, asyncio.Task[_Outcome]] = {}
        self._found: Expiring[tuple[str, str, str], list[Found]] = Expiring(clock)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = answers.new_session()
        return self

    async def __aexit__(self, *_: object) -> None:
        requests = list(self._requests.values())
        for request in requests:
            request.cancel()
        await asyncio.gather(*requests, return_exceptions=True)
        await self._open_session().close()
        self._session = None

    async def stores(self, url: str) -> dict[str, StoreReport]:
        """Return what the monitor at `url` says of its stores, at most `fresh_seconds` old. Raises MonitorError."""
        outcome = self._outcomes.get(url)
        if outcome is None:
            # Shielded: one who gives up must not take the answer from the others.
            outcome = await asyncio.shield(self._requests.get(url) or self._request(url))
        return outcome.get()

    async def images(self, url: str, store_id: str) -> ImageCount:
        """Return how many images lie in a store, as the monitor at `url` counts them now. Raises MonitorError."""
        return await monitor.images(self._open_session(), url, store_id)

    async def lookup(self, url: str, token: Sensitive, queries: Sequence[Query]) -> list[Found]:
        """Return what images are meant, as the monitor at `url` told at most LOOKUP_FRESH_SECONDS ago.

        A process in the pod asks the database for it, so what was told is told again for a while; a failure is not.
        """
        key = (url, token.reveal(), json.dumps(list(queries), sort_keys=True))
        found = self._found.get(key)
        if found is None:
            found = await lookup(self._open_session(), url, token, queries)
            self._found.put(key, found, LOOKUP_FRESH_SECONDS)
        return found

    def _request(self, url: str) -> asyncio.Task[_Outcome]:
        request = self._requests[url] = asyncio.create_task(self._ask(url), name=f"store monitor {url}")
        request.add_done_callback(lambda _: self._requests.pop(url))
        return request

    async def _ask(self, url: str) -> _Outcome:
        reports, failure = None, None
        try:
            reports = await monitor.stores(self._open_session(), url)
        except MonitorError as error:
            failure = (error.reason, error.message)
        outcome = _Outcome(reports, failure)
        self._outcomes.put(url, outcome, self._fresh_seconds)
        return outcome

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("outside of the context")
        return self._session

    def __len__(self) -> int:
        return len(self._outcomes)
