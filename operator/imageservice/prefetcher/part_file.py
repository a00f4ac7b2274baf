"""The private file that an image is written to: never more than there is room for, and on the disk when it is told."""

import ctypes
import os
from typing import Any, BinaryIO

from . import reasons
from .cache_directory import CacheDirectory
from .failures import Failure

WINDOW_BYTES = 32 * 2**20
"""How much is handed to the disk at once. It writes one window while the next is filled: so it works while the rest is
still to come, and a large image does not fill the memory of the node with what a slow disk has yet to write."""
WAIT_BEFORE, WRITE, WAIT_AFTER = 1, 2, 4
"""Flags of sync_file_range(2), which Python does not have."""

_LIBC = ctypes.CDLL(None, use_errno=True)


class PartFile:
    """A file that is being written; one thread writes."""

    def __init__(self, file: BinaryIO, directory: CacheDirectory, room_bytes: int) -> None:
        self._file, self._directory, self._room_bytes = file, directory, room_bytes
        self._headroom_bytes = directory.headroom_bytes()
        self._size = self._handed_over = 0

    def restart(self) -> None:
        """Forget what was written."""
        self._file.seek(0)
        self._file.truncate()
        self._size = self._handed_over = 0

    def write(self, piece: Any) -> None:
        """Append, unless the volume would become too full: others write to it at the same time."""
        self._directory.check_room(len(piece), self._headroom_bytes)
        self._size += len(piece)
        if self._size > self._room_bytes:
            raise Failure(reasons.TOO_LARGE, f"The image has more than the {self._room_bytes} bytes it may use.")
        self._file.write(piece)
        if self._size - self._handed_over >= WINDOW_BYTES:
            self._hand_over()

    def _hand_over(self) -> None:
        self._file.flush()
        begin, self._handed_over = self._handed_over, self._size
        self._sync_range(begin, self._size - begin, WRITE)
        if begin:
            self._sync_range(0, begin, WAIT_BEFORE | WRITE | WAIT_AFTER)

    def _sync_range(self, offset: int, size: int, flags: int) -> None:
        file = self._file.fileno()
        if _LIBC.sync_file_range(file, ctypes.c_int64(offset), ctypes.c_int64(size), ctypes.c_uint(flags)):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def sync(self) -> None:
        """Wait for the disk: a node that loses its power must not come back with a name and half of the data."""
        self._file.flush()
        os.fdatasync(self._file.fileno())
