"""Tasks of a library that does not clean up after itself."""

import asyncio
import gc

import pytest

from imageservice.runtime.task_scope import TaskScope


async def forever() -> None:
    await asyncio.Event().wait()


async def parent(children: list[asyncio.Task[None]]) -> None:
    children.append(asyncio.create_task(forever()))
    await asyncio.sleep(0)
    children.append(asyncio.create_task(forever()))


async def test_all_that_was_started_inside_is_ended_and_nothing_else() -> None:
    ours = asyncio.create_task(forever())
    scope, children = TaskScope(), list[asyncio.Task[None]]()
    with scope.entered():
        children.append(asyncio.create_task(forever()))
        await asyncio.create_task(parent(children))
    later = asyncio.create_task(forever())
    async with asyncio.timeout(5):
        await scope.end(1)
    assert [child.cancelled() for child in children] == [True, True, True]
    assert not ours.done()
    assert not later.done()
    for task in (ours, later):
        task.cancel()


async def test_a_task_that_does_not_end_is_not_waited_for_for_ever() -> None:
    async def stubborn() -> None:
        for _ in range(3):
            try:
                await asyncio.sleep(0.3)
            except asyncio.CancelledError:
                continue

    scope = TaskScope()
    with scope.entered():
        task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    async with asyncio.timeout(2):
        await scope.end(0.1)
    assert not task.done()
    await task


async def test_an_error_in_a_forgotten_task_is_not_told_again(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise RuntimeError

    scope = TaskScope()
    with scope.entered():
        task = asyncio.create_task(fail())
    await asyncio.sleep(0.01)
    assert task.done()
    del task
    gc.collect()
    assert "never retrieved" not in caplog.text
