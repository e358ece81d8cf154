"""``LinkStore``: stores one-time links. The store holds a hash of each token, never the token.

It must not know what the links do, or who may make them.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from enum import StrEnum
from hashlib import sha256
from typing import Any

import msgspec

from tornado_sessions.damage import Unreadable
from tornado_sessions.server.accounts.errors import LinkInvalid
from tornado_sessions.server.accounts.user import User
from tornado_sessions.server.documents import Document, DocumentStore
from tornado_sessions.server.roles import Role

__all__ = ["Link", "LinkStore", "Purpose", "state_of"]

_KIND = "link"
#: How many links a new one looks at, to remove those that have expired.
_CLEANED = 100


class Purpose(StrEnum):
    """What a link is for. The values are stored."""

    PASSWORD = "password"
    TWO_STEPS = "two steps"
    INVITATION = "invitation"
    EMAIL = "email"
    REGISTRATION = "registration"


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """The stored form of a link. A field that is added later needs a default.

    Attributes:
        key: SHA-256 of its token, hexadecimal.
        purpose: what it is for.
        made_by: the name of the admin who made it; empty if its user asked for it.
        expires_at: UTC seconds.
        user: the account that it changes; empty for an invitation.
        password_changed_at: the time of that account's last password change. Another change makes the link useless.
        state: what else must not have changed; see ``state_of``.
        role: the role of the account that an invitation creates.
        email: the address that it confirms.
        password_hash: of the account that a registration creates.
        language: the code of the language of a registration.
        extra: values of the application's fields of a registration.
    """

    key: str
    purpose: Purpose
    made_by: str
    expires_at: float
    user: str = ""
    password_changed_at: float = 0.0
    state: str = ""
    role: Role = Role.USER
    email: str = ""
    password_hash: str = ""
    language: str = ""
    extra: dict[str, Any] = {}


class LinkStore:
    """The links of a store. Every method may raise ``StoreUnavailable``.

    Args:
        documents: stores the links.
        clock: the time in UTC seconds.
    """

    def __init__(self, documents: DocumentStore, clock: Callable[[], float]) -> None:
        self._documents = documents
        self.clock = clock

    async def make(self, purpose: Purpose, lifetime: float, **fields: object) -> str:
        """Store a new link that works for ``lifetime`` seconds, and return its token."""
        token = secrets.token_urlsafe(24)
        expires_at = self.clock() + lifetime
        link = Link(key=_hash(token), purpose=purpose, expires_at=expires_at, **fields)  # type: ignore[arg-type]
        await self._forget_expired(link.key)
        await self.put(link)
        return token

    async def put(self, link: Link) -> None:
        """Store a link, unless it is stored."""
        await self._documents.put(_KIND, Document(link.key, 1, msgspec.json.encode(link)), tags=[link.purpose.value])

    async def find(self, token: str, *purposes: Purpose) -> Link:
        """Return a link for one of these purposes that works. Raises ``LinkInvalid``."""
        # Only hashes are compared, so the time that the store takes says nothing about a token.
        found = await self._documents.get(_KIND, _hash(token))
        link = _read(found) if found is not None else None
        if link is None or link.purpose not in purposes or link.expires_at <= self.clock():
            raise LinkInvalid
        return link

    async def delete(self, key: str) -> bool:
        """Delete a link; return whether it was there. Of two calls at the same moment, one returns ``True``."""
        return await self._documents.delete(_KIND, key)

    async def open(self, purpose: Purpose) -> list[Link]:
        """Return the links for a purpose, of which there are few, the next to expire first."""
        found = map(_read, await self._documents.all(_KIND, tag=purpose.value))
        links = [link for link in found if link is not None and link.expires_at > self.clock()]
        return sorted(links, key=lambda link: link.expires_at)

    async def _forget_expired(self, start: str) -> None:
        # Keys are random, so this looks at other links each time, and expired ones stay a small part of all.
        found = await self._documents.page(_KIND, after=start, limit=_CLEANED)
        if len(found) < _CLEANED:
            found += await self._documents.page(_KIND, limit=_CLEANED)
        for document in found:
            link = _read(document)
            if link is None or link.expires_at <= self.clock():
                await self._documents.delete(_KIND, document.key)


def state_of(user: User) -> str:
    """Return a text that changes when the two-step verification of an account is turned on or off."""
    return _hash(user.totp_secret) if user.totp_secret is not None else ""


def _hash(token: str) -> str:
    return sha256(token.encode("utf-8", "replace")).hexdigest()


def _read(document: Document) -> Link | None:
    try:
        return document.read(Link, "key")
    except Unreadable:
        # Nobody can use a damaged link, and it can be made again.
        return None
