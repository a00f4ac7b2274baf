"""The programs in the pods of caches and APIs, where no pod runs: a cache agent on every node, and the store monitors.

    with caches_stand_in.running() as programs:
        settings = {"agent_url": programs.agent_url, "monitor_url": programs.monitor_url}
        programs.behave("a-namespace", "silent")

They are real HTTP on loopback, in a process of their own: the agent of a node is a path of one server. An agent is
there as soon as it is asked for, keeps what it is told for as long as the process lives, as on the disk of its node,
and does as the agents of its namespace are told to behave. The monitors know every image but those whose name, or whose
tag, begins with `no-such`, and say that no store holds images.
"""

import asyncio
import contextlib
import json
import sys
import urllib.request
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from aiohttp import web
from tests.agents_stand_in import SIZE, Node
from tests.stand_in_process import serve, started

Json = dict[str, Any]
Reports = Mapping[str, Mapping[str, str]]
"""Id of a store -> what the monitors say of it: `reason`, `message`, `fsid`."""

Behaviour = Literal["full", "quick", "idle", "failing", "silent", "refusing", "babbling", "ignorant", "repeating"]
"""How the agents of a namespace are:

- `full`: every image that is wanted is there at once, whether it may be fetched or not: it always was;
- `quick`: what may be fetched is there at once; `idle`: nothing is ever fetched; `failing`: no fetch ends well;
- `silent`: no answer; `refusing`: the token is not taken; `babbling`: what is answered makes no sense;
- `ignorant`: as `full`, but the monitors of the namespace cannot ask the database which images there are;
- `repeating`: as `failing`, and both repeat in what they say all that they were told, their token too.
"""

_FAILED = {"state": "Failed", "reason": "HashMismatch", "message": "the data is not that of the image", "attempts": 3}
_NO_RETRY = 2**40
"""A time far ahead, in seconds since 1970."""
_ALWAYS = {"usedBytes": 0, "maxBytes": 10 * SIZE, "freeBytes": 10 * SIZE, "images": 0, "hits": 0}
"""What a cache holds is asked for once a minute, which is too seldom to be waited for: it is the same at all times."""


class CacheNode(Node):
    """The agent of one node of one CachePolicy."""

    def get_on(self, behaviour: Behaviour) -> None:
        """Do what there is to be done."""
        if behaviour in ("full", "ignorant"):
            self.cached = {image for told in self.sets.values() for image in told["images"]}
        if behaviour == "quick":
            self.work()

    def told(self, behaviour: Behaviour, heard: str) -> Json:
        """What it says of itself; `heard` is what it may repeat."""
        found = self.status() | {"cache": _ALWAYS}
        if behaviour in ("failing", "repeating"):
            failed = {"sizeBytes": SIZE, "doneBytes": 0, "retryAt": _NO_RETRY} | _FAILED
            failed |= {"message": heard} if behaviour == "repeating" else {}
            found["images"] = {
                image: failed if image not in self.cached else one for image, one in found["images"].items()
            }
        return found


