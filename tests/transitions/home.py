"""A namespace with all that the generated objects refer to, and the ways to change what stands in it."""

import base64
import json
import time
import uuid
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.api_client import ApiClient, Manifest
from tests.caches_stand_in import Behaviour, Running
from tests.end_state import differences, end_state, key_of
from tests.keystone import ADMIN_PASSWORD, GLANCE_PASSWORD, KeystoneServer
from tests.keystone_stand_in import KeystoneStandIn
from tests.transitions import hints
from tests.transitions.generator import World
from tests.transitions.outcome import compare, is_observed, ours, reasons, why_not_at_rest
from tests.transitions.schema import KINDS
from tests.transitions.view import View

from imageservice.render.inputs import ApplicationCredential

QUIET_SECONDS = 1.5
"""How long nothing may move before a namespace counts as at rest: longer than any step of the operator or of kwok."""
REST_SECONDS = 300.0
"""How long a namespace may take to come to rest on a busy machine; alone it takes about 10 s."""
PAUSE_SECONDS = 0.3
"""How long to wait between two looks."""
SAME_SECONDS = 45.0
"""How long a state at rest may differ from what it should be: longer than any pause of the operator between looks.

The longest that is waited out so is half a minute, after which a CachePolicy asks silent agents again.
"""


class Restless(Exception):  # noqa: N818 - what the namespace is
    """A namespace did not come to rest in time."""


@dataclass(frozen=True)
class Surroundings:
    """What all namespaces of a run share."""

    api: ApiClient
    view: View
    keystone: KeystoneStandIn
    programs: Running
    credential: ApplicationCredential


