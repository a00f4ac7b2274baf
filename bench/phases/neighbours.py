"""Whether the good instances notice one that is stuck. Rounds alone and beside it alternate, in one run."""

import asyncio
import time
from dataclasses import dataclass

from bench.api import Manifest, each
from bench.results import Neighbour
from bench.run import Run
from bench.samples import median, spread
from bench.subject import Stuck
from bench.timeline import first

BESIDE = 50
"""How many good instances there are."""
CHANGED = 10
"""How many of them are changed in a round, others each time."""
_SECONDS = 120.0
_REPAIRS = 10
_SETTLE_SECONDS = 5.0
_PAUSE_SECONDS = 0.3


@dataclass(frozen=True)
class _Round:
    """What one round found: samples in seconds by what was measured, and how long the round took."""

    samples: dict[str, list[float]]
    seconds: float


async def neighbours(run: Run) -> None:
    """For each way to be stuck: one round alone, one beside an instance in that state, one alone again."""
    alone = [await _round(run)]
    for number, stuck in enumerate(run.subject.stuck, 1):
        run.say(f"beside one that is stuck, {number} of {len(run.subject.stuck)}: {stuck.name}")
        reason, requests, beside = await _beside(run, stuck)
        alone.append(await _round(run))
        around = alone[-2:]
        run.results.neighbours.append(
            Neighbour(
                name=stuck.name,
                reason=reason,
                alone={what: median([s for one in around for s in one.samples[what]]) for what in beside.samples},
                beside={what: median(samples) for what, samples in beside.samples.items()},
                noise={},
                requests_a_minute=requests / beside.seconds * 60,
            )
        )
        noise = {what: spread([median(one.samples[what]) for one in alone]) for what in beside.samples}
        for one in run.results.neighbours:
            one.noise = noise


async def _beside(run: Run, stuck: Stuck) -> tuple[str, int, _Round]:
    """Measure a round beside an instance that is stuck; return its reason, and how often something was asked for it."""
    (namespace,) = run.take(1)
    manifests = run.subject.objects_of_stuck(stuck, namespace, run.site.values)
    for manifest in manifests:
        await run.api.create(manifest)
    await asyncio.sleep(_SETTLE_SECONDS)
    async with run.window(quiet=0) as window:
        found = await _round(run)
    reason = _reason(run, namespace)
    requests = sum(request.namespace == namespace for request in window.requests)
    for manifest in reversed(manifests):
        await run.api.delete(run.api.path(manifest))
    await run.all_gone([namespace], _SECONDS)
    return reason, requests, found


def _reason(run: Run, namespace: str) -> str:
    status = run.observer.only("instance", namespace).get("status", {})
    ready: Manifest = next((c for c in status.get("conditions", []) if c["type"] == run.subject.ready), {})
    return str(ready.get("reason", "")) if ready.get("status") != "True" else "it is Ready"


async def _round(run: Run) -> _Round:
    """Measure three things: some changed at once, an object of all deleted at once, objects deleted one by one."""
    good, began = run.good[:BESIDE], time.time()
    turn = run.fresh_round()
    some = [good[(turn * CHANGED + number) % len(good)] for number in range(CHANGED)]
    kind = run.subject.repaired[0]
    samples = {"change": await _change(run, some, turn)}
    what = "deleted objects come back"
    samples["repair of all"] = await each((run.delete_and_wait(one, kind, _SECONDS, what) for one in good), BESIDE)
    await asyncio.sleep(_PAUSE_SECONDS)
    samples["repair of one"] = []
    for namespace in good[:_REPAIRS]:
        samples["repair of one"].append(await run.delete_and_wait(namespace, kind, _SECONDS, what))
        await asyncio.sleep(_PAUSE_SECONDS)
    return _Round(samples, time.time() - began)


async def _change(run: Run, some: list[str], turn: int) -> list[float]:
    """Change a field of some instances at once; return how long each took to its workload. They end Ready."""
    old = {name: run.observer.only("workload", name)["metadata"]["generation"] for name in some}
    patch = run.subject.change("field", round=turn)
    changed = dict(zip(some, await each(run.patch(name, patch) for name in some), strict=True))
    took = []
    for name, (began, _) in changed.items():

        def follows(name: str = name, began: float = began) -> float | None:
            return first(run.sights(name), "workload", began, generation=old[name] + 1)

        took.append(await run.moment(follows, _SECONDS, f"{name} follows a change") - began)
    await run.all_ready(some, _SECONDS, "the changed ones get ready again")
    return took
