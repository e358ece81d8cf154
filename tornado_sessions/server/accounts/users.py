"""``Users``: the contract of a table of users, which our store of documents and an application's own table implement.

It must not know passwords, forms or any database.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from tornado_sessions.server.accounts.user import DamagedUser, User
from tornado_sessions.server.roles import Role

__all__ = ["FormerPasswords", "Users"]


class Users(Protocol):
    """A table of users.

    It guarantees, even if several processes write at once:

    1. No two users have the same ``user.key``, and no two the same ``user.email_key``: both columns are unique.
    2. A change names the revision that it replaces. Of two changes of the same revision, one is stored; the other one gets
       ``False`` and is repeated on top of the first.
    3. A user who was removed does not come back by a change.

    Every method may raise ``StoreUnavailable`` or ``OSError`` if the table is unreachable; requests then get 503, and nobody is
    signed out. ``tornado_sessions.server.testing`` has checks for a table.
    """

    async def get(self, user_id: str) -> User | DamagedUser | None:
        """Return the user with an id, or ``None``."""

    async def named(self, key: str) -> User | DamagedUser | None:
        """Return the user whose ``key`` is this, or ``None``."""

    async def with_email(self, key: str) -> User | DamagedUser | None:
        """Return the user whose ``email_key`` is this, or ``None``."""

    async def add(self, user: User) -> str | None:
        """Store a new user with ``revision`` 1, and return the user id; ``None`` if the name or the email is taken.

        ``user.id`` is a suggestion: the name.
        """

    async def replace(self, user: User) -> bool:
        """Store a user whose stored revision is ``user.revision - 1``; return ``False`` if it is not, or if the email is taken."""

    async def remove(self, user: User) -> bool:
        """Remove a user whose stored revision is ``user.revision``; return ``False`` if it is not."""

    async def page(
        self, after: str, limit: int, *, role: Role | None, is_blocked: bool, backwards: bool
    ) -> Sequence[User | DamagedUser]:
        """Return the users whose ``key`` comes after a key, in the order of code points (``COLLATE "C"``); ``""`` comes first.

        Every call passes all arguments.

        Args:
            after: the key.
            limit: maximum number of users.
            role: only users with this role; ``None`` for all.
            is_blocked: only users with a ``blocked_until``, even if it has passed.
            backwards: the users before the key instead, the nearest first.
        """


@runtime_checkable
class FormerPasswords(Protocol):
    """Users who had a password before our records. Optional."""

    async def is_former_password(self, user: User, password: str) -> bool:
        """Return whether this is the former password of a user whose record has none.

        Called at a sign-in, which is throttled and has already hashed the password once. If the result is true, our own hash is
        stored, and the method is not called for this user again. Hash in a thread, or the event loop is blocked.
        """
