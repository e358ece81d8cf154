"""``Identities``: the accounts of users who sign in at an OpenID provider, and their sessions there.

An account belongs to the pair of issuer and subject, never to an email address or a name: both can pass to somebody else. It must
not know HTTP, tokens or roles.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import msgspec

from tornado_sessions.damage import Unreadable
from tornado_sessions.server.accounts.document_users import DocumentUsers
from tornado_sessions.server.accounts.errors import AlreadyTaken, Blocked, DamagedAccount
from tornado_sessions.server.accounts.names import check_name
from tornado_sessions.server.accounts.repository import AccountRepository
from tornado_sessions.server.accounts.user import DamagedUser, User, check_email, clean, identity_of
from tornado_sessions.server.documents import Count, Document, DocumentStore
from tornado_sessions.server.roles import Role

__all__ = ["Identities"]

_KIND = "oidc_session"
#: How many expired sessions of the provider are removed when another one starts, so that they never accumulate.
_CLEANED_AT_ONCE = 20
#: Maximum duration of a sign-in, in seconds.
_SIGN_IN_TIME = 900.0
#: How many names are tried before one with a part of the identity's hash, which is free.
_TRIES = 5


class _Session(msgspec.Struct, frozen=True):
    """A session of ours that was started by one at the provider."""

    key: str
    handle: str


class Identities:
    """The identities of a store. Every method may raise ``StoreUnavailable``.

    Args:
        users: the accounts.
        repository: changes them.
        documents: stores the sessions at the provider.
        clock: the time in UTC seconds.
    """

    def __init__(
        self,
        users: DocumentUsers,
        repository: AccountRepository,
        documents: DocumentStore,
        clock: Callable[[], float],
    ) -> None:
        self._users = users
        self._repository = repository
        self._documents = documents
        self._clock = clock

    async def find(self, issuer: str, subject: str) -> User | None:
        """Return the account of an identity, or ``None``. Raises ``DamagedAccount``."""
        found = await self._users.with_identity(issuer, subject)
        if isinstance(found, DamagedUser):
            raise DamagedAccount
        return found

    async def sign_in(self, issuer: str, subject: str, claims: dict[str, Any], role: Role) -> tuple[User, bool]:
        """Return the account of an identity, and whether it was made now.

        Args:
            issuer, subject: the identity.
            claims: what the provider says about the user: the name of a new account, and the email.
            role: of a new account.

        Raises:
            Blocked: an operator has blocked the account.
            DamagedAccount: its record cannot be read.
        """
        user = await self.find(issuer, subject)
        if user is None:
            return await self._create(issuer, subject, claims, role)
        if user.blocked_until is not None and user.is_blocked(self._clock()):
            raise Blocked(user.blocked_until)
        email = _email_of(claims)
        if email and email != user.email:
            # It cannot be changed here.
            now = self._clock()
            user = await self._repository.change(user.key, lambda _: None, email=email, email_confirmed_at=now)
        return user, False

    async def _create(self, issuer: str, subject: str, claims: dict[str, Any], role: Role) -> tuple[User, bool]:
        now, email = self._clock(), _email_of(claims)
        fields: dict[str, Any] = {
            "email": email,
            "email_confirmed_at": now if email else None,
            "role": role,
            "issuer": issuer,
            "subject": subject,
        }
        for name in _names(claims, identity_of(issuer, subject)):
            try:
                # No hash: no password signs in to this account.
                made = User(name=name, password_hash="", created_at=now, password_changed_at=now, **fields)
                return await self._repository.add(made), True
            except AlreadyTaken:
                # By another account's name, or by the same user in another tab.
                user = await self.find(issuer, subject)
                if user is not None:
                    return user, False
        raise AlreadyTaken("username")

    # --- sessions at the provider --------------------------------------------------------------------------------

    async def bind(self, issuer: str, sid: str, handle: str, until: float) -> bool:
        """Remember that a session of ours belongs to one at the provider, until a time in UTC seconds.

        Returns:
            Whether the provider's session is still live. If ``False``, the provider has ended it, and ours must end as well.
        """
        now = self._clock()
        # The key begins with the time of the end, so the first documents are those that have expired.
        for document in await self._documents.page(_KIND, limit=_CLEANED_AT_ONCE):
            if document.key > _key(now, ""):
                break
            await self._documents.delete(_KIND, document.key)
        key, identity = _key(until, handle), identity_of(issuer, sid)
        body = msgspec.json.encode(_Session(key, handle))
        await self._documents.put(_KIND, Document(key, 1, body), tags=[identity])
        # After it is stored: of this and an end at the same moment, at least one sees the other.
        return not await self.was_used(f"ended {identity}")

    async def end(self, issuer: str, sid: str) -> list[str]:
        """Remember that a session at the provider has ended, and return our sessions that belong to it; some may have ended."""
        await self.use(f"ended {identity_of(issuer, sid)}", self._clock() + _SIGN_IN_TIME)
        return await self.handles_of(issuer, sid)

    async def handles_of(self, issuer: str, sid: str) -> list[str]:
        """Return our sessions that belong to a session at the provider; some may have ended."""
        handles = []
        for document in await self._documents.all(_KIND, tag=identity_of(issuer, sid)):
            try:
                handles.append(document.read(_Session, "key").handle)
            except Unreadable:
                # The handle is a part of the key as well.
                handles.append(document.key.rpartition("-")[2])
        return handles

    # --- used once -----------------------------------------------------------------------------------------------

    async def was_used(self, token_id: str) -> bool:
        """Return whether a token of the provider was used before, in any process."""
        (total,) = await self._documents.count([Count(_used(token_id), 0, 1.0)], self._clock())
        return total.amount > 0

    async def use(self, token_id: str, until: float) -> bool:
        """Remember until a time in UTC seconds that a token was used, and return whether this is its first use."""
        now = self._clock()
        (total,) = await self._documents.count([Count(_used(token_id), 1, max(1.0, until - now))], now)
        return total.amount == 1


def _key(until: float, handle: str) -> str:
    return f"{int(until):015d}-{handle}"


def _email_of(claims: dict[str, Any]) -> str:
    """Return the email that the provider has verified, or an empty string."""
    email = clean(str(claims.get("email", "")))
    return email if claims.get("email_verified") is True and check_email(email) is None else ""


def _used(token_id: str) -> str:
    return "oidc used " + sha256(token_id.encode()).hexdigest()


def _names(claims: dict[str, Any], identity: str) -> list[str]:
    """Return the usernames to try for a new account, the best one first."""
    wanted = [claims.get("preferred_username"), str(claims.get("email", "")).partition("@")[0], claims.get("name")]
    texts = [re.sub(r"[^\w.@+-]+", ".", clean(text[:200])).strip(".")[:50] for text in wanted if isinstance(text, str)]
    good = [text for text in texts if check_name(text, by_operator=False) is None]
    numbered = [f"{good[0]}-{number}" for number in range(2, _TRIES)] if good else []
    return [*dict.fromkeys(good), *numbered, f"user-{identity.rpartition(' ')[2][:16]}"]
