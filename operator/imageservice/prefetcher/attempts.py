"""Attempts to fetch an image: find room, fetch, and remember how it went."""

import functools
import random
import time
from typing import Any

from . import reasons
from .board import Board
from .commands import Commands
from .events import tell
from .fetches import Fetch, Stopped
from .room import NoRoom, Room
from .scan import drop_wish
from .schedule import back_off, granting, next_change, terms, why_stop
from .state import Outcome
from .upkeep import Upkeep
from .wake import Wake
from .worker_process import Message, NoAnswerYet, WorkFailed, failure_of
from .workers import Workers

LOOK_SECONDS = 5.0
"""How often to look at the directory: a millisecond of processor time."""
MOST_FACTS = 100
"""How many images to ask the database for at once."""
NEEDS_NEW_WORKER = (reasons.STORE_UNREACHABLE, reasons.WORKER_FAILED)
"""Reasons after which an image is tried again by a new worker: credentials are read when one starts."""


class Attempts:
    """Fetches one image at a time. Raises WorkFailed for what is no image's fault."""

    def __init__(self, board: Board, workers: Workers, upkeep: Upkeep, commands: Commands, wake: Wake) -> None:
        self._board, self._workers, self._upkeep, self._commands = board, workers, upkeep, commands
        self._wake = wake

    def run(self, image_id: str) -> None:
        """Try to have the image in the cache. How that ends is remembered."""
        self._workers.keep()
        self._renew_worker(image_id)
        self._upkeep.list(self._workers.ask)
        if image_id in self._board.known.cached:
            return
        size = self._size(image_id)
        found = self._room(image_id, size)
        if isinstance(found, NoRoom):
            self._note_failure(image_id, WorkFailed(found.reason, found.message), size, planned=found.is_planned)
        else:
            self._fetch(image_id, size, found.room_bytes)
            self._workers.keep()

    def _renew_worker(self, image_id: str) -> None:
        outcome = self._board.memory.outcomes.get(image_id)
        if outcome and outcome.reason in NEEDS_NEW_WORKER and image_id in self._workers.tried:
            self._workers.end()

    # ----------------------------------------------------------------------------------------------------------- room

    def _size(self, image_id: str) -> int | None:
        """Return the size of an image, and learn those of others that are missing."""
        board = self._board
        unknown = (board.keep - board.known.cached.keys()) - board.sizes.keys() - {image_id}
        asked = [image_id, *sorted(unknown)[:MOST_FACTS]]
        images = self._workers.ask("facts", ids=asked).get("images")
        if not isinstance(images, dict):
            raise WorkFailed(reasons.WORKER_FAILED, "The worker has facts that make no sense.")
        board.sizes = {**board.sizes, **{each: _size_in(images.get(each)) for each in asked}}
        return board.sizes[image_id]

    def _room(self, image_id: str, size: int | None) -> Room | NoRoom:
        """Return how many bytes the image may take, once that room is there, or why there is none."""
        found = self._board.plan(image_id, size or 0)
        if isinstance(found, Room) and found.prune_to is not None:
            self._upkeep.prune(self._workers.ask, found.prune_to)
            found = self._board.plan(image_id, size or 0)
            if isinstance(found, Room) and found.prune_to is not None:
                return NoRoom(reasons.NO_SPACE, "What could make room cannot be removed now.", is_planned=False)
        return found

    # ---------------------------------------------------------------------------------------------------------- fetch

    def _fetch(self, image_id: str, size: int | None, room_bytes: int) -> None:
        board, worker = self._board, self._workers.present()
        given = terms(granting(board.sets.all, image_id, time.time()))
        board.memory.begin(image_id)
        self._workers.tried.add(image_id)
        board.fetch = fetch = Fetch(worker, image_id, size)
        try:
            answer = fetch.run(
                functools.partial(self._look, fetch),
                self._wake,
                timeout_seconds=given.timeout_seconds,
                stall_seconds=board.settings.stall_seconds,
                bytesPerSecond=board.settings.bytes_per_second,
                roomBytes=room_bytes,
            )
        except Stopped as stop:
            self._kill(fetch)
            board.memory.stop()
            tell("Stopped", image=image_id, reason=stop.reason, bytes=fetch.done_bytes)
        except WorkFailed as failure:
            self._kill(fetch)
            self._note_failure(image_id, failure, fetch.size)
        except OSError:
            self._kill(fetch)
            board.memory.stop()
            raise
        else:
            self._note_end(fetch, answer)

    def _kill(self, fetch: Fetch) -> None:
        self._workers.kill()
        self._upkeep.expect_leftovers()
        self._board.fetch = None

    def _look(self, fetch: Fetch) -> float:
        """See to what else is to be done while an image is fetched. Raises Stopped where nobody wants it any more."""
        self._board.look()
        reason = why_stop(self._board.known, fetch.image_id)
        if reason is not None:
            raise Stopped(reason)
        worker = self._workers.present()
        ask = functools.partial(worker.ask_meanwhile, of_fetch=fetch.note)
        try:
            self._commands.run_next(ask)
            if (target := self._upkeep.due_prune()) is not None:
                self._upkeep.prune(ask, target)
        except NoAnswerYet:
            pass
        except WorkFailed:
            if not worker.is_usable:
                raise
        change = next_change(self._board.known)
        return LOOK_SECONDS if change is None else max(0.1, min(LOOK_SECONDS, change - time.time()))

    # ------------------------------------------------------------------------------------------------------- outcomes

    def _note_end(self, fetch: Fetch, answer: Message) -> None:
        if "done" in answer:
            self._note_success(fetch, answer)
            return
        failure, size = failure_of(answer), _size_in(answer) or fetch.size
        self._board.fetch = None
        if failure.reason == reasons.DATABASE_UNREACHABLE:
            self._board.memory.stop()
            raise failure
        if failure.reason == reasons.WORKER_FAILED:
            self._kill(fetch)
        self._note_failure(fetch.image_id, failure, size)

    def _note_success(self, fetch: Fetch, answer: Message) -> None:
        size = _size_in(answer) or 0
        self._board.memory.succeed(fetch.image_id, size)
        if answer["done"] == "fetched":
            self._board.counts.fetched(fetch.seconds, size)
            tell("Fetched", image=fetch.image_id, bytes=size, seconds=round(fetch.seconds, 1))
        drop_wish(self._board.settings.cache_dir, fetch.image_id)
        self._board.look()
        self._board.fetch = None
        self._upkeep.expect_growth()

    def _note_failure(self, image_id: str, failure: WorkFailed, size: int | None, *, planned: bool = False) -> None:
        memory = self._board.memory
        attempts = memory.attempts(image_id) + 1
        given = terms(granting(self._board.sets.all, image_id, time.time()))
        pause = back_off(attempts, given, random.random())  # noqa: S311 - no secret
        outcome = Outcome(failure.reason, failure.message, attempts, time.time() + pause, size, planned)
        memory.fail(image_id, outcome)
        self._board.fetch = None
        self._board.counts.failures[failure.reason] += 1
        tell(
            "FetchFailed",
            image=image_id,
            reason=failure.reason,
            message=failure.message,
            attempts=attempts,
            pauseSeconds=round(pause),
        )


def _size_in(facts: Any) -> int | None:
    size = facts.get("size") if isinstance(facts, dict) else None
    return size if isinstance(size, int) else None
