"""All agents together: who hangs holds up nobody, and what is known of one is never older than what it was told."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from tests.unit.glance.server import site
from tests.waiting import until

from imageservice.agent_report import AgentReport
from imageservice.glance import agents
from imageservice.glance.agents import Agent, AgentError, Reason, WantedSet
from imageservice.glance.fleet import Fleet
from imageservice.sensitive import Sensitive

UID = "33333333-3333-3333-3333-333333333333"
WANTED = WantedSet(
    "golden", "abc", (), fetch=True, until=None, timeout_seconds=1, backoff_seconds=1, max_backoff_seconds=1
)


class Nodes:
    """Agents by the first part of their path, each with the set it was told; some hang."""

    def __init__(self) -> None:
        self.url = ""
        self.sets: dict[str, dict[str, object]] = {}
        self.requests: list[tuple[str, str]] = []
        self.may_answer: dict[str, asyncio.Event] = {}

    def agent(self, node: str) -> Agent:
        return Agent(node, f"{self.url}/{node}", Sensitive("0f" * 32))

    def hang(self, node: str) -> asyncio.Event:
        """Let a node answer no more until the event is set; what it says is from before."""
        self.may_answer[node] = asyncio.Event()
        return self.may_answer[node]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        node = request.path.split("/")[1]
        self.requests.append((request.method, node))
        if request.method == "PUT":
            told = await request.json()
            self.sets[node] = {UID: {key: told[key] for key in ("name", "revision", "fetch")}}
            return web.json_response({"revision": told["revision"], "status": self.status(node)})
        said = self.status(node)
        if node in self.may_answer:
            await self.may_answer[node].wait()
        return web.json_response(said)

    def status(self, node: str) -> dict[str, object]:
        cache = dict.fromkeys(("usedBytes", "maxBytes", "freeBytes", "images", "hits"), 0)
        return {"node": node, "release": "2026.1", "cache": cache, "sets": self.sets.get(node, {}), "images": {}}


@pytest.fixture
async def nodes() -> AsyncIterator[Nodes]:
    found = Nodes()
    async with site(found.answer) as found.url:
        yield found


async def test_an_agent_that_hangs_is_waited_for_once_and_then_asked_beside(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agents, "STATUS_SECONDS", 3.0)
    both = [nodes.agent("good"), nodes.agent("bad")]
    nodes.hang("bad")
    async with Fleet() as fleet:
        first = await fleet.reports(both)
        assert isinstance(first["good"], AgentReport)
        assert isinstance(first["bad"], AgentError)
        assert first["bad"].reason is Reason.AGENT_UNREACHABLE
        began = time.monotonic()
        second = await fleet.reports(both)
        assert time.monotonic() - began < 2.5, "less than it takes until the agent is given up"
        assert isinstance(second["good"], AgentReport)
        assert isinstance(second["bad"], AgentError)
        assert nodes.requests.count(("GET", "bad")) == 2


async def test_an_agent_that_is_back_is_believed_at_once(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents, "STATUS_SECONDS", 0.5)
    back = nodes.hang("one")
    async with Fleet() as fleet:
        assert isinstance((await fleet.reports([nodes.agent("one")]))["one"], AgentError)
        back.set()
        assert isinstance((await fleet.reports([nodes.agent("one")]))["one"], AgentReport)


async def test_an_answer_from_before_an_agent_was_told_something_is_not_believed(nodes: Nodes) -> None:
    one = nodes.agent("one")
    goes_on = nodes.hang("one")
    async with Fleet() as fleet:
        look = asyncio.create_task(fleet.reports([one]))
        await until(lambda: ("GET", "one") in nodes.requests)
        await fleet.hand_out(UID, {"one": WANTED}, [one])
        goes_on.set()
        found = (await look)["one"]
        assert isinstance(found, AgentReport)
        assert found.sets[UID].fetch
        assert nodes.requests == [("GET", "one"), ("PUT", "one"), ("GET", "one")]


async def test_those_who_ask_at_the_same_time_share_an_answer(nodes: Nodes) -> None:
    goes_on = nodes.hang("one")
    async with Fleet() as fleet:
        looks = [asyncio.create_task(fleet.reports([nodes.agent("one")])) for _ in range(3)]
        await until(lambda: bool(nodes.requests))
        goes_on.set()
        assert all(isinstance(found["one"], AgentReport) for found in await asyncio.gather(*looks))
        assert nodes.requests == [("GET", "one")]


async def test_it_ends_while_an_agent_hangs(nodes: Nodes) -> None:
    nodes.hang("one")
    async with Fleet() as fleet:
        look = asyncio.create_task(fleet.reports([nodes.agent("one")]))
        await until(lambda: bool(nodes.requests))
        look.cancel()
    assert fleet._looks == {}
