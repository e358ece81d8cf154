"""Changes of an account that undo nobody else's: written only over the revision that they were judged by, else tried again.

It must not know passwords, codes or pages.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import msgspec

from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.server.accounts.errors import DamagedAccount, NoAccount, WrongCredentials
from tornado_sessions.server.accounts.stores import AccountStore
from tornado_sessions.server.accounts.user import DamagedUser, User

__all__ = ["ATTEMPTS", "Check", "change", "changed", "find", "has_same_password", "remove", "while_password_is_of"]

logger = logging.getLogger("tornado_sessions.server.accounts")

#: Attempts at one change of an account before it counts as too busy.
ATTEMPTS = 100

#: Raises what forbids a change, judged by the very revision that is replaced.
Check = Callable[[User], None]


async def find(store: AccountStore, key: str) -> User | None:
    """The account of a key. Raises ``DamagedAccount``."""
    found = await store.get(key)
    if isinstance(found, DamagedUser):
        logger.error("the account %r is damaged and cannot be used: %s", found.name, found.why)
        raise DamagedAccount
    return found


async def change(store: AccountStore, key: str, check: Check, **fields: Any) -> User:
    """Change some fields of an account, whatever else changes at the same time.

    Args:
        store: where it is kept.
        key: of its name.
        check: raises what forbids it.
        fields: the new values.

    Returns:
        The account as it is now.

    Raises:
        NoAccount: there is none.
        DamagedAccount: its record cannot be read.
        AlreadyTaken: the new address is another's.
        StoreUnavailable: others were faster every time.
    """
    for _ in range(ATTEMPTS):
        user = await find(store, key)
        if user is None:
            raise NoAccount
        check(user)
        new = changed(user, **fields)
        if await store.replace(new):
            return new
    raise _too_busy()


async def remove(store: AccountStore, key: str, check: Check) -> None:
    """Remove an account for good; harmless when it is gone. Raises what ``check`` and ``change`` raise."""
    for _ in range(ATTEMPTS):
        user = await find(store, key)
        if user is None:
            return
        check(user)
        if await store.remove(user):
            return
    raise _too_busy()


def changed(user: User, **fields: Any) -> User:
    """The next revision of an account."""
    return msgspec.structs.replace(user, **fields, revision=user.revision + 1)


def has_same_password(one: User, other: User) -> bool:
    """Whether it is the same account with the same password; its hash may have been renewed."""
    return (one.created_at, one.password_changed_at) == (other.created_at, other.password_changed_at)


def while_password_is_of(verified: User) -> Check:
    """What refuses a change that an old password has allowed: of two at once, the first decides."""

    def check(now: User) -> None:
        if not has_same_password(now, verified):
            raise WrongCredentials

    return check


def _too_busy() -> StoreUnavailable:
    return StoreUnavailable("accounts", "the account is changed by too many requests at once")
