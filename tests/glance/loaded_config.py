"""Load Glance as its WSGI server does and print, as JSON, what it made of its configuration.

Run by the Python of a Glance environment, with OS_GLANCE_CONFIG_DIR set.
"""

import json
import os
import sys
import warnings
from pathlib import Path

warnings.simplefilter("ignore")

import glance_store  # noqa: E402
from glance.common import wsgi_app  # noqa: E402
from glance.db.sqlalchemy import api as database  # noqa: E402
from glance_store._drivers.swift.utils import SwiftParams  # noqa: E402
from oslo_config import cfg  # noqa: E402


def main() -> None:
    """Load the application, then look at what the file says and what Glance reads."""
    wsgi_app.init_app()
    database.get_engine()
    conf = cfg.CONF
    sections: dict[str, dict[str, list[str]]] = {}
    config_directory = Path(os.environ["OS_GLANCE_CONFIG_DIR"])
    options_directory = config_directory.parent / ".glance" / "glance.conf.d"
    for path in (config_directory / "glance-api.conf", *options_directory.glob("*.conf")):
        cfg.ConfigParser(str(path), sections).parse()
    unknown, read = [], {}
    for section, options in sections.items():
        group = conf if section == "DEFAULT" else conf._groups.get(section)
        for option in options:
            if group is None or option not in group._opts:
                unknown.append(f"[{section}] {option}")
            else:
                value = conf._get(option) if section == "DEFAULT" else conf[section][option]
                read.setdefault(section, {})[option] = value
    backends = glance_store.location.SCHEME_TO_CLS_BACKEND_MAP["file"]
    found = {
        "unknown": unknown,
        "read": read,
        "groups": sorted(conf._groups),
        "default_options": sorted(conf._opts),
        "stores": list(conf.enabled_backends),
        "types": dict(conf.enabled_backends),
        "swift_accounts": {
            name: SwiftParams(conf, backend=name).params[name]
            for name, driver in conf.enabled_backends.items()
            if driver == "swift"
        },
        "url_prefixes": {name: backend["store"].url_prefix for name, backend in backends.items()},
        "weights": {name: backend["store"].weight for name, backend in backends.items() if not name.startswith("os_")},
    }
    sys.stdout.write(json.dumps(found, default=str))
    sys.stdout.flush()
    # Without what Glance has registered to run at the end: it expects a server around it.
    os._exit(0)


if __name__ == "__main__":
    main()
