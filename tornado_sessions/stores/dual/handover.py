"""Move one session from the fallback to the primary, and decide which copy wins if both stores have one.

It must not know lists, or how all sessions are ended. Any step may be the last one before a crash; the next load finishes the
move.

A move creates the session in the primary, then takes it out of the fallback, so at any time at least one store has it. In between,
both have a copy, and other processes may write to either:

- ``take`` returns the last state of the fallback's copy. Changes made there after the move started are applied to the primary as
  one change (``difference``). If the primary already has a newer secret, the change is applied without its secret.
- The same applies if another process finishes a move: before a move creates the copy, it leaves a mark of the copy's values,
  which shows whether the primary's copy was changed since. Times cannot show it, because a change of values alone updates none.
- If the primary's copy was changed or used later than the fallback's, the primary's wins: an earlier move did not finish.
- A session that ended in one store ends in the other, even if the only sign is that its copy is missing.
- The tombstone of a move has the cause ``MOVED``. It does not end the other copy, and an expired copy does not either.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from hashlib import sha256
from typing import Any, TypeGuard, TypeVar

import msgspec

from tornado_sessions.errors import StoreUnavailable, UsageError
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
#: Seconds for which the mark of a move is kept, and the size of one mark in bytes.
_MARKED, _MARK = 600.0, 8
#: Attempts to add a mark beside those of other processes that move the same session.
_ATTEMPTS = 20
_BY_NOBODY = frozenset({Cause.MOVED, Cause.IDLE, Cause.ABSOLUTE})
_OF_SECRET = ("secret_hash", "previous_hash", "rotated_at", "confirmed_at", "grace")
_OF_LIFETIME = ("absolute_at", "idle_timeout", "persistent")


def is_elsewhere(found: SessionSummary | None) -> bool:
    """Return whether only the other store can have the session: this one never had it, or has given it away."""
    return found is None or (isinstance(found, Tombstone) and found.ending.cause is Cause.MOVED)


def was_ended(found: SessionSummary | None) -> TypeGuard[Tombstone]:
    """Return whether the session was ended by a user, an operator or a rule, which also applies to the copy in the other store."""
    return isinstance(found, Tombstone) and found.ending.cause not in _BY_NOBODY


def ended_there(now: float) -> Ending:
    """Return an ending for a session that ended in the other store by an unknown user."""
    return Ending(at=now, cause=Cause.OPERATOR, keep_until=now + REMEMBERED)


def is_newer(record: Record, than: Record) -> bool:
    """Return whether one copy was used, rotated or confirmed later than the other."""
    times = [(item.last_seen_at, item.rotated_at, item.confirmed_at or 0.0) for item in (record, than)]
    return times[0] > times[1]


def difference(old: Record, new: Record, now: float) -> Change:
    """Return the change that turns ``old`` into ``new``. A new secret makes it conflict unless ``old``'s secret is stored."""

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
    """Run an optional write of a load. If a store fails, log it and return ``otherwise``; the next load tries again."""
    try:
        return await call()
    except StoreUnavailable as error:
        logger.warning("a session could not be moved yet: %s", error)
        return otherwise


def _mark_of(record: Record) -> tuple[str, bytes]:
    """Return the name of the marks of a session in ``Store.swap``, and the mark of its values."""
    values = msgspec.msgpack.encode(sorted(record.data.items()))
    return f"move:{record.handle}", sha256(values).digest()[:_MARK]


def _marks_in(stored: bytes | None) -> list[bytes]:
    return [stored[at : at + _MARK] for at in range(0, len(stored), _MARK)] if stored else []


