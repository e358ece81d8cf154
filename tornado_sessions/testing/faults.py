"""Stores that fail on demand: wrappers around a real one, for tests of what happens then.

It must not know what is stored. Each passes every call on, and only adds its fault.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Sequence

from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.query import Count, Page, Query
from tornado_sessions.record import Change, Conflict, Create, Ending, Event, Loaded, Outcome, Record, Swapped
from tornado_sessions.stores.base import Diagnosis, Store

__all__ = ["CuttingStore", "FailingStore", "SlowStore", "WrappedStore"]


class WrappedStore(Store):
    """Passes every call on and counts it.

    Args:
        store: the real one.

    Attributes:
        calls: how often each method was called.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.backend = store.backend
        self.calls: Counter[str] = Counter()

    async def before(self, method: str) -> None:
        """What happens before a call is passed on."""
        self.calls[method] += 1

    async def after(self, method: str) -> None:
        """What happens after the store has answered."""

    async def open(self) -> None:
        """Passed on."""
        await self.store.open()

    async def close(self) -> None:
        """Passed on."""
        await self.store.close()

    async def ping(self) -> None:
        """Passed on."""
        await self.before("ping")
        await self.store.ping()
        await self.after("ping")

    async def diagnose(self) -> Diagnosis:
        """Passed on."""
        await self.before("diagnose")
        answer = await self.store.diagnose()
        await self.after("diagnose")
        return answer

    async def load(self, handles: Sequence[str], now: float) -> Loaded:
        """Passed on."""
        await self.before("load")
        answer = await self.store.load(handles, now)
        await self.after("load")
        return answer

    async def save(self, changes: Sequence[Create | Change]) -> list[Outcome | Conflict | Exception]:
        """Passed on."""
        await self.before("save")
        answer = await self.store.save(changes)
        await self.after("save")
        return answer

    async def destroy(self, handles: Sequence[str], ending: Ending) -> list[str]:
        """Passed on."""
        await self.before("destroy")
        answer = await self.store.destroy(handles, ending)
        await self.after("destroy")
        return answer

    async def destroy_user(self, user: str, ending: Ending, except_handle: str | None = None) -> list[str]:
        """Passed on."""
        await self.before("destroy_user")
        answer = await self.store.destroy_user(user, ending, except_handle)
        await self.after("destroy_user")
        return answer

    async def take(self, handle: str, ending: Ending) -> Record | None:
        """Passed on."""
        await self.before("take")
        answer = await self.store.take(handle, ending)
        await self.after("take")
        return answer

    async def end_all(self, not_before: float | None, ending: Ending) -> float:
        """Passed on."""
        await self.before("end_all")
        answer = await self.store.end_all(not_before, ending)
        await self.after("end_all")
        return answer

    async def find(self, query: Query) -> Page:
        """Passed on."""
        await self.before("find")
        answer = await self.store.find(query)
        await self.after("find")
        return answer

    async def count(self, query: Query) -> Count:
        """Passed on."""
        await self.before("count")
        answer = await self.store.count(query)
        await self.after("count")
        return answer

    async def expire(self, now: float, ending_kept_for: float, limit: int = 500) -> int:
        """Passed on."""
        await self.before("expire")
        answer = await self.store.expire(now, ending_kept_for, limit)
        await self.after("expire")
        return answer

    async def swap(self, name: str, expected: bytes | None, value: bytes | None, keep_until: float) -> Swapped:
        """Passed on."""
        await self.before("swap")
        answer = await self.store.swap(name, expected, value, keep_until)
        await self.after("swap")
        return answer

    def events(self) -> AsyncGenerator[Event, None]:
        """Passed on."""
        return self.store.events()


class FailingStore(WrappedStore):
    """Out of reach while ``failing`` is true."""

    failing = False

    async def before(self, method: str) -> None:
        """Fails before anything happens."""
        await super().before(method)
        if self.failing:
            raise StoreUnavailable(self.backend, "switched off")


class CuttingStore(WrappedStore):
    """Does what it is told, then loses the answer, while ``cutting`` is true."""

    cutting = False

    async def after(self, method: str) -> None:
        """Fails after everything happened."""
        await super().after(method)
        if self.cutting:
            raise StoreUnavailable(self.backend, "the connection was cut")


class SlowStore(WrappedStore):
    """Answers no sooner than ``go_on`` is set."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.go_on = asyncio.Event()

    async def before(self, method: str) -> None:
        """Waits."""
        await super().before(method)
        await self.go_on.wait()
