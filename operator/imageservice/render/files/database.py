"""Bring the database of Glance to the schema of this image's release: `database.py prepare|sync`.

`prepare` does what may be done while pods of the older release still run: expand and migrate, and on an empty database
everything. `sync` does all that, and contracts: for where no such pod is left, or never was one. Both load the metadata
definitions. What is left to do is what `glance-manage db check` says, so either step may run again at any time.

Runs in the Glance image. Beside this file lie `url`, the SQLAlchemy URL of the database, and `glance-manage.conf`. A
failure leaves one JSON object {"reason", "message"} in the termination message of the container. Neither that nor the
log ever holds the URL or its password.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy  # type: ignore[import-not-found]
import sqlalchemy.engine  # type: ignore[import-not-found]
import sqlalchemy.exc  # type: ignore[import-not-found]
import sqlalchemy.pool  # type: ignore[import-not-found]

HERE = Path(__file__).resolve().parent
TERMINATION_LOG = Path(os.environ.get("TERMINATION_LOG", "/dev/termination-log"))
PROBE_LIMITS = {
    # PyMySQL waits without end for a server that takes the connection and then says nothing.
    "mysql": {"connect_timeout": 10, "read_timeout": 10, "write_timeout": 10},
    "postgresql": {"connect_timeout": 10},
}
"""How many seconds the first connection may take, in the words of each driver."""
COMMAND_SECONDS = 3300
LONGEST_MESSAGE = 600

UP_TO_DATE, EXPAND, MIGRATE, CONTRACT = 0, 3, 4, 5
"""Exit codes of `glance-manage db check`; any other is a failure."""
REVISION_TABLE = "alembic_version"
GLANCE_TABLE = re.compile(
    rf"{REVISION_TABLE}|migrate_version|(image|task|metadef|artifact|cached_image|node_reference)\w*"
)
"""Names of Glance's tables, and of those that tell the revision of its schema."""
ONLINE_DATABASES = ("mysql", "sqlite")
"""Where Glance can expand, migrate and contract one by one; elsewhere it knows only `db sync`, which does all three."""

REASONS = (
    ("DatabaseNewerThanRelease", "Can't locate revision", "The database has a schema that this release does not know."),
    ("DatabaseMissing", r"\(1049,|database \S+ does not exist", "The database server has no such database."),
    (
        "DatabaseAccessDenied",
        r"\((1044|1045|1142|1227|1698|3118),|password authentication failed|no pg_hba\.conf entry|permission denied"
        r"|role \S+ does not exist|no password supplied|must be owner of",
        "The database server refuses the user.",
    ),
    (
        "DatabaseUnreachable",
        r"\((2002|2003|2005|2006|2013|1040|1053),|could not translate host name|Connection refused|timeout expired"
        r"|Connection timed out|server closed the connection|No route to host|Network is unreachable"
        r"|the database system is|too many clients|connection to server .* failed",
        "The database server does not answer.",
    ),
)
"""Reason, what its error looks like (MySQL error numbers, texts of libpq and alembic), and a sentence for people."""


