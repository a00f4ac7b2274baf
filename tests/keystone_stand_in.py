"""A Keystone that answers in about a millisecond, for what is measured; all tests of behaviour use the real one.

A real Keystone takes some 50 ms for a login and one processor while many log in at once: a measurement of the operator
with it would be one of Keystone, and hundreds of generated runs would wait for it. This one keeps everything in memory
and knows what `imageservice.identity` asks for and no more: tokens for a password or an application credential,
services, endpoints, regions. What it refuses, it refuses as Keystone does: a wrong login with 401, a user without the
role `admin` with 403, an endpoint in an unknown region with 400.

Every path before `/v3` is a cloud of its own, with a catalogue of its own and the same users, so that any number of
ImageServices may register without being in each other's way:

    with running() as keystone:
        spec["identity"]["authURL"] = keystone.cloud("ns-17")

`python -m tests.keystone_stand_in` runs one until its standard input ends, and prints the URL of its root.
"""

import asyncio
import contextlib
import sys
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from tests.keystone import ADMIN_PASSWORD, GLANCE_PASSWORD, REGION, KeystoneServer

from imageservice.render.inputs import ApplicationCredential, PasswordCredential
from imageservice.sensitive import Sensitive

Json = dict[str, Any]
_START_SECONDS = 10
_COLLECTIONS = {"services": "service", "endpoints": "endpoint", "regions": "region"}
_REFERENCES = {"endpoints": {"service_id": "services", "region_id": "regions"}}
"""Attributes by which an entry names another one, which has to be there (400 otherwise)."""


@dataclass(frozen=True)
class _Account:
    """Who may log in: a user with a password in a project, or an application credential."""

    user: str
    secret: str
    project: str
    roles: tuple[str, ...]


@dataclass
class _Cloud:
    """The catalogue behind one URL: collection -> id -> entry."""

    entries: dict[str, dict[str, Json]] = field(
        default_factory=lambda: {"services": {}, "endpoints": {}, "regions": {REGION: {"id": REGION}}}
    )

    def catalog(self) -> list[Json]:
        endpoints = self.entries["endpoints"].values()
        return [
            service | {"endpoints": [entry for entry in endpoints if entry["service_id"] == service["id"]]}
            for service in self.entries["services"].values()
        ]


