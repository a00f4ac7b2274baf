"""What goes wrong in the worker, as a reason and one line of text that may be shown.

Texts of Glance, of its store drivers and of databases are never passed on: they hold paths, URLs and credentials.
"""

import errno
import logging

import sqlalchemy.exc  # type: ignore[import-not-found]
from glance_store import exceptions as store_errors  # type: ignore[import-not-found]
from oslo_db import exception as database_errors  # type: ignore[import-not-found]

from . import reasons

MESSAGE_LENGTH = 200
"""How long a message may be, in characters."""

DATABASE_ERRORS = (database_errors.DBError, sqlalchemy.exc.SQLAlchemyError)

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a file system says where a file cannot become longer."""


class Failure(Exception):  # noqa: N818 - an outcome of a request
    """A request failed: `reason` is one of `reasons.py`."""

    def __init__(self, reason: str, message: str) -> None:
        self.reason, self.message = reason, one_line(message)
        super().__init__(self.message)


def one_line(text: str) -> str:
    """Return a text as one line of printable characters that is not too long."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return line if len(line) <= MESSAGE_LENGTH else f"{line[: MESSAGE_LENGTH - 1]}…"


def of_store(store: str, error: Exception) -> Failure:
    """Return what an error means that came while a store was read."""
    if isinstance(error, store_errors.NotFound | FileNotFoundError):
        return Failure(reasons.DATA_MISSING, f"{store} has no data of the image")
    if isinstance(error, store_errors.UnknownScheme):
        return Failure(reasons.STORE_UNREACHABLE, f"{store} is no store of this node")
    return Failure(reasons.STORE_UNREACHABLE, f"{store} could not be read ({name_of(error)})")


def of_worker(error: Exception) -> Failure:
    """Return what an error means that came from elsewhere than a store."""
    if isinstance(error, Failure):
        return error
    if isinstance(error, DATABASE_ERRORS):
        return Failure(reasons.DATABASE_UNREACHABLE, f"The database failed ({name_of(error)}).")
    if isinstance(error, OSError) and error.errno in FULL:
        return Failure(reasons.NO_SPACE, f"The volume of the cache is full ({name_of(error)}).")
    logging.getLogger(__name__).error("unknown", exc_info=error)
    return Failure(reasons.WORKER_FAILED, f"The worker failed ({name_of(error)}).")


def of_locations(failures: list[Failure]) -> Failure:
    """Return one failure for several places of an image: where waiting may help, that reason comes first."""
    by_hope = (reasons.STORE_UNREACHABLE, reasons.HASH_MISMATCH, reasons.SIZE_MISMATCH, reasons.DATA_MISSING)
    found = {failure.reason for failure in failures}
    reason = next(reason for reason in by_hope if reason in found)
    return Failure(reason, f"{'; '.join(failure.message for failure in failures)}.")


def name_of(error: BaseException) -> str:
    """Return the kind of an error: a word that holds nothing of its text."""
    number = error.errno if isinstance(error, OSError) else None
    return errno.errorcode.get(number or 0, type(error).__name__)
