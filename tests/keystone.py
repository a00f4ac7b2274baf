"""A real Keystone on loopback for tests: installed from its lock file once, started from a prepared database.

Fixture `keystone` (session): a running `KeystoneServer` with the service user that Glance runs as.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.ports import free_port

from imageservice.render.inputs import ApplicationCredential, PasswordCredential
from imageservice.sensitive import Sensitive

LOCK_FILE = Path(__file__).parent / "images" / "keystone" / "requirements.lock"
CACHE = Path(os.environ.get("IMAGE_SERVICE_CACHE", "~/.cache/image-service-operator")).expanduser() / "keystone"
REGION = "RegionOne"
ADMIN_PASSWORD = "admin-password"
GLANCE_PASSWORD = "glance-password"
PREPARATION = "3"
"""Raise it when `prepare` makes something else than before: the cache is keyed by it and the lock file."""
START_SECONDS = 60

Json = dict[str, Any]


class KeystoneServer:
    """A running Keystone with a plain client, independent of the one under test."""

    def __init__(self, port: int) -> None:
        self.root_url = f"http://127.0.0.1:{port}"
        self.auth_url = f"{self.root_url}/v3"
        self.admin = PasswordCredential("admin", Sensitive(ADMIN_PASSWORD), "admin")
        self.service_user = PasswordCredential("glance", Sensitive(GLANCE_PASSWORD), "service")
        self._token = ""

    def login(self, username: str, password: str, project: str) -> tuple[str, Json]:
        """Return a token and what is in it."""
        user = {"name": username, "domain": {"id": "default"}, "password": password}
        scope = {"project": {"name": project, "domain": {"id": "default"}}}
        identity = {"methods": ["password"], "password": {"user": user}}
        return self._send("POST", "/auth/tokens", {"auth": {"identity": identity, "scope": scope}}, token="")

    def call(self, method: str, path: str, body: Json | None = None, *, token: str = "") -> Json:
        """Call the API, as the administrator unless a token is given; a refusal raises HTTPError."""
        if not token and not self._token:
            self._token, _ = self.login("admin", ADMIN_PASSWORD, "admin")
        return self._send(method, path, body, token=token or self._token)[1]

    def _send(self, method: str, path: str, body: Json | None, *, token: str) -> tuple[str, Json]:
        request = urllib.request.Request(
            self.auth_url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "X-Auth-Token": token},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            text = response.read()
            return response.headers.get("X-Subject-Token", ""), json.loads(text) if text else {}

    def image_services(self) -> list[Json]:
        return sorted(self.call("GET", "/services?type=image")["services"], key=lambda found: found["id"])

    def endpoints(self, service_id: str | None = None) -> list[Json]:
        """Return the endpoints of one service, or of all services of type `image`."""
        wanted = [service_id] if service_id else [service["id"] for service in self.image_services()]
        found = [entry for key in wanted for entry in self.call("GET", f"/endpoints?service_id={key}")["endpoints"]]
        return sorted(found, key=lambda entry: (entry["region_id"], entry["interface"], entry["id"]))

    def catalog_of_a_user(self) -> Json:
        """Return what any user sees of the image service: interface by region -> URLs."""
        _, content = self.login("glance", GLANCE_PASSWORD, "service")
        seen: Json = {}
        for service in content["token"]["catalog"]:
            for entry in service["endpoints"] if service["type"] == "image" else []:
                seen.setdefault((entry["region_id"], entry["interface"]), []).append(entry["url"])
        return seen

    def empty_the_catalog(self) -> None:
        """Remove every image service with its endpoints, and every region but the first."""
        for service in self.image_services():
            self.call("DELETE", f"/services/{service['id']}")
        for region in self.call("GET", "/regions")["regions"]:
            if region["id"] != REGION:
                self.call("DELETE", f"/regions/{region['id']}")

    def create_user(self, name: str, password: str, project: str, *roles: str) -> PasswordCredential:
        """Create a user with roles in a project (created too where missing)."""
        found = self.call("GET", f"/projects?name={project}")["projects"]
        project_id = (found or [self.call("POST", "/projects", {"project": {"name": project}})["project"]])[0]["id"]
        user = {"name": name, "password": password, "domain_id": "default"}
        user_id = self.call("POST", "/users", {"user": user})["user"]["id"]
        known = {role["name"]: role["id"] for role in self.call("GET", "/roles")["roles"]}
        for role in roles:
            self.call("PUT", f"/projects/{project_id}/users/{user_id}/roles/{known[role]}")
        return PasswordCredential(name, Sensitive(password), project)

    def create_application_credential(self, user: PasswordCredential, name: str, *roles: str) -> ApplicationCredential:
        """Create an application credential of `user` with some of its roles."""
        token, content = self.login(user.username, user.password.reveal(), user.project_name)
        path = f"/users/{content['token']['user']['id']}/application_credentials"
        wanted = {"name": name, "roles": [{"name": role} for role in roles]}
        made = self.call("POST", path, {"application_credential": wanted}, token=token)["application_credential"]
        return ApplicationCredential(made["id"], Sensitive(made["secret"]))


@dataclass
class KeystoneProcess:
    """One Keystone process on a free loopback port, on a database of its own below `directory`."""

    directory: Path
    server: KeystoneServer = field(init=False)
    _process: subprocess.Popen[bytes] | None = field(init=False, default=None)

    def start(self) -> KeystoneServer:
        """Start it and wait until it answers."""
        home = prepared()
        shutil.copytree(home / "template", self.directory / "etc")
        port = free_port()
        write_configuration(self.directory / "etc", port)
        environment = {
            **os.environ,
            "OS_KEYSTONE_CONFIG_DIR": str(self.directory / "etc"),
            # Keystone reads the arguments of the process it runs in: gunicorn must have none.
            "GUNICORN_CMD_ARGS": f"-c {self.directory / 'etc' / 'gunicorn.conf.py'}",
        }
        with (self.directory / "log").open("wb") as log:
            self._process = subprocess.Popen(
                # The kernel ends it with the test run, however that ends.
                ["setpriv", "--pdeathsig", "TERM", home / "venv" / "bin" / "gunicorn"],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.server = KeystoneServer(port)
        self._wait()
        return self.server

    def _wait(self) -> None:
        assert self._process
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError):
                self.server.call("GET", "/regions")
                return
            time.sleep(0.1)
        self.stop()
        raise RuntimeError("Keystone did not start:\n" + (self.directory / "log").read_text()[-4000:])

    def stop(self) -> None:
        """End it and its workers."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(timeout=10)
        self._process = None


