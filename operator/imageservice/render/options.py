"""What `spec.extraConfig` may hold: the options of each release, their types, and which are rendered from fields.

`data/options-<release>.json` is made from real Glance of that release by `tests/options/collect.py`.
"""

import difflib
import functools
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from imageservice.releases import RELEASES, Release
from imageservice.render import ini
from imageservice.render.inputs import StoreInputs
from imageservice.render.stores.drivers import DRIVERS, OWNED_IN_STORES

Option = Mapping[str, Any]
"""`type` (string, integer, float, boolean, list, dict), and where it applies `min`, `max`, `choices`, `bounds`."""

_STORES = "it is made of the ImageStore objects"
_ACCESS = "it comes from spec.identity and the Secret named there"
_LOGS = "the log goes to the output of the pod"
_SERVER = "the API runs under gunicorn, see spec.api"
_CHECKED = "the certificate of the identity service is always checked"

OWNED: Mapping[str, Mapping[str, str]] = {
    "DEFAULT": {
        "enabled_backends": _STORES,
        "node_staging_uri": "staging is a store of its own",
        "worker_self_reference_url": "each pod has its own",
        **dict.fromkeys(
            ("log_config_append", "log_dir", "log_file", "use_journal", "use_stderr", "use_syslog", "watch_log_file"),
            _LOGS,
        ),
        **dict.fromkeys(
            ("backlog", "bind_host", "bind_port", "client_socket_timeout", "http_keepalive", "max_header_line"), _SERVER
        ),
        **dict.fromkeys(("tcp_keepidle", "workers"), _SERVER),
    },
    "glance_store": {"default_backend": "it comes from spec.defaultStore"},
    "database": {"connection": "it comes from the Secret that spec.database.secretRef names"},
    "keystone_authtoken": {
        **dict.fromkeys(
            (
                *("auth_type", "auth_section", "auth_url", "auth_uri", "www_authenticate_uri"),
                *("application_credential_id", "application_credential_name", "application_credential_secret"),
                *("username", "user_id", "password", "user_domain_id", "user_domain_name"),
                *("project_id", "project_name", "project_domain_id", "project_domain_name"),
                *("default_domain_id", "default_domain_name", "domain_id", "domain_name", "system_scope", "trust_id"),
                *("identity_uri", "auth_host", "auth_port", "auth_protocol", "auth_admin_prefix"),
                *("admin_user", "admin_password", "admin_tenant_name", "admin_token"),
            ),
            _ACCESS,
        ),
        "region_name": "it comes from spec.identity.region",
        "memcached_servers": "it comes from spec.identity.memcachedServers",
        "insecure": _CHECKED,
        "delay_auth_decision": "requests without a token are turned away by Glance itself",
    },
    "privsep_osbrick": {"helper_command": "pods that serve a store in Cinder are root already"},
    "paste_deploy": dict.fromkeys(("flavor", "config_file"), "the pipeline is always that of the flavor keystone"),
    "oslo_concurrency": {"lock_path": "locks are in a volume of the pod"},
    "healthcheck": dict.fromkeys(
        ("backends", "disable_by_file_path", "disable_by_file_paths", "path"),
        "the probes of the pods depend on it",
    ),
}
"""Section -> option -> why it is not for extraConfig, which names the field to use where there is one."""

OWNED_SECTIONS = {
    "os_glance_staging_store": "staging is a volume of the pod",
    "os_glance_tasks_store": "the working directory of tasks is a volume of the pod",
}

_BOOLEANS = ("true", "1", "on", "yes", "false", "0", "off", "no")
_LONGEST_NAME_SHOWN = 64


