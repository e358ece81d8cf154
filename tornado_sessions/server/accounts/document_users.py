"""``DocumentUsers``: our own table of users, as documents. Names and emails are unique, ignoring case.

An account is stored as JSON, so adding a field to ``User`` requires only a default. A damaged record is returned as a
``DamagedUser``, so it never makes a list fail. It must not know passwords, codes or the backend.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
from typing_extensions import override

from tornado_sessions.server.accounts.errors import AlreadyTaken
from tornado_sessions.server.accounts.names import looks_of
from tornado_sessions.server.accounts.user import DamagedUser, User, identity_of, key_of
from tornado_sessions.server.accounts.users import Users
from tornado_sessions.server.documents import Document, DocumentStore, NameTaken
from tornado_sessions.server.roles import Role

__all__ = ["DocumentUsers"]

_KIND = "account"
#: The unique name of the operator that the setup link made. No email is equal to it, because it has no ``@``.
_FIRST = "first operator"


async def _end_none(_user_id: str) -> None:
    """End no sessions: there are none, as beside a copy of another store."""


class DocumentUsers(Users):
    """Stores accounts. The id of a user is the name.

    Usernames that look alike are refused as well. What is taken is known exactly, so ``add`` and ``replace`` raise
    ``AlreadyTaken``.

    Args:
        documents: the underlying document store.
        end_sessions: ends the sessions with a user id. Sessions that exist before the account belong to someone else, such as
            a user of Express, and must not be signed in to it.
    """

    def __init__(self, documents: DocumentStore, end_sessions: Callable[[str], Awaitable[object]] = _end_none) -> None:
        self._documents = documents
        self._end_sessions = end_sessions

    @override
    async def get(self, user_id: str) -> User | DamagedUser | None:
        return await self.named(key_of(user_id))

    @override
    async def named(self, key: str) -> User | DamagedUser | None:
        found = await self._documents.get(_KIND, key)
        return _read(found) if found is not None else None

    @override
    async def with_email(self, key: str) -> User | DamagedUser | None:
        return await self._tagged(_email_tag(key))

    async def with_identity(self, issuer: str, subject: str) -> User | DamagedUser | None:
        """Return the account of a user of an OpenID provider, or ``None``."""
        return await self._tagged(identity_of(issuer, subject))

    async def _tagged(self, tag: str) -> User | DamagedUser | None:
        found = await self._documents.page(_KIND, tag=tag, limit=1)
        return _read(found[0]) if found else None

    @override
    async def add(self, user: User) -> str | None:
        if await self.named(user.key) is None:
            # If they cannot be ended, there is no account.
            await self._end_strangers(user)
        if not await self._put(user, looks_of(user.name)):
            return None
        # Sessions started in the meantime.
        await self._end_strangers(user)
        return user.name

    async def _end_strangers(self, user: User) -> None:
        for name in {user.name, user.key}:
            await self._end_sessions(name)

    @override
    async def replace(self, user: User) -> bool:
        try:
            return await self._put(user, looks_of(user.name))
        except AlreadyTaken as taken:
            if taken.field == "email":
                raise
            # Two accounts that are older than this rule look alike. Their owners must still be able to change them.
            return await self._put(user, set())

    async def _put(self, user: User, looks: set[str]) -> bool:
        document = Document(user.key, user.revision, user.record.encode())
        # The key makes the username unique; the document's names make the email, the first operator and the look of the username
        # unique. One write checks all of them. No email contains a space.
        # An account of a provider owns its identity instead of its email, which nobody here has confirmed.
        identity = identity_of(user.issuer, user.subject) if user.issuer else ""
        names = [identity or user.email_key, *(f"looks like {look}" for look in sorted(looks))]
        if user.is_first and user.role.at_least(Role.OPERATOR):
            names.append(_FIRST)
        try:
            return await self._documents.put(_KIND, document, tags=_tags(user), names=names)
        except NameTaken as taken:
            raise AlreadyTaken("username" if taken.name in names[1 : 1 + len(looks)] else "email") from None

    @override
    async def remove(self, user: User) -> bool:
        return await self._documents.delete(_KIND, user.key, user.revision)

    @override
    async def page(
        self, after: str, limit: int, *, role: Role | None, is_blocked: bool, backwards: bool
    ) -> list[User | DamagedUser]:
        tag = _tag_of(role, is_blocked=is_blocked)
        found = await self._documents.page(_KIND, tag=tag, after=after, limit=limit, backwards=backwards)
        return list(map(_read, found))


def _tag_of(role: Role | None, *, is_blocked: bool) -> str:
    """Return the tag of accounts with a role, with a block (which may have ended), or with both; empty for all accounts."""
    words = ["blocked"] * is_blocked + ([role.value] if role is not None else [])
    return " ".join(words)


def _tags(user: User) -> list[str]:
    """Return the tags of an account: one for each combination of filters that finds it, and one for its email."""
    states = [False, True] if user.blocked_until is not None else [False]
    tags = [tag for state in states for role in (user.role, None) if (tag := _tag_of(role, is_blocked=state))]
    # An account of a provider does not own its email, so it is not found by it.
    owned = identity_of(user.issuer, user.subject) if user.issuer else _email_tag(user.email_key)
    return [*tags, owned]


def _email_tag(key: str) -> str:
    return f"email {key}"


def _read(document: Document) -> User | DamagedUser:
    if document.damage:
        return DamagedUser(key=document.key, why=document.damage)
    user = User.restore(document.body or b"{")
    if isinstance(user, DamagedUser):
        return DamagedUser(key=document.key, why=user.why)
    if user.key != document.key:
        return DamagedUser(key=document.key, why="key differs from the document's key")
    # The revision of the document is the one that the next write must follow.
    return msgspec.structs.replace(user, revision=document.revision)