class KeystoneStandIn(KeystoneServer):
    """A running stand-in, asked and prepared by tests as the real one is. Obtain it from `running`."""

    def __init__(self) -> None:
        self._answers = _Answers()
        self._loop = asyncio.new_event_loop()
        self._port = 0
        ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(ready,), name="keystone-stand-in", daemon=True)
        self._thread.start()
        if not ready.wait(_START_SECONDS):
            raise RuntimeError("the Keystone stand-in did not start")
        super().__init__(self._port)
        self.create_user("admin", ADMIN_PASSWORD, "admin", "admin")
        self.create_user("glance", GLANCE_PASSWORD, "service", "service")

    def cloud(self, name: str) -> str:
        """Return the `authURL` of a cloud of its own."""
        return f"{self.root_url}/{name}/v3"

    def create_user(self, name: str, password: str, project: str, *roles: str) -> PasswordCredential:
        """Let a user log in; without a role it cannot, as in Keystone."""
        self._answers.accounts[("password", name)] = _Account(name, password, project, roles)
        return PasswordCredential(name, Sensitive(password), project)

    def create_application_credential(self, user: PasswordCredential, name: str, *roles: str) -> ApplicationCredential:
        """Let an application credential of `user` log in with some of its roles."""
        made = ApplicationCredential(uuid.uuid4().hex, Sensitive(f"{name}-{uuid.uuid4().hex}"))
        account = _Account(user.username, made.secret.reveal(), user.project_name, roles)
        self._answers.accounts[("application_credential", made.id)] = account
        return made

    def stop(self) -> None:
        """Stop listening and end the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_START_SECONDS)

    def _serve(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        runner = web.AppRunner(self._answers.application(), access_log=None)
        self._loop.run_until_complete(runner.setup())
        site = web.TCPSite(runner, "127.0.0.1", 0)
        self._loop.run_until_complete(site.start())
        self._port = runner.addresses[0][1]
        ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()


class _Answers:
    """What is answered to which request."""

    def __init__(self) -> None:
        self.accounts: dict[tuple[str, str], _Account] = {}
        self._tokens: dict[str, _Account] = {}
        self._clouds: dict[str, _Cloud] = {}

    def application(self) -> web.Application:
        application = web.Application()
        for prefix in ("/v3", "/{cloud}/v3"):
            collection = prefix + "/{collection:" + "|".join(_COLLECTIONS) + "}"
            application.add_routes(
                [
                    web.post(f"{prefix}/auth/tokens", self._login),
                    web.get(collection, self._list),
                    web.post(collection, self._create),
                    web.get(collection + "/{id}", self._show),
                    web.patch(collection + "/{id}", self._update),
                    web.delete(collection + "/{id}", self._delete),
                ]
            )
        return application

    def _cloud(self, request: web.Request) -> _Cloud:
        return self._clouds.setdefault(request.match_info.get("cloud", ""), _Cloud())

    async def _login(self, request: web.Request) -> web.Response:
        wanted = (await request.json())["auth"]
        account = self._account(wanted)
        if account is None:
            return _refusal(401, "The request you have made requires authentication.")
        token = uuid.uuid4().hex
        self._tokens[token] = account
        content: Json = {
            "methods": wanted["identity"]["methods"],
            "user": {"id": account.user, "name": account.user},
            "project": {"id": account.project, "name": account.project},
            "roles": [{"id": role, "name": role} for role in account.roles],
        }
        if "nocatalog" not in request.query:
            content["catalog"] = self._cloud(request).catalog()
        return web.json_response({"token": content}, status=201, headers={"X-Subject-Token": token})

    def _account(self, wanted: Json) -> _Account | None:
        """Return who logs in; None where anything about it is wrong."""
        (method,) = wanted["identity"]["methods"]
        claim = wanted["identity"][method]
        if method == "application_credential":
            account = self.accounts.get((method, claim["id"]))
            good = account and account.secret == claim["secret"]
        else:
            account = self.accounts.get((method, claim["user"]["name"]))
            project = wanted["scope"]["project"]["name"]
            good = account and account.secret == claim["user"]["password"]
            good = good and account and account.project == project and account.roles
        return account if good else None

    def _refused(self, request: web.Request) -> web.Response | None:
        """Return the refusal of a request without a token, or without the role `admin`."""
        account = self._tokens.get(request.headers.get("X-Auth-Token", ""))
        if account is None:
            return _refusal(401, "The request you have made requires authentication.")
        if "admin" not in account.roles:
            return _refusal(403, "You are not authorized to perform the requested action.")
        return None

    async def _list(self, request: web.Request) -> web.Response:
        if refused := self._refused(request):
            return refused
        collection = request.match_info["collection"]
        found = [
            entry
            for entry in self._cloud(request).entries[collection].values()
            if all(entry.get(key) == value for key, value in request.query.items())
        ]
        return web.json_response({collection: found, "links": {}, "truncated": False})

    async def _create(self, request: web.Request) -> web.Response:
        if refused := self._refused(request):
            return refused
        collection = request.match_info["collection"]
        entry = {"id": uuid.uuid4().hex} | (await request.json())[_COLLECTIONS[collection]]
        cloud = self._cloud(request)
        for attribute, named in _REFERENCES.get(collection, {}).items():
            if entry.get(attribute) not in cloud.entries[named]:
                return _refusal(400, f"Invalid {attribute}: {entry.get(attribute)}")
        if entry["id"] in cloud.entries[collection]:
            return _refusal(409, f"There is already a {_COLLECTIONS[collection]} {entry['id']}.")
        cloud.entries[collection][entry["id"]] = entry
        return web.json_response({_COLLECTIONS[collection]: entry}, status=201)

    async def _show(self, request: web.Request) -> web.Response:
        return self._refused(request) or self._with_entry(request, {})

    async def _update(self, request: web.Request) -> web.Response:
        body = await request.json()
        changed = body[_COLLECTIONS[request.match_info["collection"]]]
        return self._refused(request) or self._with_entry(request, changed)

    def _with_entry(self, request: web.Request, changed: Json) -> web.Response:
        collection, key = request.match_info["collection"], request.match_info["id"]
        entry = self._cloud(request).entries[collection].get(key)
        if entry is None:
            return _refusal(404, f"Could not find {_COLLECTIONS[collection]}: {key}.")
        entry.update(changed)
        return web.json_response({_COLLECTIONS[collection]: entry})

    async def _delete(self, request: web.Request) -> web.Response:
        if refused := self._refused(request):
            return refused
        collection, key = request.match_info["collection"], request.match_info["id"]
        cloud = self._cloud(request)
        if cloud.entries[collection].pop(key, None) is None:
            return _refusal(404, f"Could not find {_COLLECTIONS[collection]}: {key}.")
        if collection == "services":  # its endpoints go with it
            kept = {id_: entry for id_, entry in cloud.entries["endpoints"].items() if entry["service_id"] != key}
            cloud.entries["endpoints"] = kept
        return web.Response(status=204)


def _refusal(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"code": status, "message": message}}, status=status)


@contextlib.contextmanager
def running() -> Iterator[KeystoneStandIn]:
    """Give a running stand-in with the users `admin` and `glance`; it ends with the block."""
    stand_in = KeystoneStandIn()
    try:
        yield stand_in
    finally:
        stand_in.stop()


if __name__ == "__main__":
    with running() as served:
        print(served.root_url, flush=True)
        sys.stdin.read()
