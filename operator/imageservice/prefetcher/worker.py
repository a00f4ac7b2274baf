"""Do the work of the agent that needs Glance: `python3 -m prefetcher.worker`, started by the supervisor.

Requests are read from stdin, a line of JSON each, and answered on stdout. A fetch goes on beside the others, which are
answered meanwhile; there is one fetch at a time. A request with a "tag" gets an answer with that tag.

    {"do": "list"}                          {"cached": [{"id", "size", "hits", "lastAccessed"}],
                                             "usedBytes": n, "freeBytes": n}
    {"do": "repair"}                        {"orphans": n, "staleRows": n, "leftovers": n, "gone": [ids]}
    {"do": "fetch", "id", "bytesPerSecond", "timeoutSeconds", "stallSeconds", "roomBytes"}
                                            any number of {"progress": bytes, "size": bytes}, then
                                            {"done": "fetched" | "already", "size"} or {"failed", "message", "size"}
    {"do": "facts", "ids": [ids]}           {"images": {id: {"size", "status"} | null}}
    {"do": "prune", "targetBytes", "keep"}  {"removed": [{"id", "size"}], "bytes": n}
    {"do": "delete", "id"}                  {"deleted": bool}

Each of them may be answered {"failed": reason, "message"} instead, with a reason of `reasons.py`. Where the worker
cannot work at all it says so in the same words, asked or not, and ends: with status 75 where another worker has the
directory, with 78 where only a change of the installation helps.

A read that hangs in the C library of a store hangs the worker; whoever started it sees no progress, kills it, and
starts it anew. It may be killed at any moment.
"""

import contextlib
import json
import logging
import os
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from . import reasons
from .refusal import BROKEN_STATUS, UNUSABLE_STATUS, Refusal

FRAMES = 6
"""How many places in the code the log names where an error came from."""


class Log(logging.Handler):
    """Tells where in the code something was logged, and not the text: it may hold URLs, paths and keys."""

    def __init__(self, stream: IO[str]) -> None:
        super().__init__(logging.WARNING)
        self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        told = {"level": record.levelname, "at": f"{record.name}:{record.lineno}"}
        if record.exc_info and record.exc_info[1] is not None:
            told |= _origin(record.exc_info[1])
        self._stream.write(f"{json.dumps(told)}\n")


def _origin(error: BaseException) -> dict[str, str]:
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES:]
    where = (f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
    return {"error": type(error).__name__, "from": " ".join(where)}


class Channel:
    """The way back to whoever started the worker."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._writing = threading.Lock()
        threading.Thread(target=self._end_with_the_reader, name="reader", daemon=True).start()

    def send(self, message: Any) -> None:
        """Send a line of JSON."""
        with self._writing:
            self._stream.write(f"{json.dumps(message)}\n")

    def progress(self, done: int, size: int | None) -> None:
        """Tell how far a fetch is."""
        self.send({"progress": done, "size": size})

    def refuse(self, message: str, status: int) -> None:
        """Say why the worker cannot work, and end."""
        self.send({"failed": reasons.WORKER_FAILED, "message": message})
        os._exit(status)

    def _end_with_the_reader(self) -> None:
        """End when nobody listens any more, also while a read hangs."""
        poll = select.poll()
        poll.register(self._stream.fileno(), 0)
        poll.poll()
        os._exit(BROKEN_STATUS)


def prepare_process() -> tuple[IO[str], IO[str]]:
    """Return streams for answers and for the log, and keep everybody else's output away from both."""
    answers, log = (os.fdopen(os.dup(number), "w", buffering=1) for number in (1, 2))
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    # Somebody wants a file of which the worker asks whether it is in use: he has to wait for a moment, no more.
    signal.signal(signal.SIGIO, signal.SIG_IGN)
    # Glance takes the times in its database, which are UTC, for local time.
    os.environ["TZ"] = "UTC"
    time.tzset()
    # Eventlet, which some releases import and never use, would bring 8 MiB of a resolver.
    os.environ["EVENTLET_NO_GREENDNS"] = "yes"
    return answers, log


class Desk:
    """Takes requests one after the other: a fetch is done beside the others, which are short."""

    def __init__(self, requests: Any, channel: Channel) -> None:
        self._requests, self._channel = requests, channel
        self._fetch: threading.Thread | None = None

    def take(self, request: dict[str, Any]) -> None:
        """Answer a request, or begin its fetch."""
        if request.get("do") != "fetch":
            self._answer(request)
            return
        self.wait()
        self._fetch = threading.Thread(target=self._answer_or_end, args=(request,), name="fetch", daemon=True)
        self._fetch.start()

    def wait(self) -> None:
        """Return once no fetch runs."""
        if self._fetch is not None:
            self._fetch.join()

    def _answer(self, request: dict[str, Any]) -> None:
        answer = self._requests.answer(request, self._channel.progress)
        tag = {"tag": request["tag"]} if "tag" in request else {}
        self._channel.send({**answer, **tag})

    def _answer_or_end(self, request: dict[str, Any]) -> None:
        with ending_as_told(self._channel):
            self._answer(request)


@contextlib.contextmanager
def ending_as_told(channel: Channel) -> Iterator[None]:
    """End the process, with a word about why, where the block raises."""
    try:
        yield
    except Refusal as refusal:
        channel.refuse(refusal.message, refusal.status)
    except ImportError as error:
        channel.refuse(f"The worker cannot import {error.name}.", UNUSABLE_STATUS)
    except Exception as error:
        logging.getLogger(__name__).exception("")
        channel.refuse(f"The worker failed ({type(error).__name__}).", BROKEN_STATUS)


def main() -> None:
    """Answer requests until there are no more."""
    answers, log = prepare_process()
    logging.getLogger().addHandler(Log(log))
    channel = Channel(answers)
    with ending_as_told(channel):
        # Not at the top: that a module is missing is told like everything else that keeps the worker from its work.
        from .serving import Requests  # noqa: PLC0415

        desk = Desk(Requests(), channel)
        for line in sys.stdin:
            desk.take(json.loads(line))
        desk.wait()
    # Without what Glance and its libraries have registered to run at the end: they expect a server around them.
    os._exit(0)


if __name__ == "__main__":
    main()
