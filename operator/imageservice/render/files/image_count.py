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
from glance_database import answered, glance_config, open_engine  # type: ignore[import-not-found]

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


def count(url: str) -> dict[str, dict[str, int]]:
    """Count the images of each store that one lies in."""
    engine, dialect = open_engine(url)
    query = sqlalchemy.text(QUERY.format(store=STORE_OF_LOCATION[dialect]))
    with engine.connect() as connection:
        rows = connection.execute(query, {"deleted": False}).all()
    return {str(store): {"images": int(images), "onlyHere": int(only_here)} for store, images, only_here in rows}


def count_all(path: str) -> dict[str, Any]:
    """Count the images of each store, also of those that are empty."""
    config = glance_config(path)
    stores = {name: {"images": 0, "onlyHere": 0} for name in config.enabled_backends}
    return {"stores": {**stores, **count(config.database.connection)}}


if __name__ == "__main__":
    found = answered(lambda: count_all(sys.argv[1]), "CountFailed", "The images could not be counted")
    sys.stdout.write(json.dumps(found))