def prepared() -> Path:
    """Return the directory with Keystone's environment (`venv`) and a bootstrapped database (`template`); make it once.

    About 50 s the first time.
    """
    key = hashlib.sha256(LOCK_FILE.read_bytes() + sys.version.encode() + PREPARATION.encode()).hexdigest()[:16]
    home = CACHE / key
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "ready").exists():
            for leftover in ("venv", "template"):
                shutil.rmtree(home / leftover, ignore_errors=True)
            prepare(home)
            (home / "ready").touch()
    return home


def prepare(home: Path) -> None:
    """Install Keystone and bootstrap an empty database with one administrator."""
    print(f"installing Keystone into {home} (once, about a minute)", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", home / "venv"], check=True)
    install = ["-m", "pip", "install", "--quiet", "--require-hashes", "-r", LOCK_FILE]
    subprocess.run([home / "venv" / "bin" / "python", *install], check=True, timeout=1200)
    template = home / "template"
    template.mkdir()
    write_configuration(template, port=5000)
    owner = ("--keystone-user", str(os.getuid()), "--keystone-group", str(os.getgid()))
    for arguments in (
        ["db_sync"],
        ["fernet_setup", *owner],
        ["credential_setup", *owner],
        ["bootstrap", "--bootstrap-password", ADMIN_PASSWORD, "--bootstrap-region-id", REGION],
    ):
        command = [home / "venv" / "bin" / "keystone-manage", "--config-dir", template, *arguments]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
        if done.returncode:
            raise RuntimeError(f"keystone-manage {arguments[0]} failed:\n{done.stderr[-4000:]}")


def write_configuration(directory: Path, port: int) -> None:
    """Write the two files that Keystone and gunicorn read; they name `directory` itself."""
    (directory / "keystone.conf").write_text(
        f"[database]\nconnection = sqlite:///{directory}/keystone.db\nsqlite_synchronous = false\n"
        f"[fernet_tokens]\nkey_repository = {directory}/fernet\n"
        f"[credential]\nkey_repository = {directory}/credential\n"
        # The fewest rounds that bcrypt allows: logins are not what these tests measure.
        "[identity]\npassword_hash_rounds = 4\n[cache]\nenabled = true\nbackend = oslo_cache.dict\n"
    )
    (directory / "gunicorn.conf.py").write_text(
        f'wsgi_app = "keystone.wsgi.api:application"\nbind = "127.0.0.1:{port}"\nthreads = 4\ngraceful_timeout = 2\n'
    )


@pytest.fixture(scope="session")
def keystone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeystoneServer]:
    """A running Keystone."""
    with running_keystone(tmp_path_factory.mktemp("keystone")) as server:
        yield server


@contextlib.contextmanager
def running_keystone(directory: Path) -> Iterator[KeystoneServer]:
    """A running Keystone, itself in its catalogue, with the user `glance` (role `service` in the project `service`)."""
    process = KeystoneProcess(directory)
    server = process.start()
    try:
        server.create_user("glance", GLANCE_PASSWORD, "service", "service")
        identity = server.call("POST", "/services", {"service": {"type": "identity", "name": "keystone"}})["service"]
        for interface in ("public", "internal"):
            entry = {"service_id": identity["id"], "region_id": REGION, "interface": interface, "url": server.auth_url}
            server.call("POST", "/endpoints", {"endpoint": entry})
        yield server
    finally:
        process.stop()
