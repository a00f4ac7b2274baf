"""Echoes of our own writes."""

import asyncio
from typing import Any

from imageservice.runtime.kinds import CONFIG_MAP, SECRET
from imageservice.runtime.own_writes import OwnWrites


def version(number: int, name: str = "a") -> dict[str, Any]:
    return {"metadata": {"uid": f"u-{name}", "name": name, "namespace": "ns", "resourceVersion": str(number)}}


async def test_the_state_we_wrote_is_an_echo_and_any_other_is_not() -> None:
    writes = OwnWrites()
    with writes.writing(CONFIG_MAP, "ns", "a"):
        writes.wrote(version(5))
    assert await writes.is_echo(CONFIG_MAP, version(5))
    assert not await writes.is_echo(CONFIG_MAP, version(6))
    assert not await writes.is_echo(CONFIG_MAP, version(5, name="b"))


async def test_an_event_that_overtakes_the_answer_waits_for_it() -> None:
    writes = OwnWrites()
    with writes.writing(CONFIG_MAP, "ns", "a"):
        verdict = asyncio.create_task(writes.is_echo(CONFIG_MAP, version(5)))
        await asyncio.sleep(0.01)
        assert not verdict.done()
        writes.wrote(version(5))
    assert await verdict


async def test_a_write_that_fails_or_is_of_another_object_makes_no_echo_and_no_wait() -> None:
    writes = OwnWrites()
    with writes.writing(CONFIG_MAP, "ns", "a"):
        async with asyncio.timeout(0.5):
            assert not await writes.is_echo(SECRET, version(5))
            assert not await writes.is_echo(CONFIG_MAP, version(5, name="b"))
        verdict = asyncio.create_task(writes.is_echo(CONFIG_MAP, version(5)))
        await asyncio.sleep(0)
    assert not await verdict


async def test_a_write_without_an_answer_holds_up_an_event_for_a_second_at_most() -> None:
    writes = OwnWrites()
    with writes.writing(CONFIG_MAP, "ns", "a"):
        async with asyncio.timeout(3):
            assert not await writes.is_echo(CONFIG_MAP, version(5))


async def test_memory_is_bounded_and_the_latest_writes_are_kept() -> None:
    writes = OwnWrites()
    for number in range(20_000):
        writes.wrote(version(number))
    assert await writes.is_echo(CONFIG_MAP, version(19_999))
    assert not await writes.is_echo(CONFIG_MAP, version(0))
