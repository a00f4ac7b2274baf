"""Import modules once, then fork a child for every program that is to run. Run by the Python of an environment.

    python warm_server.py SOCKET MODULE...

A child runs one program, as the `python` of that environment would: its words, environment, directory and the three
standard streams are those of the client (warm_client.py), which is told the exit status. What the program does is done
by the same code as in a new process; only the modules are there already.
"""

import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import struct
import sys
import warnings
from pathlib import Path

HEADER = struct.Struct("I")
STATUS = struct.Struct("i")


def receive(connection: socket.socket) -> tuple[dict, list[int]]:
    """Read what the client asks for, and take its streams."""
    header, streams, _, _ = socket.recv_fds(connection, HEADER.size, 3)
    left, parts = HEADER.unpack(header)[0], []
    while left:
        part = connection.recv(left)
        if not part:
            raise EOFError
        parts.append(part)
        left -= len(part)
    return json.loads(b"".join(parts)), streams


def serve(listener: socket.socket) -> tuple[dict, list[int]]:
    """Take requests; return in a child, which is to run the program of one of them."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how those end that look after a child
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            break
        connection.close()
    listener.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    request, streams = receive(connection)
    child = os.fork()
    if child:
        look_after(child, connection)
        os._exit(0)
    connection.close()
    return request, streams


def look_after(child: int, connection: socket.socket) -> None:
    """Wait for the child and tell how it ended; end it where the client is gone first."""
    process = os.pidfd_open(child)
    if process not in select.select([process, connection], [], [])[0]:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    connection.sendall(STATUS.pack(os.waitstatus_to_exitcode(status)))


def become(request: dict, streams: list[int]) -> str:
    """Make this process one that the client could have started; return the path of its program."""
    for target, stream in enumerate(streams):
        os.dup2(stream, target)
        os.close(stream)
    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.executable = request["executable"]
    sys.argv = request["words"]
    program = sys.argv[0]
    sys.path[0] = os.path.dirname(os.path.realpath(program))  # noqa: PTH120 - as Python itself writes it
    return program


def main() -> str:
    """Serve for ever; in a child, return the program."""
    address, *modules = sys.argv[1:]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in modules:
            importlib.import_module(module)
    gc.freeze()  # the children need not look through what they share
    listener = socket.socket(socket.AF_UNIX)
    # Under another name until it listens: who sees it can connect.
    unready = Path(f"{address}.unready")
    listener.bind(str(unready))
    listener.listen(64)
    unready.rename(address)
    return become(*serve(listener))


if __name__ == "__main__":
    runpy.run_path(main(), run_name="__main__")
