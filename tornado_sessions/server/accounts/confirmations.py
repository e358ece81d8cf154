"""``Confirmations``: links by which people prove that an email address is theirs, and so create or change an account.

It must not know pages, or how links reach people.
"""

from __future__ import annotations

from typing import Any

from tornado_sessions.server.accounts.errors import InvalidForm, LinkReplaced
from tornado_sessions.server.accounts.link_store import Link, LinkStore, Purpose
from tornado_sessions.server.accounts.names import check_name
from tornado_sessions.server.accounts.registration import Note, no_note
from tornado_sessions.server.accounts.service import Accounts
from tornado_sessions.server.accounts.user import User, clean

__all__ = ["CONFIRMATION_LIFETIME", "Confirmations"]

#: How long a link works, in seconds.
CONFIRMATION_LIFETIME = 86400.0


class Confirmations:
    """The links that confirm addresses. Every method may raise ``StoreUnavailable``, and then no link is used up.

    Args:
        accounts: what the links create and change.
        store: stores the links.
    """

    def __init__(self, accounts: Accounts, store: LinkStore) -> None:
        self._accounts = accounts
        self._store = store

    async def for_email(self, user: User) -> str:
        """Return the token of a link that confirms the unconfirmed address of an account."""
        fields = {"user": user.id, "email": user.unconfirmed_email, "password_changed_at": user.password_changed_at}
        return await self._store.make(Purpose.EMAIL, CONFIRMATION_LIFETIME, made_by="", **fields)

    async def for_registration(
        self, name: str, email: str, password_hash: str, language: str, extra: dict[str, Any] | None = None
    ) -> str:
        """Return the token of a link that creates an account."""
        fields = {"user": name, "email": email, "password_hash": password_hash, "language": language}
        return await self._store.make(
            Purpose.REGISTRATION, CONFIRMATION_LIFETIME, made_by="", extra=extra or {}, **fields
        )

    async def find(self, token: str) -> Link:
        """Return the link of a token, for an address or a registration. Raises ``LinkInvalid``."""
        link = await self._store.find(token, Purpose.REGISTRATION, Purpose.EMAIL)
        if link.purpose is Purpose.EMAIL:
            user = await self._accounts.get(link.user)
            if user is None:
                raise LinkReplaced
            _check(link, user)
        elif await self._accounts.find_by_email(link.email) is not None:
            raise LinkReplaced
        return link

    async def confirm(self, link: Link, note: Note = no_note) -> User:
        """Confirm the address of an account.

        Raises:
            LinkInvalid: the address was confirmed, or replaced by another one, or the password was changed.
            InvalidForm: another account now has the address.
        """
        user = await self._accounts.confirm_email(link.user, link.email, note, lambda user: _check(link, user))
        await self._store.use(link)
        return user

    async def register(self, link: Link, name: str, note: Note = no_note) -> User:
        """Create the account of a registration.

        Args:
            link: the link, which is used up.
            name: the username; may differ from the registered one, which may be taken now.
            note: records the registration.

        Raises:
            InvalidForm: the name or the email is taken; the link still works.
        """
        name = clean(name)
        fault = check_name(name, by_operator=False)
        if fault is not None:
            raise InvalidForm({"username": fault})
        # Of two uses at the same moment one succeeds, because the email of an account is unique.
        user = await self._accounts.add_confirmed(name, link.email, link.password_hash, link.language, note, link.extra)
        await self._store.use(link)
        return user


def _check(link: Link, user: User) -> None:
    if user.unconfirmed_email != link.email or user.password_changed_at != link.password_changed_at:
        raise LinkReplaced
