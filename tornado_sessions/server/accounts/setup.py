"""The one-time link that makes the first operator.

It must not know pages. The link works only while there is no operator, so its first use ends it in every process. Whether there
is one is checked again under a lease, so that of two uses at once only one succeeds.
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
        accounts: show whether there is an operator.
        hold: holds a lease by name, across all processes.
    """

    def __init__(self, accounts: Accounts, hold: Callable[[str], AbstractAsyncContextManager[None]]) -> None:
        self._accounts = accounts
        self._hold = hold
        self._hash = b""

    def make(self) -> str:
        """Return a new token for the link; older ones stop working."""
        token = secrets.token_urlsafe(24)
        self._hash = sha256(token.encode()).digest()
        return token

    async def accepts(self, token: str) -> bool:
        """Return whether this token still makes an operator."""
        if self._hash and await self._accounts.has_operator():
            # For good, even if that operator is removed later.
            self._hash = b""
        given = sha256(token.encode("utf-8", "replace")).digest()
        return bool(self._hash) and compare_digest(given, self._hash)

    @asynccontextmanager
    async def using(self) -> AsyncIterator[None]:
        """Wrap the one use. If the block raises, the link still works.

        Raises:
            LinkUsed: there is an operator now.
            StoreUnavailable: the lease cannot be taken.
        """
        async with self._hold(_LEASE):
            if await self._accounts.has_operator():
                raise LinkUsed
            yield
        self._hash = b""
