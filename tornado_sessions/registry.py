"""Find and end sessions outside a request: for dashboards, commands and "sign out of my other devices".

Viewing a session never extends it. It must not know requests, cookies or secrets. It has more than 300 lines because it documents
everything that an application calls.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing
from functools import partial
from typing import Any

import msgspec

from tornado_sessions import lifecycle
from tornado_sessions.change import is_live
from tornado_sessions.errors import QueryError
from tornado_sessions.notifying import NotifyingStore
from tornado_sessions.opened_store import BATCH
from tornado_sessions.query import Count, Direction, Page, Query, Sort, State, Where
from tornado_sessions.record import Cause, Damaged, Ending, Record, Tombstone
from tornado_sessions.session_events import EndedAll
from tornado_sessions.stores import matching
from tornado_sessions.stores.base import FAR_AHEAD
from tornado_sessions.stores.cursor import is_backwards
from tornado_sessions.validation import (
    check_at_most,
    check_cursor,
    check_handle,
    check_handles,
    check_limit,
    check_member,
    check_user_id,
    check_where,
)

__all__ = ["SessionRegistry"]


class SessionRegistry(NotifyingStore):
    """Finds, counts and ends the sessions of a store."""

    async def find(
        self,
        where: Where | None = None,
        *,
        state: State | str = State.LIVE,
        sort: Sort | str = Sort.LAST_SEEN,
        direction: Direction | str | None = None,
        cursor: str | None = None,
        limit: int = 50,
        **filters: Any,
    ) -> Page:
        """Return one page of sessions.

        Args:
            where: filters; a session must match all of them.
            state: ``"live"`` sessions or ``"ended"`` ones.
            sort: order of live sessions: ``"last_seen"``, ``"signed_in"``, ``"expires"`` or ``"user"``. Ended sessions are sorted
                by their end.
            direction: ``"asc"`` or ``"desc"``; ``None`` is ascending by expiry and by user, and latest first in other orders.
            cursor: ``next_cursor`` or ``previous_cursor`` of another page.
            limit: maximum number of rows, 1 to 500.
            filters: fields of ``Where`` by name, such as ``user="ada"``; ``None`` matches any. A text has 1 to 512 bytes,
                ``users`` at most 500 items; times are UTC seconds.

        Returns:
            The sessions, and the cursors of the pages before and after this one. A session that cannot be read is
            listed as ``Damaged``.

        Raises:
            QueryError: a filter, the order, the limit or the cursor is invalid.
            StoreUnavailable: the store does not answer.
        """
        query = self._query(
            where,
            filters,
            state=check_member(State, state),
            sort=check_member(Sort, sort),
            direction=check_member(Direction, direction) if direction is not None else None,
            cursor=check_cursor(cursor),
            limit=check_limit(limit, BATCH),
        )
        page = await self._call("find", partial(self.store.find, query))
        if page.previous_cursor is None and query.cursor is not None and is_backwards(query.cursor):
            # Going back has reached the beginning. Rows may have come or gone since, so show the whole first page.
            first = msgspec.structs.replace(query, cursor=None)
            page = await self._call("find", partial(self.store.find, first))
        return page

    async def count(self, where: Where | None = None, *, state: State | str = State.LIVE, **filters: Any) -> Count:
        """Count sessions.

        Args:
            where, state, filters: as in ``find``.

        Returns:
            The total, and whether it is exact or a lower bound.

        Raises:
            QueryError: a filter is invalid.
            StoreUnavailable: the store does not answer.
        """
        query = self._query(where, filters, state=check_member(State, state))
        return await self._call("count", partial(self.store.count, query))

    def _query(self, where: Where | None, filters: dict[str, Any], **options: Any) -> Query:
        given: dict[str, Any] = check_where(where, filters).given
        query = Query(now=self.clock(), **given, **options)
        matching.check(query)
        return query

    async def inspect(self, handle: str) -> Record | Tombstone | Damaged | None:
        """Look up one session, live or ended.

        Returns:
            The record of a live session, the tombstone of an ended one, ``Damaged`` if it cannot be read, ``None`` if the handle
            is unknown.

        Raises:
            UsageError: ``handle`` is not a ``str``.
            StoreUnavailable: the store does not answer.
        """
        name, now = check_handle(handle), self.clock()
        if name is None:
            return None
        loaded = await self._call("load", lambda: self.store.load([name], now))
        found = loaded.records[0]
        if isinstance(found, Record):
            return (
                found if is_live(found, now, loaded.not_before) else lifecycle.tombstone(found, now, loaded.not_before)
            )
        return found

    async def destroy(
        self,
        handle: str,
        *,
        cause: Cause | str = Cause.OPERATOR,
        by: str | None = None,
        reason: str = "",
        action: str = "",
    ) -> bool:
        """End one session permanently.

        Args:
            handle: of the session; an unknown one is no error.
            cause: a ``Cause`` or its value.
            by: id of the user who ends it.
            reason: kept in the tombstone; cut to 500 characters.
            action: the id of what ended it, such as an entry of a log; kept in the tombstone, and a filter of lists.

        Returns:
            Whether it was live.

        Raises:
            UsageError: an argument has a wrong type or is not Unicode.
            StoreUnavailable: the store does not answer.
        """
        return bool(await self.destroy_many([handle], cause=cause, by=by, reason=reason, action=action))

    async def destroy_many(
        self,
        handles: Iterable[str],
        *,
        cause: Cause | str = Cause.OPERATOR,
        by: str | None = None,
        reason: str = "",
        action: str = "",
    ) -> list[str]:
        """End several sessions permanently.

        Args:
            handles: of the sessions; unknown ones are no error.
            cause, by, reason, action: as in ``destroy``.

        Returns:
            The handles of the sessions that were live.

        Raises:
            UsageError: an argument has a wrong type or is not Unicode; no session has ended.
            StoreUnavailable: the store does not answer; some sessions may have ended.
        """
        ending, named = self._ending(cause, by, reason, action), check_handles(handles)
        ended: list[str] = []
        for start in range(0, len(named), BATCH):
            step = named[start : start + BATCH]
            found = await self._call("destroy", partial(self.store.destroy, step, ending))
            ended += await self._ended(found, ending)
        return ended

    async def destroy_user(
        self,
        user: str,
        except_handle: str | None = None,
        *,
        at_most: int | None = None,
        cause: Cause | str = Cause.OPERATOR,
        by: str | None = None,
        reason: str = "",
        action: str = "",
    ) -> list[str]:
        """End every session of a user.

        Args:
            user: the user's id.
            except_handle: a session to keep.
            at_most: end no more than this number of sessions, whichever; ``None`` ends all.
            cause, by, reason, action: as in ``destroy``.

        Returns:
            The handles of the sessions that were live.

        Raises:
            UsageError: an argument has a wrong type or is not Unicode; no session has ended.
            StoreUnavailable: the store does not answer.
        """
        ending, name, kept = self._ending(cause, by, reason, action), check_user_id(user, "user"), _kept(except_handle)
        most = check_at_most(at_most)
        found = await self._call("destroy_user", lambda: self.store.destroy_user(name, ending, kept, most))
        return await self._ended(found, ending)

    async def destroy_where(
        self,
        where: Where | None = None,
        *,
        except_handle: str | None = None,
        at_most: int | None = None,
        cause: Cause | str = Cause.OPERATOR,
        by: str | None = None,
        reason: str = "",
        action: str = "",
        **filters: Any,
    ) -> int:
        """End every session that matches the filters, page by page.

        Args:
            where: filters, at least one; ``end_all`` ends all sessions.
            except_handle: a session to keep.
            at_most: end no more than this number of sessions, whichever; ``None`` ends all.
            cause, by, reason, action: as in ``destroy``.
            filters: fields of ``Where`` by name. Without ``created_until``, sessions that start after the call are kept.

        Returns:
            The number of sessions that ended.

        Raises:
            QueryError: there is no filter, or one is invalid; no session has ended.
            UsageError: another argument has a wrong type or is not Unicode; no session has ended.
            StoreUnavailable: the store does not answer; some sessions may have ended.
        """
        how: dict[str, Any] = {"cause": cause, "by": by, "reason": reason, "action": action}
        steps = self.destroying(where, except_handle=except_handle, at_most=at_most, **how, **filters)
        return sum([step async for step in steps])

    async def destroying(
        self,
        where: Where | None = None,
        *,
        except_handle: str | None = None,
        at_most: int | None = None,
        cause: Cause | str = Cause.OPERATOR,
        by: str | None = None,
        reason: str = "",
        action: str = "",
        **filters: Any,
    ) -> AsyncGenerator[int, None]:
        """Do the same as ``destroy_where``, and yield the number of ended sessions after each page.

        A caller may stop after any page and start again.
        """
        # Raises for invalid arguments before any session ends; destroy_many creates the ending of each page.
        self._ending(cause, by, reason, action)
        check_at_most(at_most)
        total = 0

        async def end(handles: list[str]) -> int:
            named = handles if at_most is None else handles[: at_most - total]
            return len(await self.destroy_many(named, cause=cause, by=by, reason=reason, action=action))

        async with aclosing(self._walk(end, where, except_handle, filters)) as steps:
            async for ended in steps:
                total += ended
                yield ended
                if total == at_most:
                    return

    async def counting(
        self, where: Where | None = None, *, except_handle: str | None = None, **filters: Any
    ) -> AsyncGenerator[int, None]:
        """Count what ``destroying`` would end, by the same walk, without a bound; yield the number found on each page.

        Sessions that move in the list while it runs are counted once. It remembers eight bytes of each session, about 65 MB
        for a million.
        """
        known: set[int] = set()

        async def add(handles: list[str]) -> int:
            before = len(known)
            known.update(map(hash, handles))
            return len(known) - before

        async with aclosing(self._walk(add, where, except_handle, filters)) as steps:
            async for found in steps:
                yield found

    async def _walk(
        self,
        act: Callable[[list[str]], Awaitable[int]],
        where: Where | None,
        except_handle: str | None,
        filters: dict[str, Any],
    ) -> AsyncGenerator[int, None]:
        """Call ``act`` with the matching handles of each page and yield its result, until a full pass finds nothing."""
        chosen = check_where(where, filters)
        matching.check(chosen)
        given: dict[str, Any] = chosen.given
        if not given.keys() - {"created_until"}:
            raise QueryError("destroy_where needs a filter; end_all ends all sessions")
        kept = _kept(except_handle)
        if "created_until" not in given:
            given["created_until"] = await self.cut_off()
        cursor, in_this_pass = None, 0
        while True:
            page = await self.find(limit=BATCH, cursor=cursor, **given)
            handles = [item.handle for item in page.items if item.handle != kept]
            number = await act(handles) if handles else 0
            yield number
            cursor, in_this_pass = page.next_cursor, in_this_pass + number
            if cursor is None:
                # A session that is used during a pass moves to the front of the list, where the cursor has already been.
                if not in_this_pass:
                    return
                in_this_pass = 0

    async def cut_off(self) -> float:
        """Return a time, in UTC seconds, that is not before the creation or sign-in of any existing session.

        ``destroying`` ends the sessions up to it and keeps later sign-ins. This host's clock alone would miss sessions created by
        hosts with a clock that is ahead.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        now = self.clock()
        newest = (await self.find(limit=1)).items
        # Ignore a time more than a day ahead: it is damage, and as a cut-off it would end future sign-ins.
        return max([now, *(item.last_seen_at for item in newest if item.last_seen_at < now + FAR_AHEAD)])

    async def end_all(
        self, *, cause: Cause | str = Cause.OPERATOR, by: str | None = None, reason: str = "", action: str = ""
    ) -> float:
        """End all sessions with one write, in every process and independently of the hosts' clocks.

        Args:
            cause, by, reason, action: as in ``destroy``.

        Returns:
            The new ``not_before``, in UTC seconds: no session created earlier is live. It may be a little ahead of this host's
            clock; new sign-ins work at once.

        Raises:
            UsageError: an argument has a wrong type or is not Unicode; no session has ended.
            StoreUnavailable: the store does not answer.
        """
        ending = self._ending(cause, by, reason, action)
        not_before = await self._call("end_all", lambda: self.store.end_all(None, ending))
        if self._listeners.want(EndedAll):
            self._listeners.emit(EndedAll(at=ending.at, cause=ending.cause, by=ending.by, reason=ending.reason))
        return not_before

    def _ending(self, cause: Cause | str, by: str | None, reason: str, action: str) -> Ending:
        return lifecycle.ending(self.clock(), self.config, cause, by=by, reason=reason, action=action)


def _kept(handle: str | None) -> str | None:
    return None if handle is None else check_handle(handle, "except_handle")
