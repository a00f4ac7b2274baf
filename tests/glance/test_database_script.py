"""The script of the database Jobs, run by each release's own Glance on real database servers."""

import base64
import contextlib
import json
import os
import socket
import sqlite3
import subprocess
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.glance.conftest import InstalledGlance
from tests.glance.databases import DECODED_PASSWORD, PASSWORD, DatabaseServer
from tests.glance_environments import RELEASES
from tests.unit.render import samples

from imageservice.render import ini
from imageservice.render.database_job import SCRIPT, database_secret

pytestmark = pytest.mark.glance

NEWEST = RELEASES[-1]
ENDS = pytest.mark.parametrize("installed", [RELEASES[0], NEWEST], indirect=True)
"""Where only drivers and libraries count, which differ less than Glance does, the two ends are enough."""
ONE = pytest.mark.parametrize("installed", [NEWEST], indirect=True)


@dataclass
class Ended:
    """How the script ended."""

    code: int
    log: str
    said: dict[str, str]


Step = Callable[..., Ended]


@pytest.fixture
def run_step(installed: InstalledGlance, tmp_path: Path) -> Step:
    """Run a step as the Job does: with the files of the Secret that the operator renders."""

    def run(step: str, url: str, python: Path | None = None) -> Ended:
        secret = database_secret(samples.inputs(release=installed.release, database_url=url))
        for name, encoded in secret["data"].items():
            (tmp_path / name).write_bytes(base64.b64decode(encoded))
        message = tmp_path / "termination-log"
        message.unlink(missing_ok=True)
        libraries = next((installed.environment / "lib").glob("python*/site-packages"))
        environment = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
        done = subprocess.run(
            [python or installed.warm.python, tmp_path / SCRIPT, step],
            env={**environment, "TERMINATION_LOG": str(message), "PYTHONPATH": str(libraries)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        said = message.read_text() if message.exists() else ""
        for secret_text in (PASSWORD, DECODED_PASSWORD, url):
            assert secret_text not in done.stdout + done.stderr + said
        assert "\n" not in said
        return Ended(done.returncode, done.stdout + done.stderr, json.loads(said) if said else {})

    return run


@pytest.fixture
def database(mariadb_server: DatabaseServer) -> str:
    """The name of a new, empty database."""
    name = f"glance_{uuid.uuid4().hex[:8]}"
    mariadb_server.sql(f"CREATE DATABASE {name};")
    return name


def manage(installed: InstalledGlance, directory: Path, url: str, *command: str) -> None:
    """Run `glance-manage db` without the script."""
    config = directory / "manage.conf"
    config.write_text(ini.render({"database": {"connection": url}}))
    program = [installed.warm.glance_manage, "--config-file", config]
    subprocess.run([*program, "db", *command], check=True, capture_output=True, timeout=120)


def commands(log: str) -> list[str]:
    """Return the commands of Glance that the script ran."""
    return [line.split()[2] for line in log.splitlines() if line.startswith("glance-manage db ")]


def test_an_empty_database_gets_its_tables_and_metadefs_and_nothing_is_left_to_contract(
    run_step: Step, mariadb_server: DatabaseServer, database: str
) -> None:
    prepare = run_step("prepare", mariadb_server.url(database))
    assert (prepare.code, prepare.said) == (0, {}), prepare.log
    assert commands(prepare.log) == ["sync", "load_metadefs"]
    assert int(mariadb_server.sql("SELECT COUNT(*) FROM metadef_namespaces;", database).split()[-1]) > 20
    sync = run_step("sync", mariadb_server.url(database))
    assert (sync.code, commands(sync.log)) == (0, ["check", "load_metadefs"])


def test_one_step_does_all_on_an_empty_database(run_step: Step, mariadb_server: DatabaseServer, database: str) -> None:
    sync = run_step("sync", mariadb_server.url(database))
    assert (sync.code, commands(sync.log)) == (0, ["sync", "load_metadefs"]), sync.log
    assert int(mariadb_server.sql("SELECT COUNT(*) FROM metadef_namespaces;", database).split()[-1]) > 20
    again = run_step("sync", mariadb_server.url(database))
    assert (again.code, commands(again.log)) == (0, ["check", "load_metadefs"])


@ENDS
def test_an_older_schema_is_expanded_and_migrated_first_and_contracted_apart(
    run_step: Step, installed: InstalledGlance, mariadb_server: DatabaseServer, database: str, tmp_path: Path
) -> None:
    """The schema of Pike, the first one that knows the three phases, stands for that of an older release."""
    manage(installed, tmp_path, mariadb_server.url(database), "upgrade", "--version", "pike_expand01")
    prepare = run_step("prepare", mariadb_server.url(database))
    assert prepare.code == 0, prepare.log
    assert commands(prepare.log) == ["check", "expand", "check", "load_metadefs"]
    sync = run_step("sync", mariadb_server.url(database))
    assert (sync.code, commands(sync.log)) == (0, ["check", "contract", "load_metadefs"]), sync.log
    again = run_step("prepare", mariadb_server.url(database))
    assert (again.code, commands(again.log)) == (0, ["check", "load_metadefs"]), again.log


def test_a_schema_of_a_newer_release_is_left_alone(
    run_step: Step, installed: InstalledGlance, mariadb_server: DatabaseServer, database: str
) -> None:
    mariadb_server.sql("CREATE TABLE images (id INT); CREATE TABLE alembic_version (version_num CHAR(32));", database)
    mariadb_server.sql("INSERT INTO alembic_version VALUES ('2031_2_contract01');", database)
    for step in ("prepare", "sync") if installed.release == NEWEST else ("prepare",):
        ended = run_step(step, mariadb_server.url(database))
        assert (ended.code, ended.said["reason"]) == (1, "DatabaseNewerThanRelease"), ended.log
    assert "2031_2_contract01" in mariadb_server.sql("SELECT version_num FROM alembic_version;", database)
    assert mariadb_server.sql("SHOW TABLES;", database).split()[1:] == ["alembic_version", "images"]


@ONE
def test_a_first_migration_that_was_cut_short_is_done_anew_but_never_where_a_row_would_be_lost(
    run_step: Step, installed: InstalledGlance, mariadb_server: DatabaseServer, database: str, tmp_path: Path
) -> None:
    manage(installed, tmp_path, mariadb_server.url(database), "sync")
    mariadb_server.sql("DELETE FROM alembic_version; DROP TABLE task_info;", database)
    mariadb_server.sql(
        "INSERT INTO tasks SET id='1', type='import', status='success', owner='x', created_at=NOW(),"
        " updated_at=NOW(), deleted=0;",
        database,
    )
    kept = run_step("prepare", mariadb_server.url(database))
    assert (kept.code, kept.said["reason"]) == (1, "MigrationFailed"), kept.log
    assert mariadb_server.sql("SELECT COUNT(*) FROM tasks;", database).split()[1] == "1"
    mariadb_server.sql("DELETE FROM tasks;", database)
    anew = run_step("prepare", mariadb_server.url(database))
    assert (anew.code, commands(anew.log)) == (0, ["check", "expand", "sync", "load_metadefs"]), anew.log
    assert "task_info" in mariadb_server.sql("SHOW TABLES;", database).split()


@ONE
def test_rows_are_migrated_between_expand_and_contract(
    run_step: Step, installed: InstalledGlance, tmp_path: Path
) -> None:
    """No schema of these releases has rows left to migrate, so a stand-in for glance-manage says that one has."""
    database = tmp_path / "glance.db"
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE images (id INT)")
    left = tmp_path / "left"
    left.write_text("3")
    stand_in = tmp_path / "bin" / "glance-manage"
    stand_in.parent.mkdir()
    stand_in.write_text(
        f'#!/bin/sh\nleft={left}\ncase "$4" in\n'
        'check) exit "$(cat $left)" ;;\nexpand) echo 4 > $left ;;\nmigrate) echo 5 > $left ;;\n'
        "contract) echo 0 > $left ;;\nesac\n"
    )
    stand_in.chmod(0o755)
    (stand_in.parent / "python").symlink_to((installed.environment / "bin" / "python").resolve())
    url = f"sqlite:///{database}"
    prepare = run_step("prepare", url, python=stand_in.parent / "python")
    assert (prepare.code, left.read_text().strip()) == (0, "5"), prepare.log
    assert commands(prepare.log)[:5] == ["check", "expand", "check", "migrate", "check"]
    sync = run_step("sync", url, python=stand_in.parent / "python")
    assert (sync.code, left.read_text().strip()) == (0, "0"), sync.log
    assert commands(sync.log)[:2] == ["check", "contract"]


def test_a_database_of_another_service_is_left_alone(
    run_step: Step, mariadb_server: DatabaseServer, database: str
) -> None:
    mariadb_server.sql("CREATE TABLE endpoint (id INT); CREATE TABLE alembic_version (version_num INT);", database)
    ended = run_step("prepare", mariadb_server.url(database))
    assert (ended.code, ended.said["reason"]) == (1, "DatabaseNotGlance")
    assert "(endpoint, ...)" in ended.said["message"]
    assert mariadb_server.sql("SHOW TABLES;", database).split()[1:] == ["alembic_version", "endpoint"]


@ENDS
def test_each_fault_of_mariadb_has_its_reason(run_step: Step, mariadb_server: DatabaseServer, database: str) -> None:
    faults = {
        mariadb_server.url(database, password="wrong"): "DatabaseAccessDenied",
        mariadb_server.url("mysql"): "DatabaseAccessDenied",
        mariadb_server.url("glance_missing"): "DatabaseMissing",
        mariadb_server.url(database, user="reader"): "DatabaseAccessDenied",
        f"mysql+pymysql://glance:{PASSWORD}@127.0.0.1:{_closed_port()}/glance": "DatabaseUnreachable",
        f"mysql+pymysql://glance:{PASSWORD}@database.invalid/glance": "DatabaseUnreachable",
    }
    seen = {url: run_step("prepare", url) for url in faults}
    assert {url: ended.said.get("reason") for url, ended in seen.items()} == faults
    assert all(ended.code == 1 for ended in seen.values())


def _closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@ONE
def test_a_server_that_says_nothing_is_given_up_after_seconds(run_step: Step) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"mysql+pymysql://glance:{PASSWORD}@127.0.0.1:{silent.getsockname()[1]}/glance"
        assert run_step("prepare", url).said["reason"] == "DatabaseUnreachable"


@ENDS
def test_postgresql_gets_its_tables_and_each_fault_its_reason(
    run_step: Step, postgresql_server: DatabaseServer
) -> None:
    name = f"glance_{uuid.uuid4().hex[:8]}"
    postgresql_server.sql(f"CREATE DATABASE {name} OWNER glance", "postgres")
    prepare = run_step("prepare", postgresql_server.url(name))
    assert prepare.code == 0, prepare.log
    assert int(postgresql_server.sql("SELECT COUNT(*) FROM metadef_namespaces", name)) > 20
    assert run_step("sync", postgresql_server.url(name)).code == 0
    faults = {
        postgresql_server.url(name, password="wrong"): "DatabaseAccessDenied",
        postgresql_server.url("glance_missing"): "DatabaseMissing",
        f"postgresql+psycopg2://glance:{PASSWORD}@127.0.0.1:{_closed_port()}/glance": "DatabaseUnreachable",
        f"postgresql+psycopg2://glance:{PASSWORD}@database.invalid/glance": "DatabaseUnreachable",
    }
    assert {url: run_step("prepare", url).said.get("reason") for url in faults} == faults
    postgresql_server.sql("UPDATE alembic_version SET version_num = '2031_2_contract01'", name)
    assert run_step("prepare", postgresql_server.url(name)).said["reason"] == "DatabaseNewerThanRelease"
