"""Real Glance of each release, installed from PyPI into an environment of its own under the cache directory.

The environments hold exactly what the images hold: both are made from `containers/glance/requirements-<release>.lock`.
"""

import contextlib
import hashlib
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

from tests.cluster import packages
from tests.cluster.errors import Unavailable
from tests.cluster.locks import only_one
from tests.cluster.progress import say
from tests.cluster.state import cache_folder

REPOSITORY = Path(__file__).resolve().parent.parent
LOCK_FILES = REPOSITORY / "containers" / "glance"
SYSTEM_PACKAGES = Path("/usr/lib/python3/dist-packages")
CEPH_MODULES = ("rados", "rbd")
RELEASES = ("2025.1", "2025.2", "2026.1", "2026.2")
INSTALL_SECONDS = 900


def glance_environment(release: str) -> Path:
    """The virtual environment of Glance of `release`, made first where it is missing.

    Its `bin` holds `python`, `gunicorn` and `glance-manage`; the files Glance ships are in `etc/glance`.
    Raises KeyError for a release that is not one of RELEASES, and RuntimeError where it cannot be installed.
    """
    if release not in RELEASES:
        raise KeyError(release)
    return python_environment(f"glance/{release}", LOCK_FILES / f"requirements-{release}.lock")


def python_environment(name: str, lock_file: Path) -> Path:
    """A virtual environment of this Python with the packages of `lock_file`, kept as `<cache>/<name>-<hash>`.

    The hash covers the lock file and the version of Python, so a changed lock file gets a new environment. One that was
    left half made is begun again; of two processes that ask at once, one installs and the other waits.
    """
    version = f"{sys.implementation.cache_tag}\n".encode()
    digest = hashlib.sha256(version + lock_file.read_bytes()).hexdigest()[:12]
    directory = cache_folder() / f"{name}-{digest}"
    complete = directory / "complete"
    if complete.exists():
        return directory
    with only_one(directory.with_name(f"{directory.name}.lock"), name, seconds=INSTALL_SECONDS):
        if not complete.exists():
            _install(name, lock_file, directory)
            complete.touch()
    return directory


def with_ceph(environment: Path) -> Path:
    """Let an environment import `rados` and `rbd` as the images do: from the system's packages, for PyPI has none.

    Raises Unavailable where the packages cannot be installed, or were built for another version of Python.
    """
    packages.ensure(packages.CEPH)
    site = environment / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    for module in CEPH_MODULES:
        name = f"{module}{sysconfig.get_config_var('EXT_SUFFIX')}"
        built = SYSTEM_PACKAGES / name
        if not built.exists():
            version = f"{sys.version_info.major}.{sys.version_info.minor}"
            raise Unavailable(f"the system's Ceph packages are for another Python than {version}: no {built}")
        # Another process may be at the same.
        with contextlib.suppress(FileExistsError):
            (site / name).symlink_to(built)
    return environment


def _install(name: str, lock_file: Path, directory: Path) -> None:
    started = time.monotonic()
    say(f"{name}: installing the packages of {lock_file.name} (once, about a minute)")
    shutil.rmtree(directory, ignore_errors=True)
    python = directory / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]
    install = [
        "install",
        "--quiet",
        "--no-input",
        "--no-deps",
        "--no-compile",
        "--require-hashes",
        "-r",
        str(lock_file),
    ]
    for command in (
        [sys.executable, "-m", "venv", "--without-pip", str(directory)],
        [*pip, *install],
        # On both cores at once, which pip's own compiling does not do.
        [str(python), "-m", "compileall", "-q", "-j", "0", str(directory / "lib")],
    ):
        seconds_left = INSTALL_SECONDS - (time.monotonic() - started)
        done = subprocess.run(command, capture_output=True, text=True, timeout=max(seconds_left, 1), check=False)
        # compileall also fails on test data that no Python could import: that is no fault of the environment.
        if done.returncode and "compileall" not in command:
            raise RuntimeError(f"{name}: {' '.join(command[:4])} failed:\n{done.stderr[-4000:]}")
    say(f"{name}: ready after {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    for wanted in sys.argv[1:] or RELEASES:
        print(glance_environment(wanted))
