"""Real database servers on loopback, with all their files in one directory: MariaDB and PostgreSQL."""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import packages
from tests.ports import free_port

PASSWORD = "pass%2Fword-7c1e"
"""The password of every user as it stands in a URL; decoded it has a slash."""
DECODED_PASSWORD = "pass/word-7c1e"
START_SECONDS = 60
NOBODY = 65534


@dataclass
class DatabaseServer:
    """A running server; `driver` is the scheme of its SQLAlchemy URLs."""

    driver: str
    port: int
    client: list[str]

    def url(self, database: str, user: str = "glance", password: str = PASSWORD) -> str:
        """Return the URL of a database."""
        return f"{self.driver}://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def sql(self, statement: str, database: str = "") -> str:
        """Run a statement as the administrator and return what it answers."""
        command = [*self.client, *([database] if database else [])]
        done = subprocess.run(command, input=statement, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout


@contextlib.contextmanager
def mariadb(directory: Path) -> Iterator[DatabaseServer]:
    """A MariaDB with the users `glance` (all rights on databases `glance%`) and `reader` (may only read)."""
    packages.ensure(packages.DATABASES)
    port, socket, data = free_port(), directory / "sql.sock", directory / "data"
    user = pwd.getpwuid(os.getuid()).pw_name
    own = ["--no-defaults", f"--datadir={data}", f"--user={user}"]
    command = [_program("mariadb-install-db"), *own, "--auth-root-authentication-method=normal", "--skip-test-db"]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    listen = ["--bind-address=127.0.0.1", f"--port={port}", f"--socket={socket}"]
    sizes = ["--innodb-log-file-size=8M", "--innodb-buffer-pool-size=32M", "--innodb-flush-log-at-trx-commit=0"]
    server = DatabaseServer(
        "mysql+pymysql", port, [_program("mariadb"), "--no-defaults", f"--socket={socket}", "--user=root", "--batch"]
    )
    with _running([_program("mariadbd"), *own, *listen, *sizes], directory / "log", server):
        server.sql(
            f"CREATE USER glance@'%' IDENTIFIED BY '{DECODED_PASSWORD}'; GRANT ALL ON `glance%`.* TO glance@'%';"
            f"CREATE USER reader@'%' IDENTIFIED BY '{DECODED_PASSWORD}'; GRANT SELECT ON `glance%`.* TO reader@'%';"
        )
        yield server


@contextlib.contextmanager
def postgresql() -> Iterator[DatabaseServer]:
    """A PostgreSQL with the user `glance`, who may create databases."""
    packages.ensure(packages.DATABASES)
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
    with tempfile.TemporaryDirectory(prefix="postgresql-") as name:
        directory, port = Path(name), free_port()
        as_somebody: list[str] = []
        if os.geteuid() == 0:
            # The server refuses to run as root.
            as_somebody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
            os.chown(directory, NOBODY, NOBODY)
        data = directory / "data"
        initdb = [*as_somebody, programs / "initdb", "-D", data, "-U", "root", "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run(initdb, check=True, capture_output=True, timeout=120)
        (data / "pg_hba.conf").write_text("local all root trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
        client = [str(programs / "psql"), "-h", name, "-p", str(port), "-U", "root", "-qAt", "-d"]
        server = DatabaseServer("postgresql+psycopg2", port, client)
        options = ["-D", data, "-p", str(port), "-k", name, "-h", "127.0.0.1", "-F"]
        with _running([*as_somebody, programs / "postgres", *options], directory / "log", server, database="postgres"):
            server.sql(f"CREATE USER glance CREATEDB PASSWORD '{DECODED_PASSWORD}'", "postgres")
            yield server


@contextlib.contextmanager
def _running(command: list[object], log: Path, server: DatabaseServer, database: str = "") -> Iterator[None]:
    """Run a server until the block ends; begin once it answers."""
    with log.open("wb") as output:
        # The kernel ends it with the test run, however that ends.
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *map(str, command)], stdout=output, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(AssertionError):
                server.sql("SELECT 1;", database)
                break
            time.sleep(0.1)
        else:
            raise RuntimeError(f"{command[0]} did not start:\n{log.read_text(errors='replace')[-3000:]}")
        yield
    finally:
        process.kill()
        process.wait(timeout=30)


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    assert found, name
    return found
