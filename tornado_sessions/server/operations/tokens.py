"""API tokens: shown in clear text once, stored as a hash.

A token is ``ts_HANDLE_SECRET``: the handle finds the record, the secret authenticates the client. It works only while the admin who
created it is an admin who may sign in. It must not know requests.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from enum import StrEnum
from hashlib import sha256
from hmac import compare_digest

import msgspec

from tornado_sessions.cookie import new_token, split_token
from tornado_sessions.damage import Unreadable
from tornado_sessions.errors import StoreError
from tornado_sessions.server.documents import Document, DocumentStore
from tornado_sessions.server.operations.people import People
from tornado_sessions.server.roles import Role

__all__ = ["MAKER", "ApiToken", "DamagedToken", "Scope", "Tokens", "scopes_of"]

logger = logging.getLogger("tornado_sessions")

_PREFIX = "ts_"
_KIND = "token"
#: Creators without an account: the command line. No account can have this name. Older records name no creator.
_COMMANDS = ("cli", "")
#: The role that creates tokens. Its token never has more rights than this role, and ends with it.
MAKER = Role.ADMIN
#: Minimum number of seconds between two writes of ``used_at``.
_USE_INTERVAL = 60.0


class Scope(StrEnum):
    """A permission of a token."""

    READ = "sessions:read"  #: view sessions, users, counts and jobs
    END = "sessions:end"  #: end sessions, block users, cancel jobs
    AUDIT = "audit:read"  #: read the audit log


def scopes_of(role: Role) -> frozenset[Scope]:
    """Return the maximum scopes of a token whose owner has this role."""
    if not role.is_staff:
        return frozenset()
    reads = frozenset({Scope.READ, Scope.AUDIT})
    return reads | {Scope.END} if role.at_least(Role.OPERATOR) else reads


class ApiToken(msgspec.Struct, frozen=True, kw_only=True):
    """The stored form of an API token. A field that is added later needs a default.

    Attributes:
        name: a label for operators.
        handle: the public part of the token.
        secret_hash: SHA-256 of the token without its prefix, hexadecimal.
        scopes: its permissions.
        created_at: UTC seconds.
        created_by: the user id of the admin who created it; ``cli`` for a command.
        expires_at: UTC seconds; ``None`` if it never expires.
        used_at: the time of its last use in UTC seconds, accurate to a minute.
        used_from: the IP address of that use.
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
    """A token whose record cannot be read. It does not work, but can be revoked.

    Attributes:
        handle: the public part of the token.
        why: a description of the damage; contains no stored values.
    """

    handle: str
    why: str


class Tokens:
    """Creates, verifies, lists and revokes tokens.

    Args:
        documents: stores the tokens.
        people: knows the role of their creators.
        clock: the time in UTC seconds.
    """

    def __init__(self, documents: DocumentStore, people: People, clock: Callable[[], float]) -> None:
        self._documents = documents
        self._people = people
        self._clock = clock

    async def create(
        self, name: str, scopes: Iterable[Scope], lifetime: float | None = None, created_by: str = ""
    ) -> str:
        """Create a token and return it in clear text. It expires after ``lifetime`` seconds; ``None``: never."""
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
        await self._documents.put(_KIND, Document(token.handle, 1, msgspec.json.encode(token)))
        return _PREFIX + made.text

    async def verify(self, text: str, ip: str = "") -> ApiToken | None:
        """Return the record of a presented token; ``None`` if it is unknown, revoked, expired or damaged, or its creator is
        no longer an admin.
        """
        bare = text.removeprefix(_PREFIX)
        halves = split_token(bare)
        if halves is None or bare == text:
            return None
        found = await self._documents.get(_KIND, halves[0])
        if found is None:
            return None
        token = _read(found)
        if isinstance(token, DamagedToken):
            logger.error("API token %s is damaged and was refused: %s", token.handle, token.why)
            return None
        # The secret is random, so a fast unsalted hash is enough. Encode first: a stored hash may contain non-ASCII text.
        if not compare_digest(token.secret_hash.encode(), sha256(bare.encode()).hexdigest().encode()):
            return None
        now = self._clock()
        if token.expires_at is not None and token.expires_at <= now:
            return None
        if not await self._stands_for_admin(token):
            return None
        if token.used_at is None or now - token.used_at >= _USE_INTERVAL:
            await self._write_use(found, msgspec.structs.replace(token, used_at=now, used_from=ip))
        return token

    async def _stands_for_admin(self, token: ApiToken) -> bool:
        """Return whether the creator may still create tokens. If not, revoke the token, so that it does not work again later."""
        if token.created_by in _COMMANDS:
            return True
        maker = await self._people.get(token.created_by)
        if maker is not None and maker.damage:
            # The role is unknown. Keep the token: the record may be repaired.
            logger.error("API token %s was refused: the account of %s is damaged", token.handle, maker.name)
            return False
        is_admin = maker is not None and maker.role is not None and maker.role.at_least(MAKER)
        if maker is None or not is_admin or (maker.blocked_until or 0.0) > self._clock():
            logger.warning("API token %s has ended: %s is no longer an admin", token.handle, token.created_by)
            await self.revoke(token.handle)
            return False
        return True

    async def _write_use(self, found: Document, used: ApiToken) -> None:
        """Store the last use of a token.

        The revision guards the write: of two concurrent requests only one is stored, which is enough, and a token that was revoked
        in the meantime stays revoked.
        """
        try:
            await self._documents.put(_KIND, Document(found.key, found.revision + 1, msgspec.json.encode(used)))
        except StoreError as error:
            # Programs can still read from a store that refuses writes.
            logger.warning("the last use of API token %s was not stored: %s", used.handle, error)

    async def all(self) -> list[ApiToken | DamagedToken]:
        """Return all tokens including expired ones: damaged ones first, then oldest first."""
        found = map(_read, await self._documents.all(_KIND))
        return sorted(found, key=lambda token: token.created_at if isinstance(token, ApiToken) else 0.0)

    async def revoke_all_of(self, user_id: str) -> None:
        """Delete all tokens that a user created. Call it when the user loses the role, is blocked or is removed.

        Tokens that this misses, such as one that is created at the same moment, end when they are next used.
        """
        for token in await self.all():
            if isinstance(token, ApiToken) and token.created_by == user_id:
                await self.revoke(token.handle)

    async def revoke(self, handle: str) -> bool:
        """Delete a token permanently. Return ``False`` if it does not exist."""
        return await self._documents.delete(_KIND, handle)


def _read(document: Document) -> ApiToken | DamagedToken:
    try:
        return document.read(ApiToken, "handle")
    except Unreadable as error:
        return DamagedToken(handle=document.key, why=error.why)
