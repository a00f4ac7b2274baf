"""The agents of all nodes, asked side by side and no oftener than is worth while."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Self

import aiohttp

from imageservice.agent_report import AgentReport
from imageservice.glance import agents
from imageservice.glance.agents import Agent, AgentError, Reason, WantedSet

AT_ONCE = 256
"""Requests to agents that are under way at once: of thousands of nodes, some always do not answer in time."""
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
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = agents.new_session()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open_session().close()
        self._session = None

    async def reports(self, of: Iterable[Agent], fresh_seconds: float = 0.0) -> dict[str, AgentReport | AgentError]:
        """Return what each agent says of itself, by node, at most `fresh_seconds` old; or why it says nothing."""
        self._forget()
        asked = list(of)
        await asyncio.gather(*(self._look(agent, fresh_seconds) for agent in asked))
        return {agent.node: self._outcome(agent) for agent in asked}

    async def hand_out(self, uid: str, wanted: Mapping[str, WantedSet], to: Iterable[Agent]) -> None:
        """Tell agents what the ImagePrecache `uid` wants of their nodes; `reports` then tells who did not take it."""

        async def hand(agent: Agent) -> None:
            told = wanted[agent.node]
            report = await agents.put_set(self._open_session(), agent, uid, told.to_json(), told.revision)
            self._known[agent.url] = _Known(self._clock(), "", report, None)

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

    async def _look(self, agent: Agent, fresh_seconds: float) -> None:
        known = self._known.get(agent.url)
        now = self._clock()
        if known is not None and known.at + fresh_seconds > now and self._is_of(known, agent):
            return
        etag = known.etag if known is not None and known.report is not None and self._is_of(known, agent) else ""
        try:
            async with self._slots:
                told = await agents.status(self._open_session(), agent, etag)
        except AgentError as error:
            self._known[agent.url] = _Known(self._clock(), "", None, (error.reason, error.message))
            return
        if told is None and known is not None:
            self._known[agent.url] = _Known(self._clock(), known.etag, known.report, None)
        elif told is not None:
            self._known[agent.url] = _Known(self._clock(), told[1], told[0], None)

    @staticmethod
    def _is_of(known: _Known, agent: Agent) -> bool:
        return known.report is None or known.report.node == agent.node

    def _outcome(self, agent: Agent) -> AgentReport | AgentError:
        known = self._known.get(agent.url)
        if known is not None and known.report is not None:
            return known.report
        reason, message = (known and known.failure) or (Reason.AGENT_UNREACHABLE, "the agent was not asked")
        return AgentError(reason, message)

    def _forget(self) -> None:
        oldest = self._clock() - REMEMBERED_SECONDS
        self._known = {url: known for url, known in self._known.items() if known.at > oldest}

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("outside of the context")
        return self._session
