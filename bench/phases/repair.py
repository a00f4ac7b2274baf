"""How soon a deleted object is back, and a foreign edit undone, while nothing else is to be done."""

import asyncio
import time

from bench.run import Run, role_of
from bench.subject import Kind, documents
from bench.timeline import undone

TIMES = 20
FEW = 5
"""How often with fewer instances than that: each has to get ready again before it is taken once more."""
_SECONDS = 60.0
_PAUSE_SECONDS = 0.3


async def repair(run: Run) -> None:
    """Delete objects one after the other, among all instances; then edit some."""
    chosen = run.good[:TIMES] if len(run.good) >= TIMES else [run.good[n % len(run.good)] for n in range(FEW)]
    for kind in run.subject.repaired:
        async with run.window() as window:
            samples = [await _delete_one(run, kind, namespace) for namespace in chosen]
        run.record_samples(f"repair.{kind.kind}", samples)
        run.record(f"repair.{kind.kind}.requests", len(window.requests) / len(chosen))
        run.record_requests(f"repair of {kind.kind}", window.requests, per=len(chosen))
    if run.subject.edit:
        run.record_samples("repair.edit", [await _edit_one(run, namespace) for namespace in chosen])
        await run.quiet()


async def _delete_one(run: Run, kind: Kind, namespace: str) -> float:
    await run.all_ready([namespace], _SECONDS, f"{namespace} gets ready again")
    took = await run.delete_and_wait(namespace, kind, _SECONDS, f"the {kind.kind} of {namespace} comes back")
    await asyncio.sleep(_PAUSE_SECONDS)
    return took


async def _edit_one(run: Run, namespace: str) -> float:
    """Edit the first of the kinds that are repaired; return after how long its spec was again what it had been."""
    kind = run.subject.repaired[0]
    role = role_of(run.subject, kind)
    (patch,) = documents(run.subject.edit, {})
    before = next(sight.spec for sight in reversed(run.sights(namespace)) if sight.role == role)
    path = run.path(kind, namespace)
    began = time.time()
    await run.api.merge(path, patch)
    what = f"an edit in {namespace} is undone"
    at = await run.moment(lambda: undone(run.sights(namespace), role, before, began), _SECONDS, what)
    await asyncio.sleep(_PAUSE_SECONDS)
    return at - began
