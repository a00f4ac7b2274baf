"""The operator's client of the store monitor, against an HTTP server that answers whatever a pod might."""

import asyncio

import aiohttp
import pytest
from aiohttp import web
from tests.ports import free_port
from tests.unit.glance.server import Answer, saying, site
from tests.waiting import until

from imageservice.glance import answers, monitor
from imageservice.glance.monitor import MonitorError, Reason
from imageservice.glance.sites import SiteMonitors
from imageservice.store_report import ImageCount, StoreReason, StoreReport


async def ask_stores(answer: Answer) -> dict[str, StoreReport]:
    async with site(answer) as url, answers.new_session() as session:
        return await monitor.stores(session, url)


async def ask_images(answer: Answer, store_id: str = "central") -> ImageCount:
    async with site(answer) as url, answers.new_session() as session:
        return await monitor.images(session, url, store_id)


async def test_every_reason_comes_through_with_its_message_and_fsid() -> None:
    content = {reason: {"reason": reason, "message": f"about {reason}", "fsid": "f" * 36} for reason in StoreReason}
    found = await ask_stores(saying({"stores": content}))
    assert found == {reason: StoreReport(reason, f"about {reason}", "f" * 36) for reason in StoreReason}


async def test_a_reason_outside_the_table_becomes_a_failed_probe_and_texts_are_made_fit_to_show() -> None:
    entries = {
        "odd": {"reason": "Hacked", "message": "two\nlines \x1b[31m\u202e red", "fsid": "x" * 1000},
        "long": {"reason": "Reachable", "message": "m" * 10_000, "fsid": None},
        "typed": {"reason": ["Reachable"], "message": {"a": 1}, "fsid": 7},
        "bare": {},
        "none": None,
    }
    found = await ask_stores(saying({"stores": entries}))
    assert found["odd"] == StoreReport(StoreReason.PROBE_FAILED, "two lines [31m red", "x" * monitor.FSID_LIMIT)
    assert found["long"] == StoreReport(StoreReason.REACHABLE, "m" * monitor.MESSAGE_LIMIT)
    assert found["typed"] == found["bare"] == StoreReport(StoreReason.PROBE_FAILED, "")
    assert found["none"].reason is StoreReason.PROBE_FAILED


@pytest.mark.parametrize(
    "answer",
    [
        saying("not JSON"),
        saying("[1]"),
        saying('"text"'),
        saying("[" * 200_000),
        saying({}),
        saying({"stores": ["central"]}),
        saying({"stores": {}}, status=500),
        saying({"stores": {}, "padding": "x" * monitor.ANSWER_LIMIT_BYTES}),
        saying(""),
    ],
)
async def test_what_is_no_answer_of_a_monitor_is_refused_and_not_repeated(answer: Answer) -> None:
    with pytest.raises(MonitorError) as caught:
        await ask_stores(answer)
    assert caught.value.reason is Reason.MONITOR_REFUSED
    assert "xxx" not in str(caught.value)


async def test_a_redirect_is_not_followed() -> None:
    async with site(saying({"stores": {"stolen": {"reason": "Reachable"}}})) as elsewhere:

        async def redirect(_: web.Request) -> web.StreamResponse:
            return web.Response(status=302, headers={"Location": f"{elsewhere}/stores"}, text="{}")

        with pytest.raises(MonitorError) as caught:
            await ask_stores(redirect)
    assert caught.value.reason is Reason.MONITOR_REFUSED


async def test_a_monitor_that_is_not_there_and_one_that_says_nothing_are_unreachable(
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

    monkeypatch.setattr(monitor, "STORES_SECONDS", 0.3)
    async with answers.new_session() as session:
        with pytest.raises(MonitorError) as refused:
            await monitor.stores(session, f"http://127.0.0.1:{free_port()}")
    assert refused.value.reason is Reason.MONITOR_UNREACHABLE
    for answer in (silence, trickle):
        with pytest.raises(MonitorError) as caught:
            await ask_stores(answer)
        assert caught.value.reason is Reason.MONITOR_UNREACHABLE
        assert "0.3 s" in caught.value.message


async def test_images_are_counted() -> None:
    paths = []

    async def answer(request: web.Request) -> web.StreamResponse:
        paths.append(request.raw_path)
        return web.json_response({"images": 12, "onlyHere": 3})

    assert await ask_images(answer, "a/b") == ImageCount(12, 3)
    assert paths == ["/images/a%2Fb"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (saying({"reason": "StoreUnknown", "message": "x"}, status=404), Reason.STORE_UNKNOWN),
        (saying({"reason": "NotFound"}, status=404), Reason.MONITOR_REFUSED),
        (saying({"reason": "DatabaseUnreachable", "message": "mysql://u:p@h"}, status=503), Reason.IMAGES_NOT_COUNTED),
        (saying({"reason": "CountFailed"}, status=503), Reason.IMAGES_NOT_COUNTED),
        (saying({"images": True, "onlyHere": 0}), Reason.MONITOR_REFUSED),
        (saying({"images": 1.0, "onlyHere": 0}), Reason.MONITOR_REFUSED),
        (saying({"images": -1, "onlyHere": -1}), Reason.MONITOR_REFUSED),
        (saying({"images": 1, "onlyHere": 2}), Reason.MONITOR_REFUSED),
        (saying({"images": 1}), Reason.MONITOR_REFUSED),
    ],
)
async def test_a_count_is_right_or_an_error(answer: Answer, reason: Reason) -> None:
    with pytest.raises(MonitorError) as caught:
        await ask_images(answer)
    assert caught.value.reason is reason
    assert "mysql" not in str(caught.value)


