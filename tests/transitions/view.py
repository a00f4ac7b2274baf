"""What is in the cluster now, kept up to date by watches: looking at a namespace costs no request.

Every kind that counts for an end state is watched, whatever it is. A namespace also tells how long nothing in it has
moved, and what moved how often.
"""

import contextlib
import http.client
import json
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode, urlsplit

from tests.api_client import ApiClient, Manifest, Resource
from tests.end_state import DERIVED, counts, key_of

SILENCE_SECONDS = 300
"""How long a watch may say nothing before it is opened anew: a little more than the API server is asked to keep it."""


class View:
    """All objects of the cluster, by namespace. Start it once; threads may share it."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api
        self._lock = threading.Lock()
        self._objects: dict[str, dict[str, Manifest]] = defaultdict(dict)
        self._moved_at: dict[str, float] = {}
        self._moves: dict[str, Counter[str]] = defaultdict(Counter)
        self._stopped = threading.Event()

    def start(self) -> "View":
        """List everything and begin to watch."""
        kinds = [r for r in self._api.resources() if r.namespaced and {"list", "watch"} <= r.verbs]
        for resource in kinds:
            if resource.kind not in DERIVED:
                version = self._list(resource)
                watcher = threading.Thread(
                    target=self._watch, args=(resource, version), name=f"watch-{resource.plural}", daemon=True
                )
                watcher.start()
        return self

    def stop(self) -> None:
        """Let the watches end with the next event, or with the process."""
        self._stopped.set()

    def objects(self, namespace: str) -> list[Manifest]:
        """Return what is in a namespace, as far as it counts for an end state."""
        with self._lock:
            return list(self._objects[namespace].values())

    def quiet_seconds(self, namespace: str) -> float:
        """Return how long nothing has moved in a namespace."""
        return time.monotonic() - self._moved_at.get(namespace, 0.0)

    def moves(self, namespace: str) -> Counter[str]:
        """Return how often each object of the namespace has moved so far, by `Kind/name`."""
        with self._lock:
            return Counter(self._moves[namespace])

    def _list(self, resource: Resource) -> str:
        answer = self._api.request("GET", resource.path())
        found = [{"apiVersion": resource.api_version, "kind": resource.kind} | item for item in answer["items"]]
        present = {(item["metadata"]["namespace"], key_of(item)) for item in found}
        for item in found:
            self._saw("ADDED", item)
        with self._lock:
            for namespace, objects in self._objects.items():
                for key in [key for key, item in objects.items() if item["kind"] == resource.kind]:
                    if (namespace, key) not in present:
                        del objects[key]
        return str(answer["metadata"]["resourceVersion"])

    def _saw(self, event: str, manifest: Manifest) -> None:
        if not counts(manifest):
            return
        namespace, key = manifest["metadata"]["namespace"], key_of(manifest)
        with self._lock:
            before = self._objects[namespace].get(key)
            if event == "DELETED":
                self._objects[namespace].pop(key, None)
            elif before and before["metadata"]["resourceVersion"] == manifest["metadata"]["resourceVersion"]:
                return
            else:
                self._objects[namespace][key] = manifest
            self._moved_at[namespace] = time.monotonic()
            self._moves[namespace][key] += 1

    def _watch(self, resource: Resource, version: str) -> None:
        while not self._stopped.is_set():
            try:
                for event in self._events(resource, version):
                    if self._stopped.is_set():
                        return
                    if event["type"] == "ERROR":
                        break
                    version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] != "BOOKMARK":
                        self._saw(event["type"], event["object"])
                else:
                    continue
            except (OSError, http.client.HTTPException, ValueError):
                if self._stopped.wait(0.5):
                    return
            with contextlib.suppress(Exception):  # the cluster is on its way out; the next turn tries again
                version = self._list(resource)

    def _events(self, resource: Resource, version: str) -> Iterator[dict[str, Any]]:
        query = {"watch": "1", "resourceVersion": version, "allowWatchBookmarks": "true", "timeoutSeconds": "280"}
        with contextlib.closing(self._connection()) as connection:
            connection.request("GET", f"{resource.path()}?{urlencode(query)}", headers=self._api.headers)
            response = connection.getresponse()
            for line in response:
                yield json.loads(line)

    def _connection(self) -> http.client.HTTPConnection:
        address = urlsplit(self._api.server).netloc
        if self._api.tls is None:
            return http.client.HTTPConnection(address, timeout=SILENCE_SECONDS)
        return http.client.HTTPSConnection(address, timeout=SILENCE_SECONDS, context=self._api.tls)
