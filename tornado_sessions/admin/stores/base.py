"""The contract of the store behind the audit log and the API tokens.

It must not know roles' meaning or pages. Audit entries are only ever added and completed, never changed otherwise.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import msgspec

from tornado_sessions.pages import Role

__all__ = ["AdminStore", "ApiToken", "Entry"]


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the audit log.

    Attributes:
        id: counts up; 0 until it is stored.
        at: UTC seconds.
        actor: who: a user, ``token NAME`` or ``cli``.
        ip: from where.
        act: what, such as ``end session``.
        target: to whom or what.
        reason: why, in the actor's words.
        ended: how many sessions it ended; ``None`` while it is under way, or when it failed.
    """

    id: int = 0
    at: float
    actor: str
    ip: str
    act: str
    target: str
    reason: str = ""
    ended: int | None = None


class ApiToken(msgspec.Struct, frozen=True, kw_only=True):
    """A key to the API; its secret is kept as SHA-256 only.

    Attributes:
        name: for people.
        handle: its public half.
        secret_hash: SHA-256 of the other one.
        role: what its bearer may do.
        created_at: UTC seconds.
        expires_at: when it ends, in UTC seconds; ``None``: when it is revoked.
    """

    name: str
    handle: str
    secret_hash: bytes
    role: Role
    created_at: float
    expires_at: float | None = None


class AdminStore(ABC):
    """Where both are kept. Each method may raise ``StoreUnavailable``."""

    @abstractmethod
    async def open(self) -> None:
        """Connect and prepare the schema; harmless when open."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of every resource; harmless when closed."""

    @abstractmethod
    async def append(self, entry: Entry) -> int:
        """Add an entry; returns its id."""

    @abstractmethod
    async def complete(self, entry_id: int, ended: int) -> None:
        """Say what an entry's act came to."""

    @abstractmethod
    async def entries(self, before: int | None, limit: int) -> list[Entry]:
        """The newest entries, or those with a smaller id than ``before``."""

    @abstractmethod
    async def add_token(self, token: ApiToken) -> None:
        """Keep a token."""

    @abstractmethod
    async def token(self, handle: str) -> ApiToken | None:
        """The token with this public half."""

    @abstractmethod
    async def tokens(self) -> list[ApiToken]:
        """Every token, the oldest first."""

    @abstractmethod
    async def remove_token(self, handle: str) -> bool:
        """Forget a token. Returns whether there was one."""
