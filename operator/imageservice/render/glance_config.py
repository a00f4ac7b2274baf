"""The files that Glance runs with: glance-api.conf, glance-api-paste.ini and gunicorn.conf.py.

A reader who looks for a field of the API finds here which option it becomes. Options and their meaning are those of
Glance's own configuration reference; what is known of each release is in `options.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import jinja2

from imageservice.render import ini, stores
from imageservice.render.imports import import_sections, staging_claim
from imageservice.render.inputs import ApplicationCredential, Credentials, ImageServiceInputs, StoreInputs
from imageservice.render.options import known_options
from imageservice.render.ports import API_PORT
from imageservice.render.stores.cinder import PRIVILEGES
from imageservice.render.stores.drivers import DRIVERS

CONFIG_DIR = "/etc/image-service"
"""Where the config Secret is mounted. Not /etc/glance: that directory belongs to the image."""
DATA_DIR = "/var/lib/glance"
STAGING_DIR = f"{DATA_DIR}/staging"
TASKS_DIR = f"{DATA_DIR}/tasks"
RUN_DIR = "/run/glance"
"""A small volume in memory: locks, gunicorn's heartbeats and the file that takes a pod out of service."""
DISABLE_FILE = f"{RUN_DIR}/disabled"
"""While this file exists, /healthcheck answers 503."""

GLANCE_API_CONF = "glance-api.conf"
PASTE_INI = "glance-api-paste.ini"
GUNICORN_CONF = "gunicorn.conf.py"

DRAIN_PAUSE_SECONDS = 10
"""How long a pod that is going away still takes requests: until every node has heard that it is going."""
SHUTDOWN_MARGIN_SECONDS = 5
"""What is kept of the termination grace period for gunicorn's own end, after the last transfer."""

TASK_THREADS = 16
"""Threads of each process for imports and copies ([wsgi] task_pool_threads, Glance's default)."""
POOLED_CONNECTIONS = 5
CONNECTION_RECYCLE_SECONDS = 280
"""Below the 300 s after which common proxies, and some database servers, drop an idle connection."""

DEFAULT_STORE_WEIGHT = "10"
"""Images in several stores are read from the one with the highest weight; the others have Glance's default, 0."""

SAFE_DEFAULTS: Mapping[str, Mapping[str, str]] = {
    "DEFAULT": {
        # Direct URLs tell clients about storage, and let them replace image data (OSSN-0065, OSSN-0090).
        "show_image_direct_url": "false",
    },
    # An image that is not what it says may read files of the host that converts or boots it (OSSA-2024-001).
    "image_format": {
        "require_image_format_match": "true",
        # No fault in a partition table is forgiven, as by default since 2026.2.
        "gpt_safety_checks_nonfatal": "",
    },
    "oslo_policy": {"enforce_new_defaults": "true"},
    "oslo_middleware": {"enable_proxy_headers_parsing": "true"},
}
"""Section -> option -> value where nothing else is asked for. `extraConfig` may set each of them otherwise."""

_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("imageservice.render"),
    undefined=jinja2.StrictUndefined,
    autoescape=False,  # noqa: S701 - ini and Python files; no text of a user goes through a template
    keep_trailing_newline=True,
    trim_blocks=True,
    lstrip_blocks=True,
)


FLAVOR = "keystone"
"""Name of the row of filters that requests pass ([paste_deploy] flavor)."""
CACHE_FLAVOR = "keystone+cachemanagement"
"""The same with the cache in it, and the requests that manage it."""


@dataclass(frozen=True)
class NodeCache:
    """The cache of the node that an API is on: directory, and the size from which Glance itself would prune (bytes)."""

    directory: str
    max_bytes: int


def config_files(inputs: ImageServiceInputs, cache: NodeCache | None = None) -> dict[str, str]:
    """Return file name -> content, for the directory `CONFIG_DIR`; `cache` where the API has one on its node.

    Raises ValueError, which names section and option but no value, where a value cannot stand in an ini file.
    """
    return {
        GLANCE_API_CONF: ini.render(glance_api_conf(inputs, cache)),
        PASTE_INI: _TEMPLATES.get_template(f"{PASTE_INI}.j2").render(
            disable_file=DISABLE_FILE,
            flavor=CACHE_FLAVOR if cache else FLAVOR,
            cache_filters="cache cachemanage " if cache else "",
        ),
        GUNICORN_CONF: _TEMPLATES.get_template(f"{GUNICORN_CONF}.j2").render(**gunicorn_settings(inputs, cache)),
    }


