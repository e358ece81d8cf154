"""``memory://``: accounts in a dict, for tests and development. It must not outlive the process."""

from __future__ import annotations

from tornado_sessions.accounts.errors import Taken
from tornado_sessions.accounts.stores.base import AccountStore
from tornado_sessions.accounts.user import User, key_of
from tornado_sessions.pages import Role

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

    async def add(self, user: User) -> None:
        """As promised by ``AccountStore.add``."""
        if key_of(user.name) in self._users:
            raise Taken("username")
        if any(key_of(other.email) == key_of(user.email) for other in self._users.values()):
            raise Taken("email")
        self._users[key_of(user.name)] = user

    async def get(self, name_key: str) -> User | None:
        """As promised by ``AccountStore.get``."""
        return self._users.get(name_key)

    async def replace(self, user: User) -> bool:
        """As promised by ``AccountStore.replace``."""
        known = self._users.get(user.key)
        if known is None or known.revision != user.revision - 1:
            return False
        if any(key_of(other.email) == key_of(user.email) for name, other in self._users.items() if name != user.key):
            raise Taken("email")
        self._users[user.key] = user
        return True

    async def remove(self, user: User) -> bool:
        """As promised by ``AccountStore.remove``."""
        known = self._users.get(user.key)
        if known is None or known.revision != user.revision:
            return False
        del self._users[user.key]
        return True

    async def has_role(self, role: Role) -> bool:
        """As promised by ``AccountStore.has_role``."""
        return any(user.role is role for user in self._users.values())

    async def with_role(self, role: Role, limit: int) -> list[User]:
        """As promised by ``AccountStore.with_role``."""
        return [self._users[name] for name in sorted(self._users) if self._users[name].role is role][:limit]

    async def page(self, after: str, limit: int) -> list[User]:
        """As promised by ``AccountStore.page``."""
        return [self._users[name] for name in sorted(self._users) if name > after][:limit]
