"""Open WebSockets and streams by the handle of their session, and their closing when it ends.

It must not know handlers: it holds whatever can be told ``close_for_session()``, weakly. A destroy is heard as an event;
whatever was missed is found by asking again, within 30 seconds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Protocol
from weakref import WeakSet

from tornado_sessions.errors import SessionError
from tornado_sessions.record import Event, EventKind

__all__ = ["Closable", "Live"]

logger = logging.getLogger("tornado_sessions")

#: Seconds after which an open connection's session is looked at again, whatever was heard.
RECHECK = 30.0
_RETRY = 1.0
_FIRST_CHECK = 0.5


class Closable(Protocol):
    """Something open that belongs to a session."""

    def close_for_session(self) -> None:
        """Close now: the session has ended."""


class Live:
    """The open connections of this process.

    Args:
        events: gives the store's events, from the moment it is iterated.
        still_live: tells which of these handles are live, and until when (UTC seconds), without touching them.
        clock: the time, in UTC seconds.
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
        self._due: dict[str, float] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def add(self, handle: str, connection: Closable, expires_at: float) -> None:
        """Close ``connection`` when the session ``handle`` ends."""
        self._open.setdefault(handle, WeakSet()).add(connection)
        # Looked at once soon: it may have ended between its load and the first event that is heard.
        self._due[handle] = min(expires_at, self._clock() + _FIRST_CHECK)
        if not self._tasks:
            loop = asyncio.get_running_loop()
            self._tasks = [loop.create_task(self._listen()), loop.create_task(self._recheck())]

    def remove(self, handle: str, connection: Closable) -> None:
        """The connection closed by itself; harmless when it was never added."""
        connections = self._open.get(handle)
        if connections is None:
            return
        connections.discard(connection)
        if not connections:
            self._open.pop(handle, None)
            self._due.pop(handle, None)

    def end(self, handle: str) -> None:
        """Close everything that is open for a session."""
        self._due.pop(handle, None)
        for connection in list(self._open.pop(handle, ())):
            try:
                connection.close_for_session()
            except Exception:
                # One connection's trouble must not keep the others open, nor fail whoever ended the session.
                logger.exception("a connection of session %s could not be closed", handle)

    async def close(self) -> None:
        """Stop listening; open connections stay open."""
        pending, self._tasks = set(self._tasks), []
        while pending:
            for task in pending:
                task.cancel()
            # A driver that is just reconnecting may swallow a cancellation; it is told again.
            _, pending = await asyncio.wait(pending, timeout=0.5)

    async def _listen(self) -> None:
        while True:
            try:
                async with aclosing(self._events()) as told:
                    async for event in told:
                        self._hear(event)
            except SessionError as error:
                logger.warning("events of the store are interrupted: %s", error)
            except Exception:
                # A store of the application's own may raise anything. Without events, nothing would close in time.
                logger.exception("events of the store are interrupted")
            await asyncio.sleep(_RETRY)
            # What ended while nobody listened is found as soon as somebody listens again.
            self._make_all_due(self._clock() + _FIRST_CHECK)

    def _hear(self, event: Event) -> None:
        if event.kind is EventKind.ENDED_ALL:
            self._make_all_due()
        else:
            self.end(event.handle)

    def _make_all_due(self, at: float = 0.0) -> None:
        self._due = dict.fromkeys(self._open, at)

    async def _recheck(self) -> None:
        while True:
            await asyncio.sleep(0.25)
            now = self._clock()
            self._forget_collected()
            due = [handle for handle, at in self._due.items() if at <= now]
            if due:
                await self._ask(due, now)

    def _forget_collected(self) -> None:
        """Drop the handles of connections that are gone without having been removed."""
        for handle in [handle for handle, connections in self._open.items() if not connections]:
            del self._open[handle]
            self._due.pop(handle, None)

    async def _ask(self, handles: list[str], now: float) -> None:
        try:
            live = await self._still_live(handles)
        except SessionError as error:
            # An outage ends nobody's connection; the handles stay due.
            logger.warning("open connections could not be checked: %s", error)
            return
        except Exception:
            logger.exception("open connections could not be checked")
            return
        for handle in handles:
            if handle in live:
                self._due[handle] = min(live[handle], now + RECHECK)
            else:
                self.end(handle)
