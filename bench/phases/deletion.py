"""How long many deletions at once take."""

from bench.api import each
from bench.run import Run

MANY = 20
_SECONDS = 120.0


async def deletion(run: Run) -> None:
    """Delete instances; what they own is left to the garbage collector."""
    leaving, run.good = run.good[-MANY:], run.good[:-MANY]
    async with run.window() as window:
        await each(map(run.delete, leaving), at_once=MANY)
        await run.all_gone(leaving, _SECONDS)
    ends = [max(s.at for s in run.sights(name) if s.role == "instance" and not s.present) for name in leaving]
    run.record("delete.all", max(ends) - window.began)
    run.record("delete.requests", len(window.requests) / len(leaving))
    run.record_requests("deletion", window.requests, per=len(leaving))
