"""How many images each store holds, counted by the store monitor in real databases of Glance."""

import contextlib
import json
import socket
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from tests.glance.conftest import InstalledGlance, Sql
from tests.glance.databases import DECODED_PASSWORD, PASSWORD, DatabaseServer
from tests.glance.store_monitor import StoreMonitor, store_monitor
from tests.glance_environments import RELEASES
from tests.ports import free_port

from imageservice.render import ini

pytestmark = [pytest.mark.glance, pytest.mark.parametrize("installed", [RELEASES[-1]], indirect=True)]

IMAGES: dict[str, list[tuple[str, str | None]]] = {
    # Image -> its locations: status, metadata.
    "central-alone": [("active", '{"store": "central"}')],
    "both": [("active", '{"store": "central"}'), ("active", '{"store": "dcn0", "more": {"store": "dcn1"}}')],
    "twice-in-one": [("active", '{"store": "central"}'), ("active", '{"a": 1, "store": "central"}')],
    "copy-going-away": [("active", '{"store": "central"}'), ("pending_delete", '{"store": "dcn0"}')],
    "copy-without-a-store": [("active", '{"store": "dcn0"}'), ("active", "{}"), ("active", None)],
    "without-a-store": [("active", "{}"), ("active", '{"more": {"store": "central"}}')],
    "capital": [("active", '{"store": "Central"}')],
    "queued": [],
    "deleted": [("active", '{"store": "central"}')],
    "location-deleted": [("active", '{"store": "dcn0"}')],
    "not-in-the-config": [("active", '{"store": "gone %_\'"}')],
}
COUNTS = {
    "central": {"images": 4, "onlyHere": 3},
    "dcn0": {"images": 2, "onlyHere": 1},
    "Central": {"images": 1, "onlyHere": 1},
    "gone %_'": {"images": 1, "onlyHere": 1},
    "empty": {"images": 0, "onlyHere": 0},
}


def fill(sql: Sql) -> None:
    """Enter the images, in SQL that all three databases take."""
    rows = []
    for image, locations in IMAGES.items():
        rows.append(
            "INSERT INTO images (id, status, visibility, created_at, deleted, min_disk, min_ram, protected, os_hidden)"
            f" VALUES ('{image}', 'active', 'private', CURRENT_TIMESTAMP, {image == 'deleted'}, 0, 0, FALSE, FALSE);"
        )
        for status, metadata in locations:
            text = "NULL" if metadata is None else "'" + metadata.replace("'", "''") + "'"
            rows.append(
                "INSERT INTO image_locations (image_id, value, meta_data, status, created_at, deleted) VALUES"
                f" ('{image}', 'x', {text}, '{status}', CURRENT_TIMESTAMP, {image == 'location-deleted'});"
            )
    sql("\n".join(rows))


def write_config(directory: Path, url: str) -> Path:
    """Write a glance-api.conf as the operator does."""
    config = directory / "glance-api.conf"
    backends = ini.dict_value({"central": "rbd", "dcn0": "rbd", "empty": "file"})
    config.write_text(ini.render({"DEFAULT": {"enabled_backends": backends}, "database": {"connection": url}}))
    return config


@dataclass
class Site:
    """A monitor beside Glance of a release; no answer of its may hold a password or a URL."""

    monitor: StoreMonitor

    def ask(self, store_id: str) -> tuple[int, dict[str, Any]]:
        status, text = self.monitor.get(f"/images/{store_id}")
        assert not [secret for secret in (PASSWORD, DECODED_PASSWORD, "://") if secret in text + self.monitor.log]
        return status, json.loads(text)


@contextlib.contextmanager
def site(installed: InstalledGlance, directory: Path, url: str) -> Iterator[Site]:
    python = installed.environment / "bin" / "python"
    with store_monitor(directory / "monitor", python=python, glance_config=write_config(directory, url)) as monitor:
        yield Site(monitor)


def test_images_are_counted_by_store_and_those_that_lie_nowhere_else_apart(
    installed: InstalledGlance, database: tuple[str, Sql], tmp_path: Path
) -> None:
    url, sql = database
    fill(sql)
    with site(installed, tmp_path, url) as glance:
        assert {name: glance.ask(quote(name)) for name in COUNTS} == {
            name: (200, count) for name, count in COUNTS.items()
        }
        for unknown in ("dcn1", "cent", "CENTRAL", ""):
            status, answer = glance.ask(unknown)
            assert (status, answer["reason"]) == (404, "StoreUnknown")


def test_a_count_is_kept_for_five_seconds_and_not_longer(installed: InstalledGlance, tmp_path: Path) -> None:
    url = installed.new_database(tmp_path)

    def sql(script: str) -> None:
        with contextlib.closing(sqlite3.connect(tmp_path / "glance.db")) as connection:
            connection.executescript(script)

    with site(installed, tmp_path, url) as glance:
        assert glance.ask("central") == (200, {"images": 0, "onlyHere": 0})
        fill(sql)
        assert glance.ask("central") == (200, {"images": 0, "onlyHere": 0})
        time.sleep(5)
        assert glance.ask("central") == (200, COUNTS["central"])


def test_each_fault_of_the_database_is_an_answer_in_time_without_its_url(
    installed: InstalledGlance, mariadb_server: DatabaseServer, postgresql_server: DatabaseServer, tmp_path: Path
) -> None:
    faults = {
        mariadb_server.url("glance_missing"): "DatabaseUnreachable",
        mariadb_server.url("glance_missing", password="wrong"): "DatabaseUnreachable",
        f"mysql+pymysql://glance:{PASSWORD}@127.0.0.1:{free_port()}/glance": "DatabaseUnreachable",
        f"mysql+pymysql://glance:{PASSWORD}@database.invalid/glance": "DatabaseUnreachable",
        postgresql_server.url("postgres", password="wrong"): "DatabaseUnreachable",
        f"oracle://glance:{PASSWORD}@127.0.0.1/glance": "CountFailed",
        f"no url {PASSWORD}": "CountFailed",
    }
    seen = {}
    for number, url in enumerate(faults):
        directory = tmp_path / str(number)
        directory.mkdir()
        with site(installed, directory, url) as glance:
            status, answer = glance.ask("central")
            assert status == 503
            seen[url] = answer["reason"]
    assert seen == faults


def test_a_database_without_tables_cannot_be_counted(installed: InstalledGlance, tmp_path: Path) -> None:
    with site(installed, tmp_path, f"sqlite:///{tmp_path / 'nothing.db'}") as glance:
        assert glance.ask("central")[0] == 503


def test_a_database_that_says_nothing_is_given_up_in_time(installed: InstalledGlance, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"mysql+pymysql://glance:{PASSWORD}@127.0.0.1:{silent.getsockname()[1]}/glance"
        with site(installed, tmp_path, url) as glance:
            began = time.monotonic()
            status, answer = glance.ask("central")
            assert (status, answer["reason"]) == (503, "DatabaseUnreachable")
            assert time.monotonic() - began < 9
            assert glance.ask("central")[1] == answer
            assert time.monotonic() - began < 10
