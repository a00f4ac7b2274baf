"""The operator's client of the cache agents, against an HTTP server that answers whatever a pod might."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from tests.ports import free_port
from tests.unit.glance.server import Answer, saying, site

from imageservice.agent_report import (
    AgentReport,
    CacheContent,
    CachedImage,
    CacheUse,
    ImageReason,
    ImageReport,
    ImageState,
    SetReport,
)
from imageservice.api.v1alpha1 import MOST_COUNTED
from imageservice.glance import agents
from imageservice.glance.agents import Agent, AgentError, Reason, WantedSet
from imageservice.sensitive import Sensitive

TOKEN = "0f" * 32
IMAGE, OTHER = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"
UID = "33333333-3333-3333-3333-333333333333"
CACHE = {"usedBytes": 10, "maxBytes": 100, "freeBytes": 90, "images": 1, "hits": 7}
STATUS: dict[str, Any] = {
    "node": "node-1",
    "release": "2026.1",
    "cache": CACHE,
    "sets": {UID: {"name": "golden", "revision": "abc", "fetch": True}},
    "images": {
        IMAGE: {"state": "Cached", "sizeBytes": 10, "doneBytes": 10},
        OTHER: {
            "state": "Failed",
            "sizeBytes": None,
            "doneBytes": 0,
            "reason": "NoSpace",
            "message": "The volume is too small.",
            "attempts": 2,
            "retryAt": 1700000000.5,
        },
    },
}
REPORT = AgentReport(
    "node-1",
    "2026.1",
    CacheUse(10, 100, 90, 1, 7),
    {UID: SetReport("golden", "abc", fetch=True)},
    {
        IMAGE: ImageReport(ImageState.CACHED, 10, 10),
        OTHER: ImageReport(
            ImageState.FAILED, None, 0, ImageReason.NO_SPACE, "The volume is too small.", 2, 1700000000.5
        ),
    },
)
WANTED = WantedSet("golden", "abc", (IMAGE, OTHER), True, None, 3600, 30, 3600)

Act = Callable[[aiohttp.ClientSession, Agent], Awaitable[Any]]


def agent(url: str, node: str = "node-1") -> Agent:
    return Agent(node, url, Sensitive(TOKEN))


async def do(answer: Answer, act: Act) -> Any:
    async with site(answer) as url, agents.new_session() as session:
        return await act(session, agent(url))


async def reason_of(answer: Answer, act: Act = agents.status) -> Reason:
    with pytest.raises(AgentError) as caught:
        await do(answer, act)
    assert TOKEN not in str(caught.value)
    assert "xxx" not in str(caught.value)
    return caught.value.reason


def with_image(**fields: object) -> dict[str, Any]:
    return STATUS | {"images": {IMAGE: {"state": "Waiting", "sizeBytes": 1, "doneBytes": 0} | fields}}


async def test_a_status_is_read_whole_and_the_token_goes_with_the_question() -> None:
    seen = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append((request.method, request.path, request.headers["X-Image-Service-Token"]))
        return web.json_response(STATUS, headers={"ETag": '"7"'})

    assert await do(answer, agents.status) == (REPORT, '"7"')
    assert seen == [("GET", "/v1/status", TOKEN)]


async def test_a_status_that_is_known_is_not_sent_again() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        known = request.headers.get("If-None-Match") == '"7"'
        return web.Response(status=304) if known else web.json_response(STATUS, headers={"ETag": '"8"'})

    assert await do(answer, lambda session, who: agents.status(session, who, '"7"')) is None
    assert await do(answer, lambda session, who: agents.status(session, who, '"6"')) == (REPORT, '"8"')


async def test_a_304_that_nobody_asked_for_is_no_answer() -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=304)

    assert await reason_of(answer) is Reason.AGENT_REFUSED


@pytest.mark.parametrize(
    "content",
    [
        "not JSON",
        "[1]",
        "[" * 200_000,
        "",
        {},
        STATUS | {"node": None},
        STATUS | {"node": "two\nlines"},
        STATUS | {"node": "n" * 300},
        STATUS | {"cache": {}},
        STATUS | {"cache": CACHE | {"usedBytes": -1}},
        STATUS | {"cache": CACHE | {"usedBytes": 2**53}},
        STATUS | {"cache": CACHE | {"hits": True}},
        STATUS | {"sets": []},
        STATUS | {"sets": {UID: {"name": "golden", "revision": "abc", "fetch": "yes"}}},
        STATUS | {"sets": {UID: {"name": "golden", "revision": 7, "fetch": True}}},
        STATUS | {"images": [IMAGE]},
        STATUS | {"images": {IMAGE: "Cached"}},
        STATUS | {"images": {"x\u202ex": {"state": "Cached"}}},
        with_image(state="Stolen"),
        with_image(state=["Cached"]),
        with_image(sizeBytes="1"),
        with_image(doneBytes=-5),
        with_image(sizeBytes=2**53),
        with_image(attempts=1.5),
        with_image(retryAt="soon"),
        with_image(retryAt=-1),
        json.dumps(with_image(retryAt=0)).replace('"retryAt": 0', '"retryAt": NaN'),
        json.dumps(with_image(retryAt=0)).replace('"retryAt": 0', '"retryAt": 1e999'),
        STATUS | {"padding": "x" * agents.ANSWER_LIMIT_BYTES},
    ],
)
async def test_an_answer_of_which_a_part_is_odd_is_not_used(content: object) -> None:
    assert await reason_of(saying(content)) is Reason.AGENT_REFUSED


@pytest.mark.parametrize("status", [301, 400, 404, 429, 500, 503])
async def test_another_http_status_is_no_answer_whatever_is_in_it(status: int) -> None:
    assert await reason_of(saying(STATUS, status=status)) is Reason.AGENT_REFUSED


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("act", [agents.status, lambda session, who: agents.evict(session, who, IMAGE)])
async def test_a_token_that_is_refused_has_a_reason_of_its_own(status: int, act: Act) -> None:
    assert await reason_of(saying({"reason": "Unauthorized"}, status=status), act) is Reason.AGENT_TOKEN_REFUSED


async def test_the_agent_of_another_node_is_not_believed() -> None:
    assert await reason_of(saying(STATUS | {"node": "node-2"})) is Reason.AGENT_REFUSED


async def test_reasons_outside_the_table_and_texts_are_made_fit_to_show() -> None:
    message = "two\nlines \x1b[31m\u202e red" + "m" * 1000
    entry = {"state": "Failed", "reason": "Hacked", "attempts": 2**52, "message": message}
    report, _ = await do(saying(STATUS | {"images": {IMAGE: entry, OTHER: {"state": "Failed"}}}), agents.status)
    assert report.images[IMAGE].reason is ImageReason.WORKER_FAILED
    assert report.images[IMAGE].message.startswith("two lines [31m redmm")
    assert len(report.images[IMAGE].message) == agents.MESSAGE_LIMIT
    assert report.images[IMAGE].attempts == MOST_COUNTED
    assert report.images[OTHER].reason is ImageReason.WORKER_FAILED


async def test_an_agent_that_is_not_there_and_one_that_says_nothing_are_unreachable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def silence(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(60)
        return web.Response()

    async def trickle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.05)

    monkeypatch.setattr(agents, "STATUS_SECONDS", 0.3)
    async with agents.new_session() as session:
        with pytest.raises(AgentError) as refused:
            await agents.status(session, agent(f"http://127.0.0.1:{free_port()}"))
    assert refused.value.reason is Reason.AGENT_UNREACHABLE
    assert await reason_of(silence) is Reason.AGENT_UNREACHABLE
    assert await reason_of(trickle) is Reason.AGENT_UNREACHABLE


async def test_a_redirect_is_not_followed_with_the_token() -> None:
    asked = []

    async def thief(request: web.Request) -> web.StreamResponse:
        asked.append(request.headers)
        return web.json_response(STATUS)

    async with site(thief) as elsewhere:

        async def redirect(_: web.Request) -> web.StreamResponse:
            return web.Response(status=307, headers={"Location": f"{elsewhere}/v1/status"}, text="{}")

        assert await reason_of(redirect) is Reason.AGENT_REFUSED
    assert asked == []


async def test_a_set_is_sent_as_the_agent_takes_it_and_counts_as_taken_only_with_its_revision() -> None:
    seen = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append((request.method, request.raw_path, await request.json()))
        return web.json_response({"revision": "abc", "status": STATUS})

    async def put(session: aiohttp.ClientSession, who: Agent) -> None:
        assert (await agents.put_set(session, who, "a/b", WANTED.to_json(), "abc")).node == STATUS["node"]

    await do(answer, put)
    body = {
        "name": "golden",
        "revision": "abc",
        "images": [IMAGE, OTHER],
        "fetch": True,
        "until": None,
        "timeoutSeconds": 3600,
        "backoffSeconds": 30,
        "maxBackoffSeconds": 3600,
    }
    assert seen == [("PUT", "/v1/sets/a%2Fb", body)]
    assert await reason_of(saying({"revision": "abd"}), put) is Reason.AGENT_REFUSED
    assert await reason_of(saying({"revision": "abc"}, status=400), put) is Reason.AGENT_REFUSED


async def test_deleting_a_set_twice_is_no_error() -> None:
    async def delete(session: aiohttp.ClientSession, who: Agent) -> None:
        await agents.delete_set(session, who, UID)

    await do(saying({}), delete)
    await do(saying({"reason": "NotFound"}, status=404), delete)
    assert await reason_of(saying({}, status=500), delete) is Reason.AGENT_REFUSED


async def test_the_content_of_a_cache_is_read() -> None:
    rows = [{"id": IMAGE, "size": 5, "hits": 2, "lastAccessed": 1700000000.25}]
    found = await do(saying({"cached": rows, "queued": [OTHER]}), agents.content)
    assert found == CacheContent((CachedImage(IMAGE, 5, 2, 1700000000.25),), (OTHER,))
    assert await reason_of(saying({"cached": rows}), agents.content) is Reason.AGENT_REFUSED


async def test_orders_by_hand_go_to_the_paths_of_the_agent() -> None:
    seen = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append(f"{request.method} {request.raw_path}")
        return web.json_response({})

    async with site(answer) as url, agents.new_session() as session:
        who = agent(url)
        await agents.queue(session, who, IMAGE)
        await agents.unqueue(session, who, IMAGE)
        await agents.unqueue(session, who)
        await agents.evict(session, who, IMAGE)
        await agents.evict(session, who, IMAGE, force=True)
        await agents.evict(session, who)
    assert seen == [
        f"PUT /v1/queue/{IMAGE}",
        f"DELETE /v1/queue/{IMAGE}",
        "DELETE /v1/queue",
        f"DELETE /v1/cache/{IMAGE}",
        f"DELETE /v1/cache/{IMAGE}?force=true",
        "DELETE /v1/cache",
    ]


async def test_an_image_that_is_wanted_is_told_from_other_refusals() -> None:
    async def evict(session: aiohttp.ClientSession, who: Agent) -> None:
        await agents.evict(session, who, IMAGE)

    assert await reason_of(saying({"reason": "Wanted"}, status=409), evict) is Reason.IMAGE_WANTED
    assert await reason_of(saying({}, status=500), evict) is Reason.AGENT_REFUSED
