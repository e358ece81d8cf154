"""The contract of an account store.

It must not know passwords or pages. Names and addresses are unique without regard to case, kept so atomically. One damaged
record costs one account: it is a ``DamagedUser`` in its place, and no list fails for it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from tornado_sessions.server.accounts.user import DamagedUser, User
from tornado_sessions.server.roles import Role

__all__ = ["AccountStore"]


class AccountStore(ABC):
    """Where accounts are kept. Each method may raise ``StoreUnavailable``."""

    @abstractmethod
    async def open(self) -> None:
        """Connect and prepare the schema; harmless when open."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of every resource; harmless when closed."""

    @abstractmethod
    async def add(self, user: User) -> None:
        """Insert an account. Raises ``AlreadyTaken``, and then nothing was written."""

    @abstractmethod
    async def get(self, name_key: str) -> User | DamagedUser | None:
        """The account whose name has this key (``key_of``), or ``None``."""

    @abstractmethod
    async def replace(self, user: User) -> bool:
        """Write an account anew if the stored one is the revision before. Returns whether it was.

        Raises ``AlreadyTaken`` when its address is another's by now.
        """

    @abstractmethod
    async def remove(self, user: User) -> bool:
        """Remove an account if it is still this revision. Returns whether it was."""

    @abstractmethod
    async def has_role(self, role: Role) -> bool:
        """Whether anybody has this role."""

    @abstractmethod
    async def with_role(self, role: Role, limit: int) -> list[User | DamagedUser]:
        """Who has this role as far as the store's index says, in the order of their names' keys."""

    @abstractmethod
    async def page(self, after: str, limit: int) -> list[User | DamagedUser]:
        """Accounts in the order of their names' keys, behind ``after`` (``""``: from the first)."""
