"""Print, as JSON, every option that Glance of this environment knows. Run it with the Python of a Glance environment:

    environment="$(python -m tests.glance_environments 2026.1)"
    "$environment/bin/python" tests/options/collect.py > operator/imageservice/render/data/options-2026.1.json

The options come from the lists that oslo-config-generator uses and from the configuration object of Glance's own WSGI
application. `sections`: what may stand in glance-api.conf. `stores`: store type (the name of its driver in
`enabled_backends`) -> the options of the section of such a store. `taken`: names that no store may have although they
are neither a section nor an option of [DEFAULT]: a section is read as `CONF.<name>`, where attributes come first.
"""

import json
import sys
import warnings

warnings.simplefilter("ignore")

import glance.common.wsgi_app  # noqa: E402, F401 - registers options; and all of these warn a lot when imported
from glance_store import driver, multi_backend  # noqa: E402
from keystoneauth1 import loading  # noqa: E402
from oslo_config import cfg, generator, types  # noqa: E402

NAMESPACES = (
    "glance",
    "glance.api",
    "castellan.config",
    "keystonemiddleware.auth_token",
    "oslo.cache",
    "oslo.concurrency",
    "oslo.db",
    "oslo.limit",
    "oslo.log",
    "oslo.messaging",
    "oslo.middleware",
    "oslo.policy",
    "oslo.reports",
)
AUTH_SECTION = "keystone_authtoken"
AUTH_PLUGINS = ("password", "v3applicationcredential")
"""The ways to authenticate that are rendered; options of other plugins would be of no use beside them."""
STORE_TYPES = ("cinder", "file", "rbd", "s3", "swift")
COMMAND_LINE = ("config_dir", "config_file", "config_source")
"""Where to find the configuration: options of the command line, without effect in a file."""
RESERVED_STORES = {"os_glance_staging_store": "file", "os_glance_tasks_store": "file"}
SHARED_STORE_SECTION = "backend_defaults"

TYPE_NAMES = (
    (types.Boolean, "boolean"),
    (types.Integer, "integer"),
    (types.Float, "float"),
    (types.List, "list"),
    (types.Dict, "dict"),
)

Table = dict[str, dict[str, object]]


def described(option: cfg.Opt) -> dict[str, object]:
    """Return what a value of `option` must be."""
    kind = next((name for parent, name in TYPE_NAMES if isinstance(option.type, parent)), "string")
    found: dict[str, object] = {"type": kind}
    if getattr(option.type, "bounds", False):
        found["bounds"] = True
    for limit in ("min", "max"):
        if getattr(option.type, limit, None) is not None:
            found[limit] = getattr(option.type, limit)
    if getattr(option.type, "choices", None) and not getattr(option.type, "ignore_case", False):
        found["choices"] = [str(choice) for choice in option.type.choices]
    if option.deprecated_for_removal:
        found["deprecated"] = True
    return found


def table(options: list[cfg.Opt]) -> Table:
    """Return the name in the file -> the description."""
    return {option.dest: described(option) for option in options}


def registered(group: object) -> list[cfg.Opt]:
    """Return the options that are registered in a group, or in the configuration object for [DEFAULT]."""
    return [found["opt"] for found in group._opts.values()]  # type: ignore[attr-defined]


def file_options(conf: cfg.ConfigOpts) -> dict[str, Table]:
    """Return section -> options of glance-api.conf, stores left out."""
    listed = generator._list_opts(NAMESPACES)
    # Making the lists imports what registers the rest, and what is registered counts more: one list of Glance 30
    # names a section that is never read.
    sections = {"DEFAULT": table([option for option in registered(conf) if option.dest not in COMMAND_LINE])}
    for name, group in conf._groups.items():
        sections[name] = table(registered(group))
    for namespace, groups in listed:
        for group, options in groups:
            section = str(group or "DEFAULT")
            if section in sections or not namespace.startswith("glance"):
                sections.setdefault(section, {}).update(table(options))
    auth = loading.get_auth_common_conf_options()
    for plugin in AUTH_PLUGINS:
        auth += loading.get_auth_plugin_conf_options(plugin)
    sections[AUTH_SECTION] = table(auth) | sections[AUTH_SECTION]
    return sections


def store_options() -> dict[str, Table]:
    """Return store type -> options of the section of such a store."""
    return {kind: table([*driver_options(kind), *driver._MULTI_BACKEND_OPTS]) for kind in STORE_TYPES}


def driver_options(kind: str) -> list[cfg.Opt]:
    """Return the options of a driver, which is listed by its name or by its module, as `glance.store.rbd.Store`."""
    listed = multi_backend._list_driver_opts()
    return next(options for name, options in listed.items() if kind in name.split("."))


def collect() -> dict[str, object]:
    """Return all there is to know about the options of this Glance."""
    conf = cfg.CONF
    taken = {name for name in dir(conf) if not name.startswith("_")}
    conf([], project="glance", prog="glance-api", default_config_files=[], default_config_dirs=[])
    taken |= {name for name in vars(conf) if not name.startswith("_")} | set(COMMAND_LINE)
    conf.set_override("enabled_backends", {})
    multi_backend.register_store_opts(conf, reserved_stores=RESERVED_STORES)
    sections, stores = file_options(conf), store_options()
    if getattr(driver, "SHARED_CONF_GROUP", None) == SHARED_STORE_SECTION:
        for kind in STORE_TYPES:
            sections.setdefault(SHARED_STORE_SECTION, {}).update(table(driver_options(kind)))
    sections = {name: options for name, options in sections.items() if options}
    known = {*sections, *sections["DEFAULT"]}
    return {
        "sections": sections,
        "stores": stores,
        "taken": sorted({name for name in taken if name.islower()} - known),
    }


def text_of(found: object, depth: int = 0) -> str:
    """Return JSON with one line an option, so that differences between two versions can be read."""
    if not isinstance(found, dict) or depth > 2 or not all(isinstance(value, dict | list) for value in found.values()):
        return json.dumps(found)
    indent = " " * (depth + 1)
    lines = [f"{indent}{json.dumps(key)}: {text_of(found[key], depth + 1)}" for key in sorted(found)]
    return "{\n" + ",\n".join(lines) + "\n" + " " * depth + "}"


def main() -> None:
    """Write the options to stdout."""
    sys.stdout.write(text_of(collect()) + "\n")


if __name__ == "__main__":
    main()
