"""One session that two stores may have: which copy counts, and moving it from the fallback to the primary.

It must not know lists, or what ends all sessions. Every step may be the last one before a crash; the
next load finishes what was left.

A move creates the session in the primary, then takes it out of the fallback, so at every moment at least one store has it. In
between, both have a copy and may be written to by processes that do not know yet:

- The copy that ``take`` returns is the last state of the fallback. Changes that arrived there after the move began are applied to
  the primary as one change (``difference``); one that meets a newer secret is applied without its secret.
- A copy in the primary that was used later than the fallback's wins: it is older than this move, left by a crash.
- A session that ended in one store ends in the other, also when only the absence of its copy says so.
- The tombstone of a move has the cause ``MOVED``. It ends nobody, and neither does a copy that ran out of time.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeGuard, TypeVar

import msgspec

from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.record import (
    Cause,
    Change,
    Conflict,
    Create,
    Damaged,
    Ending,
    Loaded,
    Outcome,
    Record,
    Rotation,
    SessionSummary,
    Tombstone,
    bury,
)
from tornado_sessions.stores.base import Store

__all__ = ["Found", "Handover", "difference", "ended_there", "if_possible", "is_elsewhere", "is_newer", "was_ended"]

logger = logging.getLogger("tornado_sessions")

Found = Record | Tombstone | Damaged | None
T = TypeVar("T")

#: Seconds for which a store remembers that a session has moved, or ended in the other store.
REMEMBERED = 86400.0
_BY_NOBODY = frozenset({Cause.MOVED, Cause.IDLE, Cause.ABSOLUTE})
_OF_SECRET = ("secret_hash", "previous_hash", "rotated_at", "confirmed_at", "grace")
_OF_LIFETIME = ("absolute_at", "idle_timeout", "persistent")


def is_elsewhere(found: SessionSummary | None) -> bool:
    """Return whether only the other store can have the session: this one never had it, or it has moved."""
    return found is None or (isinstance(found, Tombstone) and found.ending.cause is Cause.MOVED)


def was_ended(found: SessionSummary | None) -> TypeGuard[Tombstone]:
    """Return whether somebody ended the session, which holds in every store that has a copy."""
    return isinstance(found, Tombstone) and found.ending.cause not in _BY_NOBODY


def ended_there(now: float) -> Ending:
    """Return the ending of a session that ended in the other store, where nothing says by whom."""
    return Ending(at=now, cause=Cause.OPERATOR, keep_until=now + REMEMBERED)


def is_newer(record: Record, than: Record) -> bool:
    """Return whether one copy was used, rotated or confirmed later than the other."""
    times = [(item.last_seen_at, item.rotated_at, item.confirmed_at or 0.0) for item in (record, than)]
    return times[0] > times[1]


def difference(old: Record, new: Record, now: float) -> Change:
    """Return the change that turns ``old`` into ``new``; it conflicts where the secret is no longer that of ``old``."""

    def differs(*names: str) -> bool:
        return any(getattr(new, name) != getattr(old, name) for name in names)

    fields: dict[str, Any] = {
        name: getattr(new, name) for name in ("ip", "user_agent", "user", "signed_in_at") if differs(name)
    }
    if differs(*_OF_SECRET):
        secrets = {name: getattr(new, name) for name in _OF_SECRET}
        fields["rotation"] = Rotation(expected_hash=old.secret_hash, **secrets)
    if differs(*_OF_LIFETIME):
        fields["lifetime"] = (new.absolute_at, new.idle_timeout, new.persistent)
    return Change(
        handle=new.handle,
        now=now,
        set={key: value for key, value in new.data.items() if old.data.get(key) != value},
        delete=frozenset(old.data) - frozenset(new.data),
        last_seen_at=new.last_seen_at,
        expires_at=new.expires_at,
        **fields,
    )


async def if_possible(call: Callable[[], Awaitable[T]], otherwise: T) -> T:
    """Move or tidy up during a load; if a store refuses, log it and return ``otherwise``: the next load tries again."""
    try:
        return await call()
    except StoreUnavailable as error:
        logger.warning("a session is not moved yet: %s", error)
        return otherwise


class Handover:
    """Decides about single sessions of two stores, and moves them.

    Args:
        primary: where sessions move to.
        fallback: where they are.
        moves: whether a session moves when it is loaded.
    """

    def __init__(self, primary: Store, fallback: Store, *, moves: bool) -> None:
        self.primary = primary
        self.fallback = fallback
        self.moves = moves

    async def settle(self, handle: str, first: Found, second: Found, not_before: float, now: float) -> Loaded:
        """Return what counts where one answer does not decide.

        Args:
            handle: of the session.
            first: what the primary has.
            second: what the fallback has.
            not_before: the later one of both stores.
            now: the time in UTC seconds.
        """
        if is_elsewhere(first):
            if is_elsewhere(second):
                return await self._load_again(handle, now)
            stays = Loaded([second], not_before)
            # The primary never accepts a handle again that it gave away: such a session is used where it is.
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
        """End the copy of an ended session, so that it stays ended where this store is used alone."""
        nobody: list[str] = []
        await if_possible(lambda: store.destroy([ended.handle], ended.ending), nobody)

    async def _load_again(self, handle: str, now: float) -> Loaded:
        """Load a session that moved between the two loads: out of one store before it was read, into the other after."""
        newer, older = [await store.load([handle], now) for store in (self.primary, self.fallback)]
        found = next((item for item in (*newer.records, *older.records) if not is_elsewhere(item)), None)
        return Loaded([found], max(newer.not_before, older.not_before))

    async def _move(self, record: Record, now: float) -> Loaded:
        """Create the session in the primary, then take it out of the fallback."""
        made = (await self.primary.save([Create(record=record)]))[0]
        if isinstance(made, Exception):
            raise made
        if made is Outcome.SAVED:
            return await self._take_over(record, now, is_fresh=True)
        there = await self.primary.load([record.handle], now)
        found = there.records[0]
        if isinstance(found, Record):
            return await self._take_over(found, now, is_fresh=False)
        # It is not there: all sessions ended in the primary, or the primary gave the handle away.
        return Loaded([record], there.not_before) if is_elsewhere(found) else there

    async def _take_over(self, copy: Record, now: float, *, is_fresh: bool) -> Loaded:
        """Take out of the fallback what the primary has a copy of, and apply what was written there since.

        Args:
            copy: what the primary has.
            now: the time in UTC seconds.
            is_fresh: whether this move made the copy. An older copy may have been written to since; the one used last counts.
        """
        ending = Ending(at=now, cause=Cause.MOVED, keep_until=now + REMEMBERED)
        last = await self.fallback.take(copy.handle, ending)
        if last is None:
            return await self._end_too(copy, now)
        if last != copy and (is_fresh or is_newer(last, copy)):
            late = difference(copy, last, now)
            answer = (await self.primary.save([late]))[0]
            if isinstance(answer, Conflict):
                # Another process has moved it as well, and its visitor already has a newer secret.
                await self.primary.save([msgspec.structs.replace(late, rotation=None)])
        return await self.primary.load([copy.handle], now)

    async def _end_too(self, copy: Record, now: float) -> Loaded:
        """End the copy in the primary if the session ended in the fallback, alone or with all sessions."""
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
