"""Count the images of each store in Glance's database: `image_count.py <glance-api.conf>`.

Writes one JSON object: {"stores": {"central": {"images": 12, "onlyHere": 3}}} for all stores that Glance serves or an
image of the database lies in, or {"reason", "message"} where that fails. `onlyHere` counts the images of which no other
store has a copy; locations that name no store, as old ones do, are taken for no copy. Only active locations count, of
images that are not deleted. Neither text ever holds the URL of the database or what a driver said.
"""

import json
import sys
from typing import Any

import sqlalchemy  # type: ignore[import-not-found]
import sqlalchemy.engine  # type: ignore[import-not-found]
import sqlalchemy.exc  # type: ignore[import-not-found]
import sqlalchemy.pool  # type: ignore[import-not-found]
from oslo_config import cfg

LIMITS: dict[str, dict[str, Any]] = {
    "mysql": {"connect_timeout": 5, "read_timeout": 7, "write_timeout": 5},
    "postgresql": {"connect_timeout": 5, "options": "-c statement_timeout=7000"},
    "sqlite": {"timeout": 5},
}
"""How long each driver may take, in its own words; whoever runs this waits 8 s."""

STORE_OF_LOCATION = {
    # As bytes: else the collation would take `Site` and `site` for one.
    "mysql": "CONVERT(JSON_UNQUOTE(JSON_EXTRACT(location.meta_data, '$.store')) USING utf8mb4) COLLATE utf8mb4_bin",
    "postgresql": "CAST(location.meta_data AS json) ->> 'store'",
    "sqlite": "JSON_EXTRACT(location.meta_data, '$.store')",
}
"""How each database finds the member `store` in the JSON text of a location's metadata."""

QUERY = """
SELECT store, COUNT(*), SUM(CASE WHEN stores = 1 THEN 1 ELSE 0 END) FROM (
    SELECT store, COUNT(*) OVER (PARTITION BY image_id) AS stores FROM (
        SELECT DISTINCT image_id, store FROM (
            SELECT location.image_id AS image_id, {store} AS store
            FROM image_locations location JOIN images image ON image.id = location.image_id
            WHERE location.status = 'active' AND location.deleted = :deleted AND image.deleted = :deleted
        ) active WHERE store IS NOT NULL
    ) copies
) spread GROUP BY store
"""


def glance_config(path: str) -> cfg.ConfigOpts:
    """Read the options as Glance does."""
    config = cfg.ConfigOpts()
    config.register_opts([cfg.DictOpt("enabled_backends", default={})])
    config.register_opts([cfg.StrOpt("connection", secret=True)], group="database")
    config([], project="glance", prog="glance-api", default_config_files=[path])
    return config


def count(url_text: str) -> dict[str, dict[str, int]]:
    """Count the images of each store that one lies in."""
    url = sqlalchemy.engine.make_url(url_text)
    dialect = url.get_backend_name()
    engine = sqlalchemy.create_engine(url, connect_args=LIMITS[dialect], poolclass=sqlalchemy.pool.NullPool)
    query = sqlalchemy.text(QUERY.format(store=STORE_OF_LOCATION[dialect]))
    with engine.connect() as connection:
        rows = connection.execute(query, {"deleted": False}).all()
    return {str(store): {"images": int(images), "onlyHere": int(only_here)} for store, images, only_here in rows}


def answer(path: str) -> dict[str, Any]:
    """Return what to write."""
    try:
        config = glance_config(path)
        stores = {name: {"images": 0, "onlyHere": 0} for name in config.enabled_backends}
        return {"stores": {**stores, **count(config.database.connection)}}
    except (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError):
        return {
            "reason": "DatabaseUnreachable",
            "message": "The database of Glance does not answer, or refuses the user.",
        }
    except Exception as error:  # noqa: BLE001 - of what a driver raises only the name is safe to show
        return {"reason": "CountFailed", "message": f"The images could not be counted ({type(error).__name__})."}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(answer(sys.argv[1])))
