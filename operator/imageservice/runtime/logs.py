"""Logs: one JSON object a line on standard error, with the object it is about, and never the content of a Secret.

What an exception says may quote what it was handed, so only the messages of errors that are known not to do so are
written. Of any other there is its type and where in the code it came from.
"""

import json
import logging
import os
import sys
import threading
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from types import TracebackType
from typing import TextIO

from imageservice.runtime.failures import ApiError
from imageservice.runtime.kinds import Key

_FRAMES = 12
_LONGEST_CHAIN = 5
_EXTRAS = ("object", "retry_seconds", "origin", "event_reason", "lease")

_QUIET = {
    "kopf": logging.WARNING,
    "aiohttp.access": logging.WARNING,
    "aiohttp": logging.WARNING,
    "kubernetes": logging.WARNING,
    "asyncio": logging.WARNING,
}
"""Loggers of libraries, whatever the level of ours: at debug level some of them write bodies and headers."""


def configure(level: int, stream: TextIO = sys.stderr) -> None:
    """Set up logging of the whole process, at `level` for our own loggers."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("imageservice").setLevel(level)
    for name, least in _QUIET.items():
        logging.getLogger(name).setLevel(max(level, least))
    logging.captureWarnings(capture=True)
    _take_hooks()


def _take_hooks() -> None:
    """Have errors that nobody catches written our way: Python would print what they say."""
    logger = logging.getLogger(__name__)

    def ended(kind: type[BaseException], error: BaseException, at: TracebackType | None) -> None:
        logger.critical("The process ends with an error", exc_info=(kind, error, at))

    def in_thread(hook: threading.ExceptHookArgs) -> None:
        _tell(logger, "A thread ended with an error", hook.exc_value)

    def unraisable(hook: "sys.UnraisableHookArgs") -> None:
        _tell(logger, "An error that could not be raised", hook.exc_value)

    sys.excepthook = ended
    threading.excepthook = in_thread
    sys.unraisablehook = unraisable


def _tell(logger: logging.Logger, what: str, error: BaseException | None) -> None:
    logger.error(what, exc_info=None if error is None else (type(error), error, error.__traceback__))


class JsonLines(logging.Formatter):
    """One line of JSON for a record: `time` (RFC 3339, UTC), `level`, `logger`, `message` and what else is known."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without a newline."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
        }
        for name in _EXTRAS:
            value = getattr(record, name, None)
            if value is not None:
                line[name] = _reference(value) if isinstance(value, Key) else value
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = describe(record.exc_info[1])
            line["origin"] = origin(record.exc_info[1])
        return json.dumps(line, ensure_ascii=False, default=lambda value: type(value).__name__)


def _message(record: logging.LogRecord) -> str:
    """Return the words of a record; of asyncio's the first line, as the others show the error of a task as it is."""
    message = record.getMessage()
    return message.partition("\n")[0] if record.name == "asyncio" else message


def describe(error: BaseException) -> str:
    """Return the type of an error, and its message where that is known to be harmless."""
    name = type(error).__name__
    if isinstance(error, ApiError):
        return f"{name}: {error}"
    if isinstance(error, OSError) and error.strerror and error.errno:
        return f"{name}: {os.strerror(error.errno)}"  # not its text: that may hold a file's name, or anything
    return name


def origin(error: BaseException) -> list[str]:
    """Return where an error came from, innermost call last, and what it was caused by; no values, no messages."""
    lines: list[str] = []
    for link in _chain(error):
        frames = traceback.extract_tb(link.__traceback__)[-_FRAMES:]
        lines += [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        lines.append(describe(link))
    return lines


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the causes of an error, the first cause first, the error itself last."""
    links = [error]
    while len(links) < _LONGEST_CHAIN:
        last = links[-1]
        cause = last.__cause__ or (None if last.__suppress_context__ else last.__context__)
        if cause is None:
            break
        links.append(cause)
    yield from reversed(links)


def _reference(key: Key) -> dict[str, str]:
    return {
        "apiVersion": key.kind.api_version,
        "kind": key.kind.kind,
        "namespace": key.namespace,
        "name": key.name,
    }
