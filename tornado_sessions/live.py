"""Track and limit the open WebSockets and streams of each session, and close them when the session ends.

The store publishes an event when a session ends; missed events are caught by polling every 30 seconds. It must not know
handlers: it holds weak references to anything with a ``close_for_session()``.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Protocol
from weakref import WeakSet

from tornado_sessions.background import BackgroundLoop
from tornado_sessions.errors import TooManyConnections
from tornado_sessions.record import Event, EventKind

__all__ = ["Closable", "Live"]

logger = logging.getLogger("tornado_sessions")

#: Maximum number of seconds between two checks of an open connection's session.
RECHECK = 30.0
# Seconds between two searches for sessions with a due check.
_TICK = 0.25
# Seconds between an interruption of the store's events and the next attempt to listen.
_RETRY = 1.0
# Seconds until the first check of a session, and until the check after an interruption.
_FIRST_CHECK = 0.5


class Closable(Protocol):
    """An open connection of a session."""

    def close_for_session(self) -> None:
        """Close the connection: its session has ended."""


class Live:
    """The open connections of this process.

    Args:
        events: yields the store's events from the start of the iteration.
        still_live: returns the live ones among the given handles, each with its expiry in UTC seconds. It must not touch them.
        clock: returns the time in UTC seconds.

    Attributes:
        max_per_session, max_in_all: limits of the open connections.
    """

    def __init__(
        self,
        events: Callable[[], AsyncGenerator[Event, None]],
        still_live: Callable[[list[str]], Awaitable[dict[str, float]]],
        clock: Callable[[], float],
    ) -> None:
        self._events = events
        self._still_live = still_live
        self._clock = clock
        self.max_per_session, self.max_in_all = 100, 10_000
        self._open: dict[str, WeakSet[Closable]] = {}
        #: The number of connections in ``_open``, with those garbage-collected since the last tick.
        self._number = 0
        #: Time of each session's next check, in UTC seconds.
        self._due: dict[str, float] = {}
        self._loops = (
            BackgroundLoop(self._listen, _RETRY, "open connections are not notified of ended sessions"),
            BackgroundLoop(self._check_due, _TICK, "open connections cannot be checked"),
        )

    def check_room(self, handle: str) -> None:
        """Raise ``TooManyConnections`` if the session ``handle``, or this process, can have no further connection."""
        if len(self._open.get(handle, ())) >= self.max_per_session:
            raise TooManyConnections(handle, self.max_per_session)
        if self._number >= self.max_in_all:
            raise TooManyConnections("", self.max_in_all)

    def add(self, handle: str, connection: Closable, expires_at: float) -> None:
        """Close ``connection`` when the session ``handle`` ends, at ``expires_at`` (UTC seconds) unless it is used before.

        Raises:
            TooManyConnections: as ``check_room`` does.
        """
        self.check_room(handle)
        self._open.setdefault(handle, WeakSet()).add(connection)
        self._number += 1
        # Check soon: the session may have ended after it was loaded and before we listen to events.
        self._due[handle] = min(expires_at, self._clock() + _FIRST_CHECK)
        for loop in self._loops:
            loop.start()

    def remove(self, handle: str, connection: Closable) -> None:
        """Forget a connection that has closed. Does nothing if it was never added."""
        connections = self._open.get(handle)
        if connections is None or connection not in connections:
            return
        connections.discard(connection)
        self._number -= 1
        if not connections:
            self._open.pop(handle, None)
            self._due.pop(handle, None)

    def end(self, handle: str) -> None:
        """Close every open connection of a session."""
        self._due.pop(handle, None)
        ended = list(self._open.pop(handle, ()))
        self._number -= len(ended)
        for connection in ended:
            try:
                connection.close_for_session()
            except Exception:
                # One connection's failure must not leave the others open or fail the caller that ended the session.
                logger.exception("a connection of session %s could not be closed", handle)

    async def close(self) -> None:
        """Stop listening and checking; open connections stay open."""
        for loop in self._loops:
            await loop.stop()

    async def _listen(self) -> None:
        """Close connections as events arrive, until the event stream breaks."""
        # Sessions may have ended while no listener was connected; the check finds them.
        self._make_all_due(self._clock() + _FIRST_CHECK)
        async with aclosing(self._events()) as events:
            async for event in events:
                if event.kind is EventKind.ENDED_ALL:
                    self._make_all_due(0.0)
                else:
                    self.end(event.handle)

    def _make_all_due(self, at: float) -> None:
        self._due = {handle: min(at, self._due.get(handle, at)) for handle in self._open}

    async def _check_due(self) -> None:
        """Close the connections of due sessions that have ended. During an outage nothing closes and all stay due."""
        now = self._clock()
        for handle in [handle for handle, connections in self._open.items() if not connections]:
            # All its connections were garbage-collected without a call of remove().
            del self._open[handle]
            self._due.pop(handle, None)
        self._number = sum(map(len, self._open.values()))
        due = [handle for handle, at in self._due.items() if at <= now]
        live = await self._still_live(due) if due else {}
        for handle in due:
            if handle in live:
                self._due[handle] = min(live[handle], now + RECHECK)
            else:
                self.end(handle)
