"""Copy live sessions and accounts from one store to another; may be stopped and run again.

It must not know where they are kept. What is there already is left as it is. A session that ends in the old store while it is
copied is ended in the new one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from tornado_sessions.accounts.errors import Taken
from tornado_sessions.accounts.stores import AccountStore
from tornado_sessions.accounts.user import DamagedUser
from tornado_sessions.query import Query
from tornado_sessions.record import Cause, Create, Outcome, Record, Tombstone
from tornado_sessions.stores import Store

__all__ = ["copy_accounts", "copy_sessions"]

logger = logging.getLogger("tornado_sessions")

_PAGE = 500


async def copy_sessions(
    source: Store, target: Store, advanced: Callable[[int], object], clock: Callable[[], float] = time.time
) -> int:
    """Copy every live session.

    Args:
        source: where they are; it keeps them.
        target: where they are to be.
        advanced: told after each step how many were looked at.
        clock: the time in UTC seconds.

    Returns:
        How many were copied; those that were there already are not counted.

    Raises:
        StoreUnavailable: one of the two failed; run it again.
    """
    copied, cursor = 0, None
    while True:
        page = await source.find(Query(now=clock(), cursor=cursor, limit=_PAGE))
        copied += await _copy(source, target, [item.handle for item in page.items], clock)
        advanced(len(page.items))
        cursor = page.next_cursor
        if cursor is None:
            return copied


async def _copy(source: Store, target: Store, handles: list[str], clock: Callable[[], float]) -> int:
    found = (await source.load(handles, clock())).records
    records = [item for item in found if isinstance(item, Record)]
    answers = await target.save([Create(record=record) for record in records])
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    # Who logged out between our look and our copy must not be let in by the copy.
    again = await source.load([record.handle for record in records], clock())
    for item in again.records:
        if isinstance(item, Tombstone) and item.ending.cause is not Cause.MOVED:
            await target.destroy([item.handle], item.ending)
    return sum(answer is Outcome.SAVED for answer in answers)


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
            except Taken:
                continue
            copied += 1
        advanced(len(users))
        after = users[-1].key
    return copied
