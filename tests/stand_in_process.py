"""Web servers of tests that stand in for others, each in a process of its own.

    with started("tests.agents_stand_in", "10") as url: ...

The process serves with `serve`, which tells the URL in its first line.
"""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator

from aiohttp import web


@contextlib.contextmanager
def started(module: str, *arguments: str) -> Iterator[str]:
    """Run a module while the block lasts, and give its URL; the kernel ends it with the test run, however that ends."""
    command = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", module, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait(10)


async def serve(application: web.Application) -> None:
    """Serve on a free port of loopback, and tell the URL."""
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
    host, port = runner.addresses[0][:2]
    print(f"http://{host}:{port}", flush=True)
    await asyncio.Event().wait()
