"""Typed events for applications, and ``Listeners``, which calls back for them outside the requests that cause them.

Each callback has a queue and a task of its own, so a slow or failing one delays neither a request nor another callback. It must
not know how sessions are stored or what causes an event.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from dataclasses import dataclass
from typing import Any, TypeVar

from tornado_sessions.errors import UsageError
from tornado_sessions.record import Cause

__all__ = [
    "Ended", "EndedAll", "Listeners", "Moved", "Rotated", "SessionEvent", "SignedIn", "SignedOut", "TakenOver", "Theft",
]  # fmt: skip

logger = logging.getLogger("tornado_sessions")

#: Maximum number of events that wait for one callback.
MAX_WAITING = 1000
#: Seconds that ``close`` waits for callbacks.
_CLOSE_TIMEOUT = 5.0


@dataclass(frozen=True, kw_only=True)
class SessionEvent:
    """Something that happened to a session in this process. The base of all events.

    Attributes:
        at: when, in UTC seconds.
        handle: of the session; empty for ``EndedAll``.
        user: the id of its user; ``None`` for a visitor.
        ip, user_agent: of the request that caused the event; of ``Ended``, the session's latest.
    """

    at: float
    handle: str = ""
    user: str | None = None
    ip: str = ""
    user_agent: str = ""


@dataclass(frozen=True, kw_only=True)
class SignedIn(SessionEvent):
    """A user signed in. The session is stored, and the old token no longer works."""


@dataclass(frozen=True, kw_only=True)
class SignedOut(SessionEvent):
    """A user signed out. ``Ended`` reports the end of the session as well."""


@dataclass(frozen=True, kw_only=True)
class Moved(SessionEvent):
    """A user's session was used from another IP address. ``previous_ip`` is the one before."""

    previous_ip: str


@dataclass(frozen=True, kw_only=True)
class TakenOver(SessionEvent):
    """A session of another system has moved here; see ``takeover``."""


@dataclass(frozen=True, kw_only=True)
class Rotated(SessionEvent):
    """A session has a new token: after a sign-in, by time, or because a handler asked for it."""


@dataclass(frozen=True, kw_only=True)
class Theft(SessionEvent):
    """A replaced token was presented, a sign of theft. Reported once for each rotation and process.

    ``ip`` and ``user_agent`` are those of whoever presented it.
    """


@dataclass(frozen=True, kw_only=True)
class Ended(SessionEvent):
    """This process ended a live session. A session that ends by time is reported by ``Sessions.events`` only.

    Attributes:
        cause: the kind of end.
        by: id of the user who ended it.
        reason: the operator's explanation.
    """

    cause: Cause
    by: str | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class EndedAll(SessionEvent):
    """This process ended all sessions at once; there is no ``Ended`` for each.

    Attributes:
        cause, by, reason: as of ``Ended``.
    """

    cause: Cause
    by: str | None = None
    reason: str = ""


E = TypeVar("E", bound=SessionEvent)


class _Listener:
    """A callback with the events that wait for it."""

    def __init__(
        self,
        kind: type[SessionEvent],
        callback: Callable[[Any], Awaitable[object] | object],
        tasks: dict[asyncio.Task[None], _Listener],
    ) -> None:
        self.kind = kind
        self._callback = callback
        self._tasks = tasks
        self._waiting: deque[tuple[SessionEvent, Context]] = deque()
        self._dropped = 0
        self._running: asyncio.Future[object] | None = None
        self._task: asyncio.Task[None] | None = None

    def put(self, event: SessionEvent) -> None:
        if len(self._waiting) >= MAX_WAITING:
            self._dropped += 1
            return
        self._waiting.append((event, copy_context()))
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._call(), context=Context())
            self._tasks[self._task] = self
            self._task.add_done_callback(self._tasks.pop)

    def is_running(self, task: asyncio.Task[Any] | None) -> bool:
        """Return whether this task is the one that runs the callback."""
        return task is not None and task in (self._task, self._running)

    async def _call(self) -> None:
        while self._waiting:
            event, context = self._waiting.popleft()
            try:
                # In the context of the event, so that what a callback logs or stores names the request that caused it.
                found = context.run(self._callback, event)
                if isinstance(found, Awaitable):
                    self._running = context.run(asyncio.ensure_future, found)
                    await self._running
            except Exception:
                logger.exception(
                    "a callback failed for %s of session %s", type(event).__name__, event.handle or "(all)"
                )
        if self._dropped:
            logger.error("a callback for %s was too slow: %d events were dropped", self.kind.__name__, self._dropped)
            self._dropped = 0


class Listeners:
    """The callbacks of an application, each for one type of event."""

    def __init__(self) -> None:
        self._all: tuple[_Listener, ...] = ()
        #: The running callbacks, including those of listeners that have been removed.
        self._tasks: dict[asyncio.Task[None], _Listener] = {}

    def add(self, kind: type[E], callback: Callable[[E], Awaitable[object] | object]) -> Callable[[], None]:
        """Call back for each event of a type. Return a function that stops this.

        Raises:
            UsageError: ``kind`` is no event, or ``callback`` cannot be called.
        """
        given: object = kind
        if not (isinstance(given, type) and issubclass(given, SessionEvent)):
            raise UsageError("on() takes a type of event, such as SignedIn")
        if not callable(callback):
            raise UsageError(f"on() takes a function that is called with the event, not {type(callback).__name__}")
        listener = _Listener(kind, callback, self._tasks)
        self._all += (listener,)

        def stop() -> None:
            self._all = tuple(one for one in self._all if one is not listener)

        return stop

    def want(self, kind: type[SessionEvent]) -> bool:
        """Return whether an event of this type has a callback."""
        return any(issubclass(kind, listener.kind) for listener in self._all)

    def emit(self, event: SessionEvent) -> None:
        """Call all callbacks for this event, soon."""
        for listener in self._all:
            if isinstance(event, listener.kind):
                listener.put(event)

    async def delivered(self) -> set[asyncio.Task[None]]:
        """Wait at most five seconds for the callbacks of events that have happened. Return the tasks that need longer."""
        # A callback that closes the sessions must not wait for itself.
        current = asyncio.current_task()
        tasks = [task for task, listener in self._tasks.items() if not listener.is_running(current)]
        return (await asyncio.wait(tasks, timeout=_CLOSE_TIMEOUT))[1] if tasks else set()

    async def close(self) -> None:
        """Wait as ``delivered`` does, then cancel the callbacks that need longer."""
        late = await self.delivered()
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=_CLOSE_TIMEOUT)
            logger.error("callbacks did not end within %g s; %d were cancelled", _CLOSE_TIMEOUT, len(late))
