"""How threads wake one another while they wait for other things as well."""

import contextlib
import os
import select


class Wake:
    """Wakes the thread that waits, from any other."""

    def __init__(self) -> None:
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def fileno(self) -> int:
        """What to wait for."""
        return self._event

    def up(self) -> None:
        """Wake whoever waits, now or next."""
        os.eventfd_write(self._event, 1)

    def take(self) -> bool:
        """Tell whether somebody has woken us since the last time."""
        with contextlib.suppress(BlockingIOError):
            return os.eventfd_read(self._event) > 0
        return False

    def wait(self, seconds: float) -> None:
        """Wait until somebody wakes us, or for so many seconds."""
        select.select([self._event], [], [], max(0.0, seconds))
        self.take()
