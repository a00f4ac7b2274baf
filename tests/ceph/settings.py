"""The text of ceph.conf and of keyrings, for the daemons and the administrator of one cluster."""

import base64
import os
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PLACEMENT_GROUPS = 8
"""Of each pool: enough to spread an image, few enough to be active in a second."""
_SECRET_BYTES = 16


@dataclass(frozen=True)
class Settings:
    """What one cluster is made of; all its files are below `root`."""

    root: Path
    fsid: str
    address: str
    port: int
    size_bytes: int

    @property
    def monitor(self) -> str:
        """The address of the monitor as Ceph writes it: messenger protocol 2."""
        return f"v2:{self.address}:{self.port}"

    @property
    def conf(self) -> Path:
        """The ceph.conf of the daemons and of the administrator."""
        return self.root / "ceph.conf"

    def data(self, daemon: str) -> Path:
        """The data directory of a daemon: `mon`, `mgr` or `osd`; its keyring is in it."""
        return self.root / daemon

    @property
    def no_modules(self) -> Path:
        """An empty directory where the manager looks for its modules."""
        return self.data("mgr") / "no-modules"


def ceph_conf(settings: Settings) -> str:
    """Return the ceph.conf of a cluster."""
    return sections(
        {
            "global": {
                "fsid": settings.fsid,
                "mon host": f"[{settings.monitor}/0]",
                "mon initial members": "a",
                "public addr": settings.address,
                "cluster addr": settings.address,
                "ms bind ipv6": "false",
                "auth cluster required": "cephx",
                "auth service required": "cephx",
                "auth client required": "cephx",
                "auth allow insecure global id reclaim": "false",
                # One copy of everything: there is one OSD.
                "osd pool default size": 1,
                "osd pool default min size": 1,
                "osd pool default pg num": PLACEMENT_GROUPS,
                "osd pool default pg autoscale mode": "off",
                "osd crush chooseleaf type": 0,
                # The object gateway makes seven pools of its own.
                "mon max pg per osd": 1000,
                # Paths in a socket's address end after 107 characters, and nobody asks the daemons directly.
                "admin socket": "",
                # How often, in seconds, it is told which placement groups are active.
                "mgr tick period": 1,
                "mgr stats period": 1,
                "run dir": settings.root,
                "log to file": "false",
                "log to stderr": "true",
                "mon cluster log to file": "false",
            },
            "mon": {
                "mon data": settings.data("mon"),
                "mon allow pool delete": "true",
                "mon allow pool size one": "true",
                "mon warn on pool no redundancy": "false",
                # The disk of the machine that runs the tests is nobody's business here.
                "mon data avail crit": 1,
                "mon data avail warn": 2,
            },
            "mgr": {
                "mgr data": settings.data("mgr"),
                # It counts placement groups and no more: its Python modules take 250 MB, and make a pool of their own.
                "mgr module path": settings.no_modules,
            },
            "osd": {
                "osd data": settings.data("osd"),
                "osd objectstore": "bluestore",
                "osd class update on start": "false",
                "osd memory target": 896 * 2**20,
                "bluestore block create": "true",
                "bluestore block size": settings.size_bytes,
                "bluestore cache autotune": "false",
                "bluestore cache size": 64 * 2**20,
            },
            "client": {"keyring": f"{settings.root}/$name.keyring"},
        }
    )


def new_key() -> str:
    """Return a new cephx key: type 1 (AES), time of birth, length and 16 random bytes."""
    head = struct.pack("<HIIH", 1, int(time.time()), 0, _SECRET_BYTES)
    return base64.b64encode(head + os.urandom(_SECRET_BYTES)).decode()


def keyring(entity: str, key: str, caps: Mapping[str, str] | None = None) -> str:
    """Return the keyring of one entity (`client.glance`, `osd.0`), with capabilities where it is to be imported."""
    return sections(
        {entity: {"key": key, **{f"caps {daemon}": f'"{rights}"' for daemon, rights in (caps or {}).items()}}}
    )


def sections(options_of: Mapping[str, Mapping[str, object]]) -> str:
    """Return sections as a ceph.conf has them."""
    lines = []
    for name, options in options_of.items():
        lines += [f"[{name}]", *(f"{option} = {value}" for option, value in options.items()), ""]
    return "\n".join(lines)
