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

    async def create(self, name: str, role: Role) -> str:
        """A new token, in clear this once."""
        made = new_token()
        secret_hash = sha256(made.text.encode()).digest()
        token = ApiToken(name=name, handle=made.handle, secret_hash=secret_hash, role=role, created_at=self._clock())
        await self._store.add_token(token)
        return _PREFIX + made.text

    async def verify(self, text: str) -> ApiToken | None:
        """The token that was presented, or ``None``."""
        bare = text.removeprefix(_PREFIX)
        halves = split_token(bare)
        if halves is None or bare == text:
            return None
        token = await self._store.token(halves[0])
        if token is None or not compare_digest(token.secret_hash, sha256(bare.encode()).digest()):
            return None
        return token
