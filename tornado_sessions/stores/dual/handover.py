"""What holds for one session that two stores know of, and moving it from the fallback to the primary.

It must not know lists or everybody's end beyond one session. Every step may be the last one before a crash: what was left undone is
done by the next load.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.record import (
    Cause,
    Conflict,
    Create,
    Damaged,
    Ending,
    Loaded,
    Outcome,
    Record,
    Tombstone,
    bury,
)
from tornado_sessions.stores.base import Store
from tornado_sessions.stores.moving import REMEMBERED, difference, ended_there, is_elsewhere, is_newer, was_ended

__all__ = ["Found", "Handover", "if_possible"]

logger = logging.getLogger("tornado_sessions")

Found = Record | Tombstone | Damaged | None
T = TypeVar("T")


async def if_possible(call: Callable[[], Awaitable[T]], otherwise: T) -> T:
    """Move or tidy on the way of a load; a store that refuses this now is asked again by the next load."""
    try:
        return await call()
    except StoreUnavailable as error:
        logger.warning("a session is not moved yet: %s", error)
        return otherwise


class Handover:
    """Between two stores.

    Args:
        primary: where sessions move to.
        fallback: where they are.
        moves: whether they move when they are asked for.
    """

    def __init__(self, primary: Store, fallback: Store, *, moves: bool) -> None:
        self.primary = primary
        self.fallback = fallback
        self.moves = moves

    async def settle(self, handle: str, first: Found, second: Found, not_before: float, now: float) -> Loaded:
        """What holds where one answer is not enough.

        Args:
            handle: of the session.
            first: what the primary has.
            second: what the fallback has.
            not_before: the later one of both.
            now: the time.
        """
        if is_elsewhere(first):
            if is_elsewhere(second):
                return await self._once_more(handle, now)
            stays = Loaded([second], not_before)
            # A handle that the primary gave away is never free again there: such a session is used where it is.
            if not isinstance(second, Record) or second.created_at < not_before or first is not None or not self.moves:
                return stays
            return await if_possible(lambda: self._move(second, now), stays)
        stays = Loaded([first], not_before)
        if isinstance(first, Record):
            if was_ended(second):
                await self._end_in(self.primary, second)
                return Loaded([second], not_before)
            if isinstance(second, Record) and self.moves and first.created_at >= not_before:
                return await if_possible(lambda: self._take_over(first, now, is_fresh=False), stays)
        elif was_ended(first) and isinstance(second, Record):
            await self._end_in(self.fallback, first)
        return stays

    @staticmethod
    async def _end_in(store: Store, ended: Tombstone) -> None:
        """What ended in the other store ends here as well, so that it stays ended where this store is used alone."""
        nobody: list[str] = []
        await if_possible(lambda: store.destroy([ended.handle], ended.ending), nobody)

    async def _once_more(self, handle: str, now: float) -> Loaded:
        """Each store says that the other one has it: it left one before that was read, and came to the other after."""
        newer, older = [await store.load([handle], now) for store in (self.primary, self.fallback)]
        found = next((item for item in (*newer.records, *older.records) if not is_elsewhere(item)), None)
        return Loaded([found], max(newer.not_before, older.not_before))

    async def _move(self, record: Record, now: float) -> Loaded:
        """Create it in the primary, then take it out of the fallback; what that says last is what counts."""
        made = (await self.primary.save([Create(record=record)]))[0]
        if isinstance(made, Exception):
            raise made
        if made is Outcome.SAVED:
            return await self._take_over(record, now, is_fresh=True)
        there = await self.primary.load([record.handle], now)
        found = there.records[0]
        if isinstance(found, Record):
            return await self._take_over(found, now, is_fresh=False)
        # Not there: everybody was ended in the primary, or it gave the handle away.
        return Loaded([record], there.not_before) if is_elsewhere(found) else there

    async def _take_over(self, copy: Record, now: float, *, is_fresh: bool) -> Loaded:
        """Take out of the fallback what the primary has a copy of; what was written there meanwhile follows.

        Args:
            copy: what the primary has.
            now: the time.
            is_fresh: whether the copy was made just now. An older one may have been written to since: the one used last counts.
        """
        ending = Ending(at=now, cause=Cause.MOVED, keep_until=now + REMEMBERED)
        last = await self.fallback.take(copy.handle, ending)
        if last is None:
            return await self._end_too(copy, now)
        if last != copy and (is_fresh or is_newer(last, copy)):
            late = difference(copy, last, now)
            answer = (await self.primary.save([late]))[0]
            if isinstance(answer, Conflict):
                # Another process has moved it as well and its visitor has a newer secret already.
                await self.primary.save([msgspec.structs.replace(late, rotation=None)])
        return await self.primary.load([copy.handle], now)

    async def _end_too(self, copy: Record, now: float) -> Loaded:
        """The fallback no longer had it. If it ended there, alone or with everybody, it ends in the primary as well."""
        there = await self.fallback.load([copy.handle], now)
        found = there.records[0]
        if was_ended(found):
            ending = found.ending
        elif found is None or (isinstance(found, Record) and found.created_at < there.not_before):
            ending = ended_there(now)
        else:
            return await self.primary.load([copy.handle], now)
        await self.primary.destroy([copy.handle], ending)
        return Loaded([bury(copy, ending)], there.not_before)
