"""What a change of an instance costs: of its scale, of one field, of nothing that matters, and of all instances."""

import time

from bench.api import Manifest, each
from bench.run import Run
from bench.timeline import first

SOME = 5
_SECONDS = 60.0
_SECONDS_FOR_EACH = 2.0


async def changes(run: Run) -> None:
    """Change some instances, each when the one before is Ready again; then all at once."""
    some = run.good[:SOME]
    for name in run.subject.changes:
        await _one_by_one(run, name, some)
    for namespace in some:
        await _change(run, namespace, run.subject.change("scale", replicas=1))
    await run.quiet()
    await _touch(run, some)
    await _all_at_once(run)


async def _one_by_one(run: Run, name: str, some: list[str]) -> None:
    to_workload, to_ready = [], []
    async with run.window() as window:
        for namespace in some:
            workload, ready = await _change(run, namespace, _patch(run, name))
            to_workload.append(workload)
            to_ready.append(ready)
    run.record_samples(f"change.{name}.workload", to_workload)
    run.record_samples(f"change.{name}.ready", to_ready)
    run.record(f"change.{name}.requests", len(window.requests) / len(some))
    run.record(f"change.{name}.writes", len(window.writes) / len(some))
    run.record_requests(f"change of {name}", window.requests, per=len(some))


def _patch(run: Run, name: str) -> Manifest:
    if name == "scale":
        return run.subject.change(name, replicas=2)
    return run.subject.change(name, round=run.fresh_round())


async def _change(run: Run, namespace: str, patch: Manifest) -> tuple[float, float]:
    """Change one instance; return how long it took to its workload, and until both were done."""
    old = run.observer.only("workload", namespace)["metadata"]["generation"]
    began, generation = await run.patch(namespace, patch)

    def ends() -> tuple[float, float] | None:
        seen = run.sights(namespace)
        workload = first(seen, "workload", began, generation=old + 1)
        rolled_out = first(seen, "workload", began, done=True, generation=old + 1)
        ready = first(seen, "instance", began, done=True, generation=generation)
        return (workload, max(rolled_out, ready)) if workload and rolled_out and ready else None

    workload, both = await run.moment(ends, _SECONDS, f"{namespace} follows a change")
    return workload - began, both - began


async def _touch(run: Run, some: list[str]) -> None:
    """Put an annotation on instances: nothing that has to be acted upon."""
    async with run.window() as window:
        for namespace in some:
            note = {"metadata": {"annotations": {"bench.example/touched": str(run.fresh_round())}}}
            await run.patch(namespace, note)
    run.record("touch.requests", len(window.requests) / len(some))
    run.record("touch.writes", len(window.writes) / len(some))
    run.record_requests("annotation", window.requests, per=len(some))


async def _all_at_once(run: Run) -> None:
    """Change one field of every instance."""
    name = run.subject.change_of_all
    old = {space: run.observer.only("workload", space)["metadata"]["generation"] for space in run.good}
    number = run.fresh_round()
    async with run.window() as window:
        patches = (run.patch(namespace, run.subject.change(name, round=number)) for namespace in run.good)
        changed = dict(zip(run.good, await each(patches), strict=True))

        def end(namespace: str) -> float | None:
            seen, (began, generation) = run.sights(namespace), changed[namespace]
            workload = first(seen, "workload", began, done=True, generation=old[namespace] + 1)
            ready = first(seen, "instance", began, done=True, generation=generation)
            return max(workload, ready) if workload and ready else None

        await run.until(
            lambda: all(end(namespace) for namespace in run.good),
            _SECONDS + _SECONDS_FOR_EACH * len(run.good),
            f"changing {len(run.good)} at once",
            lambda: f"({sum(end(namespace) is not None for namespace in run.good)} are Ready)",
        )
    began = min(start for start, _ in changed.values())
    ends = [end(namespace) or time.time() for namespace in run.good]
    run.record("change.all.ready", max(ends) - began)
    run.record("change.all.requests", len(window.requests) / len(run.good))
    run.record_requests(f"change of {name} on all", window.requests, per=len(run.good))
