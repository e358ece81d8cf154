"""``AccountRepository``: accounts as documents. Names and addresses are unique without regard to case.

It must not know passwords, codes or the backend. An account is JSON, so a field that is added to ``User`` needs a default and
nothing else. A damaged record costs one account: a ``DamagedUser`` stands in its place, and no list fails for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import msgspec

from tornado_sessions.damage import Unreadable
from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.server.accounts.errors import AlreadyTaken, DamagedAccount, NoAccount
from tornado_sessions.server.accounts.user import DamagedUser, User, key_of
from tornado_sessions.server.documents import Document, DocumentStore, NameTaken
from tornado_sessions.server.roles import Role

__all__ = ["ATTEMPTS", "AccountRepository", "Check", "changed"]

logger = logging.getLogger("tornado_sessions.server.accounts")

_KIND = "account"
#: Attempts at one change of an account before it counts as too busy.
ATTEMPTS = 100

#: Raises the reason why a change is refused. It judges the very revision that the change replaces.
Check = Callable[[User], None]


class AccountRepository:
    """Stores accounts. Each method may raise ``StoreUnavailable``.

    Args:
        documents: where they are kept.
    """

    def __init__(self, documents: DocumentStore) -> None:
        self._documents = documents

    async def add(self, user: User) -> User:
        """Store a new account as its first revision, and return that. Raises ``AlreadyTaken``; then nothing was written."""
        first = msgspec.structs.replace(user, revision=1)
        if not await self._put(first):
            raise AlreadyTaken("username")
        return first

    async def replace(self, user: User) -> bool:
        """Store the next revision of an account; see ``changed``.

        Returns:
            False when another change was faster; nothing was written.

        Raises:
            AlreadyTaken: its new address belongs to another account.
        """
        return await self._put(user)

    async def _put(self, user: User) -> bool:
        document = Document(user.key, user.revision, msgspec.json.encode(user))
        try:
            return await self._documents.put(_KIND, document, tags=[user.role.value], names=[key_of(user.email)])
        except NameTaken:
            raise AlreadyTaken("email") from None

    async def get(self, key: str) -> User | DamagedUser | None:
        """Return the account whose name has this key (``key_of``), or ``None``."""
        found = await self._documents.get(_KIND, key)
        return _read(found) if found is not None else None

    async def find(self, key: str) -> User | None:
        """Return a readable account, or ``None``. Raises ``DamagedAccount``."""
        found = await self.get(key)
        if isinstance(found, DamagedUser):
            logger.error("the account %r is damaged and cannot be used: %s", found.name, found.why)
            raise DamagedAccount
        return found

    async def change(self, key: str, check: Check, **fields: Any) -> User:
        """Change some fields of an account, whatever else changes at the same time.

        Args:
            key: of its name.
            check: raises the reason to refuse.
            fields: the new values.

        Returns:
            The account as it is now.

        Raises:
            NoAccount: there is none.
            DamagedAccount: its record cannot be read.
            AlreadyTaken: the new address belongs to another account.
        """
        for _ in range(ATTEMPTS):
            user = await self.find(key)
            if user is None:
                raise NoAccount
            check(user)
            new = changed(user, **fields)
            if await self.replace(new):
                return new
        raise _too_busy()

    async def remove(self, key: str, check: Check) -> None:
        """Remove an account for good; harmless when it is gone. Raises what ``check`` raises, and ``DamagedAccount``."""
        for _ in range(ATTEMPTS):
            user = await self.find(key)
            if user is None:
                return
            check(user)
            if await self._documents.delete(_KIND, key, user.revision):
                return
        raise _too_busy()

    async def has_role(self, role: Role) -> bool:
        """Return whether any account has this role, damaged ones included."""
        return bool(await self._documents.page(_KIND, tag=role.value, limit=1))

    async def with_role(self, role: Role, limit: int) -> list[User | DamagedUser]:
        """Return the first accounts with this role, in the order of their keys."""
        return list(map(_read, await self._documents.page(_KIND, tag=role.value, limit=limit)))

    async def page(self, after: str, limit: int) -> list[User | DamagedUser]:
        """Return the accounts behind the key ``after`` (``""``: from the first), in the order of their keys."""
        return list(map(_read, await self._documents.page(_KIND, after=after, limit=limit)))


def changed(user: User, **fields: Any) -> User:
    """Return the next revision of an account."""
    return msgspec.structs.replace(user, **fields, revision=user.revision + 1)


def _read(document: Document) -> User | DamagedUser:
    try:
        user = document.read(User, "key")
    except Unreadable as error:
        return DamagedUser(key=document.key, why=error.why)
    return msgspec.structs.replace(user, revision=document.revision)


def _too_busy() -> StoreUnavailable:
    return StoreUnavailable("accounts", "the account is changed by too many requests at once")