class Site:
    """A clock to be set, and a site that counts how often it was asked."""

    def __init__(self) -> None:
        self.now = 0.0
        self.asked = 0
        self.failing = False
        self.free = asyncio.Event()
        self.free.set()
        self.monitors = SiteMonitors(fresh_seconds=10, clock=lambda: self.now)

    async def answer(self, _: web.Request) -> web.StreamResponse:
        self.asked += 1
        await self.free.wait()
        if self.failing:
            return web.Response(status=500, text="{}")
        return web.json_response({"stores": {"central": {"reason": "Reachable", "message": f"answer {self.asked}"}}})


async def test_a_site_is_asked_once_in_a_while_whoever_asks() -> None:
    world = Site()
    async with site(world.answer) as url, world.monitors as monitors:
        for second in (0, 1, 9.9):
            world.now = second
            assert (await monitors.stores(url))["central"].message == "answer 1"
        world.now = 10
        assert (await monitors.stores(url))["central"].message == "answer 2"


async def test_a_failure_is_kept_as_an_answer_is() -> None:
    world = Site()
    world.failing = True
    async with site(world.answer) as url, world.monitors as monitors:
        for _ in range(3):
            with pytest.raises(MonitorError):
                await monitors.stores(url)
        assert world.asked == 1
        world.failing, world.now = False, 10
        assert (await monitors.stores(url))["central"].message == "answer 2"


async def test_those_who_ask_at_the_same_time_share_a_request_also_when_the_first_gives_up() -> None:
    world = Site()
    world.free.clear()
    async with site(world.answer) as url, world.monitors as monitors:
        first = asyncio.create_task(monitors.stores(url))
        others = [asyncio.create_task(monitors.stores(url)) for _ in range(20)]
        await until(lambda: world.asked == 1)
        first.cancel()
        world.free.set()
        assert {found["central"].message for found in await asyncio.gather(*others)} == {"answer 1"}
        assert world.asked == 1
        with pytest.raises(asyncio.CancelledError):
            await first


async def test_one_silent_site_holds_up_no_other_and_the_end_waits_for_none() -> None:
    silent, good = Site(), Site()
    silent.free.clear()
    async with site(silent.answer) as silent_url, site(good.answer) as url:
        async with good.monitors as monitors, asyncio.timeout(1.5):
            waiting = asyncio.create_task(monitors.stores(silent_url))
            await asyncio.sleep(0)
            assert "central" in await monitors.stores(url)
        assert (await asyncio.gather(waiting, return_exceptions=True))[0].__class__ is asyncio.CancelledError
        silent.free.set()


async def test_sites_that_nobody_asks_about_any_more_are_forgotten() -> None:
    world = Site()
    async with site(world.answer) as url, world.monitors as monitors:
        for number in range(20):
            await monitors.stores(f"{url}/{number}")
        world.now = 11
        await monitors.stores(url)
        assert len(monitors) == 1


async def test_counts_are_never_old() -> None:
    counts = iter((5, 4))

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response({"images": next(counts), "onlyHere": 0})

    async with site(answer) as url, SiteMonitors() as monitors:
        assert [(await monitors.images(url, "central")).images for _ in range(2)] == [5, 4]


async def test_outside_of_its_context_nothing_is_asked() -> None:
    with pytest.raises(RuntimeError):
        await SiteMonitors().images("http://127.0.0.1:1", "central")


def test_the_session_takes_nothing_from_the_environment() -> None:
    async def trusts() -> bool:
        async with answers.new_session() as session:
            return session.trust_env or not isinstance(session.cookie_jar, aiohttp.DummyCookieJar)

    assert asyncio.run(trusts()) is False
