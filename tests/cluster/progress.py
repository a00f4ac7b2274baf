"""One line for every step, with the seconds since the command began, so that nobody waits before a silent terminal."""

import sys
import time

_began = time.monotonic()


def say(text: str) -> None:
    """Print one line of progress to standard error."""
    print(f"[{time.monotonic() - _began:6.1f} s] {text}", file=sys.stderr, flush=True)