@dataclass
class Home:
    """One namespace."""

    around: Surroundings
    name: str = field(default_factory=lambda: f"t-{uuid.uuid4().hex[:10]}")
    _touched: float = field(init=False, default_factory=time.monotonic)
    _empty: list[Manifest] = field(init=False, default_factory=list)
    _written: dict[str, tuple[Manifest, str]] = field(init=False, default_factory=dict)
    """What was put here last, with its uid, by `Kind/name`: it is not written again."""

    def make(self) -> "Home":
        """Make the namespace, and what is referred to in it."""
        self.around.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.name}})
        for name in hints.CLAIMS:
            self.around.api.create(volume(self.name, name))
        self.put(*self._given())
        self._empty = self.rest()
        return self

    def at_home(self, manifest: Manifest) -> Manifest:
        """Return an object as it is applied here: in this namespace, with its Keystone and its port of the nodes."""
        text = json.dumps(manifest).replace(hints.AUTH_URL, self.around.keystone.cloud(self.name))
        found: Manifest = json.loads(text.replace(host_port(hints.HOST_PORT), host_port(port_of(self.name))))
        return found | {"metadata": {"namespace": self.name} | found["metadata"]}

    @property
    def keystone(self) -> KeystoneServer:
        """The namespace's own Keystone as an administrator sees it."""
        server = KeystoneServer(int(self.around.keystone.root_url.rpartition(":")[2]))
        server.auth_url = self.around.keystone.cloud(self.name)
        return server

    def _given(self) -> list[Manifest]:
        """Return what the user put here: all that a spec may refer to."""
        return [*secrets(self.around.credential), *(claim(self.name, name) for name in hints.CLAIMS)]

    def objects(self) -> list[Manifest]:
        """Return all that counts in the namespace, as it is now, with the port of the nodes that stands for all."""
        return [self._with_any_port(found) for found in self.around.view.objects(self.name)]

    def _with_any_port(self, manifest: Manifest) -> Manifest:
        if manifest["kind"] not in ("CachePolicy", "DaemonSet"):
            return manifest
        text = json.dumps(manifest).replace(host_port(port_of(self.name)), host_port(hints.HOST_PORT))
        found: Manifest = json.loads(text)
        return found

    def have_agents(self, behaviour: Behaviour) -> None:
        """Have the cache agents of the namespace behave so from now on."""
        self.around.programs.behave(self.name, behaviour)

    def find(self, kind: str, name: str) -> Manifest | None:
        """Return an object as it is now."""
        return next((m for m in self.objects() if (m["kind"], m["metadata"]["name"]) == (kind, name)), None)

    def put(self, *manifests: Manifest) -> None:
        """Have objects as given, made or changed; return when all can be seen."""
        present = self._present()
        versions = {}
        for manifest in manifests:
            key = key_of(manifest)
            live = present.get(key)
            if live is None or self._written.get(key) != (manifest, live["metadata"]["uid"]):
                written = self._write(self.at_home(manifest), live)["metadata"]
                self._written[key] = manifest, written["uid"]
                versions[key] = int(written["resourceVersion"])
        if versions:
            self._await(versions, lambda found, version: _version(found) >= version)

    def _present(self) -> dict[str, Manifest]:
        return {key_of(found): found for found in self.around.view.objects(self.name)}

    def _write(self, manifest: Manifest, live: Manifest | None) -> Manifest:
        """Create an object, or replace all of it but what others add: a plain write, as every client can make it."""
        api = self.around.api
        if live is None:
            return api.create(manifest)
        if manifest["kind"] == "PersistentVolumeClaim":
            return live  # it cannot be changed
        parts = {name: value for name, value in manifest.items() if name not in ("apiVersion", "kind", "metadata")}
        return api.patch(live, [{"op": "add", "path": f"/{name}", "value": value} for name, value in parts.items()])

    def delete(self, *manifests: Manifest) -> None:
        """Delete objects; return when they are gone."""
        for manifest in manifests:
            self.around.api.delete(self.at_home(manifest))
        if manifests:
            self._await(dict.fromkeys(map(key_of, manifests), 0), lambda found, _: found is None)

    def _await(self, versions: Mapping[str, int], seen: Callable[[Manifest | None, int], bool]) -> None:
        """Wait until all of these can be seen as they are to be: `Kind/name` -> the version that was written."""

        def unseen() -> list[str]:
            present = self._present()
            return [key for key, version in versions.items() if not seen(present.get(key), version)]

        self.wait(lambda: not unseen(), lambda: f"{unseen()} can be seen as written")
        self._touched = time.monotonic()

    def standard(self) -> dict[str, Manifest]:
        """Return what the user put here, by `Kind/name`."""
        return {key_of(manifest): manifest for manifest in self._given()}

    def have(self, wanted: Mapping[str, Manifest | None]) -> None:
        """Have these objects, and none where it says None; return at once. What is not of our kinds comes first."""
        present = [manifest for manifest in wanted.values() if manifest]
        self.put(*sorted(present, key=lambda manifest: manifest["kind"] in KINDS))
        self.delete(*(found for found in self.objects() if key_of(found) in wanted and not wanted[key_of(found)]))

    def become(self, wanted: World) -> None:
        """Have the objects of a world and no others of our kinds; return at once."""
        self.put(*wanted.objects.values())
        self.delete(*(found for found in ours(self.objects()) if key_of(found) not in wanted.objects))

    def wait(self, condition: Callable[[], Any], what: Callable[[], str], seconds: float = REST_SECONDS) -> Any:
        """Wait until `condition` returns something true, and return that; raise Restless with `what` otherwise."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            if time.monotonic() > deadline:
                raise Restless(f"{self.name}: not within {seconds:g} s: {what()}")
            time.sleep(PAUSE_SECONDS)
        return found

    def seen(self) -> None:
        """Wait until the operator has looked at every object of ours as it is now."""
        self.wait(
            lambda: all(map(is_observed, ours(self.objects()))), lambda: f"the operator looks at all of {self.name}"
        )

    def rest(self) -> list[Manifest]:
        """Wait until the namespace is at rest; return what is in it then."""
        self.wait(lambda: self.why_not_at_rest() is None, self._restlessness)
        return self.objects()

    def why_not_at_rest(self) -> str | None:
        """Return what is still under way, None where all that can come to rest has done so."""
        quiet = min(self.around.view.quiet_seconds(self.name), time.monotonic() - self._touched)
        return f"something moved {quiet:.1f} s ago" if quiet < QUIET_SECONDS else why_not_at_rest(self.objects())

    def _restlessness(self) -> str:
        return f"{self.why_not_at_rest()}; moved most: {self.around.view.moves(self.name).most_common(4)}"

    def differences(
        self, fresh: Callable[[], list[Manifest]], fresh_home: str, patience: float = SAME_SECONDS
    ) -> list[str]:
        """Come to rest and return in words how the state differs from one created so, if it stays different."""
        self.rest()
        deadline = time.monotonic() + patience
        while True:
            looked = time.monotonic()  # before the look: what moves during it is seen by the next one
            lines = compare(self.objects(), self.name, fresh(), fresh_home)
            if not lines:
                return []
            if looked >= deadline:
                return [*lines, f"it says {reasons(self.objects())}", f"and should say {reasons(fresh())}"]
            while not self._moved_since(looked, fresh_home) and time.monotonic() < deadline:
                time.sleep(PAUSE_SECONDS)
            moving = time.monotonic()
            self.rest()
            deadline += time.monotonic() - moving

    def _moved_since(self, moment: float, another_home: str) -> bool:
        """Tell whether anything has moved here or in the other namespace."""
        quiet = min(map(self.around.view.quiet_seconds, (self.name, another_home)))
        return quiet < time.monotonic() - moment

    def clear(self) -> None:
        """Take all objects of ours away; return when nothing is left of what was made for them."""
        self.delete(*ours(self.objects()))
        keystone = self.keystone
        for left in keystone.image_services():  # by `deletionPolicy`, or by a service that registers no more
            keystone.call("DELETE", f"/services/{left['id']}")
        self.wait(
            lambda: len(self.objects()) <= len(self._empty), lambda: f"deleting takes all away; but {self._left()}"
        )
        assert not self._left()

    def _left(self) -> list[str]:
        """Return in words what is otherwise than when the namespace was made."""
        now, empty = (end_state(objects, self.name) for objects in (self.objects(), self._empty))
        return differences(now, empty, "after deletion", "before creation")

    def abandon(self) -> None:
        """Delete all objects of ours, without waiting for it, so that nobody has to look after them any more."""
        for manifest in ours(self.objects()):
            self.around.api.delete(manifest)

    def close(self) -> None:
        """Delete the namespace and its volumes, without waiting for it."""
        self.around.api.delete({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.name}})
        for name in hints.CLAIMS:
            self.around.api.delete(volume(self.name, name))


def port_of(namespace: str) -> int:
    """Return the port of the nodes that the pods of a namespace may have: two cannot have one on the same node."""
    return 10_000 + zlib.crc32(namespace.encode()) % 50_000


def host_port(number: int) -> str:
    """Return how a port of the nodes stands in JSON."""
    return f'"hostPort": {number}'


def _version(manifest: Manifest | None) -> int:
    return int(manifest["metadata"]["resourceVersion"]) if manifest else 0


def secret(name: str, **values: str) -> Manifest:
    """Return a Secret that has these keys and no others, also where it replaces one."""
    data = {key: base64.b64encode(text.encode()).decode() for key, text in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}


CEPH_KEY = "AQBQYWlnkH8vBxAAqKq5bLXyM2Zb9sYQm4mJVA=="
CEPH_CONF = "[global]\nmon_host = 192.0.2.1:6789\n"


def secrets(credential: ApplicationCredential) -> list[Manifest]:
    """Return the Secrets and ConfigMaps that generated specs refer to."""
    urls = ("mysql+pymysql://glance:database-password@mariadb:3306/glance", "postgresql+psycopg2://g:p%40ss@db/glance2")
    databases = [
        secret(name, **{key: f"{url}_{key[:3].lower()}" for key in hints.DATABASE_KEYS})  # one database for each key
        for name, url in zip(hints.DATABASE_SECRETS, urls, strict=True)
    ]
    by_name, by_credential = hints.USER_SECRETS
    keys = {"application_credential_id": credential.id, "application_credential_secret": credential.secret.reveal()}
    return [
        *databases,
        secret(by_name, username="glance", password=GLANCE_PASSWORD, project_name="service"),
        secret(by_credential, **keys),
        *(secret(n, username="admin", password=ADMIN_PASSWORD, project_name="admin") for n in hints.ADMIN_SECRETS),
        *(secret(n, **{"key": CEPH_KEY, "ceph.conf": CEPH_CONF}) for n in hints.CEPH_SECRETS),
        *(secret(n, access_key="access-key", secret_key="secret-key") for n in hints.S3_SECRETS),
        *(secret(n, username="u", password="store-password", project_name="p") for n in hints.STORE_USER_SECRETS),
        *(config_map(n, **{"ceph.conf": CEPH_CONF}) for n in hints.CEPH_CONFIG_MAPS),
    ]


def config_map(name: str, **data: str) -> Manifest:
    """Return a ConfigMap."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def volume(namespace: str, name: str) -> Manifest:
    """Return the PersistentVolume for the claim of that name."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"{namespace}-{name}"},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "capacity": {"storage": "1Gi"},
            "claimRef": {"namespace": namespace, "name": name},
            "hostPath": {"path": "/mnt/shared"},
            "persistentVolumeReclaimPolicy": "Retain",
        },
    }


def claim(namespace: str, name: str) -> Manifest:
    """Return a PersistentVolumeClaim that is bound to its volume."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "resources": {"requests": {"storage": "1Gi"}},
            "storageClassName": "",
            "volumeName": f"{namespace}-{name}",
        },
    }
