"""Open WebSockets and streams by the handle of their session, and their closing when it ends.

The end of a session is heard as an event of the store; missed events are caught by polling every 30 seconds. It must not know
handlers: it holds anything that has ``close_for_session()``, weakly.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Protocol
from weakref import WeakSet

from tornado_sessions.background import BackgroundLoop
from tornado_sessions.record import Event, EventKind

__all__ = ["Closable", "Live"]

logger = logging.getLogger("tornado_sessions")

#: Maximum number of seconds between two checks of an open connection's session.
RECHECK = 30.0
# Seconds between two looks for connections whose check is due.
_TICK = 0.25
# Seconds until the store's events are listened to again after an interruption.
_RETRY = 1.0
# Seconds after which a connection's session is first checked, and checked again after an interruption.
_FIRST_CHECK = 0.5


class Closable(Protocol):
    """Something open that belongs to a session."""

    def close_for_session(self) -> None:
        """Close now: the session has ended."""


class Live:
    """The open connections of this process.

    Args:
        events: yields the store's events from the moment it is iterated.
        still_live: returns those of the given handles that are live, each with its end in UTC seconds, without touching them.
        clock: returns the time in UTC seconds.
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
        self._open: dict[str, WeakSet[Closable]] = {}
        #: When each session is to be checked, in UTC seconds.
        self._due: dict[str, float] = {}
        self._loops = (
            BackgroundLoop(self._listen, _RETRY, "open connections do not hear of ended sessions"),
            BackgroundLoop(self._check_due, _TICK, "open connections cannot be checked"),
        )

    def add(self, handle: str, connection: Closable, expires_at: float) -> None:
        """Close ``connection`` when the session ``handle`` ends, at ``expires_at`` (UTC seconds) unless it is used."""
        self._open.setdefault(handle, WeakSet()).add(connection)
        # Checked soon: the session may have ended after it was loaded and before the first event is heard.
        self._due[handle] = min(expires_at, self._clock() + _FIRST_CHECK)
        for loop in self._loops:
            loop.start()

    def remove(self, handle: str, connection: Closable) -> None:
        """Forget a connection that closed by itself; harmless when it was never added."""
        connections = self._open.get(handle)
        if connections is None:
            return
        connections.discard(connection)
        if not connections:
            self._open.pop(handle, None)
            self._due.pop(handle, None)

    def end(self, handle: str) -> None:
        """Close every open connection of a session."""
        self._due.pop(handle, None)
        for connection in list(self._open.pop(handle, ())):
            try:
                connection.close_for_session()
            except Exception:
                # One connection's failure must not keep the others open, nor fail the caller who ended the session.
                logger.exception("a connection of session %s could not be closed", handle)

    async def close(self) -> None:
        """Stop listening; open connections stay open."""
        for loop in self._loops:
            await loop.stop()

    async def _listen(self) -> None:
        """Close connections as events arrive, until the store interrupts them."""
        # Sessions that ended while nobody listened are found by a check.
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
        """Close the connections of due sessions that are no longer live. During an outage nothing closes and all stay due."""
        now = self._clock()
        for handle in [handle for handle, connections in self._open.items() if not connections]:
            # Its connections were collected without having been removed.
            del self._open[handle]
            self._due.pop(handle, None)
        due = [handle for handle, at in self._due.items() if at <= now]
        live = await self._still_live(due) if due else {}
        for handle in due:
            if handle in live:
                self._due[handle] = min(live[handle], now + RECHECK)
            else:
                self.end(handle)
