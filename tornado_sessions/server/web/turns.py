"""``Turns``: hands requests to their handlers a few at a time, one client after the other.

Without it, a turn of the event loop works on every request that has arrived, and everybody waits for all of them. It must not
know HTTP.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextvars import Context, copy_context
from typing import Generic, Protocol, TypeVar

__all__ = ["Turns"]

# Seconds of handlers' work in one turn of the event loop. If the rest of the turn took longer, as long as that: so at least half
# of the time goes to handlers, also when many requests arrive only to be refused.
_BUDGET = 0.005


class _Startable(Protocol):
    def start(self) -> None: ...


_Request = TypeVar("_Request", bound=_Startable)


class Turns(Generic[_Request]):
    """The queue of requests. Create it on the event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        #: The requests of each client; the client whose turn is next comes first. Each has its own context variables, such as its
        #: ID for the log, which must not become those of the request that scheduled the turn.
        self._queues: dict[str, deque[tuple[_Request, Context]]] = {}
        self._is_scheduled = False
        self._ended_at = 0.0

    def add(self, client: str, request: _Request) -> None:
        """Start a request when it is its client's turn."""
        self._queues.setdefault(client, deque()).append((request, copy_context()))
        self._schedule()

    def take_back(self, at_least: int) -> _Request | None:
        """Remove and return the last request of the client that has most of them, if it has at least so many."""
        longest = max(self._queues.values(), key=len, default=deque())
        return longest.pop()[0] if longest and len(longest) >= at_least else None

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._serve, context=Context())

    def _serve(self) -> None:
        self._is_scheduled = False
        now = time.perf_counter()
        end = now + max(_BUDGET, min(now - self._ended_at, 20 * _BUDGET))
        while self._queues and time.perf_counter() < end:
            client = next(iter(self._queues))
            queue = self._queues.pop(client)
            if queue:
                request, context = queue.popleft()
                if queue:
                    # Back to the end of the line.
                    self._queues[client] = queue
                context.run(request.start)
        self._ended_at = time.perf_counter()
        if self._queues:
            self._schedule()
