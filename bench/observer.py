"""Watches the objects of all instances and notes when each was seen in which state."""

import asyncio
import contextlib
import hashlib
import json
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp

from bench.api import Api, ApiError, Manifest, Resource
from bench.timeline import Role, Sight

_PASSING = (410, 429, 500, 503, 504)
"""Refusals that end by themselves: a watch too old; a kind so new that its storage is not ready yet; trouble."""
_RETRY_SECONDS = 0.2
_WITHOUT_SPEC = ("instance", "part", "workload", "job")


def spec_hash(manifest: Manifest) -> str:
    """Return what is equal for equal specs."""
    return hashlib.sha256(json.dumps(manifest.get("spec"), sort_keys=True).encode()).hexdigest()


def is_done(role: Role, manifest: Manifest, ready_condition: str) -> bool:
    """Tell whether an object is where it should be; see `Sight.done`."""
    status = manifest.get("status") or {}
    generation = manifest["metadata"].get("generation", 0)
    if role in ("instance", "part"):
        return _is_ready(status, generation, ready_condition)
    if role == "job":
        return any(c["type"] in ("Complete", "Failed") and c["status"] == "True" for c in status.get("conditions", []))
    if role == "workload":
        wanted = manifest["spec"].get("replicas", 1)
        counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "readyReplicas")]
        return status.get("observedGeneration", 0) >= generation and counts == [wanted] * 3
    return False


def _is_ready(status: Manifest, generation: int, condition_type: str) -> bool:
    """Tell whether the condition is True and about this generation, where anything says which one it is about."""
    for condition in status.get("conditions", []):
        if condition["type"] == condition_type:
            about = condition.get("observedGeneration", status.get("observedGeneration", generation))
            return bool(condition["status"] == "True" and about >= generation)
    return False


class Observer:
    """What was seen so far. Obtain it from `observing`."""

    def __init__(self, api: Api, ready_condition: str) -> None:
        self._api = api
        self._ready_condition = ready_condition
        self._changed = asyncio.Event()
        self.history: dict[str, list[Sight]] = defaultdict(list)
        """All looks at the objects of a namespace, in order."""
        self.latest: dict[tuple[Role, str], dict[str, Manifest]] = defaultdict(dict)
        """The objects that are there, by role and namespace, then by name."""

    async def changed(self, seconds: float) -> None:
        """Wait until something is seen, or for some seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        self._changed.clear()

    def is_done(self, role: Role, namespace: str) -> bool:
        """Whether there is an object of that role in the namespace, and all of them are done."""
        found = self.latest[(role, namespace)].values()
        return bool(found) and all(is_done(role, manifest, self._ready_condition) for manifest in found)

    def count_done(self, role: Role, namespace: str) -> int:
        """Return how many objects of that role in the namespace are done."""
        return sum(is_done(role, one, self._ready_condition) for one in self.latest[(role, namespace)].values())

    def only(self, role: Role, namespace: str) -> Manifest:
        """Return the first object of that role in the namespace, by name. Raise LookupError where there is none."""
        found = self.latest[(role, namespace)]
        if not found:
            raise LookupError(f"no {role} in {namespace}")
        return found[min(found)]

    def see(self, role: Role, event: str, manifest: Manifest) -> None:
        """Note one event of a watch."""
        metadata = manifest["metadata"]
        namespace, name = metadata["namespace"], metadata["name"]
        present = event != "DELETED"
        here = self.latest[(role, namespace)]
        if present:
            here[name] = manifest
        else:
            here.pop(name, None)
        done = is_done(role, manifest, self._ready_condition)
        generation = metadata.get("generation", 0)
        spec = "" if role in _WITHOUT_SPEC else spec_hash(manifest)
        sight = Sight(time.time(), role, name, metadata["uid"], generation, done, present, spec)
        self.history[namespace].append(sight)
        self._changed.set()

    async def follow(self, role: Role, resource: Resource) -> None:
        """List and watch one kind, for ever."""
        while True:
            try:
                version = await self._list(role, resource)
                while True:
                    async for event, manifest in self._api.watch(resource.path(), version):
                        version = manifest["metadata"]["resourceVersion"]
                        if event != "BOOKMARK":
                            self.see(role, event, manifest)
            except ApiError as error:
                if error.status not in _PASSING:
                    raise
            except (aiohttp.ClientError, TimeoutError):
                pass  # the connection broke: list and watch anew
            await asyncio.sleep(_RETRY_SECONDS)

    async def _list(self, role: Role, resource: Resource) -> str:
        """Note what is there, and what no longer is, and return the resourceVersion to watch from."""
        answer = await self._api.list(resource.path())
        there = {item["metadata"]["uid"] for item in answer["items"]}
        for item in answer["items"]:
            self.see(role, "ADDED", item)
        for (known, _), objects in list(self.latest.items()):
            if known == role:
                for manifest in [one for one in objects.values() if one["metadata"]["uid"] not in there]:
                    self.see(role, "DELETED", manifest)
        return str(answer["metadata"]["resourceVersion"])


@asynccontextmanager
async def observing(api: Api, kinds: Mapping[Role, Resource], ready_condition: str) -> AsyncIterator[Observer]:
    """Give an observer of some kinds for as long as the block lasts."""
    observer = Observer(api, ready_condition)
    try:
        async with asyncio.TaskGroup() as tasks:
            following = [tasks.create_task(observer.follow(role, resource)) for role, resource in kinds.items()]
            yield observer
            for task in following:
                task.cancel()
    except ExceptionGroup as errors:  # the first is what ended the others
        raise errors.exceptions[0] from None
