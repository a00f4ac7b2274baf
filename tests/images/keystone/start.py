#!/opt/keystone/bin/python
"""Sets Keystone up, fills it from the environment and serves it on port 5000.

KEYSTONE_ADMIN_PASSWORD   password of the user `admin` (project `admin`, role `admin`); must be set
KEYSTONE_GLANCE_PASSWORD  if set: user `glance` in project `service` with role `service`
KEYSTONE_DEMO_PASSWORD    if set: user `demo` in project `demo` with role `member`
KEYSTONE_PUBLIC_URL       the URL in the catalogue (default http://localhost:5000/v3)
KEYSTONE_REGION           the region of that endpoint (default RegionOne)
KEYSTONE_DATABASE_URL     SQLAlchemy URL (default: SQLite in the data directory)
KEYSTONE_DATA             the data directory (default /var/lib/keystone), writable, for this start or longer

Every step may be repeated: a container that starts again on the same data goes on with it.
"""

import os
import sys
from pathlib import Path

# Imported once, here, for every child and for gunicorn's worker: this is most of the time that a start takes.
from gunicorn.app.wsgiapp import run
from keystone.cmd import cli
from keystone.server import wsgi
from werkzeug.test import Client as WsgiClient

DATA = Path(os.environ.get("KEYSTONE_DATA", "/var/lib/keystone"))
REGION = os.environ.get("KEYSTONE_REGION", "RegionOne")
PUBLIC_URL = os.environ.get("KEYSTONE_PUBLIC_URL", "http://localhost:5000/v3")
DATABASE_URL = os.environ.get("KEYSTONE_DATABASE_URL", f"sqlite:///{DATA}/keystone.sqlite")

# user, project, role, the variable with the password
ACCOUNTS = (
    ("glance", "service", "service", "KEYSTONE_GLANCE_PASSWORD"),
    ("demo", "demo", "member", "KEYSTONE_DEMO_PASSWORD"),
)

CONFIG = """\
[database]
connection = {database}
[fernet_tokens]
key_repository = {data}/fernet-keys
[fernet_receipts]
key_repository = {data}/receipt-keys
[credential]
key_repository = {data}/credential-keys
[cache]
enabled = false
[identity]
# Passwords of a test: hashing them with full strength would take most of the time of a start.
password_hash_rounds = 4
max_password_length = 72
"""

# gunicorn's own arguments would be read by Keystone too, which then ends: they go into this file.
GUNICORN = """\
wsgi_app = "keystone.wsgi.api:application"
bind = "[::]:5000"
threads = 8
worker_tmp_dir = "{data}"
control_socket_disable = True
"""

SETUP = (
    ["db_sync"],
    ["fernet_setup"],
    ["receipt_setup"],
    ["credential_setup"],
    [
        "bootstrap",
        f"--bootstrap-region-id={REGION}",
        f"--bootstrap-public-url={PUBLIC_URL}",
        f"--bootstrap-internal-url={PUBLIC_URL}",
        f"--bootstrap-admin-url={PUBLIC_URL}",
    ],
)


def write_files():
    """The configuration of Keystone and of gunicorn."""
    os.umask(0o077)
    (DATA / "keystone.conf").write_text(CONFIG.format(database=DATABASE_URL.replace("$", "$$"), data=DATA))
    (DATA / "gunicorn.py").write_text(GUNICORN.format(data=DATA))
    os.environ["OS_KEYSTONE_CONFIG_DIR"] = str(DATA)
    os.environ["OS_BOOTSTRAP_PASSWORD"] = os.environ["KEYSTONE_ADMIN_PASSWORD"]


def in_a_child(what, function, *arguments):
    """Call the function in a fork: Keystone can be configured once in a process, but imported once for all of them."""
    print(f"keystone: {what}", flush=True)
    child = os.fork()
    if child == 0:
        try:
            function(*arguments)
        except BaseException:  # noqa: BLE001 - whatever it is, a child must not go on as its parent
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if status:
        sys.exit(f"keystone: {what} failed")


def manage(*command):
    """Do what `keystone-manage` does."""
    config_file = f"--config-file={DATA}/keystone.conf"
    cli.main(["keystone-manage", config_file, *command])


class Client:
    """Calls Keystone's API inside this process, as the administrator."""

    def __init__(self):
        self.http = WsgiClient(wsgi.initialize_public_application())
        self.headers = {}
        self.headers["X-Auth-Token"] = self.token()

    def token(self):
        """A token of the administrator."""
        domain = {"id": "default"}
        user = {"name": "admin", "domain": domain, "password": os.environ["KEYSTONE_ADMIN_PASSWORD"]}
        auth = {
            "identity": {"methods": ["password"], "password": {"user": user}},
            "scope": {"project": {"name": "admin", "domain": domain}},
        }
        return self.call("POST", "/v3/auth/tokens", {"auth": auth}).headers["X-Subject-Token"]

    def call(self, method, path, body=None):
        """The answer; an error is an exception."""
        answer = self.http.open(path, method=method, json=body, headers=self.headers)
        if answer.status_code >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status} {answer.get_data(as_text=True)}")
        return answer

    def find(self, collection, name):
        """The id of the object of that name, or None."""
        found = self.call("GET", f"/v3/{collection}?name={name}").json[collection]
        return found[0]["id"] if found else None

    def ensure(self, collection, name, **values):
        """The id of the object of that name with these values, made where it is missing."""
        kind = collection.removesuffix("s")
        found = self.find(collection, name)
        method, path = ("PATCH", f"/v3/{collection}/{found}") if found else ("POST", f"/v3/{collection}")
        body = values if found else {"name": name, "domain_id": "default", **values}
        return self.call(method, path, {kind: body}).json[kind]["id"]


def make_accounts():
    """The users of ACCOUNTS whose password is given."""
    client = Client()
    for name, project, role, variable in ACCOUNTS:
        password = os.environ.get(variable)
        if not password:
            continue
        project_id = client.ensure("projects", project)
        user_id = client.ensure("users", name, password=password, default_project_id=project_id)
        client.call("PUT", f"/v3/projects/{project_id}/users/{user_id}/roles/{client.find('roles', role)}")


def main():
    """Set up, then become gunicorn."""
    write_files()
    sys.argv = ["keystone"]
    for command in SETUP:
        in_a_child(command[0], manage, *command)
    in_a_child("accounts", make_accounts)
    os.environ["GUNICORN_CMD_ARGS"] = f"--config {DATA}/gunicorn.py"
    run()


if __name__ == "__main__":
    if not os.environ.get("KEYSTONE_ADMIN_PASSWORD"):
        sys.exit("keystone: KEYSTONE_ADMIN_PASSWORD is not set")
    main()
