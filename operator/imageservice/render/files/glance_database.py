"""Glance's database, as the programs beside this file ask it: found in Glance's own configuration, bounded in time.

No answer of theirs holds the URL of the database or what a driver said.
"""

from collections.abc import Callable
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
"""How long each driver may take, in its own words; whoever runs these programs waits 8 s."""


def glance_config(path: str) -> cfg.ConfigOpts:
    """Read the options as Glance does."""
    config = cfg.ConfigOpts()
    config.register_opts([cfg.DictOpt("enabled_backends", default={})])
    config.register_opts([cfg.StrOpt("connection", secret=True)], group="database")
    config([], project="glance", prog="glance-api", default_config_files=[path])
    return config


def open_engine(url_text: str) -> tuple[Any, str]:
    """Return an engine that keeps no connection, and the name of the dialect."""
    url = sqlalchemy.engine.make_url(url_text)
    dialect = url.get_backend_name()
    engine = sqlalchemy.create_engine(url, connect_args=LIMITS[dialect], poolclass=sqlalchemy.pool.NullPool)
    return engine, dialect


def answered(ask: Callable[[], dict[str, Any]], reason: str, what: str) -> dict[str, Any]:
    """Return what `ask` finds, or a `reason` and a message where it fails; `what` could not be done then."""
    try:
        return ask()
    except (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError):
        return {
            "reason": "DatabaseUnreachable",
            "message": "The database of Glance does not answer, or refuses the user.",
        }
    except Exception as error:  # noqa: BLE001 - of what a driver raises only the name is safe to show
        return {"reason": reason, "message": f"{what} ({type(error).__name__})."}
