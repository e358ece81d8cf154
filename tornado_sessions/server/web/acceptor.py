"""``Acceptor``: accepts the connections of one listening socket, no faster than they can be used.

Tornado's own loop raises when the process has no descriptors left; the event loop then logs a traceback and calls it again, for
ever. This one pauses and logs once a second. It must not know what is done with a connection.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

__all__ = ["Acceptor"]

logger = logging.getLogger("tornado_sessions")

# Connections per turn of the event loop: requests under way must not wait for a flood of new connections.
_BATCH = 32
# Bytes of a response that the kernel buffers for a client that does not read; the kernel may double the number. By default it would
# buffer up to 4 MB for each connection, and we would work on the next request of a client that does not even read.
_SEND_BUFFER = 64 * 1024
# Connections that the kernel keeps until we accept them; the kernel may allow fewer. Beyond it, people wait a second for
# TCP to retry.
_BACKLOG = 4096
# Seconds to pause after a failure, and while too many connections wait for their turn.
_FAILURE_PAUSE, _FULL_PAUSE = 0.1, 0.002
_LOG_INTERVAL = 1.0


class Acceptor:
    """Accepts connections until ``stop``.

    Args:
        listener: a listening socket that does not block.
        on_connection: gets each connection and the address of its peer.
        has_room: returns whether more connections may wait for their turn. Otherwise they wait in the kernel.
        on_failure: called when accepting fails, to free descriptors.
    """

    def __init__(
        self,
        listener: socket.socket,
        on_connection: Callable[[socket.socket, Any], None],
        has_room: Callable[[], bool],
        on_failure: Callable[[], object],
    ) -> None:
        self._listener, self._on_connection, self._on_failure = listener, on_connection, on_failure
        self._has_room = has_room
        self._loop = asyncio.get_running_loop()
        self._again: asyncio.TimerHandle | None = None
        self._failures, self._logged_at = 0, -_LOG_INTERVAL
        with suppress(OSError):
            # Inherited by its connections.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
            listener.listen(_BACKLOG)
        self._listen()

    def _listen(self) -> None:
        self._again = None
        self._loop.add_reader(self._listener, self._accept)

    def stop(self) -> None:
        """Stop accepting, and close the listening socket."""
        if self._again is not None:
            self._again.cancel()
        self._loop.remove_reader(self._listener)
        self._listener.close()

    def _accept(self) -> None:
        for _ in range(_BATCH):
            if not self._has_room():
                self._pause(_FULL_PAUSE)
                return
            try:
                connection, address = self._listener.accept()
            except BlockingIOError:
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:
                self._report(error)
                self._on_failure()
                self._pause(_FAILURE_PAUSE)
                return
            self._on_connection(connection, address)

    def _report(self, error: OSError) -> None:
        self._failures += 1
        now = self._loop.time()
        if now - self._logged_at >= _LOG_INTERVAL:
            logger.error("no connection can be accepted (%d times since the last line): %s", self._failures, error)
            self._failures, self._logged_at = 0, now

    def _pause(self, seconds: float) -> None:
        self._loop.remove_reader(self._listener)
        self._again = self._loop.call_later(seconds, self._listen)
