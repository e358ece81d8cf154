"""API tokens: made once, shown once, kept as a hash.

It must not know requests. A token is ``ts_HANDLE_SECRET``: the public half finds it, the secret half proves it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from enum import StrEnum
from hashlib import sha256
from hmac import compare_digest

import msgspec

from tornado_sessions.cookie import new_token, split_token
from tornado_sessions.damage import Unreadable, fields_of, struct_of
from tornado_sessions.errors import StoreError
from tornado_sessions.server.operations.stores import AdminStore, Document
from tornado_sessions.server.roles import Role

__all__ = ["ApiToken", "DamagedToken", "Scope", "Tokens", "scopes_of"]

logger = logging.getLogger("tornado_sessions")

_PREFIX = "ts_"
_KIND = "token"
#: Seconds for which a use is not written down again.
_USE_NOTED = 60.0


class Scope(StrEnum):
    """What the bearer of a token may do."""

    READ = "sessions:read"  #: look at sessions, users, counts and jobs
    END = "sessions:end"  #: end sessions, block log-ins, cancel jobs
    AUDIT = "audit:read"  #: read the audit log


def scopes_of(role: Role) -> frozenset[Scope]:
    """What somebody with this role may do by token."""
    if not role.is_staff:
        return frozenset()
    looks = frozenset({Scope.READ, Scope.AUDIT})
    return looks | {Scope.END} if role.at_least(Role.OPERATOR) else looks


class ApiToken(msgspec.Struct, frozen=True, kw_only=True):
    """A key to the API; its secret is kept as SHA-256 only.

    Attributes:
        name: for people.
        handle: its public half.
        secret_hash: SHA-256 of all of it, hexadecimal.
        scopes: what its bearer may do.
        created_at: UTC seconds.
        created_by: who made it.
        expires_at: when it ends, in UTC seconds; ``None``: when it is revoked.
        used_at: when it was used last, to the minute.
        used_from: from which address that was.
    """

    name: str
    handle: str
    secret_hash: str
    scopes: frozenset[Scope]
    created_at: float
    created_by: str = ""
    expires_at: float | None = None
    used_at: float | None = None
    used_from: str = ""


class DamagedToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token whose record cannot be read: it lets nobody in, and can be revoked.

    Attributes:
        handle: its public half.
        why: what is wrong with it; never a value.
    """

    handle: str
    why: str


class Tokens:
    """Makes and verifies.

    Args:
        store: where they are kept; opened by the audit log, which shares it.
        clock: the time in UTC seconds.
    """

    def __init__(self, store: AdminStore, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock

    async def create(
        self, name: str, scopes: Iterable[Scope], lifetime: float | None = None, created_by: str = ""
    ) -> str:
        """A new token, in clear this once; with a ``lifetime`` it ends after so many seconds."""
        made, now = new_token(), self._clock()
        token = ApiToken(
            name=name,
            handle=made.handle,
            secret_hash=sha256(made.text.encode()).hexdigest(),
            scopes=frozenset(scopes),
            created_at=now,
            created_by=created_by,
            expires_at=None if lifetime is None else now + lifetime,
        )
        await self._store.put(_KIND, Document(token.handle, 1, msgspec.json.encode(token)))
        return _PREFIX + made.text

    async def verify(self, text: str, ip: str = "") -> ApiToken | None:
        """The token that was presented, or ``None``; one that was revoked, has expired or is damaged is none."""
        bare = text.removeprefix(_PREFIX)
        halves = split_token(bare)
        if halves is None or bare == text:
            return None
        found = await self._store.document(_KIND, halves[0])
        if found is None:
            return None
        token = _read(found)
        if isinstance(token, DamagedToken):
            logger.error("API token %s is damaged and lets nobody in: %s", token.handle, token.why)
            return None
        if not compare_digest(token.secret_hash.encode(), sha256(bare.encode()).hexdigest().encode()):
            return None
        now = self._clock()
        if token.expires_at is not None and token.expires_at <= now:
            return None
        if token.used_at is None or now - token.used_at >= _USE_NOTED:
            used = msgspec.structs.replace(token, used_at=now, used_from=ip)
            try:
                # Of two requests at once one is noted; that is enough. A token that was revoked meanwhile is not brought back.
                await self._store.put(_KIND, Document(found.key, found.revision + 1, msgspec.json.encode(used)))
            except StoreError as error:
                # That it was used is for people to look at; a store that refuses writes still lets programs read.
                logger.warning("the use of API token %s was not noted: %s", token.handle, error)
        return token

    async def all(self) -> list[ApiToken | DamagedToken]:
        """Every token, expired ones as well, damaged ones first and then the oldest."""
        found = map(_read, await self._store.documents(_KIND))
        return sorted(found, key=lambda token: token.created_at if isinstance(token, ApiToken) else 0.0)

    async def revoke(self, handle: str) -> bool:
        """End a token for good. Returns whether there was one."""
        return await self._store.remove(_KIND, handle)


def _read(document: Document) -> ApiToken | DamagedToken:
    if document.damage:
        return DamagedToken(handle=document.key, why=document.damage)
    try:
        token = struct_of(ApiToken, fields_of(document.body))
    except Unreadable as error:
        return DamagedToken(handle=document.key, why=error.why)
    # Another handle than its own would have another token revoked in its place.
    is_own = token.handle == document.key
    return token if is_own else DamagedToken(handle=document.key, why="handle is not the one it is filed under")
