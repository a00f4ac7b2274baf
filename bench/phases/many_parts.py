"""What one instance with many parts costs: until all have settled, one part more, and while nothing is to be done."""

import json
import time

from bench.api import Manifest, each
from bench.phases.idle import look_on
from bench.run import Run
from bench.subject import Parts
from bench.timeline import first

_SECONDS = 300.0
_MORE_SECONDS = 60.0
_AFTER_LAST_WRITE_SECONDS = 10.0


async def many_parts(run: Run) -> None:
    """Create an instance and all its parts at once; when they have settled add one part, look on, delete everything."""
    parts = run.subject.parts
    assert parts is not None, "measured only where there are parts"
    (namespace,) = run.take(1)
    await _create(run, parts, namespace)
    run.record("parts.rss", run.operator.rss_mib())
    status = run.observer.only("instance", namespace)["status"]
    run.record("parts.status_bytes", len(json.dumps(status, ensure_ascii=False, separators=(",", ":")).encode()))
    await _add_one(run, parts, namespace)
    await look_on(run, "parts.idle", [namespace])
    await _delete(run, parts, namespace)


async def _create(run: Run, parts: Parts, namespace: str) -> None:
    """Create everything and note how long it took, and what, until all is ready and nothing is written any more."""
    instance = run.subject.objects_with_parts(namespace, run.site.values)
    wanted = parts.count + sum(manifest["kind"] == parts.kind.kind for manifest in instance)
    async with run.window(quiet=_AFTER_LAST_WRITE_SECONDS) as window:
        await _make(run, instance)
        await each(_make(run, part) for part in _all(run, parts, namespace))
        await run.until(
            lambda: run.observer.count_done("part", namespace) == wanted and run.is_ready(namespace),
            _SECONDS,
            f"one instance with {wanted} parts",
            lambda: f"({run.observer.count_done('part', namespace)} of them Ready)",
        )
        run.record("parts.ready", time.time() - window.began)
    run.record("parts.settled", max(request.at for request in window.writes) - window.began)
    run.record("parts.requests", len(window.requests) / wanted)
    run.record("parts.writes", len(window.writes) / wanted)
    run.record("parts.cpu", window.cpu / wanted)
    run.record_requests("parts", window.requests, per=wanted)


async def _add_one(run: Run, parts: Parts, namespace: str) -> None:
    manifests = parts.of(parts.count + 1, namespace, run.site.values)
    name = manifests[-1]["metadata"]["name"]

    def ready() -> float | None:
        sights = [sight for sight in run.sights(namespace) if sight.name == name]
        return first(sights, "part", window.began, done=True) if run.is_ready(namespace) else None

    async with run.window() as window:
        await _make(run, manifests)
        at = await run.moment(ready, _MORE_SECONDS, f"{name} is added")
        run.record("parts.more.ready", at - window.began)
    run.record("parts.more.requests", len(window.requests))
    run.record("parts.more.writes", len(window.writes))
    run.record("parts.more.cpu", window.cpu)
    run.record_requests("parts.more", window.requests)


async def _delete(run: Run, parts: Parts, namespace: str) -> None:
    """Delete everything, the instance first: what is left must not mind."""
    *others, instance = run.subject.objects_with_parts(namespace, run.site.values)
    more = parts.of(parts.count + 1, namespace, run.site.values)
    await run.api.delete(run.api.path(instance))
    for manifests in (others, more, *_all(run, parts, namespace)):
        await each(run.api.delete(run.api.path(manifest)) for manifest in manifests)
    await run.until(
        lambda: not run.observer.latest[("part", namespace)] and not run.observer.latest[("instance", namespace)],
        _SECONDS,
        "waiting for the deletion of all parts",
    )
    await run.quiet()


def _all(run: Run, parts: Parts, namespace: str) -> list[list[Manifest]]:
    return [parts.of(number, namespace, run.site.values) for number in range(1, parts.count + 1)]


async def _make(run: Run, manifests: list[Manifest]) -> None:
    for manifest in manifests:
        await run.api.create(manifest)
