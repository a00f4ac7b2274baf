"""Ceph's own files, as far as they matter here: ceph.conf, keyrings, lists of monitors, cephx keys. Pure.

Of a ceph.conf only what tells where the cluster is, and how to speak to it, is taken: never a path, a socket, a log or
an include, which would be those of another machine. Errors are ValueError with a message that repeats no value.
"""

import base64
import binascii
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from imageservice.api.v1alpha1.store_ceph import FSID, MAX_MONITOR_LENGTH, MAX_MONITORS, MONITOR

LONGEST_FILE = 65536
"""Characters of a ceph.conf that are looked at; no sensible one is longer."""

TAKEN_SETTINGS = frozenset(
    {
        *("auth_client_required", "auth_service_required", "auth_cluster_required", "auth_supported"),
        *("cephx_require_signatures", "cephx_require_version", "cephx_sign_messages"),
        *("cephx_service_require_signatures", "cephx_service_require_version"),
        *("ms_bind_ipv4", "ms_bind_ipv6", "ms_client_mode", "ms_mon_client_mode", "ms_service_mode", "ms_type"),
        *("ms_crc_data", "ms_crc_header", "ms_tcp_nodelay", "ms_tcp_rcvbuf", "ms_connection_ready_timeout"),
        *("ms_osd_compress_mode", "ms_compress_secure", "ms_async_op_threads"),
    }
)
"""What else of a ceph.conf is taken: how client and cluster prove who they are, and the wire protocol."""

_SECTION = re.compile(r"\[([^\]]+)\]")
_SETTING_VALUE = re.compile(r"[-A-Za-z0-9_., ]{1,200}")
_MONITOR = re.compile(MONITOR)
_FSID = re.compile(FSID)
_KEY_HEADER = "<HIIH"
"""Type, seconds and nanoseconds of its making, length of the secret."""
_KEY_LENGTHS = {1: 16, 2: 32}
"""Type of a cephx key (AES-128, AES-256) -> bytes of the secret in it."""

Sections = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class CephConf:
    """What is taken of a ceph.conf."""

    monitors: tuple[str, ...] = ()
    fsid: str | None = None
    settings: tuple[tuple[str, str], ...] = ()


def ceph_conf(text: str, user: str) -> CephConf:
    """Return what is taken of the file, as the user sees it: its own section counts more than [client] and [global]."""
    sections = read_sections(text)
    options: dict[str, str] = {}
    for section in ("global", "client", f"client.{user}"):
        options |= sections.get(section, {})
    fsid = options.get("fsid", "").lower()
    if fsid and not _FSID.fullmatch(fsid):
        raise ValueError("its fsid is not a UUID")
    settings = {name: value for name, value in options.items() if name in TAKEN_SETTINGS}
    for name, value in settings.items():
        if not _SETTING_VALUE.fullmatch(value):
            raise ValueError(f"its {name} has a value that no such setting has")
    return CephConf(monitors(options.get("mon_host", "")), fsid or None, tuple(sorted(settings.items())))


def read_sections(text: str) -> dict[str, dict[str, str]]:
    """Return section -> option -> value of a file in Ceph's form: spaces and dashes in names count as `_`."""
    if len(text) > LONGEST_FILE:
        raise ValueError(f"it has more than {LONGEST_FILE} characters")
    sections: dict[str, dict[str, str]] = {}
    current: dict[str, str] = {}
    for line in re.sub(r"\\\r?\n", "", text).splitlines():
        stripped = line.strip()
        header = _SECTION.match(stripped)
        if header:
            current = sections.setdefault(header[1].strip(), {})
        elif stripped and stripped[0] not in "#;":
            name, equals, value = stripped.partition("=")
            if equals:
                current[re.sub(r"[\s-]+", "_", name.strip())] = _without_comment(value)
    return sections


def _without_comment(value: str) -> str:
    """Return the value without quotes around it, or without what follows a comment sign."""
    stripped = value.strip()
    quoted = re.match(r"""(["'])(.*?)\1""", stripped)
    return quoted[2] if quoted else re.split(r"[#;]", stripped, maxsplit=1)[0].strip()


def monitors(text: str) -> tuple[str, ...]:
    """Return the monitors in a `mon_host`: cut at commas, semicolons and blanks that stand in no brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += {"[": 1, "]": -1}.get(character, 0)
        if depth == 0 and (character in ",;" or character.isspace()):
            parts.append("")
        else:
            parts[-1] += character
    found = tuple(dict.fromkeys(part for part in parts if part))
    if len(found) > MAX_MONITORS:
        raise ValueError(f"it names more than {MAX_MONITORS} monitors")
    if any(len(monitor) > MAX_MONITOR_LENGTH or not _MONITOR.fullmatch(monitor) for monitor in found):
        raise ValueError("one of its monitors is not an address as Ceph writes it")
    return found


def rook_monitors(text: str) -> tuple[str, ...]:
    """Return the monitors in Rook's `a=192.0.2.1:6789,b=...`."""
    return monitors(",".join(part.partition("=")[2] or part for part in text.strip().split(",")))


def keyring(text: str) -> dict[str, str]:
    """Return user (without `client.`) -> key of a keyring; of other entities nothing."""
    return {
        section.removeprefix("client."): options["key"]
        for section, options in read_sections(text).items()
        if section.startswith("client.") and options.get("key")
    }


def is_cephx_key(text: str) -> bool:
    """Tell whether a text is a key of cephx: in base64 a type, a time, a length, and as many bytes as the type has."""
    try:
        content = base64.b64decode(text, validate=True)
        kind, _, _, length = struct.unpack_from(_KEY_HEADER, content)
    except (binascii.Error, ValueError, struct.error):
        return False
    return bool(length == _KEY_LENGTHS.get(kind) and len(content) == struct.calcsize(_KEY_HEADER) + length)
