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
from tornado_sessions.messages import N_
from tornado_sessions.server.accounts.errors import SIGN_IN, LinkExpired, LinkInvalid, LinkUsed
from tornado_sessions.server.accounts.user import User
from tornado_sessions.server.documents import Document, DocumentStore
from tornado_sessions.server.roles import Role

__all__ = ["Link", "LinkStore", "Purpose", "state_of"]

_KIND = "link"
#: How many links a new one looks at, to remove old ones.
_CLEANED = 100
#: Seconds after its end for which a link is kept, so that its page can say what happened: a letter may lie that long.
_KEPT = 7 * 86400.0


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
        used_at: when it was used, in UTC seconds; ``None`` while it works. A used link keeps no personal data but a name.
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
    used_at: float | None = None


#: What the holder of a link that does nothing can do, and the pages for it.
_ADVICE: dict[Purpose, tuple[str, tuple[tuple[str, str], ...]]] = {
    Purpose.PASSWORD: (
        N_("To choose a new password, ask for a new link."),
        (*SIGN_IN, ("", N_("Get a new link"))),
    ),
    Purpose.TWO_STEPS: (N_("To turn off two-step verification, ask an administrator for a new link."), SIGN_IN),
    Purpose.INVITATION: (N_("To join, ask the administrator who invited you for a new link."), SIGN_IN),
    Purpose.EMAIL: (
        N_("To confirm your email, ask for a new link in your profile."),
        (("/account/profile", N_("Profile")),),
    ),
    Purpose.REGISTRATION: (
        N_("If you have no account yet, register again."),
        (*SIGN_IN, ("/reg", N_("Register"))),
    ),
}


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
        await self._put(link, 1)
        return token

    async def find(self, token: str, *purposes: Purpose) -> Link:
        """Return a link for one of these purposes that works.

        Raises:
            LinkUsed, LinkExpired: it has worked.
            LinkInvalid: it is unknown.
        """
        # Only hashes are compared, so the time that the store takes says nothing about a token.
        found = await self._documents.get(_KIND, _hash(token))
        link = _read(found) if found is not None else None
        if link is None or link.purpose not in purposes:
            raise LinkInvalid(*_ADVICE[purposes[0]])
        if link.used_at is not None:
            raise LinkUsed.at(link.used_at, *_ADVICE[link.purpose])
        if link.expires_at <= self.clock():
            raise LinkExpired(link.expires_at, *_ADVICE[link.purpose])
        return link

    async def use(self, link: Link) -> bool:
        """Use a link up; return whether it worked. Of two calls at the same moment, one returns ``True``."""
        found = await self._documents.get(_KIND, link.key)
        stored = _read(found) if found is not None else None
        if found is None or stored is None or stored.used_at is not None:
            return False
        return await self._put(msgspec.structs.replace(_without_values(link), used_at=self.clock()), found.revision + 1)

    async def restore(self, link: Link) -> None:
        """Make a link work again whose use had no effect."""
        found = await self._documents.get(_KIND, link.key)
        await self._put(link, found.revision + 1 if found is not None else 1)

    async def _put(self, link: Link, revision: int) -> bool:
        tags = [link.purpose.value] if link.used_at is None else []
        return await self._documents.put(_KIND, Document(link.key, revision, msgspec.json.encode(link)), tags=tags)

    async def delete(self, key: str) -> bool:
        """Withdraw a link; return whether it was there."""
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
            link, now = _read(document), self.clock()
            if link is None or link.expires_at + _KEPT <= now:
                await self._documents.delete(_KIND, document.key)
            elif link.expires_at <= now and (link.password_hash or link.email):
                # Nobody needs what it would have stored, only when it expired.
                await self._put(_without_values(link), document.revision + 1)


def state_of(user: User) -> str:
    """Return a text that changes when the two-step verification of an account is turned on or off."""
    return _hash(user.totp_secret) if user.totp_secret is not None else ""


def _without_values(link: Link) -> Link:
    return msgspec.structs.replace(link, email="", password_hash="", extra={})


def _hash(token: str) -> str:
    return sha256(token.encode("utf-8", "replace")).hexdigest()


def _read(document: Document) -> Link | None:
    try:
        return document.read(Link, "key")
    except Unreadable:
        # Nobody can use a damaged link, and it can be made again.
        return None
