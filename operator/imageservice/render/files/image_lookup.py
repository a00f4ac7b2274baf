"""Find images in Glance's database: `image_lookup.py <glance-api.conf>`, with the queries on standard input.

Reads {"queries": [..]}, each of them one of

    {"id": "<UUID>"}                                    the image, whatever its status and visibility
    {"name": "rhel-9", "owner": "<project>"}            the newest of that name
    {"tags": ["golden"], "properties": {"a": "b"}, "owner": "<project>"}    all that have every tag and property

and writes {"answers": [{"images": [{"id", "name", "size", "status", "visibility", "createdAt"}], "truncated"}]}, newest
first, or {"reason", "message"} where that fails. By name, tag and property only active images are found that are not
hidden; without an owner only public ones, since anybody may give a private image any name and tag. Texts are compared
byte by byte, and reach the database as bound parameters alone. Nothing that is written ever holds the URL of the
database or what a driver said.
"""

import datetime
import json
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy  # type: ignore[import-not-found]
from glance_database import answered, glance_config, open_engine  # type: ignore[import-not-found]

MOST_QUERIES = 256
MOST_IMAGES = 500
"""How many images tags and properties may find; of more the newest are told."""
MOST_TERMS = 64
"""How many tags, and how many properties, one query may have."""
LONGEST_TEXT = 1024
"""In bytes: 255 characters."""
UUID = re.compile("[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

EXACT = {
    # As bytes: collations take `A` for `a`, and a text with blanks at its end for one without.
    "mysql": "CAST(CONVERT({text} USING utf8mb4) AS BINARY)",
    "postgresql": "{text}",
    "sqlite": "{text}",
}
"""What each database compares byte by byte."""

COLUMNS = "image.id, image.name, image.size, image.status, image.visibility, image.created_at, image.owner"
NEWEST_FIRST = "image.created_at DESC, image.id DESC"
FOUND = "image.deleted = :deleted AND image.os_hidden = :deleted AND image.status = 'active'"
OF_ANYBODY = "image.visibility = 'public'"
OF_OWNERS = "image.owner IN :owners"

BY_ID = "SELECT {columns} FROM images image WHERE image.deleted = :deleted AND image.id IN :ids"
# The first condition alone may find more than is meant, but lets the database leave out most of the images at once.
BY_NAME = """
SELECT id, name, size, status, visibility, created_at, owner FROM (
    SELECT {columns}, ROW_NUMBER() OVER (PARTITION BY {exactly} ORDER BY {newest_first}) AS place
    FROM images image WHERE image.name IN :names AND {terms}
) ranked WHERE place = 1
"""
BY_TERMS = "SELECT {columns} FROM images image WHERE {terms} ORDER BY {newest_first} LIMIT :most"
HAS_TAG = "EXISTS (SELECT 1 FROM image_tags t WHERE t.image_id = image.id AND t.deleted = :deleted AND {0} = {1})"
HAS_PROPERTY = (
    "EXISTS (SELECT 1 FROM image_properties p WHERE p.image_id = image.id AND p.deleted = :deleted"
    " AND {0} = {1} AND {2} = {3})"
)

Query = Mapping[str, Any]
Answer = dict[str, Any]


class BadQuery(ValueError):  # noqa: N818 - what a client sent
    """A query is not as it has to be."""


# --------------------------------------------------------------------------------------------------------- reading


def read_queries(text: str) -> list[Query]:
    """Return the queries of the input; raise BadQuery."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise BadQuery("The queries are no JSON.") from None
    queries = content.get("queries") if isinstance(content, dict) else None
    if not isinstance(queries, list) or len(queries) > MOST_QUERIES:
        raise BadQuery(f"`queries` is no list of at most {MOST_QUERIES}.")
    return [_read(query) for query in queries]


def _read(query: object) -> Query:
    if not isinstance(query, dict):
        raise BadQuery("A query is no object.")
    if query.get("owner") is not None:
        _text(query["owner"])
    if "id" in query:
        if not isinstance(query["id"], str) or not UUID.fullmatch(query["id"]):
            raise BadQuery("An id is no UUID.")
    elif "name" in query:
        _text(query["name"])
    else:
        tags, properties = query.get("tags") or [], query.get("properties") or {}
        if not isinstance(tags, list) or not isinstance(properties, dict) or not (tags or properties):
            raise BadQuery("A query asks for no id, no name, no tags and no properties.")
        if max(len(tags), len(properties)) > MOST_TERMS:
            raise BadQuery(f"A query has more than {MOST_TERMS} tags or properties.")
        for text in (*tags, *properties):
            _text(text)
        for value in properties.values():
            _text(value, shortest=0)
    return query


def _text(value: object, shortest: int = 1) -> None:
    """Raise BadQuery where this is no text that a database can hold."""
    try:
        ok = isinstance(value, str) and shortest <= len(value.encode()) <= LONGEST_TEXT and "\0" not in value
    except UnicodeEncodeError:
        ok = False
    if not ok:
        raise BadQuery("A text is empty, too long, or none that a database can hold.")


# ---------------------------------------------------------------------------------------------------------- asking


class Lookup:
    """The queries of one run, over one connection."""

    def __init__(self, connection: Any, dialect: str) -> None:
        self._connection = connection
        self._exact = EXACT[dialect]

    def answers(self, queries: Sequence[Query]) -> list[Answer]:
        """Answer all queries, in their order. Ids and names take one question each, however many they are."""
        by_id = self._by_id([query["id"].lower() for query in queries if "id" in query])
        names = [query for query in queries if "id" not in query and "name" in query]
        by_name = self._by_name(names)
        return [
            _answer([by_id.get(query["id"].lower())])
            if "id" in query
            else _answer([by_name.get((query["name"], query.get("owner")))])
            if "name" in query
            else self._by_terms(query)
            for query in queries
        ]

    def _by_id(self, ids: list[str]) -> dict[str, Any]:
        if not ids:
            return {}
        return {row.id.lower(): row for row in self._rows(BY_ID, ids=ids)}

    def _by_name(self, queries: list[Query]) -> dict[tuple[str, str | None], Any]:
        """Return (name, owner) -> the newest image of that name; without an owner: the newest that is public."""
        anybody = [query["name"] for query in queries if query.get("owner") is None]
        owned = [query for query in queries if query.get("owner") is not None]
        names, owners = ([query[key] for query in owned] for key in ("name", "owner"))
        name, owner = (self._exact.format(text=f"image.{column}") for column in ("name", "owner"))
        found: dict[tuple[str, str | None], Any] = {}
        if anybody:
            rows = self._rows(BY_NAME, [OF_ANYBODY, FOUND], exactly=name, names=anybody)
            found |= {(row.name, None): row for row in rows}
        if owned:
            rows = self._rows(BY_NAME, [OF_OWNERS, FOUND], exactly=f"{name}, {owner}", names=names, owners=owners)
            found |= {(row.name, row.owner): row for row in rows}
        return found

    def _by_terms(self, query: Query) -> Answer:
        values: dict[str, Any] = {}

        def given(value: str) -> str:
            name = f"value_{len(values)}"
            values[name] = value
            return self._exact.format(text=f":{name}")

        def column(name: str) -> str:
            return self._exact.format(text=name)

        owner = query.get("owner")
        terms = [FOUND, OF_ANYBODY if owner is None else f"{column('image.owner')} = {given(owner)}"]
        terms += [HAS_TAG.format(column("t.value"), given(tag)) for tag in query.get("tags") or []]
        terms += [
            HAS_PROPERTY.format(column("p.name"), given(name), column("p.value"), given(value))
            for name, value in (query.get("properties") or {}).items()
        ]
        # One more than may be told shows whether there are more.
        rows = self._rows(BY_TERMS, terms, most=MOST_IMAGES + 1, **values)
        return _answer(rows[:MOST_IMAGES], truncated=len(rows) > MOST_IMAGES)

    def _rows(self, sql: str, terms: Sequence[str] = (), exactly: str = "", **values: Any) -> list[Any]:
        """Run a statement made of words of this file alone; all that comes from queries is in `values`."""
        text = sql.format(columns=COLUMNS, terms=" AND ".join(terms), exactly=exactly, newest_first=NEWEST_FIRST)
        lists = [name for name, value in values.items() if isinstance(value, list)]
        statement = sqlalchemy.text(text).bindparams(*(sqlalchemy.bindparam(name, expanding=True) for name in lists))
        return list(self._connection.execute(statement, {"deleted": False, **values}).all())


def _answer(rows: Sequence[Any], *, truncated: bool = False) -> Answer:
    return {"images": [_image(row) for row in rows if row is not None], "truncated": truncated}


def _image(row: Any) -> dict[str, Any]:
    created = row.created_at
    if isinstance(created, str):  # SQLite has no type of its own for times
        created = datetime.datetime.fromisoformat(created)
    return {
        "id": row.id,
        "name": row.name,
        "size": row.size,
        "status": row.status,
        "visibility": row.visibility,
        "createdAt": created.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def look_up(path: str, text: str) -> dict[str, Any]:
    """Answer the queries of a text."""
    try:
        queries = read_queries(text)
    except BadQuery as error:
        return {"reason": "InvalidQuery", "message": str(error)}
    engine, dialect = open_engine(glance_config(path).database.connection)
    with engine.connect() as connection:
        return {"answers": Lookup(connection, dialect).answers(queries)}


if __name__ == "__main__":
    given = sys.stdin.read()
    found = answered(lambda: look_up(sys.argv[1], given), "LookupFailed", "The images could not be looked for")
    sys.stdout.write(json.dumps(found))
