"""How long it takes from an instance's creation to its workload and to Ready, alone and many at once."""

from collections.abc import Sequence

from bench.api import each
from bench.run import Run, Window
from bench.samples import median
from bench.timeline import first, own_seconds

ALONE = 5
_AFTER_LAST_WRITE_SECONDS = 10.0
_ONE_SECONDS = 60.0
_BETWEEN_SECONDS = 2.0


def _patience(count: int) -> float:
    return 120.0 + 5.0 * count


async def grow(run: Run) -> None:
    """Bring the number of instances up to the level, all at once, and look at what that costs."""
    wanted = run.take(run.level - len(run.good))
    async with run.window() as window:
        created = dict(zip(wanted, await each(map(run.create, wanted), at_once=8), strict=True))
        await run.all_ready(wanted, _patience(len(wanted)), f"creating {len(wanted)}")
    run.good += wanted
    if len(wanted) > 1:
        _record(run, "create.burst", created, window)
        ends = [_ready_at(run, namespace, created[namespace]) for namespace in wanted]
        run.record("create.burst.all", max(ends) - min(created.values()))
        run.record("create.burst.api_server_cpu", window.programs["kube-apiserver"] / len(wanted))
        shares = {"operator": window.cpu, **window.programs}
        run.results.programs[run.level] = {name: round(used / len(wanted), 4) for name, used in shares.items()}
    await run.quiet(_AFTER_LAST_WRITE_SECONDS)
    run.record("rss", run.operator.rss_mib())


async def one_at_a_time(run: Run) -> None:
    """Create some more, each when the one before has come to rest, and delete them."""
    wanted = run.take(ALONE)
    created = {}
    async with run.window() as window:
        for number, namespace in enumerate(wanted, 1):
            created[namespace] = await run.create(namespace)
            await run.all_ready([namespace], _ONE_SECONDS, f"creating one at a time, {number} of {ALONE}")
            await run.quiet(_BETWEEN_SECONDS)
    _record(run, "create.one", created, window)
    own = []
    for namespace, began in created.items():
        own.append(own_seconds(run.sights(namespace), began, _ready_at(run, namespace, began)))
    run.record_samples("create.one.own", own)
    await each(map(run.delete, wanted))
    await run.all_gone(wanted, _ONE_SECONDS)
    await run.quiet()


def _record(run: Run, figure: str, created: dict[str, float], window: Window) -> None:
    """Note the times of what was created, and what it took."""
    ready = {namespace: _ready_at(run, namespace, began) for namespace, began in created.items()}
    workload = [(first(run.sights(name), "workload", began) or ready[name]) - began for name, began in created.items()]
    burst = figure == "create.burst"
    run.record_samples(f"{figure}.workload", workload, quantiles=burst)
    run.record_samples(f"{figure}.ready", [ready[name] - began for name, began in created.items()], quantiles=burst)
    run.record(f"{figure}.requests", len(window.requests) / len(created))
    run.record(f"{figure}.writes", len(window.writes) / len(created))
    run.record(f"{figure}.requests_to_ready", median(_requests_to_ready(window, ready)))
    run.record(f"{figure}.cpu", window.cpu / len(created))
    run.record_requests(figure, window.requests, per=len(created))


def _requests_to_ready(window: Window, ready: dict[str, float]) -> Sequence[float]:
    """Return for each instance how often something was asked about its namespace before it was Ready."""
    counts = dict.fromkeys(ready, 0)
    for request in window.requests:
        if request.namespace in counts and request.at <= ready[request.namespace]:
            counts[request.namespace] += 1
    return list(counts.values())


def _ready_at(run: Run, namespace: str, began: float) -> float:
    at = first(run.sights(namespace), "instance", began, done=True)
    assert at is not None, f"{namespace} was waited for"
    return at
