"""What clients ask the worker for, handed from the threads of requests to the one that talks to the worker."""

import threading
from collections import deque
from collections.abc import Callable

from .wake import Wake
from .worker_process import Message, NoAnswerYet, WorkFailed

Ask = Callable[..., Message]
"""Sends a request to the worker and returns its answer: the name of the request, and its members by keyword.

Raises WorkFailed, and NoAnswerYet where a fetch keeps the worker from answering."""
Job = Callable[[Ask], Message]


class Command:
    """One job, and what came of it."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._is_over = threading.Event()
        self._answer: Message | None = None
        self._failure: Exception = NoAnswerYet()
        self.is_abandoned = False

    def run(self, ask: Ask) -> None:
        """Do it. Raises the failure as well, for whoever looks after the worker."""
        try:
            self._answer = self._job(ask)
        except Exception as failure:
            self._failure = failure
            raise
        finally:
            self._is_over.set()

    def fail(self, failure: Exception) -> None:
        """Let the client know that this is how it went."""
        self._failure = failure
        self._is_over.set()

    def result(self, seconds: float) -> Message:
        """Wait for the answer. Raises what the job has raised, or NoAnswerYet."""
        if not self._is_over.wait(seconds):
            self.is_abandoned = True
        if self._answer is None:
            raise self._failure
        return self._answer


class Commands:
    """Commands that wait for their turn; there are no more of them than requests at once."""

    def __init__(self, wake: Wake) -> None:
        self._wake = wake
        self._waiting: deque[Command] = deque()

    def send(self, job: Job) -> Command:
        """Have a job done, from any thread."""
        command = Command(job)
        self._waiting.append(command)
        self._wake.up()
        return command

    def result(self, job: Job, seconds: float) -> Message:
        """Have a job done and return its answer. Raises WorkFailed and NoAnswerYet."""
        return self.send(job).result(seconds)

    def run_next(self, ask: Ask) -> bool:
        """Do the next job that somebody still waits for, and tell whether there was one."""
        while self._waiting:
            command = self._waiting.popleft()
            if not command.is_abandoned:
                command.run(ask)
                return True
        return False

    def fail_all(self, failure: WorkFailed) -> None:
        """Do no job, and say why."""
        while self._waiting:
            self._waiting.popleft().fail(failure)
