"""One subject on one cluster: the state that the phases share, and the steps that they are made of."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tests.cluster.progress import say

from bench.api import Api, Manifest, Resource, each
from bench.audit import AuditLog, Request, by_verb_and_resource
from bench.observer import Observer
from bench.process import MeasuredProcess, own_cpu_seconds
from bench.results import Results
from bench.samples import median, quantile
from bench.site import Site
from bench.subject import Kind, Subject
from bench.timeline import Role, Sight, came_back

QUIET_SECONDS = 6.0
"""After that long without a request (leadership aside) the operator is taken to have finished: it polls every 5 s."""
QUIET_LIMIT_SECONDS = 180.0
_AT_REST_SECONDS = 4.0
_AT_REST_LIMIT_SECONDS = 300.0
_START_SECONDS = 60.0
_LOOK_SECONDS = 0.05
_TELL_SECONDS = 10.0
_MOVES_BY_ITSELF = ("Lease", "Event")
_KEPT_BY_THE_SERVER = ("managedFields", "resourceVersion")
_Found = TypeVar("_Found")


class Problem(Exception):  # noqa: N818 - names what it is
    """A phase cannot be finished; the message says why."""


class OperatorEndedError(Problem):
    """The operator has ended by itself: nothing more can be measured."""


@dataclass
class Window:
    """A stretch of time, and what the operator did in it: complete when the block of `Run.window` has ended."""

    began: float
    requests: list[Request] = field(default_factory=list)
    """All but those about leadership."""
    cpu: float = 0.0
    programs: dict[str, float] = field(default_factory=dict)
    """Processor time of the programs around it, by name."""

    @property
    def writes(self) -> list[Request]:
        """Those requests that ask for a change."""
        return [request for request in self.requests if request.is_write]


class Run:
    """A measurement under way."""

    def __init__(self, site: Site, observer: Observer, results: Results, levels: Sequence[int], idle: float) -> None:
        self.site = site
        self.subject: Subject = site.subject
        self.api: Api = site.api
        self.observer = observer
        self.results = results
        self.levels = levels
        self.idle_seconds = idle
        self.log = AuditLog(site.audit_log, site.user)
        self.level = 0
        self.good: list[str] = []
        """The namespaces of the instances that are there, and are to stay."""
        self._free: list[str] = []
        self._made = 0
        self._round = 0
        self._operator: MeasuredProcess | None = None

    @property
    def operator(self) -> MeasuredProcess:
        """The operator's process."""
        assert self._operator is not None
        return self._operator

    # -- telling ---------------------------------------------------------------------------------------------------

    def say(self, text: str) -> None:
        """Tell the person who waits."""
        say(f"{self.subject.name}, N={self.level}: {text}")

    def record(self, figure: str, value: float) -> None:
        """Note a value for the present number of instances."""
        self.results.record(figure, self.level, value)

    def record_samples(self, figure: str, samples: Sequence[float], *, quantiles: bool = False) -> None:
        """Note samples and their median, as `<figure>.median`; and their largest, or with `quantiles` their p95."""
        self.results.samples.setdefault(figure, {})[self.level] = [round(sample, 4) for sample in samples]
        self.record(f"{figure}.median", median(samples))
        if quantiles:
            self.record(f"{figure}.p95", quantile(samples, 0.95))
        else:
            self.record(f"{figure}.max", max(samples))

    def record_requests(self, phase: str, requests: Iterable[Request], per: int = 1) -> None:
        """Note which requests a phase is made of."""
        self.results.requests.setdefault(phase, {})[self.level] = by_verb_and_resource(requests, per)

    # -- waiting ---------------------------------------------------------------------------------------------------

    async def until(
        self, condition: Callable[[], bool], seconds: float, what: str, progress: Callable[[], str] = lambda: ""
    ) -> None:
        """Wait until a condition holds; raise Problem after some seconds, or when the operator has ended."""
        deadline, tell = time.monotonic() + seconds, time.monotonic() + _TELL_SECONDS
        while not condition():
            self.check()
            now = time.monotonic()
            if now > deadline:
                raise Problem(f"{what}: not within {seconds:g} s {progress()}".strip())
            if now > tell:
                self.say(f"{what} {progress()}".strip())
                tell = now + _TELL_SECONDS
            await self.observer.changed(0.2)
            await asyncio.sleep(_LOOK_SECONDS)  # not at every event of a burst

    async def moment(self, find: Callable[[], _Found | None], seconds: float, what: str) -> _Found:
        """Wait until `find` returns something, and return that; raise Problem as `until` does."""
        await self.until(lambda: find() is not None, seconds, what)
        found = find()
        assert found is not None, "what was seen stays seen"
        return found

    def check(self) -> None:
        """Raise OperatorEndedError where the operator has ended by itself."""
        if self._operator is not None and not self._operator.is_alive():
            raise OperatorEndedError(f"the operator has ended:\n{self._operator.last_words()}")

    async def quiet(self, seconds: float = QUIET_SECONDS) -> None:
        """Wait until the operator has asked for nothing in that long."""
        entered = time.time()

        def is_quiet() -> bool:
            self.log.update()
            last = next((request.at for request in reversed(self.log.requests) if request.is_work), 0.0)
            return time.time() - max(last, entered) >= seconds

        await self.until(is_quiet, QUIET_LIMIT_SECONDS, "waiting for the operator to have nothing to do")

    @asynccontextmanager
    async def window(self, quiet: float = QUIET_SECONDS) -> AsyncIterator[Window]:
        """Measure a block, and what follows from it until the operator is quiet (0: nothing of that)."""
        self.log.update()
        index = len(self.log.requests)
        cpu = self.operator.cpu_seconds()
        programs = {name: own_cpu_seconds(pid) for name, pid in self.site.programs.items()}
        found = Window(time.time())
        yield found
        if quiet:
            await self.quiet(quiet)
        self.log.update()
        found.requests = [request for request in self.log.since(index) if not request.is_lease]
        found.cpu = self.operator.cpu_seconds() - cpu
        found.programs = {name: own_cpu_seconds(self.site.programs[name]) - before for name, before in programs.items()}

    # -- the operator ----------------------------------------------------------------------------------------------

    def start_operator(self) -> MeasuredProcess:
        """Start it; it is not waited for."""
        self._operator = self.site.start_operator()
        return self._operator

    async def first_request(self) -> None:
        """Wait until the operator that was started last has asked for something."""
        began = self.operator.started_at

        def has_asked() -> bool:
            self.log.update()
            return any(request.is_work and request.at >= began for request in reversed(self.log.requests[-50:]))

        await self.until(has_asked, _START_SECONDS, "waiting for the operator to start")

    def stop_operator(self, *, kill: bool = False) -> None:
        """End it; then `until` no longer minds that it has."""
        if self._operator is not None:
            operator, self._operator = self._operator, None
            operator.kill() if kill else operator.stop()

    # -- instances -------------------------------------------------------------------------------------------------

    async def prepare(self, count: int) -> None:
        """Make namespaces for that many more instances, and let the cluster's controllers finish what they do there."""
        names = [f"bench-{self._made + number:04}" for number in range(1, count + 1)]
        self.say(f"preparing {count} namespaces")

        async def one(index: int, name: str) -> None:
            for manifest in self.subject.prepared(name, index, self.site.values):
                await self.api.create(manifest)

        await each(one(self._made + number, name) for number, name in enumerate(names))
        await self._at_rest(names)
        self._made += count
        self._free += names

    async def _at_rest(self, namespaces: Sequence[str]) -> None:
        """Wait until nothing moves there: controllers bind hundreds of claims for a minute and a half."""
        deadline = time.monotonic() + _AT_REST_LIMIT_SECONDS
        before: dict[str, str] = {}
        while (now := await self.versions(namespaces)) != before:
            if time.monotonic() > deadline:
                raise Problem(f"what was prepared still moves: {', '.join(moved(before, now)[:5])}")
            self.say(f"waiting for {len(moved(before, now))} prepared objects to come to rest")
            before = now
            await asyncio.sleep(_AT_REST_SECONDS)

    def take(self, count: int) -> list[str]:
        """Return prepared namespaces that no instance has been in."""
        taken, self._free = self._free[:count], self._free[count:]
        assert len(taken) == count, "too few namespaces were prepared"
        return taken

    async def create(self, namespace: str) -> float:
        """Make an instance as a user would, and return when that began."""
        began = time.time()
        for manifest in self.subject.objects_of(namespace, int(namespace.rpartition("-")[2]), self.site.values):
            await self.api.create(manifest)
        return began

    async def delete(self, namespace: str) -> None:
        """Delete what `create` made, the instance first."""
        for manifest in reversed(self.subject.objects_of(namespace, 0, self.site.values)):
            await self.api.delete(self.api.path(manifest))

    def is_ready(self, namespace: str) -> bool:
        """Whether the instance in a namespace says that it is ready, and its workload is."""
        return self.observer.is_done("instance", namespace) and self.observer.is_done("workload", namespace)

    async def all_ready(self, namespaces: Sequence[str], seconds: float, what: str) -> None:
        """Wait until the instances in all those namespaces are ready."""

        def progress() -> str:
            return f"({sum(map(self.is_ready, namespaces))} of {len(namespaces)} Ready)"

        await self.until(lambda: all(map(self.is_ready, namespaces)), seconds, what, progress)

    async def all_gone(self, namespaces: Sequence[str], seconds: float) -> None:
        """Wait until no instance is left in those namespaces."""

        def gone() -> bool:
            return not any(self.observer.latest[("instance", namespace)] for namespace in namespaces)

        await self.until(gone, seconds, "waiting for the deletion")

    def sights(self, namespace: str) -> list[Sight]:
        """Return all that was seen in a namespace."""
        return self.observer.history[namespace]

    async def delete_and_wait(self, namespace: str, kind: Kind, seconds: float, what: str) -> float:
        """Delete the object of a kind in a namespace; return after how long another one was in its place."""
        role = role_of(self.subject, kind)
        old = self.observer.only(role, namespace)["metadata"]["uid"]
        path = self.path(kind, namespace)
        began = time.time()
        await self.api.delete(path)
        at = await self.moment(lambda: came_back(self.sights(namespace), role, old, began), seconds, what)
        return at - began

    # -- objects ---------------------------------------------------------------------------------------------------

    def resource(self, kind: Kind) -> Resource:
        """Return how a kind is served."""
        return self.api.resource(kind.api_version, kind.kind)

    def path(self, kind: Kind, namespace: str) -> str:
        """Return the path of the object of that kind that an instance's namespace has."""
        name = self.observer.only(role_of(self.subject, kind), namespace)["metadata"]["name"]
        return self.resource(kind).path(namespace, name)

    def fresh_round(self) -> int:
        """Return a number that no change has used yet."""
        self._round += 1
        return self._round

    async def patch(self, namespace: str, patch: Manifest) -> tuple[float, int]:
        """Merge a patch into an instance; return when that began, and the generation that it led to."""
        path = self.path(self.subject.instance, namespace)
        began = time.time()
        changed = await self.api.merge(path, patch)
        return began, int(changed["metadata"]["generation"])

    def instances(self, namespaces: Sequence[str] | None = None) -> dict[str, Manifest]:
        """Return the instances in those namespaces as they are, or the good ones, by namespace."""
        return {
            name: self.observer.only("instance", name) for name in (self.good if namespaces is None else namespaces)
        }

    def report_moved(self, when: str, keys: Sequence[str], before: dict[str, Manifest]) -> None:
        """Note as a problem that something was written where nothing should be, and what changed in the instances."""
        if keys:
            after = self.instances([*before])
            changed = [f"{name}{line}" for name in before for line in differences(before[name], after[name])]
            told = f"{len(keys)} moved {when}: {', '.join(keys[:5])}"
            self.results.problems.append(f"N={self.level}: {told}; in the instances: {'; '.join(changed[:10])}")

    async def versions(self, namespaces: Sequence[str] | None = None) -> dict[str, str]:
        """Return the resourceVersion of all objects of the good instances, Leases and Events aside."""
        return await self.api.versions(self.good if namespaces is None else namespaces, without=_MOVES_BY_ITSELF)


def role_of(subject: Subject, kind: Kind) -> Role:
    """Return the role that objects of a kind have in what is observed."""
    known = {subject.instance: "instance", subject.workload: "workload"}
    if subject.parts is not None:
        known[subject.parts.kind] = "part"
    return known.get(kind, kind.kind)


def differences(before: Any, after: Any, path: str = "") -> list[str]:
    """Return a line for each leaf in which two objects differ, but for what the API server keeps for itself."""
    if before == after:
        return []
    if isinstance(before, dict) and isinstance(after, dict):
        keys = sorted(key for key in before.keys() | after.keys() if key not in _KEPT_BY_THE_SERVER)
        return [line for key in keys for line in differences(before.get(key), after.get(key), f"{path}.{key}")]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = enumerate(zip(before, after, strict=True))
        return [line for number, (old, new) in pairs for line in differences(old, new, f"{path}[{number}]")]
    return [f"{path}: {before!r} -> {after!r}"]


def moved(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Return what has come, gone or changed between two looks at the resourceVersions."""
    return sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