class Failure(Exception):  # noqa: N818 - a verdict, not an error of the program
    """The step cannot be done; `reason` is one CamelCase word, the text is for people and holds no secret."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Database:
    """The database at the URL, and the commands of Glance that work on it."""

    def __init__(self, url_text: str) -> None:
        self._url_text = url_text
        try:
            self._url = sqlalchemy.engine.make_url(url_text)
            self.dialect: str = self._url.get_backend_name()
        except (sqlalchemy.exc.ArgumentError, ValueError):
            raise Failure("MigrationFailed", "The URL of the database cannot be parsed.") from None

    def tables(self) -> list[str]:
        """Return the names of all tables. This is also the first try to connect."""
        with self._connection() as connection:
            return list(sqlalchemy.inspect(connection).get_table_names())

    def has_rows(self, tables: list[str]) -> bool:
        """Tell whether any of the tables, but for the one that tells the revision, holds anything."""
        with self._connection() as connection:
            queries = (
                sqlalchemy.select(sqlalchemy.text("1")).select_from(sqlalchemy.table(name))
                for name in tables
                if name != REVISION_TABLE
            )
            return any(connection.execute(query.limit(1)).first() for query in queries)

    def drop(self, tables: list[str]) -> None:
        """Drop the tables."""
        with self._connection() as connection:
            metadata = sqlalchemy.MetaData()
            metadata.reflect(connection, only=tables)
            metadata.drop_all(connection)

    @contextlib.contextmanager
    def _connection(self) -> Iterator[Any]:
        """Connect, and turn what goes wrong into a Failure."""
        limits = PROBE_LIMITS.get(self.dialect, {})
        try:
            engine = sqlalchemy.create_engine(self._url, connect_args=limits, poolclass=sqlalchemy.pool.NullPool)
            with engine.begin() as connection:
                yield connection
        except (sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
            raise self.failure(f"{type(error).__name__}: {getattr(error, 'orig', None) or error}") from None

    def run(self, *command: str) -> tuple[int, str]:
        """Run `glance-manage db ...`; return its exit code and the text it wrote."""
        path = shutil.which("glance-manage", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
        if not path:
            raise Failure("MigrationFailed", "The image has no glance-manage: is it an image of Glance?")
        say(f"glance-manage db {' '.join(command)}")
        done = subprocess.run(  # noqa: S603 - the command is ours
            [path, "--config-file", str(HERE / "glance-manage.conf"), "db", *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=COMMAND_SECONDS,
            check=False,
        )
        say(self.redacted(done.stdout.strip()))
        return done.returncode, done.stdout

    def must(self, *command: str) -> None:
        """Run `glance-manage db ...` and fail where it fails."""
        code, output = self.run(*command)
        if code:
            raise self.failure(output)

    def check(self) -> int:
        """Return which step is next, one of the exit codes of `db check`."""
        code, output = self.run("check")
        if code not in (UP_TO_DATE, EXPAND, MIGRATE, CONTRACT):
            raise self.failure(output)
        return code

    def failure(self, output: str) -> Failure:
        """Make the Failure that fits what a driver or a command said."""
        detail = last_error(self.redacted(output))  # in this order: half of a password would not be found
        for reason, pattern, sentence in REASONS:
            if re.search(pattern, output):
                return Failure(reason, f"{sentence} {detail}")
        return Failure("MigrationFailed", detail)

    def redacted(self, text: str) -> str:
        """Return `text` without the URL and the password, in whatever form they may stand there."""
        password = str(self._url.password or "")
        for secret in (self._url_text, password, urllib.parse.quote(password), urllib.parse.quote_plus(password)):
            text = text.replace(secret, "***") if secret else text
        return re.sub(r"(?<=://)[^\s/@]+@", "***@", text)


def last_error(output: str) -> str:
    """Return the line of a log or traceback that says what went wrong, on one line and not too long."""
    lines = [line.strip() for line in output.splitlines() if line.strip() and "Background on this error" not in line]
    errors = [line for line in lines if re.match(r"([\w.]+(Error|Exception|Warning)\b|ERROR|CRITICAL).*", line)]
    chosen = (errors or lines or ["It ended without a word."])[-1]
    return " ".join(chosen.split())[:LONGEST_MESSAGE]


def prepare(database: Database) -> None:
    """Do what pods of an older release do not mind."""
    bring_forward(database)
    load_metadefs(database)


def sync(database: Database) -> None:
    """Do everything."""
    if bring_forward(database) == CONTRACT:
        database.must("contract")
    load_metadefs(database)


def bring_forward(database: Database) -> int:
    """Expand and migrate; on an empty database do everything. Return what is left to do, as `db check` would."""
    tables = database.tables()
    strangers = [table for table in tables if not GLANCE_TABLE.fullmatch(table)]
    if strangers and "images" not in tables:
        raise Failure(
            "DatabaseNotGlance",
            f"The database has tables that are not Glance's ({', '.join(sorted(strangers)[:3])}, ...) and none of its "
            "own: it belongs to something else. Give Glance a database of its own.",
        )
    try:
        if tables and database.dialect in ONLINE_DATABASES:
            return expand_and_migrate(database)
        database.must("sync")
    except Failure as failure:
        # Most databases cannot take back half of a migration. Where the very first one was cut short, nothing is lost.
        if failure.reason != "MigrationFailed" or not tables or strangers or database.has_rows(tables):
            raise
        say("no table has a row: the first migration was cut short, starting anew")
        database.drop(tables)
        database.must("sync")
    return UP_TO_DATE


def expand_and_migrate(database: Database) -> int:
    """Do these two steps where they are left to do; return what `db check` said last."""
    left = database.check()
    for step, command in ((EXPAND, "expand"), (MIGRATE, "migrate")):
        if left == step:
            database.must(command)
            left = database.check()
    return left


def load_metadefs(database: Database) -> None:
    """Load the metadata definitions that Glance brings; those that are there already stay as they are."""
    for prefix in (sys.prefix, "/usr/local", "/usr", "/"):
        directory = Path(prefix, "etc", "glance", "metadefs")
        if directory.is_dir():
            database.must("load_metadefs", "--path", str(directory))
            return
    say("no metadata definitions in this image")


def say(text: str) -> None:
    """Write to the log of the pod."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    """Do the step that the command line names; return the exit code."""
    steps = {"prepare": prepare, "sync": sync}
    try:
        steps[sys.argv[1]](Database((HERE / "url").read_text("utf-8")))
    except Failure as failure:
        text = json.dumps({"reason": failure.reason, "message": str(failure)})
        say(text)
        TERMINATION_LOG.write_text(text, "utf-8")
        return 1
    except subprocess.TimeoutExpired as error:
        text = f"glance-manage {error.cmd[-1]} took longer than {COMMAND_SECONDS} s."
        TERMINATION_LOG.write_text(json.dumps({"reason": "MigrationFailed", "message": text}), "utf-8")
        return 1
    say("done")
    return 0


if __name__ == "__main__":
    sys.exit(main())
