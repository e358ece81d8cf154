"""``OpenedStore``: a store that opens at first use, with a deadline for each call and a loop that removes expired sessions.

It must not know requests or the content of sessions.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any, NamedTuple, TypeVar

from tornado_sessions.background import BackgroundLoop
from tornado_sessions.config import SessionConfig
from tornado_sessions.errors import StoreError, StoreUnavailable, UsageError
from tornado_sessions.record import Swapped
from tornado_sessions.stores import Store

__all__ = ["BATCH", "OPERATIONS", "OpenedStore", "StoreCall"]

T = TypeVar("T")

logger = logging.getLogger("tornado_sessions")


class _Process:
    """Counts forks, which costs a request nothing; asking the system for the number of the process would be a system call."""

    forks = 0

    @classmethod
    def count_fork(cls) -> None:
        cls.forks += 1


os.register_at_fork(after_in_child=_Process.count_fork)

#: Number of sessions that one call of the store ends or removes.
BATCH = 500
#: Seconds between two removals of expired sessions.
PRUNE_EVERY = 60.0
#: The methods of a store that ``StoreCall.operation`` names.
OPERATIONS = ("load", "save", "find", "count", "destroy", "destroy_user", "end_all", "expire", "swap", "ping")


class StoreCall(NamedTuple):
    """One finished call of the store, for metrics.

    Attributes:
        operation: the method of the store, one of ``OPERATIONS``.
        seconds: its duration.
        items: the number of sessions asked for or changed together; 1 for calls that take no batch.
        failed: the number of these for which the store did not answer.
        ended: the number of sessions that it ended or, for ``expire``, removed. ``end_all`` does not count.
    """

    operation: str
    seconds: float
    items: int
    failed: int
    ended: int = 0


class OpenedStore:
    """A store that belongs to one event loop and one process.

    These are the ones that first use it, until ``close()``. On any other, every method raises ``UsageError``.

    Args:
        store: holds the sessions.
        config: for ``keep_ended_for`` and ``store_timeout``.
        clock: returns the time in UTC seconds.
    """

    def __init__(self, store: Store, config: SessionConfig, clock: Callable[[], float]) -> None:
        self.store = store
        self.config = config
        self.clock = clock
        #: Whether the store is open, through ``open()`` or its first use.
        self.is_open = False
        #: The number of calls without an answer; counted only while somebody measures.
        self.calling = 0
        self._meters: tuple[Callable[[StoreCall], object], ...] = ()
        self._opening: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._pruning = BackgroundLoop(self.prune, PRUNE_EVERY, "expired sessions are not removed yet")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._forks = 0

    def _owner(self) -> asyncio.AbstractEventLoop:
        """Return the running event loop. Raise ``UsageError`` if another loop or process opened the store.

        Connections, threads and futures of a store belong to one loop and one process. On another they would hang, or mix up
        the answers of two processes.
        """
        # Check the process first: a child that was forked inside a coroutine has no running loop.
        if self._forks != _Process.forks and self._loop is not None:
            raise UsageError(
                "this Sessions was opened before a fork: create and open one in each process, after the fork"
            )
        running = asyncio.get_running_loop()
        if running is not self._loop and self._loop is not None:
            raise UsageError(
                "this Sessions was opened on another event loop: create one for each loop, or await close() on the first"
            )
        return running

    async def open(self) -> None:
        """Open the store. Does nothing if it is open. Calling it is optional: the first use opens the store too.

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
            self._loop, self._forks = asyncio.get_running_loop(), _Process.forks
            self._opening = self._loop.create_task(self._open())
        # Shielded: a cancelled request must not cancel the opening that other requests wait for.
        await asyncio.shield(self._opening)

    async def _open(self) -> None:
        await self.store.open()
        self.is_open = True
        # Randomised, so the processes that share a store do not all prune in the same second.
        self._pruning.start(after=PRUNE_EVERY * random.uniform(0.5, 1.5))

    async def close(self) -> None:
        """Finish running calls and close the store. Does nothing if it is closed.

        The store can be opened again afterwards, also on another event loop. A use during ``close`` opens it again.

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
        """Check that the store answers. Raises ``StoreUnavailable`` if it does not."""
        await self._call("ping", self.store.ping)

    async def swap(self, name: str, expected: bytes | None, value: bytes | None, keep_until: float) -> Swapped:
        """Call ``Store.swap`` within the deadline. Raises ``StoreUnavailable``."""
        return await self._call("swap", lambda: self.store.swap(name, expected, value, keep_until))

    async def prune(self) -> int:
        """Remove expired sessions in small steps. A background loop also does this about once a minute.

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
        return await self._call("expire", lambda: self.store.expire(self.clock(), kept_for, BATCH))

    def measure(self, callback: Callable[[StoreCall], object]) -> Callable[[], None]:
        """Call back after each call of the store, for metrics. It happens within the request, so it must be fast.

        Args:
            callback: a function; an error is logged.

        Returns:
            A function that stops the calls.
        """
        self._meters += (callback,)

        def stop() -> None:
            self._meters = tuple(one for one in self._meters if one is not callback)

        return stop

    async def _call(self, operation: str, call: Callable[[], Awaitable[T]]) -> T:
        """Open the store if necessary, and run one call within the deadline."""
        await self.open()
        deadline = self.config.seconds("store_timeout")
        try:
            async with asyncio.timeout(deadline):
                return await self._observed(operation, call)
        except TimeoutError:
            raise StoreUnavailable(self.store.backend, f"no answer within {deadline:g} s") from None

    async def _observed(self, operation: str, call: Callable[[], Awaitable[T]], items: int = 1) -> T:
        """Run one call and report it to the meters. The answer to a batch may contain errors of single items."""
        if not self._meters:
            return await call()
        start, failed, ended = perf_counter(), items, 0
        self.calling += 1
        try:
            answer = await call()
            failed = sum(isinstance(one, StoreError) for one in answer) if isinstance(answer, list) else 0
            ended = _ended_by(operation, answer)
            return answer
        finally:
            self.calling -= 1
            # A call cut by its deadline is cancelled: it is reported as failed, too.
            self._report(StoreCall(operation, perf_counter() - start, items, failed, ended))

    def _report(self, call: StoreCall) -> None:
        for callback in self._meters:
            try:
                callback(call)
            except Exception:
                logger.exception("a callback that measures failed")


def _ended_by(operation: str, answer: Any) -> int:
    if operation == "expire":
        return int(answer)
    return len(answer) if operation in ("destroy", "destroy_user") else 0
