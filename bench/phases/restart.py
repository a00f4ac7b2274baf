"""What a new process of the operator does where all is settled, and how soon it mends what broke meanwhile."""

import time

from bench.audit import by_verb
from bench.run import Run, moved, role_of
from bench.subject import Kind
from bench.timeline import came_back

DRIFTS = 3
_SECONDS = 120.0
_AFTER_LAST_WRITE_SECONDS = 10.0


async def restart(run: Run) -> None:
    """Stop and start the operator with everything in order, then with objects deleted while it was away."""
    before, instances = await run.versions(), run.instances()
    began = time.time()
    run.stop_operator()
    run.record("restart.stop", time.time() - began)
    operator = run.start_operator()
    async with run.window(quiet=_AFTER_LAST_WRITE_SECONDS) as window:
        await run.first_request()
    work = [request for request in window.requests if request.is_work]
    run.record("restart.last", max((request.at for request in work), default=operator.started_at) - operator.started_at)
    run.record("restart.requests", len(window.requests))
    run.record("restart.writes", len(window.writes))
    changed = moved(before, await run.versions())
    run.record("restart.moved", len(changed))
    run.report_moved("by a restart", changed, instances)
    run.record("restart.cpu", operator.cpu_seconds())
    run.record("restart.rss", operator.rss_mib())
    run.record("restart.peak", operator.peak_mib())
    run.record_requests("restart", window.requests)
    run.say(f"restart: {by_verb(window.requests)}")
    for kind in run.subject.repaired:
        samples = [await _with_drift(run, kind, number) for number in range(DRIFTS)]
        run.record_samples(f"restart.back.{kind.kind}", samples)


async def _with_drift(run: Run, kind: Kind, number: int) -> float:
    """Delete an object while the operator is away; return how long after its start the object is back."""
    namespace = run.good[(number + 1) * len(run.good) // DRIFTS - 1 if len(run.good) >= DRIFTS else 0]
    role = role_of(run.subject, kind)
    path = run.path(kind, namespace)
    run.stop_operator()
    await run.api.delete(path)
    await run.until(
        lambda: not run.observer.latest[(role, namespace)], _SECONDS, f"waiting for the deletion of a {kind.kind}"
    )
    operator = run.start_operator()
    what = f"a {kind.kind} deleted meanwhile comes back"
    at = await run.moment(lambda: came_back(run.sights(namespace), role, "", operator.started_at), _SECONDS, what)
    await run.all_ready([namespace], _SECONDS, f"{namespace} gets ready again")
    await run.quiet()
    return at - operator.started_at
