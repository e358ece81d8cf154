"""``HostUsers``: an application's table of users, with a limit of time, and without usernames that look alike.

It must not know passwords, forms or the database of the table.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import msgspec
from typing_extensions import override

from tornado_sessions.errors import UsageError
from tornado_sessions.server.accounts.errors import AlreadyTaken
from tornado_sessions.server.accounts.names import looks_of
from tornado_sessions.server.accounts.user import DamagedUser, User
from tornado_sessions.server.accounts.users import FormerPasswords, Users
from tornado_sessions.server.documents import Document, DocumentStore, NameTaken
from tornado_sessions.server.host_calls import ask_host
from tornado_sessions.server.roles import Role

__all__ = ["HostUsers"]

T = TypeVar("T")

_KIND = "look"
_METHODS = ("get", "named", "with_email", "add", "replace", "remove", "page")
#: How long the look of a name is reserved for an account that is being made, in seconds.
_RESERVED_FOR = 60.0


class _Reserved(msgspec.Struct, frozen=True):
    """The look of a username, kept for its account."""

    at: float


class HostUsers(Users, FormerPasswords):
    """A table of users as accounts know it.

    A call that takes too long, or that fails because of a connection, raises ``StoreUnavailable``.

    Args:
        table: the application's.
        documents: stores the look of each username, for which the table has no column.
        timeout: how long a call may take, in seconds.
        clock: the time in UTC seconds.

    Raises:
        UsageError: the table lacks a method.
    """

    def __init__(self, table: Users, documents: DocumentStore, timeout: float, clock: Callable[[], float]) -> None:
        missing = [name for name in _METHODS if not callable(getattr(table, name, None))]
        if missing:
            raise UsageError(f"users has no method {missing[0]}(); see Users")
        self._table = table
        self._documents = documents
        self._timeout = timeout
        self._clock = clock

    @override
    async def get(self, user_id: str) -> User | DamagedUser | None:
        return _checked(await self._ask(self._table.get, user_id), "get")

    @override
    async def named(self, key: str) -> User | DamagedUser | None:
        return _checked(await self._ask(self._table.named, key), "named")

    @override
    async def with_email(self, key: str) -> User | DamagedUser | None:
        return _checked(await self._ask(self._table.with_email, key), "with_email")

    @override
    async def add(self, user: User) -> str | None:
        await self._reserve_look(user)
        made: object = await self._ask(self._table.add, user)
        if made is None:
            return None
        if not isinstance(made, str) or not made:
            raise UsageError(f"users.add must return the user id, a non-empty str, or None, not {type(made).__name__}")
        return made

    @override
    async def replace(self, user: User) -> bool:
        return await self._ask(self._table.replace, user)

    @override
    async def remove(self, user: User) -> bool:
        return await self._ask(self._table.remove, user)

    @override
    async def page(
        self, after: str, limit: int, *, role: Role | None, is_blocked: bool, backwards: bool
    ) -> Sequence[User | DamagedUser]:
        filters = {"role": role, "is_blocked": is_blocked, "backwards": backwards}
        found = await self._ask(self._table.page, after, limit, **filters)
        return [user for user in found if _checked(user, "page") is not None]

    @override
    async def is_former_password(self, user: User, password: str) -> bool:
        asked = getattr(self._table, "is_former_password", None)
        return callable(asked) and await self._ask(asked, user, password) is True

    async def _reserve_look(self, user: User) -> None:
        """Raise ``AlreadyTaken`` if the username looks like another one that was made here."""
        looks = sorted(looks_of(user.name))
        body = msgspec.json.encode(_Reserved(self._clock()))
        for _ in range(2):
            try:
                await self._documents.put(_KIND, Document(user.key, 1, body), tags=looks, names=looks)
            except NameTaken as taken:
                if await self._is_in_use(taken.name):
                    raise AlreadyTaken("username") from None
            else:
                return
        raise AlreadyTaken("username")

    async def _is_in_use(self, look: str) -> bool:
        """Return whether an account has this look. What is left of one that was removed, or never made, is deleted."""
        for document in await self._documents.page(_KIND, tag=look, limit=1):
            reserved = msgspec.json.decode(document.body, type=_Reserved) if document.body else _Reserved(0.0)
            # Another process may be about to add it.
            if self._clock() - reserved.at < _RESERVED_FOR or await self.named(document.key) is not None:
                return True
            await self._documents.delete(_KIND, document.key)
        return False

    async def _ask(self, method: Callable[..., Awaitable[T]], *given: Any, **named: Any) -> T:
        return await ask_host("users", self._timeout, method, *given, **named)


def _checked(found: object, method: str) -> User | DamagedUser | None:
    if found is not None and not isinstance(found, User | DamagedUser):
        raise UsageError(f"users.{method} must return what User.restore returns, or None, not {type(found).__name__}")
    return found
