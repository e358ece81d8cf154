"""The one-time link that creates the first admin.

The link works only while there is no operator, so its first use disables it in all processes. This is checked again under a lease,
so that only one of two concurrent uses succeeds. It must not know pages.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from hashlib import sha256
from hmac import compare_digest

from tornado_sessions.server.accounts.errors import LinkUsed
from tornado_sessions.server.accounts.service import Accounts

__all__ = ["SetupLink"]

_LEASE = "first operator"


class SetupLink:
    """The token of the link; only its hash is kept.

    Args:
        accounts: the accounts, among which there may be an operator.
        hold: holds a named lease across all processes.
    """

    def __init__(self, accounts: Accounts, hold: Callable[[str], AbstractAsyncContextManager[None]]) -> None:
        self._accounts = accounts
        self._hold = hold
        self._hash = b""

    def make(self) -> str:
        """Return a new token for the link. Earlier tokens stop working."""
        token = secrets.token_urlsafe(24)
        self._hash = sha256(token.encode()).digest()
        return token

    async def accepts(self, token: str) -> bool:
        """Return whether this token is valid."""
        if self._hash and await self._accounts.has_operator():
            # The link stays disabled even if that operator is deleted later.
            self._hash = b""
        given = sha256(token.encode("utf-8", "replace")).digest()
        return bool(self._hash) and compare_digest(given, self._hash)

    @asynccontextmanager
    async def using(self) -> AsyncIterator[None]:
        """Wrap the use of the link. If the block raises, the link still works.

        Raises:
            LinkUsed: there is already an operator.
            StoreUnavailable: the lease cannot be taken.
        """
        async with self._hold(_LEASE):
            if await self._accounts.has_operator():
                raise LinkUsed
            yield
        self._hash = b""
