"""Which images have a name, tags or properties, as the store monitor finds them in real databases of Glance."""

import contextlib
import json
import sqlite3
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.glance.conftest import InstalledGlance, Sql
from tests.glance.databases import DECODED_PASSWORD, PASSWORD, DatabaseServer
from tests.glance.store_monitor import StoreMonitor, store_monitor
from tests.glance_environments import RELEASES
from tests.ports import free_port

from imageservice.render import ini

pytestmark = pytest.mark.glance
newest_release = pytest.mark.parametrize("installed", [RELEASES[-1]], indirect=True)

TOKEN = "0123456789abcdef" * 4
INJECTION = "x' OR '1'='1' -- %(a)s %s :deleted \\ \"`;"
"""Whatever a text could do to a statement, or to the place of a parameter in it."""


@dataclass
class Image:
    """A row of Glance; the later in IMAGES, the newer."""

    key: str
    name: str | None = None
    status: str = "active"
    visibility: str = "public"
    owner: str | None = "admin"
    tags: tuple[str, ...] = ()
    properties: dict[str, str] = field(default_factory=dict)
    deleted: bool = False
    hidden: bool = False
    size: int | None = 5

    @property
    def id(self) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, self.key))


IMAGES = [
    Image("old", "rhel-9"),
    Image("golden", "rhel-9", size=2**40),
    Image("private", "rhel-9", visibility="private", owner="mallory"),
    Image("shared", "rhel-9", visibility="shared", owner="mallory"),
    Image("community", "rhel-9", visibility="community", owner="mallory"),
    Image("queued", "rhel-9", status="queued", size=None),
    Image("deactivated", "rhel-9", status="deactivated"),
    Image("deleted", "rhel-9", status="active", deleted=True),
    Image("hidden", "rhel-9", hidden=True),
    Image("capitals", "RHEL-9"),
    Image("blanks", "rhel-9  "),
    Image("team old", "app", visibility="private", owner="team"),
    Image("team", "app", visibility="private", owner="team"),
    Image("other team", "app", visibility="private", owner="Team"),
    Image("nobody", "app", visibility="private", owner=None),
    Image("nameless", None, tags=("golden",), properties={"os_distro": "ubuntu", "empty": ""}),
    Image("tagged", "a", tags=("golden", "x86"), properties={"os_distro": "ubuntu"}),
    Image("tagged private", "a", visibility="private", owner="team", tags=("golden", "x86")),
    Image("tagged capital", "a", tags=("Golden",), properties={"OS_distro": "ubuntu"}),
    Image("property", "b", properties={"os_distro": "Ubuntu", "os_version": "ubuntu"}),
    Image("injected", INJECTION, owner=INJECTION, tags=(INJECTION,), properties={INJECTION: INJECTION}),
    Image("umlaut", "bücher-☃"),
]
OF = {image.key: image for image in IMAGES}