class Programs:
    """All agents and all monitors."""

    def __init__(self, reports: Reports) -> None:
        self._reports = reports
        self._nodes: dict[tuple[str, ...], CacheNode] = {}
        self._behaviour: defaultdict[str, Behaviour] = defaultdict(lambda: "full")

    def application(self) -> web.Application:
        """The server."""
        found = web.Application()
        agent, monitor = "/agents/{namespace}/{policy}/{node}/v1", "/monitor/{namespace}/{service}"
        found.add_routes(
            [
                web.get(f"{agent}/status", self.status),
                web.put(f"{agent}/sets/{{uid}}", self.put),
                web.delete(f"{agent}/sets/{{uid}}", self.delete),
                web.get(f"{monitor}/stores", self.stores),
                web.get(f"{monitor}/images/{{store}}", self.images),
                web.post(f"{monitor}/lookup", self.lookup),
                web.put("/behaviour/{namespace}", self.behave),
                web.get("/sets/{namespace}", self.sets),
                web.delete("/sets/{namespace}", self.wipe),
            ]
        )
        return found

    def _agent(self, request: web.Request) -> tuple[CacheNode, Behaviour]:
        """Return the agent that is asked. Raise what it answers where it does not do its work."""
        namespace, policy, node = key = tuple(request.match_info[name] for name in ("namespace", "policy", "node"))
        behaviour = self._behaviour[namespace]
        if behaviour == "silent" and request.transport:
            request.transport.abort()
        if behaviour in ("silent", "refusing"):
            raise web.HTTPUnauthorized(text="{}", content_type="application/json")
        if behaviour == "babbling":
            raise web.HTTPOk(text=json.dumps({"node": policy, "images": [node]}), content_type="application/json")
        return self._nodes.setdefault(key, CacheNode(node)), behaviour

    async def status(self, request: web.Request) -> web.Response:
        """Tell how an agent is."""
        node, behaviour = self._agent(request)
        node.get_on(behaviour)
        return web.json_response(node.told(behaviour, _heard(request)))

    async def put(self, request: web.Request) -> web.Response:
        """Let an agent know what is wanted of its node."""
        node, behaviour = self._agent(request)
        told = await request.json()
        node.sets[request.match_info["uid"]] = told
        node.get_on(behaviour)
        return web.json_response({"revision": told["revision"], "status": node.told(behaviour, _heard(request))})

    async def delete(self, request: web.Request) -> web.Response:
        """Let an agent know that something is wanted no more."""
        node, _ = self._agent(request)
        node.sets.pop(request.match_info["uid"], None)
        return web.json_response({"deleted": True})

    async def stores(self, _: web.Request) -> web.Response:
        """Tell how the stores are."""
        return web.json_response({"stores": dict(self._reports)})

    async def images(self, _: web.Request) -> web.Response:
        """Count the images in a store."""
        return web.json_response({"images": 0, "onlyHere": 0})

    async def lookup(self, request: web.Request) -> web.Response:
        """Find the images that are meant."""
        if self._behaviour[request.match_info["namespace"]] == "ignorant":
            return web.json_response({"reason": "DatabaseUnreachable"}, status=503)
        queries = (await request.json())["queries"]
        answers = [{"images": _found(query)} for query in queries]
        if self._behaviour[request.match_info["namespace"]] == "repeating":
            for image in (image for answer in answers for image in answer["images"]):
                image["name"] = _heard(request)
        return web.json_response({"answers": answers})

    async def behave(self, request: web.Request) -> web.Response:
        """Take note of how the agents of a namespace are from now on."""
        self._behaviour[request.match_info["namespace"]] = (await request.json())["behaviour"]
        return web.json_response({})

    async def sets(self, request: web.Request) -> web.Response:
        """Tell what the agents of a namespace were told: node -> uid of the ImagePrecache -> what it wants."""
        there = {
            "/".join(key[1:]): node.sets
            for key, node in self._nodes.items()
            if key[0] == request.match_info["namespace"]
        }
        return web.json_response(there)

    async def wipe(self, request: web.Request) -> web.Response:
        """Have the agents of a namespace forget all: their disks are new."""
        gone = request.match_info["namespace"]
        self._nodes = {key: node for key, node in self._nodes.items() if key[0] != gone}
        return web.json_response({})


def _heard(request: web.Request) -> str:
    """Return what a request says that is nobody else's business."""
    return f"was told {request.headers.get('X-Image-Service-Token')}"


def _found(query: Json) -> list[Json]:
    """Return the image that a query means: the same one each time."""
    words = [query.get("name") or "", *query.get("tags", [])]
    if any(word.startswith("no-such") for word in words):
        return []
    image_id = query.get("id") or str(uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(query, sort_keys=True)))
    image = {"size": SIZE, "status": "active", "visibility": "public", "createdAt": ""}
    return [{"id": image_id, "name": query.get("name", "golden"), **image}]


@dataclass(frozen=True)
class Running:
    """The running programs, as a test sees them."""

    url: str

    @property
    def agent_url(self) -> str:
        """The setting of the operator."""
        return f"{self.url}/agents/{{namespace}}/{{policy}}/{{node}}"

    @property
    def monitor_url(self) -> str:
        """The setting of the operator."""
        return f"{self.url}/monitor/{{namespace}}/{{service}}"

    @property
    def settings(self) -> dict[str, str]:
        """Both settings."""
        return {"agent_url": self.agent_url, "monitor_url": self.monitor_url}

    def behave(self, namespace: str, behaviour: Behaviour) -> None:
        """Have the agents of a namespace be so from now on."""
        head = {"Content-Type": "application/json"}
        body = json.dumps({"behaviour": behaviour}).encode()
        request = urllib.request.Request(f"{self.url}/behaviour/{namespace}", body, head, method="PUT")
        urllib.request.urlopen(request, timeout=30).close()

    def wipe(self, namespace: str) -> None:
        """Have the agents of a namespace forget what they were told and what they had."""
        request = urllib.request.Request(f"{self.url}/sets/{namespace}", method="DELETE")
        urllib.request.urlopen(request, timeout=30).close()

    def sets(self, namespace: str) -> dict[str, Json]:
        """Return what the agents were told: `policy/node` -> uid of the ImagePrecache -> what it wants."""
        with urllib.request.urlopen(f"{self.url}/sets/{namespace}", timeout=30) as answer:
            found: dict[str, Json] = json.loads(answer.read())
        return found


@contextlib.contextmanager
def running(reports: Reports | None = None) -> Iterator[Running]:
    """Run them in a process of their own while the block lasts; `reports` is what the monitors say of stores."""
    with started("tests.caches_stand_in", json.dumps(reports or {})) as url:
        yield Running(url)


async def _serve(reports: Reports) -> None:
    await serve(Programs(reports).application())


if __name__ == "__main__":
    asyncio.run(_serve(json.loads(sys.argv[1])))
