"""``memory://``: accounts in a dict, for tests and development. It must not outlive the process."""

from __future__ import annotations

import msgspec
from typing_extensions import override

from tornado_sessions.server.accounts.errors import AlreadyTaken
from tornado_sessions.server.accounts.stores.base import AccountStore
from tornado_sessions.server.accounts.user import DamagedUser, User, key_of, user_of
from tornado_sessions.server.roles import Role

__all__ = ["MemoryAccountStore"]


class MemoryAccountStore(AccountStore):
    """Accounts in memory."""

    def __init__(self) -> None:
        self._users: dict[str, User] = {}

    @classmethod
    def from_url(cls, _url: str) -> MemoryAccountStore:
        """An empty store."""
        return cls()

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""

    @override
    async def add(self, user: User) -> None:
        if key_of(user.name) in self._users:
            raise AlreadyTaken("username")
        self._refuse_taken_email(user)
        self._users[key_of(user.name)] = user

    @override
    async def get(self, name_key: str) -> User | DamagedUser | None:
        return self._sound(name_key) if name_key in self._users else None

    def _sound(self, name_key: str) -> User | DamagedUser:
        stored: object = self._users[name_key]
        return user_of(name_key, msgspec.structs.asdict(stored) if isinstance(stored, User) else {})

    def _refuse_taken_email(self, user: User) -> None:
        for name in self._users:
            other = self._sound(name)
            if name != user.key and isinstance(other, User) and key_of(other.email) == key_of(user.email):
                raise AlreadyTaken("email")

    @override
    async def replace(self, user: User) -> bool:
        known = await self.get(user.key)
        if not isinstance(known, User) or known.revision != user.revision - 1:
            return False
        self._refuse_taken_email(user)
        self._users[user.key] = user
        return True

    @override
    async def remove(self, user: User) -> bool:
        known = await self.get(user.key)
        if not isinstance(known, User) or known.revision != user.revision:
            return False
        del self._users[user.key]
        return True

    @override
    async def has_role(self, role: Role) -> bool:
        return any(getattr(user, "role", None) is role for user in self._users.values())

    @override
    async def with_role(self, role: Role, limit: int) -> list[User | DamagedUser]:
        names = [name for name in sorted(self._users) if getattr(self._users[name], "role", None) is role]
        return [self._sound(name) for name in names[:limit]]

    @override
    async def page(self, after: str, limit: int) -> list[User | DamagedUser]:
        return [self._sound(name) for name in sorted(self._users) if name > after][:limit]