QUERIES: list[tuple[dict[str, Any], list[str]]] = [
    ({"name": "rhel-9"}, ["golden"]),
    ({"name": "RHEL-9"}, ["capitals"]),
    ({"name": "Rhel-9"}, []),
    ({"name": "rhel-9  "}, ["blanks"]),
    ({"name": "rhel-9 "}, []),
    ({"name": "rhel-%"}, []),
    ({"name": "app"}, []),
    ({"name": "app", "owner": None}, []),
    ({"name": "app", "owner": "team"}, ["team"]),
    ({"name": "app", "owner": "Team"}, ["other team"]),
    ({"name": "app", "owner": "TEAM"}, []),
    ({"name": "rhel-9", "owner": "mallory"}, ["community"]),
    ({"name": "rhel-9", "owner": "team"}, []),
    ({"name": "bücher-☃"}, ["umlaut"]),
    ({"name": INJECTION}, ["injected"]),
    ({"name": INJECTION, "owner": INJECTION}, ["injected"]),
    ({"name": INJECTION, "owner": INJECTION + "'"}, []),
    ({"id": OF["private"].id}, ["private"]),
    ({"id": OF["queued"].id}, ["queued"]),
    ({"id": OF["deactivated"].id}, ["deactivated"]),
    ({"id": OF["hidden"].id}, ["hidden"]),
    ({"id": OF["deleted"].id}, []),
    ({"id": str(uuid.UUID(int=0))}, []),
    ({"tags": ["golden"]}, ["tagged", "nameless"]),
    ({"tags": ["Golden"]}, ["tagged capital"]),
    ({"tags": ["golden", "x86"]}, ["tagged"]),
    ({"tags": ["golden", "arm"]}, []),
    ({"tags": ["gold%"]}, []),
    ({"tags": ["golden"], "owner": "team"}, ["tagged private"]),
    ({"tags": ["golden"], "owner": "admin"}, ["tagged", "nameless"]),
    ({"tags": ["tag of a deleted row"]}, []),
    ({"properties": {"os_distro": "ubuntu"}}, ["tagged", "nameless"]),
    ({"properties": {"os_distro": "Ubuntu"}}, ["property"]),
    ({"properties": {"os_distro": "ubuntu", "empty": ""}}, ["nameless"]),
    ({"properties": {"property of a deleted row": "x"}}, []),
    ({"tags": ["x86"], "properties": {"os_distro": "ubuntu"}}, ["tagged"]),
    ({"tags": ["x86"], "properties": {"os_distro": "Ubuntu"}}, []),
    ({"tags": [INJECTION]}, ["injected"]),
    ({"tags": [], "properties": {INJECTION: INJECTION}, "owner": INJECTION}, ["injected"]),
    ({"properties": {INJECTION: "x"}}, []),
]


def quoted(text: str | None, *, backslash: str) -> str:
    return "NULL" if text is None else "'" + text.replace("\\", backslash).replace("'", "''") + "'"


def script(*, backslash: str) -> str:
    """Return the SQL that enters all images; `backslash` is how one stands in a text of that database."""
    rows = []
    for number, image in enumerate(IMAGES):
        name, owner = (quoted(text, backslash=backslash) for text in (image.name, image.owner))
        rows.append(
            "INSERT INTO images (id, name, owner, status, visibility, created_at, deleted, min_disk, min_ram,"
            f" protected, os_hidden, size) VALUES ('{image.id}', {name}, {owner}, '{image.status}',"
            f" '{image.visibility}', '2026-01-01 00:{number:02}:00', {image.deleted}, 0, 0, FALSE, {image.hidden},"
            f" {'NULL' if image.size is None else image.size});"
        )
        tags = [(tag, False) for tag in image.tags] + [("tag of a deleted row", True)]
        for tag, deleted in tags:
            rows.append(
                "INSERT INTO image_tags (image_id, value, created_at, deleted) VALUES"
                f" ('{image.id}', {quoted(tag, backslash=backslash)}, CURRENT_TIMESTAMP, {deleted});"
            )
        properties = [(*item, False) for item in image.properties.items()] + [("property of a deleted row", "x", True)]
        for key, value, deleted in properties:
            texts = ", ".join(quoted(text, backslash=backslash) for text in (key, value))
            rows.append(
                "INSERT INTO image_properties (image_id, name, value, created_at, deleted) VALUES"
                f" ('{image.id}', {texts}, CURRENT_TIMESTAMP, {deleted});"
            )
    return "\n".join(rows)


@dataclass
class Site:
    """A monitor beside Glance of a release; no answer of its may hold a password or a URL."""

    monitor: StoreMonitor

    def post(self, body: str | bytes, token: str = TOKEN, **headers: str) -> tuple[int, Any]:
        sent = {"X-Image-Service-Token": token, **headers}
        status, text = self.monitor.get("/lookup", method="POST", body=body, headers=sent)
        assert not [
            secret for secret in (PASSWORD, DECODED_PASSWORD, "://", TOKEN) if secret in text + self.monitor.log
        ]
        return status, json.loads(text)

    def ask(self, *queries: dict[str, Any]) -> list[dict[str, Any]]:
        status, answer = self.post(json.dumps({"queries": queries}))
        assert status == 200, answer
        found: list[dict[str, Any]] = answer["answers"]
        return found


