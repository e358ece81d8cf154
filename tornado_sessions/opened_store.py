"""``OpenedStore``: a store that opens at first use, and whose calls have a deadline.

It must not know requests, or what is stored. It removes expired sessions by itself.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tornado_sessions.background import BackgroundLoop
from tornado_sessions.config import SessionConfig
from tornado_sessions.errors import StoreUnavailable, UsageError
from tornado_sessions.record import Swapped
from tornado_sessions.stores import Store

__all__ = ["BATCH", "OpenedStore"]

T = TypeVar("T")

#: Number of sessions that one call of the store ends or removes.
BATCH = 500
#: Seconds between two removals of expired sessions.
PRUNE_EVERY = 60.0


class OpenedStore:
    """A store in use.

    It belongs to the event loop and the process that first use it, until ``close()``. Anywhere else every method raises
    ``UsageError``.

    Args:
        store: holds the sessions.
        config: how long an ending is remembered, and how long the store may take.
        clock: returns the time in UTC seconds.
    """

    #: Called with the number of sessions that this process has just ended; for metrics.
    on_ended: Callable[[int], None] | None = None

    def __init__(self, store: Store, config: SessionConfig, clock: Callable[[], float]) -> None:
        self.store = store
        self.config = config
        self.clock = clock
        #: Whether the store has been opened, by ``open()`` or by its first use, and not closed since.
        self.is_open = False
        self._opening: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._pruning = BackgroundLoop(self.prune, PRUNE_EVERY, "expired sessions are not removed yet")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0

    def _owner(self) -> asyncio.AbstractEventLoop:
        """Return the running event loop if it opened the store; raise ``UsageError`` otherwise.

        Connections, threads and futures of a store belong to one loop and one process. Elsewhere they would hang, or mix up the
        answers of two processes.
        """
        opened = self._loop
        # The process is checked first: a child that was forked inside a coroutine has no running loop.
        if opened is not None and self._pid != os.getpid():
            raise UsageError(
                "this Sessions was opened before a fork: create and open one in each process, after the fork"
            )
        running = asyncio.get_running_loop()
        if opened is not None and opened is not running:
            raise UsageError(
                "this Sessions was opened on another event loop: create one for each loop, or await close() on the first"
            )
        return running

    async def open(self) -> None:
        """Open the store; harmless if it is open. If it is never called, the first use opens the store.

        Raises:
            StoreUnavailable: the store cannot be reached; the next call tries again.
            StoreMismatch: this version cannot use the store.
            UsageError: it was opened on another event loop, or before a fork.
        """
        self._owner()
        if self.is_open:
            return
        while self._closing is not None:
            # A use during close() is the first one after it. Opened in the middle, the store would stay open without an owner.
            await asyncio.wait([self._closing])
        if self._opening is None or (self._opening.done() and (self._opening.cancelled() or self._opening.exception())):
            self._loop, self._pid = asyncio.get_running_loop(), os.getpid()
            self._opening = self._loop.create_task(self._open())
        # Shielded: a request that is cancelled does not cancel the opening that others wait for.
        await asyncio.shield(self._opening)

    async def _open(self) -> None:
        await self.store.open()
        self.is_open = True
        # Spread out, so that the processes of one store do not all prune in the same second.
        self._pruning.start(after=PRUNE_EVERY * random.uniform(0.5, 1.5))

    async def close(self) -> None:
        """Finish what is in progress and close the store; harmless if it is closed.

        It can be opened again afterwards, on another event loop too. A use during ``close`` opens it again.

        Raises:
            UsageError: it was opened on another event loop, or before a fork.
        """
        loop = self._owner()
        if self._closing is None:
            self._closing = loop.create_task(self._close())
        # Shielded: if this call is cancelled, the store is not left half closed.
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        try:
            if self._opening is not None:
                await asyncio.gather(self._opening, return_exceptions=True)
            self.is_open = False
            await self._pruning.stop()
            self._opening = None
            await self.store.close()
            self._loop = None
        finally:
            self._closing = None

    async def ping(self) -> None:
        """Wait for an answer of the store. Raises ``StoreUnavailable``."""
        await self._call(self.store.ping)

    async def swap(self, name: str, expected: bytes | None, value: bytes | None, keep_until: float) -> Swapped:
        """Call ``Store.swap`` within the deadline. Raises ``StoreUnavailable``."""
        return await self._call(lambda: self.store.swap(name, expected, value, keep_until))

    async def prune(self) -> int:
        """Remove expired sessions in small steps. This also happens by itself, about once a minute.

        Returns:
            The number of removed sessions.

        Raises:
            StoreUnavailable: the store does not answer; the next call continues.
        """
        removed = 0
        while True:
            step = await self.prune_some()
            removed += step
            if step < BATCH:
                return removed
            await asyncio.sleep(0)

    async def prune_some(self) -> int:
        """Run one step of ``prune``. Return the number of removed sessions; 0 if none is left."""
        kept_for = self.config.seconds("keep_ended_for")
        removed = await self._call(lambda: self.store.expire(self.clock(), kept_for, BATCH))
        self._report_ended(removed)
        return removed

    def _report_ended(self, many: int) -> None:
        if many and self.on_ended is not None:
            self.on_ended(many)

    async def _call(self, call: Callable[[], Awaitable[T]]) -> T:
        """Open the store if necessary, and run one call of it within the deadline."""
        await self.open()
        deadline = self.config.seconds("store_timeout")
        try:
            async with asyncio.timeout(deadline):
                return await call()
        except TimeoutError:
            raise StoreUnavailable(self.store.backend, f"no answer within {deadline:g} s") from None
