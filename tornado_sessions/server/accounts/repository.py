"""``AccountRepository``: stores accounts as documents. Names and emails are unique, ignoring case.

An account is stored as JSON, so adding a field to ``User`` requires only a default. A damaged record is returned as a
``DamagedUser``, so it never makes a list fail. It must not know passwords, codes or the backend.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import msgspec

from tornado_sessions.damage import Unreadable
from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.server.accounts.errors import AlreadyTaken, DamagedAccount, NoAccount
from tornado_sessions.server.accounts.names import looks_of
from tornado_sessions.server.accounts.user import DamagedUser, User, identity_of, key_of
from tornado_sessions.server.documents import Document, DocumentStore, NameTaken
from tornado_sessions.server.roles import Role

__all__ = ["ATTEMPTS", "AccountRepository", "Check", "changed", "tag_of"]

logger = logging.getLogger("tornado_sessions.server.accounts")

_KIND = "account"
#: The unique name of the operator that the setup link made. No email is equal to it, because it has no ``@``.
_FIRST = "first operator"
#: Maximum number of attempts to change an account while other requests change it.
ATTEMPTS = 100

#: Raises an error to refuse a change. It receives exactly the revision that the change would replace.
Check = Callable[[User], None]


class AccountRepository:
    """Stores accounts. Each method may raise ``StoreUnavailable``.

    Args:
        documents: the underlying document store.
    """

    def __init__(self, documents: DocumentStore) -> None:
        self._documents = documents

    async def add(self, user: User) -> User:
        """Store a new account as its first revision and return it. On ``AlreadyTaken`` nothing was written."""
        first = msgspec.structs.replace(user, revision=1)
        if not await self._put(first, looks_of(user.name)):
            raise AlreadyTaken("username")
        return first

    async def replace(self, user: User) -> bool:
        """Store the next revision of an account; see ``changed``.

        Returns:
            ``False`` if another request changed the account first; nothing was written.

        Raises:
            AlreadyTaken: its new email belongs to another account.
        """
        try:
            return await self._put(user, looks_of(user.name))
        except AlreadyTaken as taken:
            if taken.field == "email":
                raise
            # Two accounts that are older than this rule look alike. Their owners must still be able to change them.
            return await self._put(user, set())

    async def _put(self, user: User, looks: set[str]) -> bool:
        document = Document(user.key, user.revision, msgspec.json.encode(user))
        # The key makes the username unique; the document's names make the email, the first operator and the look of the username
        # unique. One write checks all of them. No email contains a space.
        # An account of a provider owns its identity instead of its email, which nobody here has confirmed.
        identity = identity_of(user.issuer, user.subject) if user.issuer else ""
        names = [identity or key_of(user.email), *(f"looks like {look}" for look in sorted(looks))]
        if user.is_first and user.role.at_least(Role.OPERATOR):
            names.append(_FIRST)
        try:
            return await self._documents.put(_KIND, document, tags=_tags(user), names=names)
        except NameTaken as taken:
            raise AlreadyTaken("username" if taken.name in names[1 : 1 + len(looks)] else "email") from None

    async def get(self, key: str) -> User | DamagedUser | None:
        """Return the account with this key (see ``key_of``), or ``None``."""
        found = await self._documents.get(_KIND, key)
        return _read(found) if found is not None else None

    async def by_email(self, key: str) -> User | None:
        """Return the readable account with an email, by the key of the email (see ``key_of``), or ``None``."""
        found = await self._documents.page(_KIND, tag=_email_tag(key), limit=1)
        user = _read(found[0]) if found else None
        return user if isinstance(user, User) else None

    async def find(self, key: str) -> User | None:
        """Return a readable account, or ``None``. Raises ``DamagedAccount``."""
        found = await self.get(key)
        if isinstance(found, DamagedUser):
            logger.error("the account %r is damaged and cannot be used: %s", found.name, found.why)
            raise DamagedAccount
        return found

    async def change(self, key: str, check: Check, **fields: Any) -> User:
        """Change fields of an account without losing concurrent changes of other fields.

        Args:
            key: the key of its name.
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
            user = await self.find(key)
            if user is None:
                raise NoAccount
            check(user)
            new = changed(user, **fields)
            if await self.replace(new):
                return new
        raise _too_busy()

    async def remove(self, key: str, check: Check) -> None:
        """Delete an account permanently, if it exists. Raises ``DamagedAccount`` and the errors of ``check``."""
        for _ in range(ATTEMPTS):
            user = await self.find(key)
            if user is None:
                return
            check(user)
            # Delete only the checked revision, as in ``change``.
            if await self._documents.delete(_KIND, key, user.revision):
                return
        raise _too_busy()

    async def has_role(self, role: Role) -> bool:
        """Return whether any account has this role, including damaged ones."""
        return bool(await self._documents.page(_KIND, tag=role.value, limit=1))

    async def with_identity(self, issuer: str, subject: str) -> User | DamagedUser | None:
        """Return the account of a user of an OpenID provider, or ``None``."""
        found = await self._documents.page(_KIND, tag=identity_of(issuer, subject), limit=1)
        return _read(found[0]) if found else None

    async def with_role(self, role: Role, limit: int) -> list[User | DamagedUser]:
        """Return the first accounts with this role, in the order of their keys."""
        return list(map(_read, await self._documents.page(_KIND, tag=role.value, limit=limit)))

    async def page(self, after: str, limit: int, *, tag: str = "", backwards: bool = False) -> list[User | DamagedUser]:
        """Return the accounts after the key ``after`` in the order of their keys; ``""`` starts with the first.

        Args:
            after, limit, backwards: see ``DocumentStore.page``.
            tag: only accounts with this tag; see ``tag_of``.
        """
        found = await self._documents.page(_KIND, tag=tag, after=after, limit=limit, backwards=backwards)
        return list(map(_read, found))


def changed(user: User, **fields: Any) -> User:
    """Return the next revision of an account."""
    return msgspec.structs.replace(user, **fields, revision=user.revision + 1)


def tag_of(role: Role | None, *, is_blocked: bool) -> str:
    """Return the tag of accounts with a role, with a block (which may have ended), or with both; empty for all accounts."""
    words = ["blocked"] * is_blocked + ([role.value] if role is not None else [])
    return " ".join(words)


def _tags(user: User) -> list[str]:
    """Return the tags of an account: one for each combination of filters that finds it, and one for its email."""
    states = [False, True] if user.blocked_until is not None else [False]
    tags = [tag for state in states for role in (user.role, None) if (tag := tag_of(role, is_blocked=state))]
    # An account of a provider does not own its email, so it is not found by it.
    owned = identity_of(user.issuer, user.subject) if user.issuer else _email_tag(key_of(user.email))
    return [*tags, owned]


def _email_tag(key: str) -> str:
    return f"email {key}"


def _read(document: Document) -> User | DamagedUser:
    try:
        user = document.read(User, "key")
    except Unreadable as error:
        return DamagedUser(key=document.key, why=error.why)
    # The revision of the document is the one that the next write must follow.
    return msgspec.structs.replace(user, revision=document.revision)


def _too_busy() -> StoreUnavailable:
    return StoreUnavailable("accounts", "too many requests are changing this account at the same time")
