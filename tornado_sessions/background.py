"""``BackgroundLoop``: work that repeats every few seconds until it is stopped. ``OutageLog``: one warning for each outage.

It must not know sessions, stores or the kind of work.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextvars import Context
from math import inf

from tornado_sessions.errors import SessionError

__all__ = ["BackgroundLoop", "OutageLog"]

logger = logging.getLogger("tornado_sessions")

# Seconds. A run that fails after this long was working before, so its failure starts a new outage.
_LONG_RUN = 30.0
# Seconds between two cancellations of a run that does not end.
_CANCEL_AGAIN = 0.5


class OutageLog:
    """Logs the first failure of an outage as a warning and later ones at debug level.

    Args:
        consequence: what does not work during the outage; the log message starts with it and ends with the error.

    Attributes:
        is_failing: whether the latest attempt failed.
    """

    def __init__(self, consequence: str) -> None:
        self._consequence = consequence
        self.is_failing = False

    def failed(self, error: Exception) -> None:
        """Log a failure, with a traceback unless it is a ``SessionError``: those are expected and explain themselves."""
        level = logging.DEBUG if self.is_failing else logging.WARNING
        self.is_failing = True
        trace = None if isinstance(error, SessionError) else error
        logger.log(level, "%s: %s", self._consequence, error if trace is None else repr(error), exc_info=trace)

    def over(self) -> None:
        """End the outage: the next failure is logged as a warning again."""
        self.is_failing = False


class BackgroundLoop:
    """Runs a coroutine function, waits, and runs it again, until it is stopped.

    A failure does not end the loop: it is logged once for each outage, and the next run tries again. Between two runs only a
    timer is pending, so a process that exits without ``stop`` gets no warning from asyncio about a destroyed task.

    Args:
        run: does the work once.
        every: seconds between the end of one run and the start of the next.
        consequence: what does not work while ``run`` fails, for the log.
    """

    def __init__(self, run: Callable[[], Awaitable[object]], every: float, consequence: str) -> None:
        self._run = run
        self._every = every
        self._outage = OutageLog(consequence)
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        #: The latest start of the run after the current one, on the event loop's clock.
        self._wake_at = inf

    @property
    def is_started(self) -> bool:
        """Whether the loop was started and has not been stopped since."""
        return self._timer is not None

    def start(self, after: float = 0.0) -> None:
        """Start on the running event loop. Does nothing if the loop is already started.

        Args:
            after: seconds until the first run.
        """
        if self._timer is None:
            self._timer = self._schedule(after)

    def wake(self, after: float = 0.0) -> None:
        """Start the next run in ``after`` seconds, or after the current run, unless it is due earlier. Not if it is stopped."""
        if self._timer is None:
            return
        at = asyncio.get_running_loop().time() + after
        if self._task is not None and not self._task.done():
            self._wake_at = min(self._wake_at, at)
        elif at < self._timer.when():
            self._timer.cancel()
            self._timer = self._schedule(after)

    async def stop(self) -> None:
        """Cancel the current run and wait until it has ended. Does nothing if the loop is not started."""
        while self._task is not None and not self._task.done():
            # A driver may swallow a cancellation while it reconnects, so repeat it.
            self._task.cancel()
            await asyncio.wait([self._task], timeout=_CANCEL_AGAIN)
        timer, self._timer, self._task = self._timer, None, None
        if timer is not None:
            # Cancel the timer last: a run that swallowed its cancellation has just set a new one.
            timer.cancel()

    def _schedule(self, seconds: float) -> asyncio.TimerHandle:
        # A request often starts the loop. Its context variables must not be kept, or named in the log, for as long as it runs.
        return asyncio.get_running_loop().call_later(seconds, self._begin, context=Context())

    def _begin(self) -> None:
        self._wake_at = inf
        self._task = asyncio.get_running_loop().create_task(self._run_once())

    async def _run_once(self) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            await self._run()
        except Exception as error:  # noqa: BLE001 - a store of the application's own may raise anything
            if loop.is_closed():
                # The process exits without stop(), and the interpreter discards the suspended coroutine.
                return
            if loop.time() - started >= _LONG_RUN:
                self._outage.over()
            self._outage.failed(error)
        else:
            self._outage.over()
        self._timer = self._schedule(min(self._every, max(0.0, self._wake_at - loop.time())))
