"""Fork servers from a process that has already imported them: ``cheap_hashes.py server_forker.py``.

Most of what a start of the server takes are imports and the compilation of templates. Here they are done once.

Its standard input is a socket, each message on which asks for one server; its end ends this process and no server. A message is the
JSON array of the arguments, beginning with ``server.py``, the folder and the environment variables. With it come three
descriptors: the standard output and error of the server, and a pipe. To it a process of its own, which waits for the server,
writes the server's process id and then its exit code, four bytes each.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

import tornado_sessions.server.cli
import tornado_sessions.server.web.serve
import tornado_sessions.stores.sqlite  # noqa: F401 - the usual store, which is imported when it is opened
from tornado_sessions.server.web.static_files import templates


def next_server() -> tuple[bytes, list[int]]:
    """Wait for requests. Return each in a process of its own, and an empty one, in this process, after the last."""
    with socket.socket(fileno=0) as requests:
        while True:
            message, descriptors, _flags, _address = socket.recv_fds(requests, 1 << 20, 3)
            if not message or os.fork() == 0:
                return message, descriptors
            for descriptor in descriptors:
                os.close(descriptor)


def reap(_number: int, _frame: object) -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def watch(server: int, told: int) -> None:
    """Wait for the end of a server, and tell it while the process still exists, so that its id belongs to no other."""
    os.write(told, server.to_bytes(4, "big", signed=True))
    found = os.waitid(os.P_PID, server, os.WEXITED | os.WNOWAIT)
    assert found
    code = found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
    os.write(told, code.to_bytes(4, "big", signed=True))
    os.waitpid(server, 0)


def become_server(message: bytes, output: int, errors: int, told: int) -> None:
    """Turn this process into one that has just been started with these arguments."""
    arguments, folder, variables = json.loads(message)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(errors, 2)
    os.closerange(3, max(output, errors, told) + 1)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    time.tzset()
    sys.argv = arguments
    sys.path[0] = str(Path(arguments[0]).parent)
    runpy.run_path(arguments[0], run_name="__main__")


def main() -> None:
    templates()
    gc.collect()
    gc.freeze()
    # Ctrl-C in the terminal goes to all processes, and whoever runs the tests stops the servers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, reap)
    message, descriptors = next_server()
    if not message:
        return
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    server = os.fork()
    if server == 0:
        become_server(message, *descriptors)
    else:
        for descriptor in descriptors[:2]:
            os.close(descriptor)
        watch(server, descriptors[2])


if __name__ == "__main__":
    main()
