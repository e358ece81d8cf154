"""The one-time link that makes the first operator.

It must not know pages. The link works only while there is no operator, so it dies with its first use, in every process.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from hmac import compare_digest

from tornado_sessions.accounts.errors import AccountError
from tornado_sessions.accounts.service import Accounts

__all__ = ["SetupLink"]


class SetupLink:
    """A link's token; only its hash is kept.

    Args:
        accounts: tell whether there is an operator.
    """

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
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

    @contextmanager
    def using(self) -> Iterator[None]:
        """Around the one use; it is there again when that fails."""
        taken, self._hash = self._hash, b""
        try:
            yield
        except AccountError:
            self._hash = taken
            raise