@contextlib.contextmanager
def site(installed: InstalledGlance, directory: Path, url: str, token: str = TOKEN) -> Iterator[Site]:
    config = directory / "glance-api.conf"
    config.write_text(ini.render({"database": {"connection": url}}))
    python = installed.environment / "bin" / "python"
    with store_monitor(directory / "monitor", python=python, glance_config=config, token=token) as monitor:
        yield Site(monitor)


@pytest.fixture
def empty(installed: InstalledGlance, tmp_path: Path) -> Iterator[tuple[Site, Sql]]:
    """A site whose database holds nothing, and how to enter something."""
    url = installed.new_database(tmp_path)

    def sql(statements: str) -> None:
        with contextlib.closing(sqlite3.connect(tmp_path / "glance.db")) as connection:
            connection.executescript(statements)

    with site(installed, tmp_path, url) as glance:
        yield glance, sql


def test_images_are_found_byte_by_byte_and_what_is_private_never_passes_for_what_is_public(
    installed: InstalledGlance, database: tuple[str, Sql], tmp_path: Path
) -> None:
    url, sql = database
    sql(script(backslash="\\\\" if url.startswith("mysql") else "\\"))
    with site(installed, tmp_path, url) as glance:
        answers = glance.ask(*(query for query, _ in QUERIES))
    keys = {image.id: image.key for image in IMAGES}
    found = [[keys[image["id"]] for image in answer["images"]] for answer in answers]
    assert {str(query): keys for (query, _), keys in zip(QUERIES, found, strict=True)} == {
        str(query): keys for query, keys in QUERIES
    }
    assert not any(answer["truncated"] for answer in answers)
    assert answers[0]["images"] == [
        {
            "id": OF["golden"].id,
            "name": "rhel-9",
            "size": 2**40,
            "status": "active",
            "visibility": "public",
            "createdAt": "2026-01-01T00:01:00Z",
        }
    ]
    queued = next(
        answer for (query, _), answer in zip(QUERIES, answers, strict=True) if query.get("id") == OF["queued"].id
    )
    assert (queued["images"][0]["status"], queued["images"][0]["size"]) == ("queued", None)


@newest_release
def test_tags_and_properties_find_the_newest_five_hundred_and_say_so_where_there_are_more(
    empty: tuple[Site, Sql],
) -> None:
    glance, sql = empty

    def enter(numbers: range) -> None:
        sql(
            "\n".join(
                "INSERT INTO images (id, status, visibility, created_at, deleted, min_disk, min_ram, protected,"
                f" os_hidden) VALUES ('{uuid.UUID(int=number)}', 'active', 'public',"
                f" '2026-01-01 {number // 60:02}:{number % 60:02}:00', FALSE, 0, 0, FALSE, FALSE);"
                "INSERT INTO image_tags (image_id, value, created_at, deleted) VALUES"
                f" ('{uuid.UUID(int=number)}', 'many', CURRENT_TIMESTAMP, FALSE);"
                for number in numbers
            )
        )

    enter(range(500))
    (answer,) = glance.ask({"tags": ["many"]})
    assert (len(answer["images"]), answer["truncated"]) == (500, False)
    enter(range(500, 502))
    (answer,) = glance.ask({"tags": ["many"]})
    newest_first = [str(uuid.UUID(int=number)) for number in range(501, 1, -1)]
    assert ([image["id"] for image in answer["images"]], answer["truncated"]) == (newest_first, True)


@newest_release
def test_a_new_image_of_the_name_and_one_that_is_made_public_are_found_at_once(empty: tuple[Site, Sql]) -> None:
    glance, sql = empty
    sql(script(backslash="\\"))
    (before,) = glance.ask({"name": "rhel-9"})
    sql(f"UPDATE images SET visibility = 'public' WHERE id = '{OF['shared'].id}';")
    (after,) = glance.ask({"name": "rhel-9"})
    assert [answer["images"][0]["id"] for answer in (before, after)] == [OF["golden"].id, OF["shared"].id]


