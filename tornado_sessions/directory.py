"""Looking at sessions and ending them from outside: what dashboards, commands and "log out my other devices" use.

It must not know requests, cookies or secrets. Looking never refreshes a session.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from enum import StrEnum
from typing import Any, TypeVar

from tornado_sessions import lifecycle
from tornado_sessions.config import SessionConfig
from tornado_sessions.errors import QueryError, SessionError, StoreUnavailable
from tornado_sessions.live import Live
from tornado_sessions.query import Count, Page, Query, Sort, State, Where
from tornado_sessions.record import Cause, Damaged, Event, Record, Swapped, Tombstone
from tornado_sessions.stores import Store, matching

__all__ = ["Directory"]

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)

logger = logging.getLogger("tornado_sessions")

_BATCH = 500
#: Seconds between two removals of what expired, on average.
PRUNE_EVERY = 60.0


class Directory:
    """Every session of a store.

    Args:
        store: where they are.
        config: how long an ending is remembered, and how long the store may take.
        clock: the time, in UTC seconds.
    """

    #: Called with how many sessions have ended, by whatever this process did; for counting.
    on_ended: Callable[[int], None] | None = None

    def __init__(self, store: Store, config: SessionConfig, clock: Callable[[], float]) -> None:
        self.store = store
        self.config = config
        self.clock = clock
        self.live = Live(self.events, self._still_live, clock)
        self._opening: asyncio.Task[None] | None = None
        self._pruner: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Open the store; harmless when it is open. Without it, the first use does so.

        Raises:
            StoreUnavailable: it cannot be reached; the next call tries again.
            StoreMismatch: it cannot be used by this version.
        """
        if self._opening is None or (self._opening.done() and (self._opening.cancelled() or self._opening.exception())):
            self._opening = asyncio.get_running_loop().create_task(self._open())
        # Shielded: a request that is cancelled does not cancel the opening that others wait for.
        await asyncio.shield(self._opening)

    async def _open(self) -> None:
        await self.store.open()
        if self._pruner is None:
            self._pruner = asyncio.get_running_loop().create_task(self._prune_for_ever())

    async def close(self) -> None:
        """Finish what is under way and close the store; harmless when it is closed."""
        await self.live.close()
        pruner, self._pruner = self._pruner, None
        if pruner is not None:
            pruner.cancel()
            await asyncio.gather(pruner, return_exceptions=True)
        if self._opening is not None:
            await asyncio.gather(self._opening, return_exceptions=True)
            self._opening = None
        await self.store.close()

    async def ping(self) -> None:
        """Return when the store answers. Raises ``StoreUnavailable``."""
        await self._call(self.store.ping)

    async def find(
        self,
        where: Where | None = None,
        *,
        state: State | str = State.LIVE,
        sort: Sort | str = Sort.LAST_SEEN,
        cursor: str | None = None,
        limit: int = 50,
        **filters: Any,
    ) -> Page:
        """One page of sessions.

        Args:
            where: filters, all of which have to match.
            state: ``"live"`` sessions or ``"ended"`` ones.
            sort: of live ones: ``"last_seen"``, ``"signed_in"``, ``"expires"`` or ``"user"``; ended ones come latest first.
            cursor: ``next_cursor`` of the page before.
            limit: rows, 1 to 500.
            filters: instead of ``where``, its fields by name: ``user="ada"``.

        Raises:
            QueryError: a filter, the order or the cursor makes no sense.
        """
        if not 1 <= limit <= _BATCH:
            raise QueryError("limit must be a number from 1 to %s, not %s", str(_BATCH), str(limit))
        query = self._query(
            where, filters, state=_member(State, state), sort=_member(Sort, sort), cursor=cursor, limit=limit
        )
        return await self._call(lambda: self.store.find(query))

    async def count(self, where: Where | None = None, *, state: State | str = State.LIVE, **filters: Any) -> Count:
        """How many sessions match; filters as in ``find``."""
        query = self._query(where, filters, state=_member(State, state))
        return await self._call(lambda: self.store.count(query))

    def _query(self, where: Where | None, filters: dict[str, Any], **options: Any) -> Query:
        given = {name: value for name, value in filters.items() if value is not None}
        unknown = given.keys() - set(Where.__struct_fields__)
        if unknown:
            raise QueryError("there is no filter %s", repr(min(unknown)))
        query = Query(now=self.clock(), **{**(where.given if where is not None else {}), **given}, **options)
        matching.check(query)
        return query

    async def inspect(self, handle: str) -> Record | Tombstone | Damaged | None:
        """What is stored under a handle: a live session, the tombstone of one, something damaged, or ``None``."""
        now = self.clock()
        loaded = await self._call(lambda: self.store.load([handle], now))
        found = loaded.records[0]
        if isinstance(found, Record):
            return lifecycle.judge(found, found.secret_hash, now, loaded.not_before).ended or found
        return found

    async def destroy(
        self, handle: str, *, cause: Cause = Cause.OPERATOR, by: str | None = None, reason: str = ""
    ) -> bool:
        """End one session for good. Returns whether it was live."""
        return bool(await self.destroy_many([handle], cause=cause, by=by, reason=reason))

    async def destroy_many(
        self, handles: Sequence[str], *, cause: Cause = Cause.OPERATOR, by: str | None = None, reason: str = ""
    ) -> list[str]:
        """End sessions for good. Returns the handles that were live."""
        ending = lifecycle.ending(self.clock(), self.config, cause, by=by, reason=reason)
        ended = await self._call(lambda: self.store.destroy(handles, ending))
        for handle in ended:
            self.live.end(handle)
        self._tell_ended(len(ended))
        return ended

    async def destroy_user(
        self,
        user: str,
        except_handle: str | None = None,
        *,
        cause: Cause = Cause.OPERATOR,
        by: str | None = None,
        reason: str = "",
    ) -> list[str]:
        """End every session of a user but ``except_handle``. Returns the handles ended."""
        ending = lifecycle.ending(self.clock(), self.config, cause, by=by, reason=reason)
        ended = await self._call(lambda: self.store.destroy_user(user, ending, except_handle))
        for handle in ended:
            self.live.end(handle)
        self._tell_ended(len(ended))
        return ended

    async def destroy_where(
        self,
        where: Where | None = None,
        *,
        except_handle: str | None = None,
        cause: Cause = Cause.OPERATOR,
        by: str | None = None,
        reason: str = "",
        **filters: Any,
    ) -> int:
        """End every session that the filters of ``find`` match, page by page.

        Args:
            where: filters; at least one. Everybody at once is ``end_all``.
            except_handle: one that is spared.
            cause, by, reason: go into the tombstones.
            filters: instead of ``where``, its fields by name. Without ``created_until``, log-ins from now on are spared.

        Returns:
            How many ended.
        """
        ended = 0
        async for step in self.destroying(
            where, except_handle=except_handle, cause=cause, by=by, reason=reason, **filters
        ):
            ended += step
        return ended

    async def destroying(
        self,
        where: Where | None = None,
        *,
        except_handle: str | None = None,
        cause: Cause = Cause.OPERATOR,
        by: str | None = None,
        reason: str = "",
        **filters: Any,
    ) -> AsyncGenerator[int, None]:
        """As ``destroy_where``, step by step: how many each step ended. It may be left at any step and begun again."""
        given = {**(where.given if where is not None else {}), **filters}
        given.setdefault("created_until", self.clock())
        if not given.keys() - {"created_until"}:
            raise QueryError("destroy_where needs a filter; end_all ends everybody's sessions")
        cursor, in_this_pass = None, 0
        while True:
            page = await self.find(limit=_BATCH, cursor=cursor, **given)
            handles = [item.handle for item in page.items if item.handle != except_handle]
            ended = await self.destroy_many(handles, cause=cause, by=by, reason=reason) if handles else []
            yield len(ended)
            cursor, in_this_pass = page.next_cursor, in_this_pass + len(ended)
            if cursor is None:
                # What is used meanwhile moves to the list's front, behind our back: until nothing is left, once more.
                if not in_this_pass:
                    return
                in_this_pass = 0

    async def end_all(self, *, cause: Cause = Cause.OPERATOR, by: str | None = None, reason: str = "") -> float:
        """End everybody's sessions with one write, at once in every process, whatever the clocks of the hosts say.

        Args:
            cause, by, reason: go into the tombstones.

        Returns:
            The new ``not_before``, in UTC seconds: no session created earlier is live. It may lie a little ahead of this host's
            clock; nobody is kept from signing in again.
        """
        ending = lifecycle.ending(self.clock(), self.config, cause, by=by, reason=reason)
        return await self._call(lambda: self.store.end_all(None, ending))

    async def swap(self, name: str, expected: bytes | None, value: bytes | None, keep_until: float) -> Swapped:
        """``Store.swap`` within the deadline. Raises ``StoreUnavailable``."""
        return await self._call(lambda: self.store.swap(name, expected, value, keep_until))

    async def prune(self) -> int:
        """Remove what expired, in small steps. Returns how many sessions that were. It also happens by itself."""
        removed = 0
        while True:
            step = await self.prune_some()
            removed += step
            if step < _BATCH:
                return removed
            await asyncio.sleep(0)

    async def prune_some(self) -> int:
        """One step of ``prune``. Returns how many sessions it removed; 0 when there are no more."""
        kept_for = self.config.seconds("keep_ended_for")
        removed = await self._call(lambda: self.store.expire(self.clock(), kept_for, _BATCH))
        self._tell_ended(removed)
        return removed

    def _tell_ended(self, many: int) -> None:
        if many and self.on_ended is not None:
            self.on_ended(many)

    async def events(self) -> AsyncGenerator[Event, None]:
        """What ends from now on, in any process that shares the store, each within a second."""
        await self.open()
        async with aclosing(self.store.events()) as told:
            async for event in told:
                yield event

    async def _prune_for_ever(self) -> None:
        while True:
            # Spread out: many processes on one store do not all begin in the same second.
            await asyncio.sleep(PRUNE_EVERY * random.uniform(0.5, 1.5))
            try:
                await self.prune()
            except SessionError as error:
                logger.warning("what expired is not removed yet: %s", error)

    async def _still_live(self, handles: list[str]) -> dict[str, float]:
        now = self.clock()
        loaded = await self._call(lambda: self.store.load(handles, now))
        return {
            found.handle: found.expires_at
            for found in loaded.records
            if isinstance(found, Record)
            and lifecycle.judge(found, found.secret_hash, now, loaded.not_before).ended is None
        }

    async def _call(self, call: Callable[[], Awaitable[T]]) -> T:
        """Run one call of the store, opened before, within the deadline."""
        await self.open()
        deadline = self.config.seconds("store_timeout")
        try:
            async with asyncio.timeout(deadline):
                return await call()
        except TimeoutError:
            raise StoreUnavailable(self.store.backend, f"no answer within {deadline:g} s") from None


def _member(kind: type[E], value: str) -> E:
    try:
        return kind(value)
    except ValueError:
        names = ", ".join(member.value for member in kind)
        raise QueryError("%s is one of %s", kind.__name__.lower(), names) from None
