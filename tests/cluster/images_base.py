"""What a build has in place of a registry: this machine's way to the packages, and a Debian made of them."""

import ast
import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from .errors import ClusterError
from .images_archive import write_archive

# What a Dockerfile names as its base, and what stands in for it where no registry can be reached.
PUBLIC_BASE = "debian:bookworm-slim"
SUITE = "bookworm"

_BUILD_SECONDS = 900
_MERGED_USR = "/usr/share/mmdebstrap/hooks/merged-usr"
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
# The archive's public names: this machine may use others, which are nobody else's business.
_PUBLIC_SOURCES = """\
Types: deb
URIs: http://deb.debian.org/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://deb.debian.org/debian-security
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""
# As in the public image: no documentation but the licences, one language.
_DPKG_OPTIONS = (
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    *(f"path-exclude=/usr/share/{folder}/*" for folder in ("groff", "info", "lintian", "locale", "man")),
)
_CLEAN_UP = (
    'rm -rf "$1"/var/cache/debconf/*-old "$1"/var/cache/ldconfig/aux-cache "$1"/var/lib/dpkg/*-old'
    ' "$1"/var/log/apt "$1"/var/log/*.log "$1"/etc/apt/apt.conf.d/99mmdebstrap "$1"/etc/apt/sources.list'
    ' "$1"/etc/apt/sources.list.d/*'
)
_OPTIONS = ("--quiet", "--mode=root", "--variant=minbase", "--include=usr-is-merged", "--skip=output/dev")
_PIP_OPTIONS = ("index-url", "extra-index-url", "proxy", "trusted-host", "timeout", "default-timeout", "retries")
_APT_OPTIONS = ("Acquire::http", "Acquire::https", "Acquire::Check-", "Acquire::Retries", "Acquire::Timeout")


def base_recipe() -> str:
    """What identifies the base: the words that it is made by."""
    return json.dumps([SUITE, _OPTIONS, _DPKG_OPTIONS, _CLEAN_UP, _PUBLIC_SOURCES])


def base_reference() -> str:
    """The name of the base image that is made here."""
    return f"localhost/debian:{SUITE}-slim-{hashlib.sha256(base_recipe().encode()).hexdigest()[:10]}"


def make_base(archive: Path, log: Path) -> None:
    """A minimal Debian as an image, from the package archive; half a minute. Needs root."""
    scratch = archive.with_name(f"{archive.name}.scratch")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        layer, sources, apt = scratch / "layer.tar", scratch / "debian.sources", scratch / "apt.conf"
        sources.write_text(_PUBLIC_SOURCES)
        apt.write_text(_apt_settings(_certificates()))
        mirror = _debian_sources() or sources
        command = [
            *("mmdebstrap", *_OPTIONS, f"--hook-dir={_MERGED_USR}", f"--aptopt={apt}"),
            *(f"--dpkgopt={option}" for option in _DPKG_OPTIONS),
            f"--customize-hook={_CLEAN_UP}",
            f"--customize-hook=upload {sources} /etc/apt/sources.list.d/debian.sources",
            *(SUITE, str(layer), str(mirror)),
        ]
        # Every file gets a time that does not depend on when the base was made.
        environment = {**os.environ, "SOURCE_DATE_EPOCH": "1"}
        with log.open("wb") as output:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                timeout=_BUILD_SECONDS,
                check=False,
            )
        if done.returncode:
            raise ClusterError(f"mmdebstrap failed; see {log}")
        write_archive(scratch / "image.tar", base_reference(), layer)
        (scratch / "image.tar").rename(archive)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def package_access(folder: Path) -> dict[Path, str]:
    """How this machine reaches PyPI and Debian's archive, as directories to be mounted into a build: folder -> place.

    They are mounted, so no image ever holds them, and only over directories that exist in every Debian, so no image
    shows where they were.
    """
    home, apt, sources = folder / "root", folder / "apt.conf.d", folder / "sources.list.d"
    for directory in (home / ".config" / "pip", apt, sources):
        directory.mkdir(parents=True)
    certificates = _certificates()
    if certificates:
        shutil.copyfile(certificates, home / "certificates.crt")
    inside = Path("/root/certificates.crt") if certificates else None
    (home / ".config" / "pip" / "pip.conf").write_text(_pip_settings(inside))
    (apt / "99-host").write_text(_apt_settings(inside))
    mirror = _debian_sources()
    if mirror:
        shutil.copyfile(mirror, sources / f"debian{'.sources' if mirror.suffix == '.sources' else '.list'}")
    else:
        (sources / "debian.sources").write_text(_PUBLIC_SOURCES)
    return {home: "/root", apt: "/etc/apt/apt.conf.d", sources: "/etc/apt/sources.list.d"}


def _debian_sources() -> Path | None:
    """This machine's own list of package archives, where it is the same Debian."""
    release = Path("/etc/os-release")
    if not release.exists() or f"VERSION_CODENAME={SUITE}" not in release.read_text().splitlines():
        return None
    for file in (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list")):
        if file.exists() and SUITE in file.read_text():
            return file
    return None


def _apt_settings(certificates: Path | None) -> str:
    """Proxies and the like, as this machine's apt has them."""
    lines = [line for line in _apt_config() if line.startswith(_APT_OPTIONS) and "CaInfo" not in line]
    if certificates:
        lines.append(f'Acquire::https::CaInfo "{certificates}";')
    return "".join(f"{line}\n" for line in lines)


@functools.cache
def _apt_config() -> tuple[str, ...]:
    if not shutil.which("apt-config"):
        return ()
    done = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, timeout=30, check=True)
    return tuple(done.stdout.splitlines())


def _pip_settings(certificates: Path | None) -> str:
    """A pip.conf with this machine's index and proxy, wherever they are set (files or environment)."""
    settings = {name: value for name, value in _pip_config().items() if name in _PIP_OPTIONS}
    if certificates:
        settings["cert"] = str(certificates)
    lines = (f"{name} = {' '.join(value.split())}\n" for name, value in settings.items())
    return "[global]\n" + "".join(lines)


@functools.cache
def _pip_config() -> dict[str, str]:
    """pip's settings: option -> value; for an option set twice the environment counts."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "config", "list"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    found: dict[str, str] = {}
    # The environment's lines (":env:.") come first; what is set is not overwritten.
    for line in done.stdout.splitlines():
        name, _, value = line.partition("=")
        found.setdefault(name.partition(".")[2], str(ast.literal_eval(value)))
    return found


def _certificates() -> Path | None:
    """The authorities that this machine trusts when it fetches packages."""
    given = (_pip_config().get("cert"), os.environ.get("SSL_CERT_FILE"), os.environ.get("REQUESTS_CA_BUNDLE"))
    return next((Path(file) for file in (*given, _CERTIFICATES) if file and Path(file).is_file()), None)
