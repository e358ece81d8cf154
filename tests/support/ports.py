"""Ports for servers that have to know theirs before they start, or come back at the same one."""

from __future__ import annotations

import secrets
import socket
from contextlib import suppress


def free_port() -> int:
    """Return a port that nobody listens on.

    It is below those that the system gives to clients, one of which could take it before its server starts, or while it is
    restarted. A cluster node takes another port, 10,000 above it.
    """
    for _ in range(100):
        port = 10_000 + secrets.randbelow(10_000)
        if _is_free(port) and _is_free(port + 10_000):
            return port
    raise RuntimeError("no free port")


def _is_free(port: int) -> bool:
    with socket.socket() as probe, suppress(OSError):
        probe.bind(("127.0.0.1", port))
        return True
    return False
