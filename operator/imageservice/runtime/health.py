"""The HTTP server for the kubelet and Prometheus: /livez, /readyz, /metrics. It runs on standby replicas too."""

from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from imageservice.runtime.metrics import Metrics

_TEXT = "text/plain; version=0.0.4; charset=utf-8"


@dataclass
class Health:
    """What the process knows about itself.

    `problems` returns what a restart may mend, in words. A standby that has seen a leader is ready: it is there to take
    over. A leader is ready when it has tried to reconcile all that was there when it began.
    """

    problems: Callable[[], list[str]]
    sees_leader: Callable[[], bool]
    leading: bool = False
    first_pass_done: bool = False
    stopping: bool = False

    def not_ready(self) -> list[str]:
        """Return why the process is not ready; empty when it is."""
        if self.stopping:
            return ["stopping"]
        if not self.leading:
            return [] if self.sees_leader() else ["who leads is not known yet"]
        return [] if self.first_pass_done else ["the first pass over all objects is not done"]


class HealthServer:
    """Serves a Health and the metrics. `host` None listens on all addresses; port 0 takes a free one."""

    def __init__(self, health: Health, metrics: Metrics, host: str | None, port: int) -> None:
        self._health = health
        self._metrics = metrics
        self._host = host
        self._wanted_port = port
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Start to listen. Raise OSError where the port is taken."""
        application = web.Application()
        application.router.add_get("/livez", self._livez)
        application.router.add_get("/readyz", self._readyz)
        application.router.add_get("/metrics", self._show_metrics)
        self._runner = web.AppRunner(application, access_log=None, handle_signals=False)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._wanted_port, reuse_port=False).start()

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def port(self) -> int:
        """The port it listens on."""
        addresses = self._runner.addresses if self._runner is not None else []
        return int(addresses[0][1]) if addresses else 0

    async def _livez(self, _request: web.Request) -> web.Response:
        return _answer(self._health.problems())

    async def _readyz(self, _request: web.Request) -> web.Response:
        return _answer(self._health.not_ready())

    async def _show_metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.text(), headers={"Content-Type": _TEXT})


def _answer(problems: list[str]) -> web.Response:
    return web.Response(status=503 if problems else 200, text="\n".join(problems or ["ok"]) + "\n")
