"""``DeviceNames``: the names that people give their devices.

They are stored by the handle of the session, which does not change when its token rotates. The names of a user are one small
document. It must not know sessions or pages.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from tornado_sessions.damage import Unreadable
from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.messages import Message
from tornado_sessions.server.accounts.errors import InvalidForm
from tornado_sessions.server.accounts.repository import ATTEMPTS
from tornado_sessions.server.accounts.text import nfkc
from tornado_sessions.server.accounts.user import key_of
from tornado_sessions.server.documents import Document, DocumentStore

__all__ = ["LONGEST_NAME", "DeviceNames"]

_KIND = "devices"
LONGEST_NAME = 40
#: Maximum number of names of a user; a further one replaces the one given first. Most are of sessions that have ended.
_MAX_NAMES = 200


class _Names(msgspec.Struct, frozen=True):
    """The stored names of a user, by handle, the one given last at the end."""

    user: str
    names: dict[str, str] = {}


class DeviceNames:
    """The names of devices. Every method may raise ``StoreUnavailable``.

    Args:
        documents: stores the names.
        key: returns a key that is the same for all spellings of a user id. In our own store, ids are usernames, in any case.
    """

    def __init__(self, documents: DocumentStore, key: Callable[[str], str] = key_of) -> None:
        self._documents = documents
        self._key = key

    async def of(self, user: str) -> dict[str, str]:
        """Return the names of a user's devices by the handles of their sessions."""
        return dict(_read(await self._documents.get(_KIND, self._key(user))))

    async def rename(self, user: str, handle: str, name: str) -> None:
        """Name a device.

        Args:
            user: its owner.
            handle: of its session. The caller has checked whose it is.
            name: plain text; an empty one removes the name.

        Raises:
            InvalidForm: the name is too long, or has invisible characters.
        """
        shown = " ".join(nfkc(name).split())
        if len(shown) > LONGEST_NAME:
            raise InvalidForm(
                {"name": Message.plural("Use at most %s character.", "Use at most %s characters.", LONGEST_NAME)}
            )
        if not shown.isprintable():
            raise InvalidForm({"name": Message("Use letters, digits and punctuation only.")})
        key = self._key(user)
        for _ in range(ATTEMPTS):
            found = await self._documents.get(_KIND, key)
            names = {other: given for other, given in _read(found).items() if other != handle}
            if shown:
                names[handle] = shown
            kept = dict(list(names.items())[-_MAX_NAMES:])
            body = msgspec.json.encode(_Names(key, kept))
            if found is not None and found.damage:
                # Nothing can follow a revision that cannot be read.
                await self._documents.delete(_KIND, key)
                found = None
            # Fails if another request has renamed a device in the meantime; then its name must not be lost.
            if await self._documents.put(_KIND, Document(key, found.revision + 1 if found else 1, body)):
                return
        raise StoreUnavailable("accounts", "too many requests are naming devices at the same time")

    async def forget(self, user: str) -> None:
        """Remove all names of a user."""
        await self._documents.delete(_KIND, self._key(user))


def _read(document: Document | None) -> dict[str, str]:
    if document is None:
        return {}
    try:
        return document.read(_Names, "user").names
    except Unreadable:
        # Names only help people to distinguish devices. The next name replaces a damaged document.
        return {}
