"""The one thread that decides and talks to the worker, one thing after the other."""

import time
import traceback
from collections.abc import Collection
from pathlib import Path

from . import reasons
from .attempts import LOOK_SECONDS, Attempts
from .board import Board
from .commands import Ask, Commands
from .events import tell
from .schedule import next_change, next_image
from .upkeep import Upkeep
from .wake import Wake
from .worker_process import Message, WorkFailed
from .workers import Workers

COMMAND_SECONDS = 20.0
"""How long a client waits for the worker. What has begun by then is done all the same."""


class Supervisor:
    """Takes turns: each does the most urgent thing that is due."""

    def __init__(self, board: Board, wake: Wake) -> None:
        self._board, self._wake = board, wake
        self._commands = Commands(wake)
        self.workers = Workers(board)
        self._upkeep = Upkeep(board, self.workers)
        self._attempts = Attempts(board, self.workers, self._upkeep, self._commands, wake)

    # ------------------------------------------------------------------------- from any thread; NoAnswerYet, WorkFailed

    def list(self) -> None:
        """Learn anew what is cached."""
        self._commands.result(self._upkeep.list, COMMAND_SECONDS)

    def delete(self, image_id: str) -> bool:
        """Remove an image from the cache, and tell whether it was there."""

        def job(ask: Ask) -> Message:
            answer = ask("delete", id=image_id)
            self._upkeep.list(ask)
            return answer

        return bool(self._commands.result(job, COMMAND_SECONDS).get("deleted"))

    def delete_all(self, keep: Collection[str]) -> int:
        """Remove all images from the cache but for some, and tell how many there were."""

        def job(ask: Ask) -> Message:
            answer = ask("prune", targetBytes=0, keep=sorted(keep))
            self._upkeep.note_removed(answer.get("removed"))
            self._upkeep.list(ask)
            return answer

        return len(self._commands.result(job, COMMAND_SECONDS)["removed"])

    def hurry(self, image_id: str) -> None:
        """Let an image be tried again at once."""

        def job(_: Ask) -> Message:
            self._board.memory.hurry([image_id])
            return {}

        self._commands.send(job)

    # ------------------------------------------------------------------------------------------------------- the thread

    def run(self) -> None:
        """Take turns for ever. Whatever a turn raises costs some seconds, and no more."""
        while True:
            try:
                pause = self._turn()
            except Exception as error:  # noqa: BLE001 - the end of this thread would be the end of all upkeep
                self._note_error(error)
                pause = LOOK_SECONDS
            self._wake.wait(pause)

    def _turn(self) -> float:
        """Do one thing, and return for how many seconds nothing else will be due, unless somebody wakes us."""
        try:
            if self._do_one():
                return 0
        except WorkFailed as failure:
            self.workers.note_failure(failure)
        except OSError as error:
            why = f"The directory of the cache cannot be used ({type(error).__name__})."
            self.workers.note_failure(WorkFailed(reasons.WORKER_FAILED, why))
        if self.workers.rest_seconds > 0:
            return min(LOOK_SECONDS, self.workers.rest_seconds)
        self.workers.end_idle()
        change = next_change(self._board.known)
        return LOOK_SECONDS if change is None else max(0.1, min(LOOK_SECONDS, change - time.time()))

    def _do_one(self) -> bool:
        """Do what is most urgent, and tell whether there was anything."""
        self._board.look()
        if self.workers.rest_seconds > 0:
            trouble = self._board.trouble
            if trouble is not None:
                self._commands.fail_all(WorkFailed(trouble.reason, trouble.message))
            return False
        if self._commands.run_next(self.workers.ask):
            self.workers.keep()
            return True
        if self._upkeep.do_one():
            return True
        image_id = next_image(self._board.known, self._board.fits)
        if image_id is not None:
            self._attempts.run(image_id)
        return image_id is not None

    def _note_error(self, error: Exception) -> None:
        origin = traceback.extract_tb(error.__traceback__)[-1]
        tell("SupervisorFailed", error=type(error).__name__, at=f"{Path(origin.filename).name}:{origin.lineno}")
        self.workers.kill()
        self._board.fetch = None
