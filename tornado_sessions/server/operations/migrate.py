"""Copy live sessions and accounts from one store to another; may be stopped and run again.

It must not know where they are kept. What is there already is left as it is. What ends in the old store before the run is over, one
session or everybody, ends in the new one as well.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Sequence

from tornado_sessions.query import Query, Sort, State
from tornado_sessions.record import Create, Damaged, Ending, Loaded, Outcome, Record
from tornado_sessions.server.accounts.errors import AlreadyTaken
from tornado_sessions.server.accounts.stores import AccountStore
from tornado_sessions.server.accounts.user import DamagedUser
from tornado_sessions.stores import Store
from tornado_sessions.stores.moving import ended_there, was_ended

__all__ = ["copy_accounts", "copy_sessions"]

logger = logging.getLogger("tornado_sessions")

_PAGE = 500


def _ignore(_damaged: list[str]) -> None:
    """Nobody wants to know."""


async def copy_sessions(
    source: Store,
    target: Store,
    advanced: Callable[[int], object],
    clock: Callable[[], float] = time.time,
    damaged: Callable[[list[str]], object] = _ignore,
) -> int:
    """Copy every live session.

    Args:
        source: where they are; it keeps them.
        target: where they are to be. Its sessions created before everybody was ended in the source end with them.
        advanced: called after each step with how many sessions it looked at.
        clock: the time in UTC seconds.
        damaged: called with the handles of sessions that cannot be read and were skipped; their holders have to sign in again.

    Returns:
        How many were copied; those that were there already are not counted.

    Raises:
        StoreUnavailable: one of the two failed; run it again.
    """
    copying = _Copying(source, target, clock)
    copied, cursor = 0, None
    await copying.load([])
    while True:
        # What is used meanwhile moves towards the end of this order, and is met there: in the others it would be missed.
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
    await copying.end_the_ended()
    await copying.load([])
    return copied


class _Copying:
    """From one store to another."""

    def __init__(self, source: Store, target: Store, clock: Callable[[], float]) -> None:
        self.source = source
        self.target = target
        self.clock = clock
        self.not_before = 0.0

    async def load(self, handles: Sequence[str]) -> Loaded:
        """Load from the source; the end of everybody there is carried to the target first."""
        loaded = await self.source.load(handles, self.clock())
        if loaded.not_before > self.not_before:
            await self.target.end_all(loaded.not_before, ended_there(self.clock()))
            self.not_before = loaded.not_before
        return loaded

    async def copy(self, records: Sequence[Record]) -> int:
        """Create records in the target, and end again what has ended in the source meanwhile. Returns how many it created."""
        living = [record for record in records if record.created_at >= self.not_before]
        answers = await self.target.save([Create(record=record) for record in living])
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        endings: dict[str, Ending] = {}
        again = (await self.load([record.handle for record in living])).records
        for record, found in zip(living, again, strict=True):
            if was_ended(found):
                endings[record.handle] = found.ending
            elif found is None and record.expires_at > self.clock():
                # It ended, and is not remembered.
                endings[record.handle] = ended_there(self.clock())
        await self._end(endings)
        return sum(answer is Outcome.SAVED for answer in answers)

    async def end_the_ended(self) -> None:
        """End in the target what ended in the source after it was copied, now or by a run before this one."""
        cursor = None
        while True:
            page = await self.source.find(Query(now=self.clock(), state=State.ENDED, cursor=cursor, limit=_PAGE))
            ended = {item.handle: item.ending for item in page.items if was_ended(item)}
            here = (await self.target.load(list(ended), self.clock())).records
            await self._end({item.handle: ended[item.handle] for item in here if isinstance(item, (Record, Damaged))})
            cursor = page.next_cursor
            if cursor is None:
                return

    async def _end(self, endings: dict[str, Ending]) -> None:
        handles: defaultdict[Ending, list[str]] = defaultdict(list)
        for handle, ending in endings.items():
            handles[ending].append(handle)
        for ending, some in handles.items():
            await self.target.destroy(some, ending)


async def copy_accounts(source: AccountStore, target: AccountStore, advanced: Callable[[int], object]) -> int:
    """Copy every account, as ``copy_sessions`` does; one whose name or address is taken there is left out, a damaged one too."""
    copied, after = 0, ""
    while users := await source.page(after, _PAGE):
        for user in users:
            if isinstance(user, DamagedUser):
                logger.error("the account %r is damaged and was not copied: %s", user.name, user.why)
                continue
            try:
                await target.add(user)
            except AlreadyTaken:
                continue
            copied += 1
        advanced(len(users))
        after = users[-1].key
    return copied
