"""Knowing which tasks a library started, so that they can be ended when it fails to do so itself."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from weakref import WeakSet

_current: ContextVar["TaskScope | None"] = ContextVar("task_scope", default=None)


class TaskScope:
    """The tasks started inside `entered`, and those started by them, and so on.

    A task inherits the context of the one that starts it, so the factory of the event loop can tell where it belongs.
    What the library raises is told by the one who runs it; that several of its tasks end by the same error is not told
    once more for each.
    """

    def __init__(self) -> None:
        self._tasks: WeakSet[asyncio.Task[Any]] = WeakSet()

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Let what the current task starts belong to this scope."""
        asyncio.get_running_loop().set_task_factory(_create)
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

    async def end(self, seconds: float) -> None:
        """Cancel what is left of the tasks, and give them some seconds to end."""
        left = {task for task in self._tasks if not task.done() and task is not asyncio.current_task()}
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=seconds)


def _create(loop: asyncio.AbstractEventLoop, coroutine: Any, /, **options: Any) -> asyncio.Task[Any]:
    """Start a task as the event loop would, and note its scope."""
    task = asyncio.Task(coroutine, loop=loop, **options)
    scope = _current.get()
    if scope is not None:
        scope._tasks.add(task)
        task.add_done_callback(_look_at)
    return task


def _look_at(task: asyncio.Task[Any]) -> None:
    """Look at the error of a task, so that asyncio does not complain, when the task is forgotten, that nobody did."""
    if not task.cancelled():
        task.exception()
