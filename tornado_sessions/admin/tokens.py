"""API tokens: made once, shown once, kept as a hash.

It must not know requests. A token is ``ts_HANDLE_SECRET``: the public half finds it, the secret half proves it.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from hmac import compare_digest

from tornado_sessions.admin.stores import AdminStore, ApiToken
from tornado_sessions.cookie import new_token, split_token
from tornado_sessions.pages import Role

__all__ = ["Tokens"]

_PREFIX = "ts_"


class Tokens:
    """Makes and verifies.

    Args:
        store: where they are kept; opened by the audit log, which shares it.
        clock: the time in UTC seconds.
    """

    def __init__(self, store: AdminStore, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock

    async def create(self, name: str, role: Role, lifetime: float | None = None) -> str:
        """A new token, in clear this once; with a ``lifetime`` it ends after so many seconds."""
        made, now = new_token(), self._clock()
        token = ApiToken(
            name=name,
            handle=made.handle,
            secret_hash=sha256(made.text.encode()).digest(),
            role=role,
            created_at=now,
            expires_at=None if lifetime is None else now + lifetime,
        )
        await self._store.add_token(token)
        return _PREFIX + made.text

    async def verify(self, text: str) -> ApiToken | None:
        """The token that was presented, or ``None``; one that was revoked or has expired is none."""
        bare = text.removeprefix(_PREFIX)
        halves = split_token(bare)
        if halves is None or bare == text:
            return None
        token = await self._store.token(halves[0])
        if token is None or not compare_digest(token.secret_hash, sha256(bare.encode()).digest()):
            return None
        return token if token.expires_at is None or token.expires_at > self._clock() else None

    async def all(self) -> list[ApiToken]:
        """Every token, expired ones as well, the oldest first."""
        return await self._store.tokens()

    async def revoke(self, handle: str) -> bool:
        """End a token for good. Returns whether there was one."""
        return await self._store.remove_token(handle)
