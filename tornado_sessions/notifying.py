"""``NotifyingStore``: tell open connections and listeners which sessions have ended.

It must not know why they end, requests, cookies or secrets.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from functools import partial

from typing_extensions import override

from tornado_sessions.change import is_live
from tornado_sessions.config import SessionConfig
from tornado_sessions.errors import SessionError
from tornado_sessions.live import Live
from tornado_sessions.opened_store import BATCH, OpenedStore
from tornado_sessions.record import Ending, Event, Record, SessionSummary, Tombstone
from tornado_sessions.session_events import E, Ended, Listeners, SessionEvent
from tornado_sessions.stores import Store

__all__ = ["NotifyingStore"]

logger = logging.getLogger("tornado_sessions")

#: Stands for an ended session without a readable tombstone.
_UNKNOWN = SessionSummary(handle="", created_at=0.0, last_seen_at=0.0, expires_at=0.0)


class NotifyingStore(OpenedStore):
    """A store whose ended sessions are reported.

    Attributes:
        live: the open connections of this process, by session.
    """

    def __init__(self, store: Store, config: SessionConfig, clock: Callable[[], float]) -> None:
        super().__init__(store, config, clock)
        self.live = Live(self.events, self._still_live, clock)
        self._listeners = Listeners()

    @override
    async def close(self) -> None:
        self._owner()
        await self.live.close()
        await super().close()
        await self._listeners.close()
        # A request that was still running may have opened a connection since, and listening would open the store again.
        await self.live.close()

    async def _ended(self, handles: list[str], ending: Ending) -> list[str]:
        """Close the connections of ended sessions, report them, and return their handles."""
        for handle in handles:
            self.live.end(handle)
        if handles and self._listeners.want(Ended):
            await self._emit_ended(handles, ending)
        return handles

    async def _emit_ended(self, handles: list[str], ending: Ending) -> None:
        """Emit ``Ended`` for each session, with the user and the device of its tombstone if that can be read."""
        buried: dict[str, SessionSummary] = {}
        try:
            for start in range(0, len(handles), BATCH):
                step = handles[start : start + BATCH]
                loaded = await self._call("load", partial(self.store.load, step, ending.at))
                buried |= {found.handle: found for found in loaded.records if isinstance(found, Tombstone)}
        except SessionError as error:
            # The sessions have ended; only the description of the event suffers.
            logger.warning("ended sessions are reported without their users: %s", error)
        for handle in handles:
            found = buried.get(handle, _UNKNOWN)
            about = SessionEvent(at=ending.at, handle=handle, user=found.user, ip=found.ip, user_agent=found.user_agent)
            self._listeners.emit(Ended(**vars(about), cause=ending.cause, by=ending.by, reason=ending.reason))

    def on(self, kind: type[E], callback: Callable[[E], Awaitable[object] | object]) -> Callable[[], None]:
        """Call back for each event of a type that happens in this process, at most once for each.

        The callback runs after the change is stored, outside the request, one event at a time and in order. An error is
        logged, and the next event follows. At most 1,000 events wait for a callback; later ones are dropped, and their number is
        logged. What waits when the process is killed is lost; ``close`` waits at most five seconds.

        Args:
            kind: ``SignedIn``, ``SignedOut``, ``Ended``, ``EndedAll``, ``Moved``, ``Rotated``, ``TakenOver`` or ``Theft``;
                ``SessionEvent`` for all of them.
            callback: a function or coroutine function, called with the event on the event loop.

        Returns:
            A function that stops the calls.

        Raises:
            UsageError: ``kind`` is no event, or ``callback`` cannot be called.
        """
        return self._listeners.add(kind, callback)

    async def deliver_events(self) -> None:
        """Wait at most five seconds for the callbacks of ``on`` whose events have happened. Slower ones continue."""
        await self._listeners.delivered()

    async def events(self) -> AsyncGenerator[Event, None]:
        """Yield an event within a second for each session that ends from now on, in any process that shares the store.

        Close the iterator (``contextlib.aclosing``) to stop before the store is closed.

        Raises:
            StoreUnavailable: the connection is lost; events are missed until the next iteration starts.
        """
        await self.open()
        async with aclosing(self.store.events()) as events:
            async for event in events:
                yield event

    async def _still_live(self, handles: list[str]) -> dict[str, float]:
        now = self.clock()
        loaded = await self._call("load", lambda: self.store.load(handles, now))
        return {
            found.handle: found.expires_at
            for found in loaded.records
            if isinstance(found, Record) and is_live(found, now, loaded.not_before)
        }
