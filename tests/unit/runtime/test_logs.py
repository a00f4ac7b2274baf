"""Log lines."""

import json
import logging
import subprocess
import sys
from io import StringIO

from imageservice.runtime.failures import Conflict
from imageservice.runtime.kinds import IMAGE_STORE, Key
from imageservice.runtime.logs import JsonLines, describe, origin

PASSWORD = "planted-password"


def line(record: logging.LogRecord) -> dict[str, object]:
    text = JsonLines().format(record)
    assert "\n" not in text
    return dict(json.loads(text))


def record(message: str, *arguments: object, error: BaseException | None = None, **extra: object) -> logging.LogRecord:
    info = (type(error), error, error.__traceback__) if error else None
    made = logging.LogRecord("some.logger", logging.WARNING, __file__, 1, message, arguments, info)
    made.__dict__.update(extra)
    return made


def test_a_record_is_one_line_of_json_with_the_object_it_is_about() -> None:
    shown = line(record("%s\nand %s", "one", "two", object=Key(IMAGE_STORE, "ns", "central")))
    assert shown["message"] == "one\nand two"
    assert shown["level"] == "warning"
    assert shown["object"] == {
        "apiVersion": "imageservice.dev/v1alpha1",
        "kind": "ImageStore",
        "namespace": "ns",
        "name": "central",
    }
    assert str(shown["time"]).endswith("+00:00")


def broken() -> None:
    connection = f"mysql://glance:{PASSWORD}@db"
    raise ValueError(f"cannot parse {connection}")


def test_an_unexpected_error_shows_where_it_came_from_but_not_what_it_says() -> None:
    try:
        try:
            broken()
        except ValueError as error:
            raise RuntimeError(f"wrapped: {error}") from error
    except RuntimeError as error:
        shown = JsonLines().format(record("it broke", error=error))
    assert PASSWORD not in shown
    assert "ValueError" in shown
    assert "RuntimeError" in shown
    assert " broken" in shown


def test_errors_known_to_hold_no_secret_are_shown_in_full() -> None:
    assert describe(Conflict(409, "Conflict", "changed")) == "Conflict: 409 Conflict: changed"
    assert "No such file" in describe(FileNotFoundError(2, "No such file", "/x"))
    assert origin(KeyError(PASSWORD)) == ["KeyError"]


def test_at_debug_level_libraries_stay_quiet_and_all_lines_are_json() -> None:
    program = """
import logging, warnings
from imageservice.runtime import logs
logs.configure(logging.DEBUG)
logging.getLogger("imageservice.x").debug("ours")
for name in ("kopf.objects", "aiohttp.client", "kubernetes.aio.client.rest", "asyncio", "somebody"):
    logging.getLogger(name).info("Authorization: Bearer planted-password")
    logging.getLogger(name).warning("theirs")
warnings.warn("old")
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    lines = [json.loads(text) for text in ran.stderr.splitlines()]
    assert [shown["message"] for shown in lines[:1]] == ["ours"]
    assert sum(shown["message"] == "theirs" for shown in lines) == 5
    assert PASSWORD not in ran.stderr


def test_the_level_is_that_of_our_own_loggers() -> None:
    stream = StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("imageservice.test_logs")
    logger.addHandler(handler)
    try:
        logger.warning("x", extra={"retry_seconds": 2.5})
    finally:
        logger.removeHandler(handler)
    assert json.loads(stream.getvalue())["retry_seconds"] == 2.5
