"""What the operator does while there is nothing to do."""

import asyncio

from bench.run import Run, moved

_STEP_SECONDS = 10.0


async def idle(run: Run) -> None:
    """Look on for a while: what is asked, what is written, what moves, what it costs. Figures are for a minute."""
    before, instances = await run.versions(), run.instances()
    async with run.window(quiet=0) as window:
        left = run.idle_seconds
        while left > 0:
            run.check()
            run.say(f"idle, {left:.0f} s to go")
            await asyncio.sleep(min(_STEP_SECONDS, left))
            left -= _STEP_SECONDS
    leases = [request for request in run.log.requests if request.is_lease and request.at >= window.began]
    minutes = run.idle_seconds / 60
    changed = moved(before, await run.versions())
    run.record("idle.writes", len(window.writes) / minutes)
    run.record("idle.requests", len(window.requests) / minutes)
    run.record("idle.moved", len(changed))
    run.record("idle.cpu", window.cpu / minutes)
    run.record("idle.leases", len(leases) / minutes)
    run.record_requests("idle", window.requests)
    run.report_moved("while idle", changed, instances)
