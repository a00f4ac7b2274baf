"""Thousands of agents in one process, which hold and tell what they are told, and fetch in no time or never.

    with agents_stand_in.running(names) as fleet:
        settings = {"agent_url": fleet.agent_url, "monitor_url": fleet.monitor_url}

They are real HTTP on loopback: the agent of a node is a path of one server. Some may be told to behave badly
(`bad_agents.py`). The same server is the store monitor, which says of every image that is asked for by id that there is
such a one, and knows no names and no tags.
"""

import asyncio
import contextlib
import json
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from tests import bad_agents
from tests.stand_in_process import serve, started

SIZE = 10**9
Json = dict[str, Any]


class Node:
    """One agent."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sets: dict[str, Json] = {}
        self.cached: set[str] = set()
        self.way: bad_agents.Way | None = None

    def work(self) -> None:
        """Have all that may be fetched."""
        for told in self.sets.values():
            if told["fetch"]:
                self.cached |= set(told["images"])

    def status(self) -> Json:
        """What it says of itself."""
        wanted = {image for told in self.sets.values() for image in told["images"]}
        images = {
            image: {"state": "Cached", "sizeBytes": SIZE, "doneBytes": SIZE}
            if image in self.cached
            else {"state": "Waiting", "sizeBytes": SIZE, "doneBytes": 0, "reason": "NotGranted"}
            for image in wanted
        }
        sets = {
            uid: {"name": told["name"], "revision": told["revision"], "fetch": told["fetch"]}
            for uid, told in self.sets.items()
        }
        cache = {"usedBytes": SIZE * len(self.cached), "maxBytes": 10 * SIZE, "freeBytes": SIZE}
        use = {**cache, "images": len(self.cached), "hits": 0}
        return {"node": self.name, "release": "2026.1", "cache": use, "sets": sets, "images": images}


class Agents:
    """All agents, the store monitor, and what a test asks of them at `/test/...`."""

    def __init__(self, names: list[str]) -> None:
        self.nodes = {name: Node(name) for name in names}
        self.at_work = False
        self.requests = 0
        self.most_granted = 0
        self.trapped = 0

    def application(self) -> web.Application:
        """The server."""
        found = web.Application(client_max_size=2**22)
        found.router.add_get("/agents/{node}/v1/status", self.status)
        found.router.add_put("/agents/{node}/v1/sets/{uid}", self.put)
        found.router.add_delete("/agents/{node}/v1/sets/{uid}", self.delete)
        found.router.add_get("/monitor/{namespace}/{service}/stores", self.stores)
        found.router.add_post("/monitor/{namespace}/{service}/lookup", self.lookup)
        found.router.add_get("/test/counts", self.counts)
        found.router.add_post("/test/work", self.work)
        found.router.add_post("/test/behave", self.behave)
        found.router.add_route("*", bad_agents.TRAP, self.trap)
        return found

    def _node(self, request: web.Request) -> Node:
        self.requests += 1
        node = self.nodes[request.match_info["node"]]
        if self.at_work:
            node.work()
        return node

    @staticmethod
    async def _answer(node: Node, request: web.Request, honest: Json) -> web.StreamResponse:
        return web.json_response(honest) if node.way is None else await node.way(request, honest)

    async def status(self, request: web.Request) -> web.StreamResponse:
        node = self._node(request)
        return await self._answer(node, request, node.status())

    async def put(self, request: web.Request) -> web.StreamResponse:
        node = self._node(request)
        told = await request.json()
        node.sets[request.match_info["uid"]] = told
        self.most_granted = max(self.most_granted, self._granted())
        return await self._answer(node, request, {"revision": told["revision"], "status": node.status()})

    async def delete(self, request: web.Request) -> web.Response:
        self._node(request).sets.pop(request.match_info["uid"], None)
        return web.json_response({"deleted": True})

    async def stores(self, _: web.Request) -> web.Response:
        return web.json_response({"stores": {}})

    async def lookup(self, request: web.Request) -> web.Response:
        queries = (await request.json())["queries"]
        image = {"name": "golden", "size": SIZE, "status": "active", "visibility": "public", "createdAt": ""}
        found = [[{**image, "id": query["id"]}] if "id" in query else [] for query in queries]
        return web.json_response({"answers": [{"images": images} for images in found]})

    def _granted(self) -> int:
        """How many nodes may fetch, and have something to."""
        return (
            sum(
                any(told["fetch"] and set(told["images"]) - node.cached for told in node.sets.values())
                for node in self.nodes.values()
            )
            if len(self.nodes) <= 100 or self.requests % 50 == 0
            else 0
        )

    async def counts(self, _: web.Request) -> web.Response:
        revisions: dict[str, int] = {}
        for node in self.nodes.values():
            for told in node.sets.values():
                revisions[told["revision"]] = revisions.get(told["revision"], 0) + 1
        told = {"requests": self.requests, "mostGranted": self.most_granted, "revisions": revisions}
        told["trapped"] = self.trapped
        return web.json_response(told)

    async def work(self, request: web.Request) -> web.Response:
        self.at_work = (await request.json())["atWork"]
        return web.json_response({})

    async def behave(self, request: web.Request) -> web.Response:
        for name, way in (await request.json()).items():
            self.nodes[name].way = bad_agents.way(way) if way else None
        return web.json_response({})

    async def trap(self, _: web.Request) -> web.Response:
        self.trapped += 1
        return web.json_response({})


@dataclass(frozen=True)
class Fleet:
    """The running agents, as a test sees them."""

    url: str

    @property
    def agent_url(self) -> str:
        """The setting of the operator."""
        return f"{self.url}/agents/{{node}}"

    @property
    def monitor_url(self) -> str:
        """The setting of the operator."""
        return f"{self.url}/monitor/{{namespace}}/{{service}}"

    def counts(self) -> Json:
        """How many requests there were, and how many nodes have which revision."""
        with urllib.request.urlopen(f"{self.url}/test/counts", timeout=30) as answer:
            found: Json = json.loads(answer.read())
        return found

    def work(self, *, at_work: bool) -> None:
        """Let the nodes fetch in no time, or not at all."""
        self._post("work", {"atWork": at_work})

    def behave(self, ways: Mapping[str, str]) -> None:
        """Let nodes behave in ways of `bad_agents`; well again where that is empty."""
        self._post("behave", ways)

    def _post(self, what: str, content: Mapping[str, Any]) -> None:
        head = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/test/{what}", json.dumps(content).encode(), head, method="POST")
        urllib.request.urlopen(request, timeout=30).close()


@contextlib.contextmanager
def running(count: int, prefix: str = "node-") -> Iterator[Fleet]:
    """Run so many agents, of nodes `node-0`, `node-1`, and so on, in a process of their own."""
    with started("tests.agents_stand_in", str(count), prefix) as url:
        yield Fleet(url)


async def _serve(count: int, prefix: str) -> None:
    await serve(Agents([f"{prefix}{number}" for number in range(count)]).application())


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), sys.argv[2]))
