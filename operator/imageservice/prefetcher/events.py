"""The log: one line of JSON for each thing that happened, on stdout. Never a word for a request."""

import json
import sys
import time
from typing import Any


def tell(event: str, **details: Any) -> None:
    """Write one line."""
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    sys.stdout.write(f"{json.dumps({'time': at, 'event': event, **details})}\n")
    sys.stdout.flush()
