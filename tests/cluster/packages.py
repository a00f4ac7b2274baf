"""Debian packages that a cluster with real nodes needs on this machine."""

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from .errors import ClusterError, Unavailable
from .progress import say

# Package -> one file or program by which its presence is seen.
_PRESENCE = {
    "bindfs": "bindfs",
    "buildah": "buildah",
    "ceph-common": "rbd",
    "ceph-mgr": "ceph-mgr",
    "ceph-mon": "ceph-mon",
    "ceph-osd": "ceph-osd",
    "conntrack": "conntrack",
    "containerd": "containerd",
    "containernetworking-plugins": "/usr/lib/cni/bridge",
    "debian-archive-keyring": "/usr/share/keyrings/debian-archive-keyring.gpg",
    "ethtool": "ethtool",
    "gcc": "gcc",
    "iproute2": "ip",
    "iptables": "iptables",
    "kmod": "modprobe",
    "libc6-dev": "/usr/include/stdio.h",
    "mariadb-client-core": "mariadb",
    "mariadb-server-core": "mariadbd",
    "mmdebstrap": "mmdebstrap",
    "nftables": "nft",
    "openssl": "openssl",
    "postgresql": "pg_lsclusters",
    "procps": "sysctl",
    "python3-rbd": "/var/lib/dpkg/info/python3-rbd.list",
    "qemu-utils": "qemu-img",
    "radosgw": "radosgw",
    "runc": "runc",
    "socat": "socat",
    "uidmap": "newuidmap",
    "util-linux": "unshare",
}
CONTROL_PLANE = ("openssl",)
NODES = (
    *("openssl", "containerd", "runc", "containernetworking-plugins", "conntrack", "iptables", "nftables", "ethtool"),
    *("socat", "iproute2", "kmod", "procps", "util-linux"),
)
CEPH = ("ceph-mon", "ceph-mgr", "ceph-osd", "ceph-common", "python3-rbd", "radosgw")
SHARES = ("bindfs",)
DATABASES = ("mariadb-server-core", "mariadb-client-core", "postgresql")
DISK_IMAGES = ("qemu-utils",)
IMAGES = ("buildah", "debian-archive-keyring", "mmdebstrap", "uidmap", "util-linux")
COMPILER = ("gcc", "libc6-dev")


def missing(packages: Iterable[str]) -> list[str]:
    """Those of the packages that are not there."""
    search = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"

    def present(sign: str) -> bool:
        return Path(sign).exists() if sign.startswith("/") else shutil.which(sign, path=search) is not None

    return [package for package in packages if not present(_PRESENCE[package])]


def ensure(packages: Iterable[str]) -> None:
    """Have the packages: as root on Debian or Ubuntu install what is missing, elsewhere say what and how.

    Raises Unavailable with the list and the command where they cannot be installed by us.
    """
    lacking = missing(packages)
    if not lacking:
        return
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *lacking]
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        words = "as root on Debian or Ubuntu" if shutil.which("apt-get") is None else "as root"
        raise Unavailable(f"missing packages: {' '.join(lacking)}; {words}: {' '.join(command)}")
    say(f"installing packages that are missing: {' '.join(lacking)}")
    _apt(["apt-get", "update"])
    _apt(command)
    still = missing(lacking)
    if still:
        raise ClusterError(f"apt-get installed them, but they are not to be found: {' '.join(still)}")


def _apt(command: list[str]) -> None:
    # Services that packages start (containerd) are no business of ours on this machine.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    result = subprocess.run(command, capture_output=True, text=True, timeout=900, env=environment, check=False)
    if result.returncode:
        raise ClusterError(f"{' '.join(command)} failed: {result.stderr.strip() or result.stdout.strip()}")
