"""A Python of a Glance environment that has Glance imported already.

Every `glance-manage` imports for 1.5 s before it works for 0.2 s, and the tests run it a hundred times. Here the import
is done once for each release; after it, each run is a process of its own that runs the same code (warm_server.py).
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
MODULES = ("sqlalchemy", "pymysql", "psycopg2", "glance.cmd.manage")
PROGRAMS = ("python", "glance-manage")
START_SECONDS = 60


@dataclass(frozen=True)
class WarmPython:
    """Where the programs are that are used in place of those of the environment."""

    directory: Path

    @property
    def python(self) -> Path:
        """Runs a program file."""
        return self.directory / "python"

    @property
    def glance_manage(self) -> Path:
        """Runs `glance-manage` of the environment."""
        return self.directory / "glance-manage"


@contextlib.contextmanager
def warm_python(environment: Path) -> Iterator[WarmPython]:
    """Start a warm Python of a Glance environment; it ends with the block."""
    # Not in pytest's directory: the path of a socket has at most 107 characters.
    with tempfile.TemporaryDirectory(prefix="warm-python-") as name:
        directory = Path(name)
        client = directory / "client"
        client.write_text(f"#!{sys.executable} -IS\n{(HERE / 'warm_client.py').read_text()}")
        client.chmod(0o755)
        for program in PROGRAMS:
            (directory / program).symlink_to(client)
        (directory / "environment").symlink_to(environment)
        # The kernel ends it with the test run, however that ends.
        command = ["setpriv", "--pdeathsig", "KILL", environment / "bin" / "python", HERE / "warm_server.py"]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
        with (directory / "log").open("wb") as log:
            server = subprocess.Popen(
                [*command, directory / "socket", *MODULES], env=clean, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            _wait(server, directory)
            yield WarmPython(directory)
        finally:
            server.kill()
            server.wait(timeout=10)


def _wait(server: "subprocess.Popen[bytes]", directory: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not (directory / "socket").exists():
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"no warm Python:\n{(directory / 'log').read_text(errors='replace')[-3000:]}")
        time.sleep(0.05)
