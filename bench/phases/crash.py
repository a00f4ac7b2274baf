"""What a kill in the middle of work costs."""

import asyncio
import time

from bench.api import each
from bench.run import Run
from bench.timeline import first

MANY = 20
_HEAD_START_SECONDS = 1.0
_SECONDS = 180.0


async def crash(run: Run) -> None:
    """Create many, kill the operator (SIGKILL) a second later, start it again at once, and wait until all are Ready."""
    wanted = run.take(MANY)
    created = dict(zip(wanted, await each(map(run.create, wanted), at_once=8), strict=True))
    await asyncio.sleep(_HEAD_START_SECONDS)
    run.stop_operator(kill=True)
    killed = time.time()
    run.start_operator()
    await run.all_ready(wanted, _SECONDS, "all are Ready after a kill -9")
    ends = [first(run.sights(name), "instance", began, done=True) or time.time() for name, began in created.items()]
    run.record("crash.ready", max(ends) - killed)
    await each(map(run.delete, wanted))
    await run.all_gone(wanted, _SECONDS)
    await run.quiet()
