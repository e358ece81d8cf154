"""The one-time link that makes the first operator.

It must not know pages. The link works only while there is no operator, so it dies with its first use, in every process; that
there is none is looked up again under a lease, so of two uses at once one counts.
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
    """A link's token; only its hash is kept.

    Args:
        accounts: tell whether there is an operator.
        hold: holds a lease by name, over all processes.
    """

    def __init__(self, accounts: Accounts, hold: Callable[[str], AbstractAsyncContextManager[None]]) -> None:
        self._accounts = accounts
        self._hold = hold
        self._hash = b""

    def make(self) -> str:
        """A new token for the link; older ones are dead."""
        token = secrets.token_urlsafe(24)
        self._hash = sha256(token.encode()).digest()
        return token

    async def accepts(self, token: str) -> bool:
        """Whether this token still makes an operator."""
        if self._hash and await self._accounts.has_operator():
            # For good, whatever becomes of that operator.
            self._hash = b""
        given = sha256(token.encode("utf-8", "replace")).digest()
        return bool(self._hash) and compare_digest(given, self._hash)

    @asynccontextmanager
    async def using(self) -> AsyncIterator[None]:
        """Around the one use: when it fails, for whatever reason, the link is still good.

        Raises:
            LinkUsed: there is an operator by now.
            StoreUnavailable: the lease cannot be had.
        """
        async with self._hold(_LEASE):
            if await self._accounts.has_operator():
                raise LinkUsed
            yield
        self._hash = b""