def glance_api_conf(inputs: ImageServiceInputs, cache: NodeCache | None = None) -> dict[str, dict[str, str]]:
    """Return the sections and options of glance-api.conf; `spec.extraConfig`, checked before, comes last and wins."""
    served = in_order(inputs)
    sections: dict[str, dict[str, str]] = {
        "DEFAULT": {
            "enabled_backends": ini.dict_value({store.store_id: DRIVERS[store.spec.type] for store in served}),
            "use_stderr": "true",
        },
        "glance_store": {"default_backend": inputs.default_store_id},
        **{store.store_id: _store(store, default=store.store_id == inputs.default_store_id) for store in served},
        "os_glance_staging_store": {"filesystem_store_datadir": STAGING_DIR},
        "os_glance_tasks_store": {"filesystem_store_datadir": TASKS_DIR},
        "database": _database(inputs),
        "keystone_authtoken": _keystone_authtoken(inputs),
        "paste_deploy": {"flavor": CACHE_FLAVOR if cache else FLAVOR, "config_file": f"{CONFIG_DIR}/{PASTE_INI}"},
        "oslo_concurrency": {"lock_path": f"{RUN_DIR}/locks"},
        "wsgi": {"task_pool_threads": str(TASK_THREADS)},
    }
    for section, given in import_sections(inputs.spec, served[0].spec.type).items():
        sections.setdefault(section, {}).update(given)
    if any(store.spec.type == "Cinder" for store in served):
        sections |= {section: dict(options) for section, options in PRIVILEGES.items()}
    known = known_options(inputs.release)
    for section, options in SAFE_DEFAULTS.items():
        sections.setdefault(section, {}).update(
            {option: value for option, value in options.items() if option in known.get(section, {})}
        )
    for section in sorted(inputs.spec.extra_config):
        sections.setdefault(section, {}).update(sorted(inputs.spec.extra_config[section].items()))
    if cache is not None:
        sections["DEFAULT"] |= _cache(cache)
    return sections


def _cache(cache: NodeCache) -> dict[str, str]:
    """Return the options of the cache. Which node it belongs to is told by the environment of the containers."""
    return {
        "image_cache_dir": cache.directory,
        # The only driver that tells nodes apart, and by which all processes of a node see one cache.
        "image_cache_driver": "centralized_db",
        "image_cache_max_size": str(cache.max_bytes),
    }


def in_order(inputs: ImageServiceInputs) -> list[StoreInputs]:
    """Return the stores, the default one first and the others by id: the order in which Glance tries them."""
    return sorted(inputs.stores, key=lambda store: (store.store_id != inputs.default_store_id, store.store_id))


def _store(store: StoreInputs, *, default: bool) -> dict[str, str]:
    """Return the section of one store, named by its id; its credentials are in files of their own."""
    return ({"weight": DEFAULT_STORE_WEIGHT} if default else {}) | stores.section(store)


def _database(inputs: ImageServiceInputs) -> dict[str, str]:
    """Return [database]: a few connections kept, and one more for every thread that may want one."""
    return {
        "connection": inputs.database_url.reveal(),
        "connection_recycle_time": str(CONNECTION_RECYCLE_SECONDS),
        "max_pool_size": str(POOLED_CONNECTIONS),
        "max_overflow": str(inputs.spec.api.threads + TASK_THREADS),
        # A database that is away fails the request after seconds, not after the 100 s that oslo.db would try for.
        "max_retries": "2",
        "retry_interval": "2",
    }


def _keystone_authtoken(inputs: ImageServiceInputs) -> dict[str, str]:
    """Return [keystone_authtoken]: how tokens of requests are checked."""
    identity = inputs.spec.identity
    options = {
        "www_authenticate_uri": identity.auth_url,
        "auth_url": identity.auth_url,
        **_credentials(inputs.credentials),
        "region_name": identity.region,
        # Application credentials may be limited to some requests; the rules are looked up by the type of service.
        "service_type": "image",
        "service_token_roles": "service",
        "service_token_roles_required": "true",
    }
    if identity.memcached_servers:
        options["memcached_servers"] = ini.list_value(identity.memcached_servers)
    return options


def _credentials(credentials: Credentials) -> dict[str, str]:
    """Return the options by which Glance itself logs in to Keystone."""
    if isinstance(credentials, ApplicationCredential):
        return {
            "auth_type": "v3applicationcredential",
            "application_credential_id": credentials.id,
            "application_credential_secret": credentials.secret.reveal(),
        }
    return {
        "auth_type": "password",
        "username": credentials.username,
        "password": credentials.password.reveal(),
        "project_name": credentials.project_name,
        "user_domain_name": credentials.user_domain_name,
        "project_domain_name": credentials.project_domain_name,
    }


def gunicorn_settings(inputs: ImageServiceInputs, cache: NodeCache | None = None) -> dict[str, object]:
    """Return the variables of the template of gunicorn.conf.py."""
    api = inputs.spec.api
    return {
        "port": API_PORT,
        "workers": api.processes,
        "threads": api.threads,
        "graceful_timeout": api.termination_grace_period_seconds - DRAIN_PAUSE_SECONDS - SHUTDOWN_MARGIN_SECONDS,
        "run_dir": RUN_DIR,
        # An API with a cache is known by its node; it takes no data to stage.
        "names_itself": staging_claim(inputs.spec) is None and cache is None,
    }