@newest_release
def test_only_who_has_the_token_is_answered(installed: InstalledGlance, tmp_path: Path) -> None:
    url = installed.new_database(tmp_path)
    question = json.dumps({"queries": [{"name": "x"}]})
    with site(installed, tmp_path, url) as glance:
        assert glance.post(question)[0] == 200
        for token in ("", "wrong", TOKEN[:-1], TOKEN + "0", TOKEN.upper(), "\u00e9" * 64):
            assert glance.post(question, token)[0] == 401
        assert glance.monitor.get("/lookup", method="POST", body=question)[0] == 401
        assert glance.monitor.get("/lookup")[0] == 404
        assert glance.monitor.get("/stores", method="POST", body="{}")[0] == 404
    with site(installed, tmp_path, url, token="") as without:
        for token in ("", "x"):
            assert without.post(question, token)[0] == 401


@newest_release
@pytest.mark.parametrize(
    "body",
    [
        "",
        "not JSON",
        "[" * 100_000,
        "[]",
        "{}",
        b"\xff\xfe",
        {"queries": {}},
        {"queries": ["x"]},
        {"queries": [{}]},
        {"queries": [{"id": "x"}]},
        {"queries": [{"id": "../../etc/passwd"}]},
        {"queries": [{"id": 7}]},
        {"queries": [{"name": ""}]},
        {"queries": [{"name": ["rhel-9"]}]},
        {"queries": [{"name": "nul\0"}]},
        {"queries": [{"name": "\ud800"}]},
        {"queries": [{"name": "n" * 2000}]},
        {"queries": [{"name": "rhel-9", "owner": 7}]},
        {"queries": [{"tags": [], "properties": {}}]},
        {"queries": [{"tags": "golden"}]},
        {"queries": [{"tags": [1]}]},
        {"queries": [{"tags": ["t"] * 100}]},
        {"queries": [{"properties": {"a": None}}]},
        {"queries": [{"properties": {"a": {"b": "c"}}}]},
        {"queries": [{"name": "x"}] * 300},
    ],
)
def test_an_odd_question_is_refused(odd: Site, body: object) -> None:
    status, answer = odd.post(body if isinstance(body, str | bytes) else json.dumps(body))
    assert (status, answer["reason"]) == (400, "InvalidQuery")


@newest_release
def test_a_question_that_is_too_long_is_not_read(odd: Site) -> None:
    for length in (str(10**12), "-1", "x"):
        assert odd.post("{}", **{"Content-Length": length})[0] == 413


@pytest.fixture(scope="module")
def odd(installed: InstalledGlance, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One site for all odd questions: it has to outlive them."""
    directory = tmp_path_factory.mktemp("odd")
    with site(installed, directory, installed.new_database(directory)) as glance:
        yield glance
        assert glance.ask({"name": "x"}) == [{"images": [], "truncated": False}]


@newest_release
def test_each_fault_of_the_database_is_an_answer_in_time_without_its_url(
    installed: InstalledGlance, mariadb_server: DatabaseServer, postgresql_server: DatabaseServer, tmp_path: Path
) -> None:
    faults = {
        mariadb_server.url("glance_missing"): "DatabaseUnreachable",
        postgresql_server.url("postgres", password="wrong"): "DatabaseUnreachable",
        f"mysql+pymysql://glance:{PASSWORD}@127.0.0.1:{free_port()}/glance": "DatabaseUnreachable",
        f"oracle://glance:{PASSWORD}@127.0.0.1/glance": "LookupFailed",
        f"no url {PASSWORD}": "LookupFailed",
    }
    seen = {}
    for number, url in enumerate(faults):
        directory = tmp_path / str(number)
        directory.mkdir()
        with site(installed, directory, url) as glance:
            began = time.monotonic()
            status, answer = glance.post(json.dumps({"queries": [{"name": "x"}]}))
            assert status == 503
            assert time.monotonic() - began < 9
            seen[url] = answer["reason"]
    assert seen == faults
