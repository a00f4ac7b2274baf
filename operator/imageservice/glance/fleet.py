"""The agents of all nodes, asked side by side and no oftener than is worth while.

Nobody waits for those that hang: who did not answer the last time is asked apart from the others, and what is known is
returned before he answers.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Self

import aiohttp

from imageservice.agent_report import AgentReport
from imageservice.glance import agents
from imageservice.glance.agents import Agent, AgentError, Reason, WantedSet

AT_ONCE = 256
"""Requests to agents that are under way at once; as many more to those that did not answer the last time."""
LATE_SECONDS = 1.0
"""How long to wait for an agent that did not answer the last time: time enough for one that is back."""
LOOK_SECONDS = 20.0
"""How long to wait for the others: a site of thousands that hang all at once is learned of bit by bit."""
REMEMBERED_SECONDS = 900.0
"""How long what an agent said is kept when nobody asks for it any more."""


@dataclass(frozen=True, slots=True)
class _Known:
    at: float
    etag: str
    report: AgentReport | None
    failure: tuple[Reason, str] | None  # not the exception: its frames would be kept with it


class Fleet:
    """All agents, by their URL, while the context lasts. What they said last is kept, and only changes are sent."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._slots, self._late_slots = asyncio.Semaphore(AT_ONCE), asyncio.Semaphore(AT_ONCE)
        self._looks: dict[str, asyncio.Task[None]] = {}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = agents.new_session()
        return self

    async def __aexit__(self, *_: object) -> None:
        looks = list(self._looks.values())
        for look in looks:
            look.cancel()
        await asyncio.gather(*looks, return_exceptions=True)
        await self._open_session().close()
        self._session = None

    async def reports(self, of: Iterable[Agent], fresh_seconds: float = 0.0) -> dict[str, AgentReport | AgentError]:
        """Return what each agent says of itself, by node, at most `fresh_seconds` old; or why it says nothing."""
        self._forget()
        asked = list(of)
        looks = {agent.url: self._look(agent) for agent in asked if not self._is_fresh(agent, fresh_seconds)}
        late = [look for url, look in looks.items() if self._is_late(url)]
        for patience, waited_for in ((LOOK_SECONDS, set(looks.values()).difference(late)), (LATE_SECONDS, late)):
            done, _ = await asyncio.wait(waited_for, timeout=patience) if waited_for else ((), ())
            for look in done:
                look.result()
        return {agent.node: self._outcome(agent) for agent in asked}

    async def hand_out(self, uid: str, wanted: Mapping[str, WantedSet], to: Iterable[Agent]) -> None:
        """Tell agents what the ImagePrecache `uid` wants of their nodes; `reports` then tells who did not take it."""

        async def hand(agent: Agent) -> None:
            told, before = wanted[agent.node], self._known.get(agent.url)
            report = await agents.put_set(self._open_session(), agent, uid, told.to_json(), told.revision)
            if self._known.get(agent.url) is before:
                self._known[agent.url] = _Known(self._clock(), "", report, None)
            else:
                self._known.pop(agent.url, None)  # which of two answers is the newer, nobody can tell

        await self._change(hand, [agent for agent in to if agent.node in wanted])

    async def take_back(self, uid: str, of: Iterable[Agent]) -> None:
        """Tell agents that the ImagePrecache `uid` wants nothing any more; `reports` then tells who did not hear it."""

        async def drop(agent: Agent) -> None:
            await agents.delete_set(self._open_session(), agent, uid)
            self._known.pop(agent.url, None)

        await self._change(drop, list(of))

    async def _change(self, act: Callable[[Agent], Awaitable[None]], of: list[Agent]) -> None:
        async def one(agent: Agent) -> None:
            try:
                async with self._slots:
                    await act(agent)
            except AgentError as error:
                self._known[agent.url] = _Known(self._clock(), "", None, (error.reason, error.message))

        await asyncio.gather(*(one(agent) for agent in of))

    def _look(self, agent: Agent) -> asyncio.Task[None]:
        """Begin to ask an agent, or return the request that is under way."""
        look = self._looks.get(agent.url)
        if look is None:
            look = self._looks[agent.url] = asyncio.create_task(self._ask(agent))
            look.add_done_callback(lambda _: self._looks.pop(agent.url))
        return look

    async def _ask(self, agent: Agent) -> None:
        async with self._late_slots if self._is_late(agent.url) else self._slots:
            while True:
                before = self._known.get(agent.url)
                now = await self._said(agent, before)
                # Told something meanwhile, it may have answered before: who may fetch must not be missed.
                if self._known.get(agent.url) is before:
                    self._known[agent.url] = now
                    return

    async def _said(self, agent: Agent, before: _Known | None) -> _Known:
        kept = before if before is not None and before.report is not None and self._is_of(before, agent) else None
        try:
            told = await agents.status(self._open_session(), agent, kept.etag if kept else "")
        except AgentError as error:
            return _Known(self._clock(), "", None, (error.reason, error.message))
        if told is None:
            assert kept is not None  # noqa: S101 - for the types: nothing is unchanged that was not there
            return replace(kept, at=self._clock())
        return _Known(self._clock(), told[1], told[0], None)

    def _is_fresh(self, agent: Agent, fresh_seconds: float) -> bool:
        known = self._known.get(agent.url)
        return known is not None and known.at + fresh_seconds > self._clock() and self._is_of(known, agent)

    def _is_late(self, url: str) -> bool:
        known = self._known.get(url)
        return known is not None and known.failure is not None

    @staticmethod
    def _is_of(known: _Known, agent: Agent) -> bool:
        return known.report is None or known.report.node == agent.node

    def _outcome(self, agent: Agent) -> AgentReport | AgentError:
        known = self._known.get(agent.url)
        if known is not None and known.report is not None and self._is_of(known, agent):
            return known.report
        reason, message = (known and known.failure) or (Reason.AGENT_UNREACHABLE, "the agent has not answered yet")
        return AgentError(reason, message)

    def _forget(self) -> None:
        oldest = self._clock() - REMEMBERED_SECONDS
        self._known = {url: known for url, known in self._known.items() if known.at > oldest}

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("outside of the context")
        return self._session
