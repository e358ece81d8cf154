"""Copy live sessions from one store to another. It may be stopped and run again.

It must not know which stores they are. A session that exists in the target stays as it is there. A session that ends in the source
before the run is over, alone or with everybody's, ends in the target as well.
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
    """Copy every live session.

    Args:
        source: where they are; it keeps them.
        target: where they are copied to. Where the source has ended everybody, the target does so too.
        advanced: called after each step with the number of sessions that were looked at.
        clock: the time in UTC seconds.
        damaged: called with the handles of sessions that cannot be read and were skipped; their users have to sign in again.

    Returns:
        How many were copied, without those that were in the target before.

    Raises:
        StoreUnavailable: one of the two failed; run it again.
    """
    copying = _Copying(source, target, clock)
    copied, cursor = 0, None
    await copying.load([])
    while True:
        # A session that is used while this runs moves towards the end of this order, so it is still found. In the other orders it
        # could move to a part that was read already.
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
    """One run. ``not_before`` is when everybody was last ended in the source, as far as the target knows."""

    def __init__(self, source: Store, target: Store, clock: Callable[[], float]) -> None:
        self.source = source
        self.target = target
        self.clock = clock
        self.not_before = 0.0

    async def load(self, handles: Sequence[str]) -> Loaded:
        """Load from the source. If everybody was ended there, end everybody in the target first."""
        loaded = await self.source.load(handles, self.clock())
        if loaded.not_before > self.not_before:
            await self.target.end_all(loaded.not_before, ended_there(self.clock()))
            self.not_before = loaded.not_before
        return loaded

    async def copy(self, records: Sequence[Record]) -> int:
        """Create records in the target. Return how many it created.

        A session that ends in the source between reading and creating it would live on in the target. So the source is read
        again afterwards, and what is gone there is ended here.
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
                # It ended, and its tombstone is gone.
                endings[record.handle] = ended_there(self.clock())
        await self._end(endings)
        return sum(answer is Outcome.SAVED for answer in answers)

    async def end_ended(self) -> None:
        """End in the target what ended in the source after it was copied, by this run or an earlier one."""
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