class Handover:
    """Resolves and moves single sessions of two stores.

    Args:
        primary: the store that sessions move to.
        fallback: the store that they move from.
        moves: whether a session moves when it is loaded.
    """

    def __init__(self, primary: Store, fallback: Store, *, moves: bool) -> None:
        self.primary = primary
        self.fallback = fallback
        self.moves = moves

    async def settle(self, handle: str, first: Found, second: Found, not_before: float, now: float) -> Loaded:
        """Resolve the two stores' answers for one session into one, and finish or start its move.

        Args:
            handle: of the session.
            first: the primary's answer.
            second: the fallback's answer.
            not_before: the later one of both stores.
            now: the time in UTC seconds.
        """
        if is_elsewhere(first):
            if is_elsewhere(second):
                return await self._load_again(handle, now)
            stays = Loaded([second], not_before)
            # The primary refuses a handle that it once gave away, so such a session stays in the fallback.
            if not isinstance(second, Record) or second.created_at < not_before or first is not None or not self.moves:
                return stays
            return await if_possible(lambda: self._move(second, now), stays)
        stays = Loaded([first], not_before)
        if isinstance(first, Record):
            # An ending wins over a live copy; otherwise a session that was signed out would come back.
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
        """End the remaining copy of an ended session, so that it is not live when this store is later used alone."""
        nobody: list[str] = []
        await if_possible(lambda: store.destroy([ended.handle], ended.ending), nobody)

    async def _load_again(self, handle: str, now: float) -> Loaded:
        """Load both stores again: the session may have left one before it was read, and reached the other after."""
        newer, older = [await store.load([handle], now) for store in (self.primary, self.fallback)]
        found = next((item for item in (*newer.records, *older.records) if not is_elsewhere(item)), None)
        return Loaded([found], max(newer.not_before, older.not_before))

    async def _move(self, record: Record, now: float) -> Loaded:
        """Create the session in the primary, then take it out of the fallback."""
        await self._mark(record, now)
        made = (await self.primary.save([Create(record=record)]))[0]
        if isinstance(made, Exception):
            raise made
        if made is Outcome.SAVED:
            return await self._take_over(record, now, is_fresh=True)
        there = await self.primary.load([record.handle], now)
        found = there.records[0]
        if isinstance(found, Record):
            return await self._take_over(found, now, is_fresh=False)
        # The primary refused it: all its sessions were ended, or it once gave the handle away.
        return Loaded([record], there.not_before) if is_elsewhere(found) else there

    async def _take_over(self, copy: Record, now: float, *, is_fresh: bool) -> Loaded:
        """Take the session out of the fallback, and apply its latest changes to the primary's copy.

        Args:
            copy: the primary's copy.
            now: the time in UTC seconds.
            is_fresh: whether this move created the copy. An older copy may have been changed since; the one used last wins.
        """
        ending = Ending(at=now, cause=Cause.MOVED, keep_until=now + REMEMBERED)
        last = await self.fallback.take(copy.handle, ending)
        if last is None:
            # Another process was faster, or the session has ended in the fallback.
            return await self._end_too(copy, now)
        if last != copy and (is_fresh or is_newer(last, copy) or await self._is_unchanged(copy, now)):
            late = difference(copy, last, now)
            answer = (await self.primary.save([late]))[0]
            if isinstance(answer, Conflict):
                # Another process has moved it too, and the browser already has a newer secret from the primary.
                await self.primary.save([msgspec.structs.replace(late, rotation=None)])
        return await self.primary.load([copy.handle], now)

    async def _mark(self, record: Record, now: float) -> None:
        """Leave a mark of the values from which the primary's copy is created."""
        (name, mark), marks = _mark_of(record), None
        # A store of somebody else may be without ``swap``; then the times of both copies decide.
        with suppress(UsageError):
            for _ in range(_ATTEMPTS):
                swapped = await self.primary.swap(name, marks, (marks or b"") + mark, now + _MARKED)
                if swapped.done or mark in _marks_in(swapped.value):
                    return
                marks = swapped.value
            raise StoreUnavailable(self.primary.backend, "too many processes move the session")

    async def _is_unchanged(self, copy: Record, now: float) -> bool:
        """Return whether the primary's copy has the values with which a move has just created it."""
        name, mark = _mark_of(copy)
        with suppress(UsageError):
            # No mark is empty, so this only reads.
            swapped = await self.primary.swap(name, b"", b"", now + _MARKED)
            return mark in _marks_in(swapped.value)
        return False

    async def _end_too(self, copy: Record, now: float) -> Loaded:
        """End the copy in the primary if the session ended in the fallback, alone or with all sessions."""
        there = await self.fallback.load([copy.handle], now)
        found = there.records[0]
        if was_ended(found):
            ending = found.ending
        elif found is None or (isinstance(found, Record) and found.created_at < there.not_before):
            # There is no tombstone of a move either, so the session has ended, alone or with all others.
            ending = ended_there(now)
        else:
            return await self.primary.load([copy.handle], now)
        await self.primary.destroy([copy.handle], ending)
        return Loaded([bury(copy, ending)], there.not_before)
