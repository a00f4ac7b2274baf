"""Environments and databases of the four releases."""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.glance.databases import DatabaseServer, mariadb, postgresql
from tests.glance.warm_python import WarmPython, warm_python
from tests.glance_environments import RELEASES, glance_environment
from tests.keystone import keystone

from imageservice.render import ini

__all__ = ["keystone"]

Sql = Callable[[str], Any]
"""Runs a script of SQL in a database."""


@dataclass(frozen=True)
class InstalledGlance:
    """Glance of a release in an environment of its own, and a database with its tables to copy."""

    release: str
    environment: Path
    warm: WarmPython
    """Runs the programs of the environment without importing Glance each time."""
    database: Path
    server: DatabaseServer

    def new_database(self, directory: Path) -> str:
        """Put a database that has the tables and nothing in them into `directory` and return its URL.

        It is SQLite: for what writes one thing after the other.
        """
        shutil.copy(self.database, directory / "glance.db")
        return f"sqlite:///{directory / 'glance.db'}"

    def new_server_database(self, directory: Path) -> str:
        """Make such a database in MariaDB and return its URL; a file of settings for it is put into `directory`.

        For a Glance that serves: what requests and imports write at the same time would be refused by SQLite.
        """
        name = f"glance_{uuid.uuid4().hex[:8]}"
        self.server.sql(f"CREATE DATABASE {name}")
        make_tables(self.warm, self.server.url(name), directory)
        return self.server.url(name)


@pytest.fixture(scope="session", params=RELEASES)
def installed(
    request: pytest.FixtureRequest, mariadb_server: DatabaseServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[InstalledGlance]:
    """Glance of each release in turn."""
    with installed_glance(request.param, mariadb_server, tmp_path_factory.mktemp(f"database-{request.param}")) as found:
        yield found


@contextlib.contextmanager
def installed_glance(release: str, server: DatabaseServer, directory: Path) -> Iterator[InstalledGlance]:
    """Glance of a release, which makes its databases on `server`; `directory` is for the tables to copy."""
    environment = glance_environment(release)
    database = directory / "glance.db"
    with warm_python(environment) as warm:
        make_tables(warm, f"sqlite:///{database}", directory)
        yield InstalledGlance(release, environment, warm, database, server)


@pytest.fixture(scope="session")
def mariadb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseServer]:
    """A MariaDB for all tests; each makes a database of its own."""
    with mariadb(tmp_path_factory.mktemp("mariadb")) as server:
        yield server


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[DatabaseServer]:
    """A PostgreSQL for all tests; each makes a database of its own."""
    with postgresql() as server:
        yield server


@pytest.fixture(params=["sqlite", "mariadb", "postgresql"])
def database(request: pytest.FixtureRequest, installed: InstalledGlance, tmp_path: Path) -> tuple[str, Sql]:
    """A database of Glance on each server, empty, and how to enter something into it."""
    name = f"glance_{uuid.uuid4().hex[:8]}"
    if request.param == "sqlite":
        # oslo.config would take $connection for another option.
        directory = tmp_path / "a $connection % b"
        directory.mkdir()
        url = installed.new_database(directory)

        def sql(script: str) -> None:
            with contextlib.closing(sqlite3.connect(directory / "glance.db")) as connection:
                connection.executescript(script)

        return url, sql
    server: DatabaseServer = request.getfixturevalue(f"{request.param}_server")
    if request.param == "mariadb":
        server.sql(f"CREATE DATABASE {name};")
    else:
        server.sql(f"CREATE DATABASE {name} OWNER glance", "postgres")
    make_tables(installed.warm, server.url(name), tmp_path)
    return server.url(name), lambda script: server.sql(script, name)


def make_tables(warm: WarmPython, url: str, directory: Path) -> None:
    """Make the tables of Glance in an empty database; the configuration for it is written into `directory`."""
    config = directory / "glance-manage.conf"
    config.write_text(ini.render({"database": {"connection": url}}))
    command = [warm.glance_manage, "--config-file", config, "db", "sync"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
    done = subprocess.run(command, env=clean, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
