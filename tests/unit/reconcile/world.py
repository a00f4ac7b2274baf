"""A world in memory: enough of an API server to see what a reconcile leaves behind (the truth: tests/integration)."""

import base64
import copy
import itertools
from collections.abc import Sequence
from typing import Any

from imageservice.glance.monitor import MonitorError, Reason
from imageservice.manifest import Manifest
from imageservice.runtime.apply import is_settled, with_digest
from imageservice.runtime.kinds import IMAGE_SERVICE, IMAGE_STORE, NODE, PERSISTENT_VOLUME_CLAIM, SECRET, Kind
from imageservice.store_report import ImageCount, StoreReport

NAMESPACE = "images"


class MemoryKube:
    """Objects by kind and name, with generations, resourceVersions and a count of the writes."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Manifest] = {}
        self.writes = 0
        self.refusals: list[Exception] = []
        self.followed: set[tuple[Kind, str]] = set()
        self._versions = itertools.count(1)

    def put(self, kind: Kind, manifest: Manifest) -> Manifest:
        """Put an object there as a user would: it gets a uid, a generation and a creation time if it has none."""
        version = next(self._versions)
        stored = copy.deepcopy(manifest)
        defaults = {
            "namespace": NAMESPACE,
            "uid": f"uid-{version}",
            "generation": 1,
            "creationTimestamp": f"2026-01-01T00:00:{version % 60:02d}Z",
        }
        stored["metadata"] = defaults | stored["metadata"] | {"resourceVersion": str(version)}
        stored |= {"apiVersion": kind.api_version, "kind": kind.kind}
        self.objects[kind.kind, stored["metadata"]["name"]] = stored
        return stored

    def find(self, kind: Kind, name: str) -> Manifest:
        return self.objects[kind.kind, name]

    def all(self, kind: Kind) -> list[Manifest]:
        return [item for (of, _), item in sorted(self.objects.items()) if of == kind.kind]

    async def get(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        return self.known(kind, namespace, name)

    async def follow(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        self.followed.add((kind, name))
        return self.known(kind, namespace, name)

    async def nodes(self, labels: str | None = None) -> list[Manifest]:
        wanted = dict(part.split("=", 1) for part in labels.split(",")) if labels else {}
        return [node for node in self.all(NODE) if wanted.items() <= node["metadata"].get("labels", {}).items()]

    async def get_unique(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        return self.known(kind, namespace, name)

    def synced(self, kind: Kind, namespace: str) -> bool:
        return True

    def known(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        found = self.objects.get((kind.kind, name))
        return copy.deepcopy(found) if found and found["metadata"]["namespace"] == namespace else None

    async def list_metadata(self, kind: Kind, namespace: str, *, labels: str) -> list[Manifest]:
        return [
            {part: item[part] for part in ("apiVersion", "kind", "metadata")}
            for item in await self.list(kind, namespace, labels=labels)
        ]

    async def list(self, kind: Kind, namespace: str | None = None, *, labels: str | None = None) -> list[Manifest]:
        wanted = dict(part.split("=", 1) for part in labels.split(",")) if labels else {}
        return [
            copy.deepcopy(item)
            for item in self.all(kind)
            if wanted.items() <= item["metadata"].get("labels", {}).items()
        ]

    async def apply(self, kind: Kind, manifest: Manifest, *, live: Manifest | None) -> Manifest:
        if live is not None and is_settled(manifest, live):
            return live
        self.writes += 1
        before = self.objects.get((kind.kind, manifest["metadata"]["name"]))
        kept = {"status": before["status"]} if before and "status" in before else {}
        wanted = with_digest(manifest)
        if before:
            generation = before["metadata"]["generation"] + 1
            wanted["metadata"] |= {"uid": before["metadata"]["uid"], "generation": generation}
        return copy.deepcopy(self.put(kind, wanted | kept))

    async def apply_status(self, kind: Kind, manifest: Manifest) -> Manifest:
        self.writes += 1
        if self.refusals:
            raise self.refusals.pop()
        self.find(kind, manifest["metadata"]["name"])["status"] = copy.deepcopy(manifest["status"])
        return manifest

    async def apply_finalizers(self, kind: Kind, live: Manifest, finalizers: Sequence[str]) -> Manifest:
        self.writes += 1
        name = live["metadata"]["name"]
        self.find(kind, name)["metadata"]["finalizers"] = list(finalizers)
        if not finalizers and live["metadata"].get("deletionTimestamp"):
            del self.objects[kind.kind, name]
        return live

    async def delete(self, kind: Kind, live: Manifest) -> None:
        self.writes += 1
        self.objects.pop((kind.kind, live["metadata"]["name"]), None)


class Events:
    """Records the Events of a pass."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, str]] = []

    async def emit(self, regarding: Manifest, type: str, reason: str, message: str) -> None:  # noqa: A002
        self.seen.append((type, reason, message))

    @property
    def reasons(self) -> list[str]:
        return [reason for _, reason, _ in self.seen]


class Monitors:
    """What the store monitors of all sites say: site URL -> store id -> report, and the images in each store.

    A URL that is not there does not answer.
    """

    def __init__(self) -> None:
        self.reports: dict[str, dict[str, StoreReport]] = {}
        self.counts: dict[str, ImageCount] = {}

    async def stores(self, url: str) -> dict[str, StoreReport]:
        if url not in self.reports:
            raise MonitorError(Reason.MONITOR_UNREACHABLE, "the store monitor cannot be connected to")
        return self.reports[url]

    async def images(self, url: str, store_id: str) -> ImageCount:
        if store_id not in self.counts:
            raise MonitorError(Reason.MONITOR_UNREACHABLE, "the store monitor cannot be connected to")
        return self.counts[store_id]


def secret(name: str, **values: str) -> Manifest:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {"metadata": {"name": name}, "data": data}


def image_service(name: str = "glance", **spec: Any) -> Manifest:
    identity = {
        "authURL": "http://127.0.0.1:9/v3",
        "secretRef": {"name": "glance-user"},
        "catalog": {"register": False},
    }
    wanted = {"release": "2026.1", "database": {"secretRef": {"name": "glance-db"}}, "identity": identity}
    return {"metadata": {"name": name}, "spec": wanted | spec}


def image_store(name: str = "central", service: str = "glance", **spec: Any) -> Manifest:
    volume = {"type": "PersistentVolumeClaim", "persistentVolumeClaim": {"claimName": "images"}}
    wanted = {"imageServiceRef": {"name": service}, "type": "Filesystem", "filesystem": {"volume": volume}}
    return {"metadata": {"name": name}, "spec": wanted | spec}


def claim(name: str = "images", mode: str = "ReadWriteMany") -> Manifest:
    return {"metadata": {"name": name}, "spec": {"accessModes": [mode]}}


def quickstart() -> MemoryKube:
    """A world in which everything that an ImageService needs is there, and nothing has been done yet."""
    kube = MemoryKube()
    kube.put(SECRET, secret("glance-db", url="mysql+pymysql://glance:db-password@mariadb:3306/glance"))
    kube.put(SECRET, secret("glance-user", username="glance", password="user-password", project_name="service"))
    kube.put(PERSISTENT_VOLUME_CLAIM, claim())
    kube.put(IMAGE_STORE, image_store())
    kube.put(IMAGE_SERVICE, image_service())
    return kube