@functools.cache
def _data(release: str) -> dict[str, Any]:
    text = resources.files("imageservice.render").joinpath("data", f"options-{release}.json").read_text("utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def known_options(release: Release) -> Mapping[str, Mapping[str, Option]]:
    """Return section -> option -> description of all that Glance of `release` reads outside the sections of stores."""
    sections: Mapping[str, Mapping[str, Option]] = _data(release.name)["sections"]
    return sections


def store_options(release: Release, driver: str) -> Mapping[str, Option]:
    """Return the options of the section of a store with Glance's `driver`."""
    options: Mapping[str, Option] = _data(release.name)["stores"][driver]
    return options


@functools.cache
def reserved_store_ids(release: Release) -> frozenset[str]:
    """Return the ids that no store of a service may have, from `release` on.

    The id of a store becomes a section of its own, and oslo.config reads sections, options of [DEFAULT] and its own
    methods in one way, as `CONF.<name>`: a store called `debug` or `items` would take that name from Glance. Later
    releases count too, so that an upgrade never meets a store whose id cannot be changed.
    """
    names: set[str] = set()
    for later in RELEASES.values():
        if later.glance_major >= release.glance_major:
            data = _data(later.name)
            names |= {*data["sections"], *data["sections"]["DEFAULT"], *data["taken"]}
    return frozenset(names)


def check_extra_config(
    release: Release, extra_config: Mapping[str, Mapping[str, str]], stores: Iterable[StoreInputs]
) -> list[str]:
    """Return a sentence for each thing in `extra_config` that cannot be, in a stable order; nothing where all is well.

    Options the release does not know, options that are rendered from fields, and values that are not of the option's
    type or no single line of text. Values are never repeated: they may be secret.
    """
    drivers = {store.store_id: DRIVERS[store.spec.type] for store in stores}
    problems = []
    for name in sorted(extra_config):
        section = _section(release, name, drivers)
        if name in OWNED_SECTIONS:
            problems.append(f"Section [{name}] is set by the operator: {OWNED_SECTIONS[name]}.")
        elif section is None:
            hint = _suggestion(name, [*known_options(release), *drivers], "[{}]")
            problems.append(f"Glance {release.name} has no section [{_shown(name)}]{hint or '.'}")
        else:
            found = (section.problem(option, value) for option, value in sorted(extra_config[name].items()))
            problems += [problem for problem in found if problem]
    return problems


def check_store_options(release: Release, store: StoreInputs) -> list[str]:
    """Return a sentence for each thing in `spec.extraConfig` of the store that cannot be, as `check_extra_config`."""
    section = _store_section(release, store.store_id, DRIVERS[store.spec.type])
    found = (section.problem(option, value) for option, value in sorted(store.spec.extra_config.items()))
    return [problem for problem in found if problem]


@dataclass(frozen=True)
class _Section:
    """One section of the file: the options that Glance knows there, and which of them are rendered from fields."""

    release: str
    name: str
    known: Mapping[str, Option]
    owned: Mapping[str, str]

    def problem(self, option: str, value: str) -> str | None:
        """Return what is wrong with `option = value`, or None."""
        where = f"[{self.name}] {_shown(option)}"
        if option not in self.known:
            hint = _suggestion(option, set(self.known) - set(self.owned), "{}")
            return f"Glance {self.release} has no option {where}{hint or '.'}"
        if option in self.owned:
            return f"{where} is set by the operator: {self.owned[option]}."
        try:
            ini.value_text(value)
        except ValueError as problem:
            return f"The value of {where} {problem}."
        wanted = _wanted(self.known[option], value)
        return f"The value of {where} must be {wanted}." if wanted else None


def _section(release: Release, name: str, drivers: Mapping[str, str]) -> _Section | None:
    """Return the section `name`; None where neither Glance nor a store has one of that name."""
    if name in drivers:
        return _store_section(release, name, drivers[name])
    known = known_options(release).get(name)
    return None if known is None else _Section(release.name, name, known, OWNED.get(name, {}))


def _store_section(release: Release, store_id: str, driver: str) -> _Section:
    return _Section(release.name, store_id, store_options(release, driver), OWNED_IN_STORES[driver])


def _wanted(option: Option, value: str) -> str | None:
    """Return what the value should have been, or None where it is fine."""
    if "choices" in option and value not in option["choices"]:
        return f"one of {', '.join(option['choices'])}"
    if option["type"] == "boolean" and value.strip().lower() not in _BOOLEANS:
        return "true or false"
    if option["type"] in _NUMBERS:
        return _wanted_number(option, value)
    if option.get("bounds") and not (value.strip().startswith("[") and value.strip().endswith("]")):
        return "a list in brackets, as in [a,b]"
    if option["type"] == "dict" and not all(":" in pair for pair in value.split(",") if value.strip()):
        return "pairs of name:value, separated by commas"
    return None


_NUMBERS: Mapping[str, tuple[Callable[[str], float], str]] = {
    "integer": (int, "a whole number"),
    "float": (float, "a number"),
}


def _wanted_number(option: Option, value: str) -> str | None:
    read, words = _NUMBERS[option["type"]]
    lowest, highest = option.get("min"), option.get("max")
    if lowest is not None or highest is not None:
        words += "".join(f" {word} {limit}" for word, limit in (("from", lowest), ("to", highest)) if limit is not None)
    try:
        number = read(value)
    except ValueError:
        return words
    fits = (lowest is None or number >= lowest) and (highest is None or number <= highest)
    return None if fits else words


def _suggestion(name: str, candidates: Collection[str], pattern: str) -> str:
    by_lower_case = {candidate.lower(): candidate for candidate in sorted(candidates)}
    close = difflib.get_close_matches(name.lower(), by_lower_case, n=1, cutoff=0.75)
    return f"; did you mean {pattern.format(by_lower_case[close[0]])}?" if close else ""


def _shown(name: str) -> str:
    """Return a name of the user's as it may stand in a message: one line, not too long."""
    printable = "".join(character if character.isprintable() else "?" for character in name)
    return printable if len(printable) <= _LONGEST_NAME_SHOWN else f"{printable[:_LONGEST_NAME_SHOWN]}..."
