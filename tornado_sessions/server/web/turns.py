"""``Turns``: decides what comes next when many clients want something at once: new connections, or complete requests.

Without it, the event loop would start everything that has arrived before it continues with what is in progress, and everybody
would wait for all of it. It must not know HTTP.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from contextvars import Context, copy_context
from itertools import islice
from typing import Generic, Protocol, TypeVar

__all__ = ["Turns"]

# Seconds after which the counted items of each client are halved.
_HALF_LIFE = 1.0
# Maximum number of clients searched for the one that has had the least: more would take too long.
_LOOKED_AT = 1024
# A client that has had at most this much recently is modest: a person whose browser loads a page.
_MODEST = 32


class _Startable(Protocol):
    def start(self) -> None: ...


_Item = TypeVar("_Item", bound=_Startable)


class Turns(Generic[_Item]):
    """A queue that is fair between clients. Create it on the event loop.

    In each turn of the event loop it starts a few items, alternately of the client that has recently had the least, so that a
    person comes before a crowd, and of the client that has waited longest, so that many small clients do not starve a large one,
    such as an office behind one address.

    Args:
        number: items to start in a turn. It is small, because everything that they start runs before other work continues.
        is_hurried: returns whether work for a modest client is in progress, which needs several turns of the event loop.
        pause: seconds between two items of crowds in a hurry.
    """

    def __init__(self, number: int, is_hurried: Callable[[], bool], pause: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._number, self._is_hurried, self._pause = number, is_hurried, pause
        #: The items of each client; the client that was served longest ago comes first. Each has its own context variables, such
        #: as its ID for the log, which must not become those of the item that scheduled the turn.
        self._queues: dict[str, deque[tuple[_Item, Context]]] = {}
        self._had: Counter[str] = Counter()
        self._halved_at = self._loop.time()
        self._next: asyncio.Handle | None = None
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting

    def add(self, client: str, item: _Item) -> None:
        """Start an item when it is its client's turn."""
        self._queues.setdefault(client, deque()).append((item, copy_context()))
        self._waiting += 1
        if self._next is None or self.is_modest(client):
            self._schedule()

    def is_modest(self, client: str) -> bool:
        """Return whether a client has had little recently."""
        return self._had[client] <= _MODEST

    def take_back(self, at_least: int) -> _Item | None:
        """Remove and return the last item of the client that has most of them, if it has at least this many."""
        client = max(self._queues, key=lambda name: len(self._queues[name]), default="")
        if len(self._queues.get(client, ())) < max(1, at_least):
            return None
        return self._take(client, last=True)[0]

    def start_all(self) -> None:
        """Start everything that waits."""
        while self._queues:
            self._start(next(iter(self._queues)))

    def _schedule(self, seconds: float = 0.0) -> None:
        if isinstance(self._next, asyncio.TimerHandle):
            self._next.cancel()
            self._next = None
        if self._next is None:
            context = Context()
            self._next = (
                self._loop.call_later(seconds, self._serve, context=context)
                if seconds
                else self._loop.call_soon(self._serve, context=context)
            )

    def _serve(self) -> None:
        self._next = None
        self._forget()
        for number in range(min(self._number, self._waiting)):
            client = min(islice(self._queues, _LOOKED_AT), key=self._had.__getitem__)
            if not self.is_modest(client) and self._is_hurried():
                if not number:
                    self._start(next(iter(self._queues)))
                self._schedule(self._pause)
                return
            self._start(next(iter(self._queues)) if number % 2 else client)
        if self._queues:
            self._schedule()

    def _start(self, client: str) -> None:
        item, context = self._take(client)
        self._had[client] += 1
        if client in self._queues:
            # Back to the end of the line.
            self._queues[client] = self._queues.pop(client)
        context.run(item.start)

    def _take(self, client: str, *, last: bool = False) -> tuple[_Item, Context]:
        queue = self._queues[client]
        self._waiting -= 1
        taken = queue.pop() if last else queue.popleft()
        if not queue:
            del self._queues[client]
        return taken

    def _forget(self) -> None:
        now = self._loop.time()
        if now - self._halved_at >= _HALF_LIFE:
            self._had = Counter({client: many // 2 for client, many in self._had.items() if many > 1})
            self._halved_at = now
