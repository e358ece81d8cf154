"""The one-time link that creates the first admin.

Every start without an operator makes a link of its own, and each of them is good on every server of the store until one is used: a
restart takes no link away that another server has printed. The store holds only hashes. It must not know pages.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from hashlib import sha256

import msgspec

from tornado_sessions.damage import Unreadable, fields_of, struct_of
from tornado_sessions.errors import StoreError
from tornado_sessions.server.accounts.errors import InvalidForm, SetupUsed
from tornado_sessions.server.accounts.registration import MadeBy, Note, no_note
from tornado_sessions.server.accounts.service import Accounts
from tornado_sessions.server.accounts.user import User
from tornado_sessions.server.documents import Document, DocumentStore
from tornado_sessions.server.roles import Role

__all__ = ["SetupLink"]

_KIND = "setup"
#: Maximum number of links that work at the same time; a server that restarts again and again replaces the oldest.
_MAX_LINKS = 50
#: The time of a use that nobody has recorded: an admin was made in another way.
_UNKNOWN = 0.0


class _Link(msgspec.Struct, frozen=True, kw_only=True):
    """The stored form of a link. ``used_at`` is the time at which an admin existed, in UTC seconds; ``None`` while it works."""

    made_at: float
    used_at: float | None = None


class SetupLink:
    """The links of a store. Every method may raise ``StoreUnavailable``, and then no link is used up.

    Args:
        accounts: the accounts, among which there may be an operator.
        documents: stores a hash of each token.
        clock: returns the time in UTC seconds.
    """

    def __init__(self, accounts: Accounts, documents: DocumentStore, clock: Callable[[], float]) -> None:
        self._accounts = accounts
        self._documents = documents
        self._clock = clock

    async def make(self) -> str | None:
        """Return the token of a new link, or ``None`` if there is an operator."""
        if await self._accounts.has_operator():
            # A link that could not be marked as used must not work again once that admin is gone.
            await self._use_up(_UNKNOWN)
            return None
        found = sorted(await self._documents.all(_KIND), key=_made_at, reverse=True)
        for document in found[_MAX_LINKS - 1 :]:
            await self._documents.delete(_KIND, document.key)
        token = secrets.token_urlsafe(24)
        await self._put(_hash(token), 1, _Link(made_at=self._clock()))
        return token

    async def accepts(self, token: str) -> bool:
        """Return whether this token is valid."""
        link = await self._find(token)
        return link is not None and link.used_at is None and not await self._accounts.has_operator()

    async def refusal(self, token: str) -> SetupUsed | None:
        """Return the error for a token that has been valid; ``None`` if it never was."""
        link = await self._find(token)
        return SetupUsed(link.used_at) if link is not None else None

    async def _find(self, token: str) -> _Link | None:
        # Only hashes are compared, so the time that the store takes says nothing about a token.
        return _read(await self._documents.get(_KIND, _hash(token)))

    async def register(
        self, name: str, email: str, password: str, *, note: Note = no_note, extra: Mapping[str, str] | None = None
    ) -> User:
        """Create the first admin and disable all links. For arguments and errors see ``Accounts.register``.

        Raises:
            SetupUsed: there is already an operator.
        """

        async def note_once() -> None:
            # Look after the slow hashing, so that only a use within the same moment is recorded in vain.
            await self._refuse_second()
            await note()

        try:
            user = await self._accounts.register(
                name, email, password, role=Role.ADMIN, note=note_once, made_by=MadeBy.SETUP_LINK, extra=extra
            )
        except InvalidForm:
            # Of two uses at the same moment, the store refuses the second account, because both have the name of the first.
            await self._refuse_second()
            raise
        # The account exists, so an outage now is no failure: its links are dead, and the next start marks them.
        with suppress(StoreError):
            await self._use_up(self._clock())
        return user

    async def _refuse_second(self) -> None:
        if await self._accounts.has_operator():
            raise SetupUsed

    async def _use_up(self, at: float) -> None:
        """Mark all links as used. They are kept, so a page opened later can say that its link was used."""
        for document in await self._documents.all(_KIND):
            link = _read(document)
            if link is None:
                await self._documents.delete(_KIND, document.key)
            elif link.used_at is None:
                used = msgspec.structs.replace(link, used_at=at)
                await self._put(document.key, document.revision + 1, used)

    async def _put(self, key: str, revision: int, link: _Link) -> None:
        await self._documents.put(_KIND, Document(key, revision, msgspec.json.encode(link)))


def _hash(token: str) -> str:
    return sha256(token.encode("utf-8", "replace")).hexdigest()


def _made_at(document: Document) -> float:
    link = _read(document)
    return link.made_at if link is not None else 0.0


def _read(document: Document | None) -> _Link | None:
    """Return a link; ``None`` if it cannot be read: nobody can use it, and a start makes another one."""
    if document is None or document.damage:
        return None
    try:
        return struct_of(_Link, fields_of(document.body))
    except Unreadable:
        return None
