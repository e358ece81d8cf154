"""``memory://``: sessions in a dict of this process, for tests and development. They are lost with the process.

It must not know how its indexes are updated (``data``) or read (``lists``).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Sequence
from itertools import islice
from urllib.parse import urlsplit

from typing_extensions import override

from tornado_sessions.change import apply, as_of, is_live
from tornado_sessions.errors import ConfigError
from tornado_sessions.query import Count, Page, Query
from tornado_sessions.record import (
    Change,
    Conflict,
    Create,
    Ending,
    Event,
    EventKind,
    Loaded,
    Outcome,
    Record,
    Swapped,
)
from tornado_sessions.stores import paging
from tornado_sessions.stores.base import FAR_AHEAD, FAR_AT_ONCE, Found, Store
from tornado_sessions.stores.memory.data import MemoryData
from tornado_sessions.stores.memory.lists import MemoryReader

__all__ = ["MemoryData", "MemoryStore"]


class MemoryStore(Store):
    """Keeps sessions in memory.

    Args:
        data: of another ``MemoryStore``, to share its sessions.
    """

    backend = "memory"

    def __init__(self, data: MemoryData | None = None) -> None:
        self.data = data or MemoryData()
        self._queues: set[asyncio.Queue[Event | None]] = set()
        self._closed = False

    @classmethod
    def from_url(cls, url: str) -> MemoryStore:
        """Return an empty store. Raises ``ConfigError`` unless the URL is ``memory://``."""
        parts = urlsplit(url)
        if parts.netloc or parts.path.strip("/") or parts.query:
            raise ConfigError("memory:// takes no host, path or query")
        return cls()

    @override
    async def open(self) -> None:
        self._closed = False

    @override
    async def close(self) -> None:
        self._closed = True
        for queue in self._queues:
            queue.put_nowait(None)

    @override
    async def ping(self) -> None:
        """Memory always answers."""

    @override
    async def load(self, handles: Sequence[str], now: float) -> Loaded:
        return Loaded([as_of(self.peek(handle)[0], now) for handle in handles], self.data.not_before)

    @override
    def peek(self, handle: str) -> Found:
        data = self.data
        return data.records.get(handle) or data.tombstones.get(handle), data.not_before

    @override
    async def save(self, changes: Sequence[Create | Change]) -> list[Outcome | Conflict | Exception]:
        return [self._create(item) if isinstance(item, Create) else self._change(item) for item in changes]

    def _create(self, create: Create) -> Outcome:
        record, data = create.record, self.data
        if record.handle in data.records or record.handle in data.tombstones or record.created_at < data.not_before:
            return Outcome.GONE
        data.put(record)
        return Outcome.SAVED

    def _change(self, change: Change) -> Outcome | Conflict:
        record = self.data.records.get(change.handle)
        if record is None or not is_live(record, change.now, self.data.not_before):
            return Outcome.GONE
        applied = apply(change, record)
        if isinstance(applied, Conflict):
            return applied
        if change.is_of_values_only:
            self.data.records[change.handle] = applied
        else:
            self.data.put(applied)
        return Outcome.SAVED

    @override
    async def destroy(self, handles: Sequence[str], ending: Ending) -> list[str]:
        return [handle for handle in dict.fromkeys(handles) if self.data.end(handle, ending)]

    @override
    async def destroy_user(
        self, user: str, ending: Ending, except_handle: str | None = None, at_most: int | None = None
    ) -> list[str]:
        names = (name for name in self.data.handles_of(user) if name != except_handle)
        return list(islice((name for name in names if self.data.end(name, ending)), at_most))

    @override
    async def take(self, handle: str, ending: Ending) -> Record | None:
        return self.data.end(handle, ending, quietly=True)

    @override
    async def end_all(self, not_before: float | None, ending: Ending) -> float:
        data = self.data
        if not_before is None:
            latest = self._end_far_ahead(ending)
            newest = data.newest(latest)
            # For times far in the future, a microsecond is below the precision of a float.
            after = max(newest + 1e-6, math.nextafter(newest, math.inf)) if newest is not None else ending.at
            not_before = max(ending.at, after, data.not_before)
        elif not_before <= data.not_before:
            return data.not_before
        data.not_before, data.ended_all = not_before, ending
        data.set_aside()
        kind = EventKind.ENDED_ALL
        data.publish(Event(kind=kind, handle="", at=not_before, cause=ending.cause, by=ending.by))
        return not_before

    def _end_far_ahead(self, ending: Ending) -> float:
        """End the sessions with an implausible creation time, far ahead. Return the latest plausible time."""
        latest = ending.at + FAR_AHEAD
        far = self.data.created_after(latest, FAR_AT_ONCE)
        for handle in far:
            self.data.end(handle, ending)
        return latest if len(far) < FAR_AT_ONCE else math.inf

    @override
    async def swap(self, name: str, expected: bytes | None, value: bytes | None, keep_until: float) -> Swapped:
        current, _ = self.data.cells.get(name, (None, 0.0))
        if current != expected:
            return Swapped(False, current)
        if value is None:
            self.data.cells.pop(name, None)
        else:
            self.data.cells[name] = value, keep_until
        return Swapped(True, value)

    @override
    async def find(self, query: Query) -> Page:
        return paging.run(paging.find(query), MemoryReader(self.data, query))

    @override
    async def count(self, query: Query) -> Count:
        return paging.run(paging.count(query), MemoryReader(self.data, query))

    @override
    async def expire(self, now: float, ending_kept_for: float, limit: int = 500) -> int:
        data = self.data
        for handle in [handle for handle, item in data.tombstones.items() if item.ending.keep_until <= now]:
            del data.tombstones[handle]
        for name in [name for name, (_, keep_until) in data.cells.items() if keep_until <= now]:
            del data.cells[name]
        return data.expire(now, now + ending_kept_for, limit)

    @override
    async def events(self) -> AsyncGenerator[Event, None]:
        if self._closed:
            return
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self.data.listeners.add(queue)
        self._queues.add(queue)
        try:
            while (event := await queue.get()) is not None:
                yield event
        finally:
            self.data.listeners.discard(queue)
            self._queues.discard(queue)
