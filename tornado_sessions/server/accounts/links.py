"""``Links``: one-time links by which somebody sets a new password, or joins as staff.

The store holds a hash of each link, never the link. It must not know pages or who may make links.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from hashlib import sha256

import msgspec

from tornado_sessions.damage import Unreadable
from tornado_sessions.errors import StoreError
from tornado_sessions.server.accounts.client import Client
from tornado_sessions.server.accounts.errors import InvalidForm, LinkInvalid
from tornado_sessions.server.accounts.service import Accounts, Note, no_note
from tornado_sessions.server.accounts.user import User
from tornado_sessions.server.documents import Document, DocumentStore
from tornado_sessions.server.roles import Role

__all__ = ["INVITATION_LIFETIME", "PASSWORD_LIFETIME", "Link", "Links"]

_KIND = "link"
#: How long a link works, in seconds. An invitation reaches somebody who may not be at work today.
PASSWORD_LIFETIME, INVITATION_LIFETIME = 1800.0, 86400.0


class _Purpose(StrEnum):
    PASSWORD = "password"
    INVITATION = "invitation"


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """The stored form of a link. A field that is added later needs a default.

    Attributes:
        key: SHA-256 of its token, hexadecimal.
        purpose: what it is for.
        made_by: the name of the admin who made it.
        expires_at: UTC seconds.
        user: the account whose password it sets; empty for an invitation.
        password_changed_at: the time of that account's last password change. Another change makes the link useless.
        role: the role of the account that an invitation creates.
    """

    key: str
    purpose: _Purpose
    made_by: str
    expires_at: float
    user: str = ""
    password_changed_at: float = 0.0
    role: Role = Role.USER


class Links:
    """The links of a store.

    Every method may raise ``StoreUnavailable``. Then no link is used up, except that an outage in the middle of ``register`` may
    take an invitation rather than let it work twice.

    Args:
        accounts: whose passwords the links set.
        documents: stores the links.
        clock: the time in UTC seconds.
    """

    def __init__(self, accounts: Accounts, documents: DocumentStore, clock: Callable[[], float]) -> None:
        self._accounts = accounts
        self._documents = documents
        self._clock = clock

    async def _make(self, purpose: _Purpose, lifetime: float, **fields: object) -> str:
        token = secrets.token_urlsafe(24)
        expires_at = self._clock() + lifetime
        link = Link(key=_hash(token), purpose=purpose, expires_at=expires_at, **fields)  # type: ignore[arg-type]
        await self._forget_expired()
        await self._put(link)
        return token

    async def _put(self, link: Link) -> None:
        await self._documents.put(_KIND, Document(link.key, 1, msgspec.json.encode(link)), tags=[link.purpose.value])

    async def _forget_expired(self) -> None:
        # Only admins make links, so there are few.
        for document in await self._documents.all(_KIND):
            link = _read(document)
            if link is None or link.expires_at <= self._clock():
                await self._documents.delete(_KIND, document.key)

    async def _find(self, purpose: _Purpose, token: str) -> Link:
        # Only hashes are compared, so the time that the store takes says nothing about a token.
        found = await self._documents.get(_KIND, _hash(token))
        link = _read(found) if found is not None else None
        if link is None or link.purpose is not purpose or link.expires_at <= self._clock():
            raise LinkInvalid
        return link

    # --- new passwords -------------------------------------------------------------------------------------------

    async def for_password(self, user: User, made_by: str) -> str:
        """Return the token of a link by which an account gets a new password, until its password changes in another way."""
        changed_at = user.password_changed_at
        fields = {"made_by": made_by, "user": user.name, "password_changed_at": changed_at}
        return await self._make(_Purpose.PASSWORD, PASSWORD_LIFETIME, **fields)

    async def user_of(self, token: str) -> User:
        """Return the account whose password a link sets. Raises ``LinkInvalid``."""
        link = await self._find(_Purpose.PASSWORD, token)
        user = await self._accounts.get(link.user)
        if user is None:
            raise LinkInvalid
        _check(link, user)
        return user

    async def set_password(self, token: str, new: str, client: Client, note: Note = no_note) -> User:
        """Replace a password. The caller ends the user's sessions.

        Args:
            token: of the link, which is used up.
            new: the new password.
            client: where the request comes from.
            note: records the change.

        Raises:
            LinkInvalid: the link is unknown, expired or used.
            InvalidForm: the new password is unacceptable; the link still works.
        """
        link = await self._find(_Purpose.PASSWORD, token)
        # The check runs against the revision that is replaced. So of two uses at the same moment one succeeds, and the change
        # itself uses up this link and every other link of this account.
        user = await self._accounts.reset_password(
            link.user, new, note, client=client, check=lambda user: _check(link, user)
        )
        await self._documents.delete(_KIND, link.key)
        return user

    # --- invitations ---------------------------------------------------------------------------------------------

    async def for_invitation(self, role: Role, made_by: str) -> str:
        """Return the token of a link that creates an account with a role."""
        return await self._make(_Purpose.INVITATION, INVITATION_LIFETIME, made_by=made_by, role=role)

    async def invitation(self, token: str) -> Link:
        """Return the invitation of a token. It ends with the role of the admin who made it. Raises ``LinkInvalid``."""
        link = await self._find(_Purpose.INVITATION, token)
        maker = await self._accounts.get(link.made_by)
        if maker is None or maker.role is not Role.ADMIN or maker.is_blocked(self._clock()):
            raise LinkInvalid
        return link

    async def invitations(self) -> list[Link]:
        """Return the open invitations, the next to expire first."""
        found = map(_read, await self._documents.all(_KIND, tag=_Purpose.INVITATION.value))
        links = [link for link in found if link is not None and link.expires_at > self._clock()]
        return sorted(links, key=lambda link: link.expires_at)

    async def revoke(self, key: str) -> bool:
        """Delete an invitation; return whether there was one."""
        return await self._documents.delete(_KIND, key)

    async def register(self, token: str, name: str, email: str, password: str, *, note: Note = no_note) -> User:
        """Create the account of an invitation and use it up. For the other arguments and errors see ``Accounts.register``.

        Raises:
            LinkInvalid: the invitation is unknown, expired, used or revoked.
        """
        link, is_used = await self.invitation(token), False

        async def use() -> None:
            nonlocal is_used
            # After the slow hashing and right before the account is stored: of two uses at the same moment one deletes it.
            is_used = await self._documents.delete(_KIND, link.key, 1)
            if not is_used:
                raise LinkInvalid
            await note()

        try:
            return await self._accounts.register(name, email, password, role=link.role, note=use)
        except InvalidForm:
            # The name or email is taken, so nobody has joined: the invitation still works.
            if is_used:
                await self._put(link)
            raise
        except StoreError:
            # The account may exist, although the store did not answer. Only if it surely does not, the invitation still works.
            with suppress(StoreError):
                if is_used and await self._accounts.look_up(name) is None:
                    await self._put(link)
            raise


def _check(link: Link, user: User) -> None:
    if user.password_changed_at != link.password_changed_at:
        raise LinkInvalid


def _hash(token: str) -> str:
    return sha256(token.encode("utf-8", "replace")).hexdigest()


def _read(document: Document) -> Link | None:
    try:
        return document.read(Link, "key")
    except Unreadable:
        # Nobody can use a damaged link, and it can be made again.
        return None
