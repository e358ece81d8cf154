"""Copy live sessions from one store to another. A run can be interrupted and repeated.

Sessions that exist in the target are not changed. A session that ends in the source during the run ends in the target as well. It
must not know which kinds of stores they are.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence

from tornado_sessions.query import Query, Sort, State
from tornado_sessions.record import Create, Damaged, Ending, Loaded, Outcome, Record
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
) -> int:
    """Copy all live sessions.

    Args:
        source: the store to read. Its sessions stay.
        target: the store to write. If all sessions were ended in the source, they are ended in the target as well.
        advanced: called after each step with the number of sessions read.
        clock: the time in UTC seconds.
        damaged: called with the handles of unreadable sessions, which are skipped; their users have to sign in again.

    Returns:
        The number of copied sessions, without those that the target already had.

    Raises:
        StoreUnavailable: one of the stores failed. Run the copy again.
    """
    copying = _Copying(source, target, clock)
    copied, cursor = 0, None
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
    await copying.end_ended()
    await copying.load([])
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

    async def end_ended(self) -> None:
        """End sessions in the target that ended in the source after this run or an earlier one had copied them."""
        cursor = None
        while True:
            page = await self.source.find(Query(now=self.clock(), state=State.ENDED, cursor=cursor, limit=_PAGE))
            ended = {item.handle: item.ending for item in page.items if was_ended(item)}
            here = (await self.target.load(list(ended), self.clock())).records
            await self._end({item.handle: ended[item.handle] for item in here if isinstance(item, Record | Damaged)})
            cursor = page.next_cursor
            if cursor is None:
                return

    async def _end(self, endings: dict[str, Ending]) -> None:
        handles: defaultdict[Ending, list[str]] = defaultdict(list)
        for handle, ending in endings.items():
            handles[ending].append(handle)
        for ending, some in handles.items():
            await self.target.destroy(some, ending)
