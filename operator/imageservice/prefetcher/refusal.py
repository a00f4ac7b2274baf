"""Why a worker ends instead of working."""

import os

LOCKED_STATUS = os.EX_TEMPFAIL
UNUSABLE_STATUS = os.EX_CONFIG
BROKEN_STATUS = 1


class Refusal(Exception):  # noqa: N818 - a state of the installation
    """The worker cannot work here; `status` is that of its process: 78 where no new try will do better."""

    def __init__(self, message: str, status: int = UNUSABLE_STATUS) -> None:
        self.message, self.status = message, status
        super().__init__(message)
