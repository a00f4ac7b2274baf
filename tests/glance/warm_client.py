"""Have a program run by the warm Python whose socket lies beside this file, and end as it ends.

Called `python`, it takes the words of Python (a program and its arguments). Called by the name of a program of the
environment, it runs that.
"""

import json
import os
import socket
import struct
import sys


def main() -> int:
    """Hand over all that a process has from its parent; return the exit status."""
    here, name = os.path.split(os.path.abspath(sys.argv[0]))  # noqa: PTH100 - pathlib takes longer to import than all else
    program = sys.argv[1:] if name == "python" else [f"{here}/environment/bin/{name}", *sys.argv[1:]]
    request = {
        "words": program,
        "environment": dict(os.environ),
        "directory": os.getcwd(),  # noqa: PTH109
        "executable": f"{here}/python",
    }
    body = json.dumps(request).encode()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(f"{here}/socket")
        socket.send_fds(connection, [struct.pack("I", len(body))], [0, 1, 2])
        connection.sendall(body)
        status: int = struct.unpack("i", connection.recv(4))[0]
    if status < 0:  # by a signal
        os.kill(os.getpid(), -status)
    return status


if __name__ == "__main__":
    sys.exit(main())
