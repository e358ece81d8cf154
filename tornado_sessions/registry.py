"""Find sessions and end them from outside a request: for dashboards, commands and "log out my other devices".

It must not know requests, cookies or secrets. Looking at a session never refreshes it.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing
from functools import partial
from typing import Any, TypeVar

import msgspec

from tornado_sessions import lifecycle
from tornado_sessions.background import BackgroundLoop
from tornado_sessions.config import SessionConfig
from tornado_sessions.errors import QueryError, StoreUnavailable, UsageError
from tornado_sessions.live import Live
from tornado_sessions.query import Count, Page, Query, Sort, State, Where
from tornado_sessions.record import Cause, Damaged, Ending, Event, Record, SessionSummary, Swapped, Tombstone
from tornado_sessions.stores import Store, matching
from tornado_sessions.stores.base import FAR_AHEAD
from tornado_sessions.stores.cursor import place_of
from tornado_sessions.validation import (
    check_cursor,
    check_handle,
    check_handles,
    check_limit,
    check_member,
    check_user_id,
    check_where,
)

__all__ = ["SessionRegistry"]

T = TypeVar("T")

_BATCH = 500
#: Seconds between two removals of expired sessions.
PRUNE_EVERY = 60.0


class SessionRegistry:
    """All sessions of a store.

    It belongs to the event loop and the process that first use it, until ``close()``; anywhere else every method raises
    ``UsageError``.

    Args:
        store: holds the sessions.
        config: how long an ending is remembered, and how long the store may take.
        clock: returns the time in UTC seconds.
    """

    #: Called with the number of sessions that this process has just ended; for metrics.
    on_ended: Callable[[int], None] | None = None

    def __init__(self, store: Store, config: SessionConfig, clock: Callable[[], float]) -> None:
        self.store = store
        self.config = config
        self.clock = clock
        self.live = Live(self.events, self._still_live, clock)
        self._opening: asyncio.Task[None] | None = None
        self._pruning = BackgroundLoop(self.prune, PRUNE_EVERY, "expired sessions are not removed yet")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0

    def _owner(self) -> asyncio.AbstractEventLoop:
        """Check that this is still the event loop and the process that opened the store.

        Connections, threads and futures of a store belong to them; elsewhere they would hang, or mix up two processes' answers.

        Returns:
            The running event loop.

        Raises:
            UsageError: it is another one.
        """
        opened = self._loop
        # The process first: a child that was forked inside a coroutine has no running loop at all.
        if opened is not None and self._pid != os.getpid():
            raise UsageError(
                "this Sessions was opened before a fork: create and open one in each process, after the fork"
            )
        running = asyncio.get_running_loop()
        if opened is not None and opened is not running:
            raise UsageError(
                "this Sessions was opened on another event loop: create one for each loop, or await close() on the first"
            )
        return running

    async def open(self) -> None:
        """Open the store; harmless when it is open. Without it, the first use opens the store.

        Raises:
            StoreUnavailable: the store cannot be reached; the next call tries again.
            StoreMismatch: this version cannot use the store.
            UsageError: it was opened on another event loop, or before a fork.
        """
        self._owner()
        if self._opening is None or (self._opening.done() and (self._opening.cancelled() or self._opening.exception())):
            self._loop, self._pid = asyncio.get_running_loop(), os.getpid()
            self._opening = self._loop.create_task(self._open())
        # Shielded: a request that is cancelled does not cancel the opening that others wait for.
        await asyncio.shield(self._opening)

    async def _open(self) -> None:
        await self.store.open()
        # Spread out, so that the processes of one store do not all prune in the same second.
        self._pruning.start(after=PRUNE_EVERY * random.uniform(0.5, 1.5))

    async def close(self) -> None:
        """Finish what is under way and close the store; harmless when it is closed.

        Afterwards it may be opened again, also on another event loop.

        Raises:
            UsageError: it was opened on another event loop, or before a fork.
        """
        self._owner()
        await self.live.close()
        if self._opening is not None:
            await asyncio.gather(self._opening, return_exceptions=True)
        await self._pruning.stop()
        self._opening = None
        await self.store.close()
        self._loop = None

    async def ping(self) -> None:
        """Return when the store answers. Raises ``StoreUnavailable`` when it does not."""
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
        """Return one page of sessions.

        Args:
            where: filters; a session is listed when all of them match.
            state: ``"live"`` sessions or ``"ended"`` ones.
            sort: order of live sessions: ``"last_seen"``, ``"signed_in"``, ``"expires"`` or ``"user"``. Ended ones are
                listed latest first.
            cursor: ``next_cursor`` of the previous page.
            limit: maximum number of rows, 1 to 500.
            filters: fields of ``Where`` by name, such as ``user="ada"``; ``None`` means any. Texts are not empty and take at
                most 512 bytes, ``users`` are at most 500, times are UTC seconds.

        Returns:
            The sessions, and the cursor of the next page. A session that cannot be read is listed as ``Damaged``.

        Raises:
            QueryError: a filter, the order, the limit or the cursor makes no sense.
            StoreUnavailable: the store does not answer.
        """
        query = self._query(
            where,
            filters,
            state=check_member(State, state),
            sort=check_member(Sort, sort),
            cursor=check_cursor(cursor),
            limit=check_limit(limit, _BATCH),
        )
        return await self._find(query)

    async def _find(self, query: Query) -> Page:
        """A page; of one IPv4 address it goes through every spelling that may be stored, one after the other."""
        spellings = matching.spellings_of(query.ip) if query.ip else [query.ip]
        number, cursor = _split_cursor(query.cursor, len(spellings))
        items: list[SessionSummary] = []
        while True:
            left = query.limit - len(items)
            part = msgspec.structs.replace(query, ip=spellings[number], cursor=cursor, limit=left)
            page = await self._call(partial(self.store.find, part))
            items += page.items
            if page.next_cursor is not None:
                return Page(items, f"{number}~{page.next_cursor}" if number else page.next_cursor)
            number, cursor = number + 1, None
            if number == len(spellings):
                is_whole = query.cursor is None and number > 1
                return Page(sorted(items, key=lambda item: place_of(item, query.sort)) if is_whole else items, None)
            if len(items) == query.limit:
                return Page(items, f"{number}~")

    async def count(self, where: Where | None = None, *, state: State | str = State.LIVE, **filters: Any) -> Count:
        """Count sessions.

        Args:
            where, state, filters: as in ``find``.

        Returns:
            The total, and whether it is exact or a lower bound.

        Raises:
            QueryError: a filter makes no sense.
            StoreUnavailable: the store does not answer.
        """
        query = self._query(where, filters, state=check_member(State, state))
        counts = [
            await self._call(partial(self.store.count, msgspec.structs.replace(query, ip=spelling)))
            for spelling in (matching.spellings_of(query.ip) if query.ip else [query.ip])
        ]
        return Count(sum(part.total for part in counts), exact=all(part.exact for part in counts))

    def _query(self, where: Where | None, filters: dict[str, Any], **options: Any) -> Query:
        given: dict[str, Any] = check_where(where, filters).given
        query = Query(now=self.clock(), **given, **options)
        matching.check(query)
        return query

    async def inspect(self, handle: str) -> Record | Tombstone | Damaged | None:
        """Return what is stored under a handle.

        Args:
            handle: of the session.

        Returns:
            The record of a live session, the tombstone of an ended one, ``Damaged`` when it cannot be read, or ``None``.

        Raises:
            UsageError: ``handle`` is not a ``str``.
            StoreUnavailable: the store does not answer.
        """
        name, now = check_handle(handle), self.clock()
        if name is None:
            return None
        loaded = await self._call(lambda: self.store.load([name], now))
        found = loaded.records[0]
        if isinstance(found, Record):
            return lifecycle.judge(found, found.secret_hash, now, loaded.not_before).ended or found
        return found

    async def destroy(
        self, handle: str, *, cause: Cause | str = Cause.OPERATOR, by: str | None = None, reason: str = ""
    ) -> bool:
        """End one session for good.

        Args:
            handle: of the session; an unknown one is no error.
            cause: why, as a ``Cause`` or its value.
            by: user id of whoever ends it.
            reason: kept in the tombstone; more than 500 characters are cut.

        Returns:
            Whether it was live.

        Raises:
            UsageError: an argument has a wrong type or is not Unicode.
            StoreUnavailable: the store does not answer.
        """
        return bool(await self.destroy_many([handle], cause=cause, by=by, reason=reason))

    async def destroy_many(
        self, handles: Iterable[str], *, cause: Cause | str = Cause.OPERATOR, by: str | None = None, reason: str = ""
    ) -> list[str]:
        """End several sessions for good.

        Args:
            handles: of the sessions; unknown ones are no error.
            cause, by, reason: as in ``destroy``.

        Returns:
            The handles of those that were live.

        Raises:
            UsageError: an argument has a wrong type or is not Unicode; no session has ended.
            StoreUnavailable: the store does not answer; some sessions may have ended.
        """
        ending, named = self._ending(cause, by, reason), check_handles(handles)
        ended: list[str] = []
        for start in range(0, len(named), _BATCH):
            step = named[start : start + _BATCH]
            ended += self._ended(await self._call(partial(self.store.destroy, step, ending)))
        return ended

    async def destroy_user(
        self,
        user: str,
        except_handle: str | None = None,
        *,
        cause: Cause | str = Cause.OPERATOR,
        by: str | None = None,
        reason: str = "",
    ) -> list[str]:
        """End every session of a user.

        Args:
            user: the user's id.
            except_handle: a session to keep.
            cause, by, reason: as in ``destroy``.

        Returns:
            The handles of those that were live.

        Raises:
            UsageError: an argument has a wrong type or is not Unicode; no session has ended.
            StoreUnavailable: the store does not answer.
        """
        ending, name, kept = self._ending(cause, by, reason), check_user_id(user, "user"), _kept(except_handle)
        return self._ended(await self._call(lambda: self.store.destroy_user(name, ending, kept)))

    async def destroy_where(
        self,
        where: Where | None = None,
        *,
        except_handle: str | None = None,
        cause: Cause | str = Cause.OPERATOR,
        by: str | None = None,
        reason: str = "",
        **filters: Any,
    ) -> int:
        """End every session that filters match, page by page.

        Args:
            where: filters; at least one. ``end_all`` ends everybody's sessions.
            except_handle: a session to keep.
            cause, by, reason: as in ``destroy``.
            filters: fields of ``Where`` by name. Unless ``created_until`` is one of them, whoever logs in from now on stays.

        Returns:
            The number of sessions that ended.

        Raises:
            QueryError: there is no filter, or one makes no sense; no session has ended.
            UsageError: another argument has a wrong type or is not Unicode; no session has ended.
            StoreUnavailable: the store does not answer; some sessions may have ended.
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
        cause: Cause | str = Cause.OPERATOR,
        by: str | None = None,
        reason: str = "",
        **filters: Any,
    ) -> AsyncGenerator[int, None]:
        """As ``destroy_where``, one page at a time: yields how many sessions each page ended.

        It may be stopped after any page and started again.
        """
        chosen = check_where(where, filters)
        matching.check(chosen)
        given: dict[str, Any] = chosen.given
        if not given.keys() - {"created_until"}:
            raise QueryError("destroy_where needs a filter; end_all ends everybody's sessions")
        kept = _kept(except_handle)
        self._ending(cause, by, reason)
        if "created_until" not in given:
            given["created_until"] = await self.cut_off()
        cursor, in_this_pass = None, 0
        while True:
            page = await self.find(limit=_BATCH, cursor=cursor, **given)
            handles = [item.handle for item in page.items if item.handle != kept]
            ended = await self.destroy_many(handles, cause=cause, by=by, reason=reason) if handles else []
            yield len(ended)
            cursor, in_this_pass = page.next_cursor, in_this_pass + len(ended)
            if cursor is None:
                # A session that is used meanwhile moves to the front of the list, behind the cursor: look again until
                # nothing is left.
                if not in_this_pass:
                    return
                in_this_pass = 0

    async def cut_off(self) -> float:
        """Return a time until which every session that exists now was created and signed in, in UTC seconds.

        It bounds a bulk end: sessions that exist end, sign-ins from now on stay. This host's clock alone would miss sessions of
        hosts whose clock is ahead.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        now = self.clock()
        newest = (await self.find(limit=1)).items
        # A time more than a day ahead is no clock's but damage, and would end sign-ins for as long.
        return max([now, *(item.last_seen_at for item in newest if item.last_seen_at < now + FAR_AHEAD)])

    async def end_all(self, *, cause: Cause | str = Cause.OPERATOR, by: str | None = None, reason: str = "") -> float:
        """End everybody's sessions with one write, at once in every process, whatever the clocks of the hosts say.

        Args:
            cause, by, reason: as in ``destroy``.

        Returns:
            The new ``not_before``, in UTC seconds: no session created earlier is live. It may lie a little ahead of this
            host's clock; nobody is kept from signing in again.

        Raises:
            UsageError: an argument has a wrong type or is not Unicode; no session has ended.
            StoreUnavailable: the store does not answer.
        """
        ending = self._ending(cause, by, reason)
        return await self._call(lambda: self.store.end_all(None, ending))

    def _ending(self, cause: Cause | str, by: str | None, reason: str) -> Ending:
        return lifecycle.ending(self.clock(), self.config, cause, by=by, reason=reason)

    def _ended(self, handles: list[str]) -> list[str]:
        """Close the connections of sessions that this process has ended, and count them."""
        for handle in handles:
            self.live.end(handle)
        self._tell_ended(len(handles))
        return handles

    async def swap(self, name: str, expected: bytes | None, value: bytes | None, keep_until: float) -> Swapped:
        """Run ``Store.swap`` within the deadline. Raises ``StoreUnavailable``."""
        return await self._call(lambda: self.store.swap(name, expected, value, keep_until))

    async def prune(self) -> int:
        """Remove expired sessions, in small steps; this also happens by itself, about once a minute.

        Returns:
            The number of sessions removed.

        Raises:
            StoreUnavailable: the store does not answer; the next call goes on.
        """
        removed = 0
        while True:
            step = await self.prune_some()
            removed += step
            if step < _BATCH:
                return removed
            await asyncio.sleep(0)

    async def prune_some(self) -> int:
        """Run one step of ``prune``. Returns the number of sessions removed; 0 when none is left."""
        kept_for = self.config.seconds("keep_ended_for")
        removed = await self._call(lambda: self.store.expire(self.clock(), kept_for, _BATCH))
        self._tell_ended(removed)
        return removed

    def _tell_ended(self, many: int) -> None:
        if many and self.on_ended is not None:
            self.on_ended(many)

    async def events(self) -> AsyncGenerator[Event, None]:
        """Yield an event for each session that ends from now on, in any process that shares the store, within a second.

        Close the iterator (``contextlib.aclosing``) to stop before the store closes.

        Raises:
            StoreUnavailable: the connection is lost; events may be missed until it is iterated again.
        """
        await self.open()
        async with aclosing(self.store.events()) as told:
            async for event in told:
                yield event

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
        """Open the store if need be, and run one call of it within the deadline."""
        await self.open()
        deadline = self.config.seconds("store_timeout")
        try:
            async with asyncio.timeout(deadline):
                return await call()
        except TimeoutError:
            raise StoreUnavailable(self.store.backend, f"no answer within {deadline:g} s") from None


def _kept(handle: str | None) -> str | None:
    return None if handle is None else check_handle(handle, "except_handle")


def _split_cursor(cursor: str | None, spellings: int) -> tuple[int, str | None]:
    """Which spelling of an address a page begins in, and where."""
    number, mark, rest = (cursor or "").partition("~")
    if not mark:
        return 0, cursor
    if not (number.isdecimal() and number.isascii() and 0 < int(number[:2]) < spellings):
        raise QueryError("the cursor is not one that a page gave; start from the first page")
    return int(number[:2]), rest or None
