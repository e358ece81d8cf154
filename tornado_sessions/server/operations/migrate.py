"""Copy live sessions, and the tombstones of ended ones, from one store to another. A run can be interrupted and repeated.

Sessions that exist in the target are not changed. A session that ends in the source during the run ends in the target as well. It
must not know which kinds of stores they are.
"""

from __future__ import annotations

import math
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from tornado_sessions.query import Query, Sort, State
from tornado_sessions.record import Cause, Create, Damaged, Ending, Loaded, Outcome, Record, Tombstone, summary_of
from tornado_sessions.stores import Store
from tornado_sessions.stores.dual.handover import ended_there, was_ended

__all__ = ["copy_sessions"]

_PAGE = 500


async def copy_sessions(
    source: Store,
    target: Store,
    advanced: Callable[[int], object],
    clock: Callable[[], float] = time.time,
    damaged: Callable[[list[str]], object] = lambda _: None,
    ended: Callable[[int, int], object] = lambda _copied, _left: None,
) -> int:
    """Copy all live sessions and all tombstones.

    Args:
        source: the store to read. Its sessions stay.
        target: the store to write. If all sessions were ended in the source, they are ended in the target as well.
        advanced: called after each step with the number of sessions read.
        clock: the time in UTC seconds.
        damaged: called with the handles of unreadable sessions, which are skipped; their users have to sign in again.
        ended: called at the end with the numbers of tombstones that were copied and that the target refused, because all of its
            sessions of that time have ended.

    Returns:
        The number of copied sessions, without those that the target already had.

    Raises:
        StoreUnavailable: one of the stores failed. Run the copy again.
    """
    copying = _Copying(source, target, clock)
    copied, cursor = 0, None
    # Tombstones come before the end of all sessions: after it, the target takes no session that started earlier.
    await copying.copy_ended()
    await copying.load([])
    while True:
        # In this order a session that is used during the run moves towards the end, so it is still found. In any other order it
        # could move to a page that has already been read.
        page = await source.find(Query(now=clock(), sort=Sort.EXPIRES, cursor=cursor, limit=_PAGE))
        found = (await copying.load([item.handle for item in page.items])).records
        copied += await copying.copy([item for item in found if isinstance(item, Record)])
        unreadable = [item.handle for item in found if isinstance(item, Damaged)]
        if unreadable:
            damaged(unreadable)
        advanced(len(page.items))
        cursor = page.next_cursor
        if cursor is None:
            break
    await copying.copy_ended()
    await copying.load([])
    ended(copying.buried, copying.left)
    return copied


class _Copying:
    """One run.

    Attributes:
        not_before: the time, in UTC seconds, of the last end of all sessions in the source that was repeated in the target.
    """

    def __init__(self, source: Store, target: Store, clock: Callable[[], float]) -> None:
        self.source = source
        self.target = target
        self.clock = clock
        self.not_before = 0.0
        self.buried = 0
        self.left = 0

    async def load(self, handles: Sequence[str]) -> Loaded:
        """Load records from the source. If all sessions were ended there, first end all sessions in the target."""
        loaded = await self.source.load(handles, self.clock())
        if loaded.not_before > self.not_before:
            await self.target.end_all(loaded.not_before, ended_there(self.clock()))
            self.not_before = loaded.not_before
        return loaded

    async def copy(self, records: Sequence[Record]) -> int:
        """Create records in the target and return the number created.

        A session that ends in the source after it was read would stay live in the target. The source is therefore read again after
        the writes, and sessions that have ended there are ended in the target.
        """
        live = [record for record in records if record.created_at >= self.not_before]
        answers = await self.target.save([Create(record=record) for record in live])
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        endings: dict[str, Ending] = {}
        again = (await self.load([record.handle for record in live])).records
        for record, found in zip(live, again, strict=True):
            if was_ended(found):
                endings[record.handle] = found.ending
            elif found is None and record.expires_at > self.clock():
                # The session has ended, and its tombstone has been pruned.
                endings[record.handle] = ended_there(self.clock())
        await self._end(endings)
        return sum(answer is Outcome.SAVED for answer in answers)

    async def copy_ended(self) -> None:
        """Copy the tombstones, and end sessions in the target that ended in the source after a run had copied them."""
        cursor, self.left = None, 0
        while True:
            page = await self.source.find(Query(now=self.clock(), state=State.ENDED, cursor=cursor, limit=_PAGE))
            ended = {item.handle: item for item in page.items if isinstance(item, Tombstone)}
            here = dict(zip(ended, (await self.target.load(list(ended), self.clock())).records, strict=True))
            live = [handle for handle, found in here.items() if isinstance(found, Record | Damaged)]
            await self._end({handle: ended[handle].ending for handle in live if was_ended(ended[handle])})
            await self._bury([ended[handle] for handle, found in here.items() if found is None])
            cursor = page.next_cursor
            if cursor is None:
                return

    async def _bury(self, tombstones: Sequence[Tombstone]) -> None:
        """Create a session for each tombstone and end it in the same way. Nobody knows its secret, should this stop in between."""
        now = self.clock()
        kept = [item for item in tombstones if item.ending.keep_until > now and item.ending.cause is not Cause.MOVED]
        answers = await self.target.save([Create(record=_record_of(item)) for item in kept])
        created = [item for item, answer in zip(kept, answers, strict=True) if answer is Outcome.SAVED]
        await self._end({item.handle: item.ending for item in created})
        self.buried += len(created)
        self.left += len(kept) - len(created)

    async def _end(self, endings: dict[str, Ending]) -> None:
        handles: defaultdict[Ending, list[str]] = defaultdict(list)
        for handle, ending in endings.items():
            handles[ending].append(handle)
        for ending, some in handles.items():
            await self.target.destroy(some, ending)


def _record_of(ended: Tombstone) -> Record:
    """Return a session that was live until it ended as this one did, with a secret that nobody has."""
    # A tombstone of an expired session names the time of its end as its expiry, and it must be live to be ended.
    expires_at = max(ended.expires_at, math.nextafter(ended.ending.at, math.inf))
    fields: dict[str, Any] = {**summary_of(ended), "expires_at": expires_at}
    return Record(
        secret_hash=secrets.token_bytes(32),
        rotated_at=ended.created_at,
        absolute_at=expires_at,
        idle_timeout=1.0,
        **fields,
    )
