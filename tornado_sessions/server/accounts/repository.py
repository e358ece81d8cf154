"""``AccountRepository``: changes accounts in a table of users without losing concurrent changes.

It must not know passwords, codes or where the table is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.server.accounts.errors import AlreadyTaken, DamagedAccount, NoAccount
from tornado_sessions.server.accounts.user import DamagedUser, User, key_of
from tornado_sessions.server.accounts.users import FormerPasswords, Users
from tornado_sessions.server.roles import Role

__all__ = ["ATTEMPTS", "AccountRepository", "Check", "changed"]

logger = logging.getLogger("tornado_sessions.server.accounts")

#: Maximum number of attempts to change an account while other requests change it.
ATTEMPTS = 100

#: Raises an error to refuse a change. It receives exactly the revision that the change would replace.
Check = Callable[[User], None]


class AccountRepository:
    """The accounts of a table of users. Each method may raise ``StoreUnavailable``.

    Args:
        users: the table.
    """

    def __init__(self, users: Users) -> None:
        self._users = users

    async def add(self, user: User) -> User:
        """Store a new account as its first revision and return it with its id. On ``AlreadyTaken`` nothing was written."""
        first = msgspec.structs.replace(user, revision=1)
        made = await self._users.add(first)
        if made is None:
            is_name = await self._users.named(user.key) is not None
            raise AlreadyTaken("username" if is_name else "email")
        return msgspec.structs.replace(first, id=made)

    async def replace(self, user: User) -> bool:
        """Store the next revision of an account; see ``changed``.

        Returns:
            ``False`` if another request changed the account first; nothing was written.

        Raises:
            AlreadyTaken: its new email belongs to another account.
        """
        if await self._users.replace(user):
            return True
        # The table does not say why. Only a new email can be somebody else's.
        now = await self._users.get(user.id)
        if isinstance(now, User) and now.revision == user.revision - 1 and now.email_key != user.email_key:
            owner = await self._users.with_email(user.email_key)
            if owner is not None and owner.key != user.key:
                raise AlreadyTaken("email")
        return False

    async def get(self, user_id: str) -> User | DamagedUser | None:
        """Return the account with a user id, or ``None``."""
        return await self._users.get(user_id)

    async def named(self, name: str) -> User | DamagedUser | None:
        """Return the account with a username, ignoring case, or ``None``."""
        return await self._users.named(key_of(name))

    async def by_email(self, email: str) -> User | None:
        """Return the readable account with an email, ignoring case, or ``None``."""
        found = await self._users.with_email(key_of(email)) if email else None
        return found if isinstance(found, User) else None

    async def find(self, user_id: str) -> User | None:
        """Return the readable account with a user id, or ``None``. Raises ``DamagedAccount``."""
        return _readable(await self.get(user_id))

    async def find_named(self, name: str) -> User | None:
        """Return the readable account with a username, ignoring case, or ``None``. Raises ``DamagedAccount``."""
        return _readable(await self.named(name))

    async def is_former_password(self, user: User, password: str) -> bool:
        """Return whether a user without a password hash of ours had this password in the application."""
        if user.password_hash or user.issuer or not isinstance(self._users, FormerPasswords):
            return False
        return await self._users.is_former_password(user, password)

    async def change(self, user_id: str, check: Check, **fields: Any) -> User:
        """Change fields of an account without losing concurrent changes of other fields.

        Args:
            user_id: the account.
            check: raises an error to refuse the change.
            fields: the new values.

        Returns:
            The changed account.

        Raises:
            NoAccount: the account does not exist.
            DamagedAccount: its record cannot be read.
            AlreadyTaken: the new email belongs to another account.
        """
        # Optimistic locking: the write of the next revision fails if another request has written it first. Then read and check
        # again, so that neither change is lost and the check never judges an old state.
        for _ in range(ATTEMPTS):
            user = await self.find(user_id)
            if user is None:
                raise NoAccount
            check(user)
            new = changed(user, **fields)
            if await self.replace(new):
                return new
        raise _too_busy()

    async def remove(self, user_id: str, check: Check) -> None:
        """Delete an account permanently, if it exists. Raises ``DamagedAccount`` and the errors of ``check``."""
        for _ in range(ATTEMPTS):
            user = await self.find(user_id)
            if user is None:
                return
            check(user)
            # Delete only the checked revision, as in ``change``.
            if await self._users.remove(user):
                return
        raise _too_busy()

    async def has_role(self, role: Role) -> bool:
        """Return whether any account has this role, including damaged ones."""
        return bool(await self.page("", 1, role=role))

    async def page(self, after: str, limit: int, *, role: Role | None = None) -> Sequence[User | DamagedUser]:
        """Return the accounts after a key, in the order of their keys; see ``Users.page``."""
        return await self._users.page(after, limit, role=role, is_blocked=False, backwards=False)


def changed(user: User, **fields: Any) -> User:
    """Return the next revision of an account. ``extra`` has values that change; ``None`` removes one, and all others are kept."""
    if "extra" in fields:
        # A process with fewer fields, such as one of an earlier version of the application, must not drop those of others.
        fields["extra"] = {
            name: value for name, value in {**user.extra, **fields["extra"]}.items() if value is not None
        }
    return msgspec.structs.replace(user, **fields, revision=user.revision + 1)


def _readable(found: User | DamagedUser | None) -> User | None:
    if isinstance(found, DamagedUser):
        logger.error("the account %r is damaged and cannot be used: %s", found.name, found.why)
        raise DamagedAccount
    return found


def _too_busy() -> StoreUnavailable:
    return StoreUnavailable("accounts", "too many requests are changing this account at the same time")
