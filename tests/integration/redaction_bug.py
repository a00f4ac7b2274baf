"""The operator with a bug: rendering fails, each time in another way, with confidential values in the error.

`python redaction_bug.py run ...` takes the arguments of `image-service-operator`.
"""

import asyncio
import itertools
import sys
import threading
from collections.abc import Callable
from typing import Any, NoReturn

from pydantic import BaseModel

from imageservice import cli
from imageservice.reconcile import sites
from imageservice.reconcile.store_credentials import confidential
from imageservice.render.inputs import ImageServiceInputs


class _Port(BaseModel):
    port: int


def _chained(text: str) -> NoReturn:
    try:
        {}[text]
    except KeyError as error:
        raise TypeError(f"worse than {text}") from error


def _noted(text: str) -> NoReturn:
    error = RuntimeError("see the note")
    error.add_note(text)
    raise error


def _grouped(text: str) -> NoReturn:
    raise ExceptionGroup(text, [RuntimeError(text), ValueError(text)])


def _decoded(text: str) -> NoReturn:
    raise UnicodeDecodeError("utf-8", text.encode(), 0, 1, text)


def _validated(text: str) -> None:
    _Port(port=text)  # type: ignore[arg-type] - that is the error


def _in_a_file_name(text: str) -> None:
    open(text)  # noqa: SIM115, PTH123 - never opened


def _left_to_itself(text: str) -> None:
    async def fail() -> None:
        raise RuntimeError(text)

    _tasks.append(asyncio.get_running_loop().create_task(fail()))
    asyncio.get_running_loop().call_later(0.05, _tasks.clear)  # nobody has asked for its result by then


def _in_a_thread(text: str) -> None:
    def fail() -> None:
        raise RuntimeError(text)

    threading.Thread(target=fail).start()


def _in_a_finaliser(text: str) -> None:
    class Fails:
        def __del__(self) -> None:
            raise RuntimeError(text)

    Fails()


def _raised(kind: type[Exception]) -> Callable[[str], NoReturn]:
    def fail(text: str) -> NoReturn:
        raise kind(text)

    return fail


_tasks: list[asyncio.Task[Any]] = []
FAULTS: list[Callable[[str], None]] = [
    *map(_raised, (RuntimeError, ValueError, AssertionError, LookupError)),
    _chained,
    _noted,
    _grouped,
    _decoded,
    _validated,
    _in_a_file_name,
    _left_to_itself,
    _in_a_thread,
    _in_a_finaliser,
]
"""Ways to fail with a text."""


def break_rendering() -> None:
    """Have every rendering of a Deployment fail, each in the next way."""
    faults = itertools.cycle(FAULTS)

    def broken(inputs: ImageServiceInputs, _config: str) -> NoReturn:
        of_stores = [value for store in inputs.stores for value in confidential(store.credentials)]
        next(faults)(" ".join(value.reveal() for value in (inputs.database_url, *of_stores)))
        raise RuntimeError("rendering is broken")

    sites.deployment = broken


if __name__ == "__main__":
    break_rendering()
    sys.exit(cli.main())
