"""Stores that fail on demand: wrappers around a real store, for tests of outages.

Each delegates every call and only adds its fault. They must not know the content of sessions.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import TypeVar

from typing_extensions import override

from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.query import Count, Page, Query
from tornado_sessions.record import Change, Conflict, Create, Ending, Event, Loaded, Outcome, Record, Swapped
from tornado_sessions.stores.base import Diagnosis, Store

T = TypeVar("T")

__all__ = ["CuttingStore", "FailingStore", "SlowStore", "WrappedStore"]


class WrappedStore(Store):
    """Delegates every call to a store and counts it.

    Args:
        store: the real store.

    Attributes:
        calls: number of calls of each method.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.backend = store.backend
        self.calls: Counter[str] = Counter()

    async def before(self, method: str) -> None:
        """Run before a call is delegated."""
        self.calls[method] += 1

    async def after(self, method: str) -> None:
        """Run after the store has answered."""

    async def _pass(self, method: str, call: Callable[[], Awaitable[T]]) -> T:
        await self.before(method)
        answer = await call()
        await self.after(method)
        return answer

    @override
    async def open(self) -> None:
        await self.store.open()

    @override
    async def close(self) -> None:
        await self.store.close()

    @override
    async def ping(self) -> None:
        await self._pass("ping", self.store.ping)

    @override
    async def diagnose(self) -> Diagnosis:
        return await self._pass("diagnose", self.store.diagnose)

    @override
    async def probe_handles(self) -> list[str]:
        return await self.store.probe_handles()

    @override
    async def load(self, handles: Sequence[str], now: float) -> Loaded:
        return await self._pass("load", lambda: self.store.load(handles, now))

    @override
    async def save(self, changes: Sequence[Create | Change]) -> list[Outcome | Conflict | Exception]:
        return await self._pass("save", lambda: self.store.save(changes))

    @override
    async def destroy(self, handles: Sequence[str], ending: Ending) -> list[str]:
        return await self._pass("destroy", lambda: self.store.destroy(handles, ending))

    @override
    async def destroy_user(
        self, user: str, ending: Ending, except_handle: str | None = None, at_most: int | None = None
    ) -> list[str]:
        return await self._pass("destroy_user", lambda: self.store.destroy_user(user, ending, except_handle, at_most))

    @override
    async def take(self, handle: str, ending: Ending) -> Record | None:
        return await self._pass("take", lambda: self.store.take(handle, ending))

    @override
    async def end_all(self, not_before: float | None, ending: Ending) -> float:
        return await self._pass("end_all", lambda: self.store.end_all(not_before, ending))

    @override
    async def find(self, query: Query) -> Page:
        return await self._pass("find", lambda: self.store.find(query))

    @override
    async def count(self, query: Query) -> Count:
        return await self._pass("count", lambda: self.store.count(query))

    @override
    async def expire(self, now: float, ending_kept_for: float, limit: int = 500) -> int:
        return await self._pass("expire", lambda: self.store.expire(now, ending_kept_for, limit))

    @override
    async def swap(self, name: str, expected: bytes | None, value: bytes | None, keep_until: float) -> Swapped:
        return await self._pass("swap", lambda: self.store.swap(name, expected, value, keep_until))

    @override
    def events(self) -> AsyncGenerator[Event, None]:
        return self.store.events()


class FailingStore(WrappedStore):
    """Cannot be reached while ``failing`` is true."""

    failing = False

    @override
    async def before(self, method: str) -> None:
        await super().before(method)
        if self.failing:
            raise StoreUnavailable(self.backend, "switched off")


class CuttingStore(WrappedStore):
    """Executes the call but loses the answer while ``cutting`` is true."""

    cutting = False

    @override
    async def after(self, method: str) -> None:
        await super().after(method)
        if self.cutting:
            raise StoreUnavailable(self.backend, "the connection was cut")


class SlowStore(WrappedStore):
    """Waits for the event ``go_on`` before each call."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.go_on = asyncio.Event()

    @override
    async def before(self, method: str) -> None:
        await super().before(method)
        await self.go_on.wait()
