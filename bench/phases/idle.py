"""What the operator does while there is nothing to do."""

import asyncio

from bench.run import Run, moved

_STEP_SECONDS = 10.0


async def idle(run: Run) -> None:
    """Look on for a while: what is asked, what is written, what moves, what it costs. Figures are for a minute."""
    leases = await look_on(run, "idle", run.good)
    run.record("idle.leases", leases / (run.idle_seconds / 60))


async def look_on(run: Run, figure: str, namespaces: list[str]) -> int:
    """Note as `<figure>.writes` and so on what happens for a while; return how often leadership was asked for."""
    before, instances = await run.versions(namespaces), run.instances(namespaces)
    async with run.window(quiet=0) as window:
        left = run.idle_seconds
        while left > 0:
            run.check()
            run.say(f"{figure}, {left:.0f} s to go")
            await asyncio.sleep(min(_STEP_SECONDS, left))
            left -= _STEP_SECONDS
    leases = [request for request in run.log.requests if request.is_lease and request.at >= window.began]
    minutes = run.idle_seconds / 60
    changed = moved(before, await run.versions(namespaces))
    run.record(f"{figure}.writes", len(window.writes) / minutes)
    run.record(f"{figure}.requests", len(window.requests) / minutes)
    run.record(f"{figure}.moved", len(changed))
    run.record(f"{figure}.cpu", window.cpu / minutes)
    run.record_requests(figure, window.requests)
    run.report_moved("while idle", changed, instances)
    return len(leases)
