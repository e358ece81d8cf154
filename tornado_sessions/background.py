"""``BackgroundLoop``: work that repeats every few seconds until it is stopped. ``OutageLog``: one warning for each outage.

It must not know sessions, stores or what the work is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from tornado_sessions.errors import SessionError

__all__ = ["BackgroundLoop", "OutageLog"]

logger = logging.getLogger("tornado_sessions")

# Seconds. A run that failed after this long had worked until then, so its failure begins a new outage.
_LONG_RUN = 30.0
# Seconds between two cancellations of a run that does not end.
_CANCEL_AGAIN = 0.5


class OutageLog:
    """Logs the first failure of an outage as a warning and the others for debugging only.

    Args:
        consequence: what does not happen while the outage lasts; the error follows it in the message.
    """

    def __init__(self, consequence: str) -> None:
        self._consequence = consequence
        self._is_failing = False

    def failed(self, error: Exception) -> None:
        """Log a failure; with its traceback where the error is none of this package's, which documents its own."""
        level = logging.DEBUG if self._is_failing else logging.WARNING
        self._is_failing = True
        trace = None if isinstance(error, SessionError) else error
        logger.log(level, "%s: %s", self._consequence, error if trace is None else repr(error), exc_info=trace)

    def over(self) -> None:
        """Log the next failure as a warning again."""
        self._is_failing = False


class BackgroundLoop:
    """Runs a coroutine function, waits, and runs it again, until it is stopped.

    A failure ends no loop: it is logged once for each outage, and the next run tries again. Between two runs only a timer is
    pending, so a process that ends without ``stop`` gets no warning from asyncio about a destroyed task.

    Args:
        run: does the work once.
        every: seconds between the end of one run and the start of the next.
        consequence: what does not happen while ``run`` fails, for the log.
    """

    def __init__(self, run: Callable[[], Awaitable[object]], every: float, consequence: str) -> None:
        self._run = run
        self._every = every
        self._outage = OutageLog(consequence)
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def is_started(self) -> bool:
        """Whether it was started and not stopped since."""
        return self._timer is not None

    def start(self, after: float = 0.0) -> None:
        """Start on the running event loop; harmless when it is started.

        Args:
            after: seconds until the first run.
        """
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(after, self._begin)

    async def stop(self) -> None:
        """Cancel the run under way and return when it has ended; harmless when it is not started."""
        while self._task is not None and not self._task.done():
            # A driver that is just reconnecting may swallow a cancellation, so it is repeated.
            self._task.cancel()
            await asyncio.wait([self._task], timeout=_CANCEL_AGAIN)
        timer, self._timer, self._task = self._timer, None, None
        if timer is not None:
            # Last: a run that swallowed its cancellation has set a new one.
            timer.cancel()

    def _begin(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run_once())

    async def _run_once(self) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            await self._run()
        except Exception as error:  # noqa: BLE001 - a store of the application's own may raise anything
            if loop.is_closed():
                # The process ends without stop(), and the interpreter throws away what is still waiting.
                return
            if loop.time() - started >= _LONG_RUN:
                self._outage.over()
            self._outage.failed(error)
        else:
            self._outage.over()
        self._timer = loop.call_later(self._every, self._begin)
