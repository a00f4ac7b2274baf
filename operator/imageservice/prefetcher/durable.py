"""JSON files that are whole after a loss of power at any moment: the old content or the new one."""

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from .events import tell

NEW_SUFFIX = ".new"
ASIDE_SUFFIX = ".unreadable"


def write(path: Path, content: Any) -> None:
    """Put the content into the place of the file; it is on the disk when this returns. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + NEW_SUFFIX)
    try:
        with new.open("w", encoding="utf-8") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def remove(path: Path) -> None:
    """Remove the file for good, if there is one. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
        _sync(path.parent)


def read(path: Path) -> Any:
    """Return the content, None where there is no file or none that can be read."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        set_aside(path, type(error).__name__)
        return None


def set_aside(path: Path, why: str) -> None:
    """Give a file that is of no use another name, so that it is in nobody's way and can still be looked at."""
    with contextlib.suppress(OSError):
        path.replace(path.with_name(path.name + ASIDE_SUFFIX))
    tell("FileSetAside", file=path.name, why=why)


def _sync(directory: Path) -> None:
    """Wait until the names in a directory are on the disk."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
