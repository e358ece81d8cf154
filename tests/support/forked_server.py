"""``ForkedServer``: a server's process that is forked instead of started, which takes a tenth of the time."""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO

_PROGRAMS = Path(__file__).parent / "programs"


@cache
def _forker() -> socket.socket:
    """Start ``programs/server_forker.py``, once in this process. Return the socket to it."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        process = subprocess.Popen(
            [sys.executable, str(_PROGRAMS / "cheap_hashes.py"), str(_PROGRAMS / "server_forker.py")],
            env={**os.environ, "PYTHONPATH": str(_PROGRAMS.parents[2]), "PYTHONUNBUFFERED": "1"},
            stdin=its.fileno(),
            stdout=subprocess.DEVNULL,
        )

    def end() -> None:
        ours.close()
        process.wait(timeout=20)

    atexit.register(end)
    return ours


class ForkedServer:
    """A server's process with cheap hashes: what tests use of ``subprocess.Popen``, and means the same there.

    Args:
        arguments: ``server.py``, and what follows it.
        folder: its working directory.
        variables: its environment.
        errors: its standard error.
    """

    def __init__(self, arguments: Sequence[str], folder: Path, variables: Mapping[str, str], errors: IO[str]) -> None:
        self.args = arguments
        self.returncode: int | None = None
        output, its_output = os.pipe()
        told, its_told = os.pipe()
        request = json.dumps([arguments, str(folder), dict(variables)]).encode()
        socket.send_fds(_forker(), [request], [its_output, errors.fileno(), its_told])
        os.close(its_output)
        os.close(its_told)
        self.stdout = os.fdopen(output, encoding="utf-8")
        self._told = os.fdopen(told, "rb", buffering=0)
        self.pid = self._number()

    def _number(self) -> int:
        number = self._told.read(4)
        assert number, "the process that forks servers has ended"
        return int.from_bytes(number, "big", signed=True)

    def poll(self) -> int | None:
        """Return the exit code, the negative number of the signal that ended it, or ``None`` while it runs."""
        if self.returncode is None and select.select([self._told], [], [], 0)[0]:
            return self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. Return what ``poll`` does.

        Raises:
            subprocess.TimeoutExpired: it still runs after this time, in seconds.
        """
        if self.returncode is None:
            if not select.select([self._told], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = self._number()
            self._told.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.send_signal(signal.SIGKILL)
