"""Copy accounts from one store to another. A run can be interrupted and repeated. It must not know which stores they are."""

from __future__ import annotations

import logging
from collections.abc import Callable

from tornado_sessions.server.accounts.errors import AlreadyTaken
from tornado_sessions.server.accounts.repository import AccountRepository
from tornado_sessions.server.accounts.user import DamagedUser, User

__all__ = ["copy_accounts"]

logger = logging.getLogger("tornado_sessions.server.accounts")

_PAGE = 500


async def copy_accounts(source: AccountRepository, target: AccountRepository, advanced: Callable[[int], object]) -> int:
    """Copy every account whose name and email are free in the target, except damaged ones.

    For an account that the target already has, only a longer block is copied, so that a user blocked since an earlier run stays
    blocked.

    Args:
        source: the repository to read. Its accounts stay.
        target: the repository to write.
        advanced: called after each step with the number of accounts read.

    Returns:
        The number of copied accounts.
    """
    copied, after = 0, ""
    while users := await source.page(after, _PAGE):
        for user in users:
            if isinstance(user, DamagedUser):
                logger.error("the account %r is damaged and was not copied: %s", user.name, user.why)
                continue
            copied += await _copy(user, target)
        advanced(len(users))
        after = users[-1].key
    return copied


async def _copy(user: User, target: AccountRepository) -> bool:
    try:
        await target.add(user)
    except AlreadyTaken as taken:
        if await target.named(user.key) is None:
            logger.warning("the account %r was not copied: its %s is another account's", user.name, taken.field)
        await _copy_block(user, target)
        return False
    return True


async def _copy_block(user: User, target: AccountRepository) -> None:
    there = await target.named(user.key)
    if isinstance(there, User) and (user.blocked_until or 0.0) > (there.blocked_until or 0.0):
        await target.change(there.id, lambda _: None, blocked_until=user.blocked_until)
