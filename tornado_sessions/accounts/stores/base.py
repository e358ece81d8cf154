"""The contract of an account store.

It must not know passwords or pages. Names and addresses are unique without regard to case, kept so atomically.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from tornado_sessions.accounts.user import User
from tornado_sessions.pages import Role

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
        """Insert an account. Raises ``Taken``, and then nothing was written."""

    @abstractmethod
    async def get(self, name_key: str) -> User | None:
        """The account whose name has this key (``key_of``), or ``None``."""

    @abstractmethod
    async def replace(self, user: User) -> bool:
        """Write an account anew if the stored one is the revision before. Returns whether it was.

        Raises ``Taken`` when its address is another's by now.
        """

    @abstractmethod
    async def remove(self, user: User) -> bool:
        """Remove an account if it is still this revision. Returns whether it was."""

    @abstractmethod
    async def has_role(self, role: Role) -> bool:
        """Whether anybody has this role."""

    @abstractmethod
    async def with_role(self, role: Role, limit: int) -> list[User]:
        """Who has this role, in the order of their names' keys."""

    @abstractmethod
    async def page(self, after: str, limit: int) -> list[User]:
        """Accounts in the order of their names' keys, behind ``after`` (``""``: from the first)."""
