"""``Listing``: accounts in the order of their names, filtered and page by page, in both directions.

Each page reads the index of its filter from the place where the last one ended, so the thousandth page costs as much as the first.
It must not know pages of HTML or what operators may do.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from itertools import takewhile
from typing import NamedTuple

from tornado_sessions.errors import QueryError
from tornado_sessions.server.accounts.user import DamagedUser, User, key_of
from tornado_sessions.server.accounts.users import Users
from tornado_sessions.server.roles import Role

__all__ = ["Choice", "Listed", "Listing"]

#: How many records one page reads at a time, and at most. A page may have to skip some of them: the index of blocked accounts also
#: has those whose block is over, and accounts that are not blocked have no index of their own.
_STEP, _MAX_READ = 200, 2000
#: Sorts after every other continuation of a key: a page that starts behind it backwards begins with the key itself.
_BEHIND = "\x01"


class Choice(NamedTuple):
    """Which accounts to list; see ``PeopleQuery``."""

    text: str = ""
    role: Role | None = None
    blocked: bool | None = None


class Listed(NamedTuple):
    """One page of accounts with the cursors of the pages beside it."""

    users: list[User | DamagedUser]
    next_cursor: str | None
    previous_cursor: str | None


class _Read(NamedTuple):
    """What one pass found, in the order in which it read, and the key at which the next pass continues, if there is more."""

    users: list[User | DamagedUser]
    more_after: str | None


class Listing:
    """Lists accounts.

    Args:
        users: the table of users.
        clock: the time in UTC seconds.
    """

    def __init__(self, users: Users, clock: Callable[[], float]) -> None:
        self._users = users
        self._clock = clock

    async def page(self, choice: Choice, cursor: str, limit: int) -> Listed:
        """Return one page. Raises ``QueryError`` if the cursor is invalid, and ``StoreUnavailable``."""
        backwards, key = _read_cursor(cursor)
        if backwards:
            read = await self._read(choice, key, limit, backwards=True)
            if read.more_after is not None and read.users:
                found = read.users[::-1]
                return Listed(found, _cursor(">", found[-1].key), _cursor("<", found[0].key))
            # Back at the beginning, where the whole first page is shown.
            key = ""
        read = await self._read(choice, key, limit)
        before = read.users[0].key if read.users else key + _BEHIND
        return Listed(
            read.users,
            _cursor(">", read.more_after) if read.more_after is not None else None,
            _cursor("<", before) if key else None,
        )

    async def _read(self, choice: Choice, key: str, limit: int, *, backwards: bool = False) -> _Read:
        prefix, found = key_of(choice.text), list[User | DamagedUser]()
        if prefix and not key:
            # The store continues after a key, and the prefix itself may be one.
            exact = await self._users.named(prefix)
            found = [exact] if exact is not None and self._matches(exact, choice) else []
        after, read = key or prefix, 0
        step = min(_STEP, limit + 1) if choice.blocked is None else _STEP
        while read < _MAX_READ:
            page = await self._users.page(
                after, step, role=choice.role, is_blocked=choice.blocked is True, backwards=backwards
            )
            users = list(takewhile(lambda user: user.key.startswith(prefix), page))
            found += [user for user in users if self._matches(user, choice)]
            if len(found) > limit:
                return _Read(found[:limit], found[limit - 1].key)
            if len(users) < step:
                return _Read(found, None)
            after = users[-1].key
            read += len(page)
        return _Read(found, after)

    def _matches(self, user: User | DamagedUser, choice: Choice) -> bool:
        if isinstance(user, DamagedUser):
            return choice.blocked is None
        has_role = choice.role is None or user.role is choice.role
        return has_role and (choice.blocked is None or user.is_blocked(self._clock()) is choice.blocked)


def _cursor(direction: str, key: str) -> str:
    # A damaged key need not be UTF-8, and must lead on like any other.
    return direction + base64.urlsafe_b64encode(key.encode("utf-8", "surrogateescape")).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[bool, str]:
    """Return whether a cursor leads backwards, and its key."""
    if not cursor:
        return False, ""
    direction, text = cursor[:1], cursor[1:2000]
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True).decode("utf-8", "surrogateescape")
    except (binascii.Error, ValueError):
        key = ""
    if direction not in ("<", ">") or not key or "\0" in key:
        raise QueryError("invalid cursor; start from the first page")
    return direction == "<", key
