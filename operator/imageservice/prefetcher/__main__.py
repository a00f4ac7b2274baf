"""The agent of a node: `python3 -m prefetcher`. It ends at once on SIGTERM, at any moment: what it needs is on disk."""

import os
import random
import signal
import sys
import threading
import time

from .api import Api
from .board import Board
from .events import tell
from .schedule import DEFAULT_TERMS, back_off
from .server import Server
from .sets import Sets
from .settings import read_settings
from .state import Memory
from .supervisor import Supervisor
from .wake import Wake


def pause(attempts: int) -> float:
    """Return for how long to leave an image alone at which the agent has ended so often."""
    return back_off(attempts, DEFAULT_TERMS, random.random())  # noqa: S311 - no secret


def main() -> None:
    """Run until SIGTERM."""
    try:
        settings = read_settings()
    except (OSError, KeyError, ValueError) as error:
        tell("SettingsUnusable", error=type(error).__name__)
        sys.exit(os.EX_CONFIG)
    wake = Wake()
    board = Board(settings, Sets(settings.state_dir / "sets"), Memory(settings.state_dir / "images.json", pause))
    supervisor = Supervisor(board, wake)

    def end(*_: object) -> None:
        # The worker sees that nobody listens any more, and ends; but one that hangs in a store may not.
        if (pid := supervisor.workers.pid) is not None:
            os.kill(pid, signal.SIGKILL)
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    api = Api(board, supervisor, wake)
    server = Server(settings.port, settings.pod_ips, refuse=api.refuse, answer=api.answer)
    threading.Thread(target=supervisor.run, name="supervisor", daemon=True).start()
    threading.Thread(target=server.serve, name="http", daemon=True).start()
    tell("Started", node=settings.node, port=server.port, sets=len(board.sets.all))
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    main()
