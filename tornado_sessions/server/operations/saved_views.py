"""``SavedViews``: lists of sessions that an operator has saved under a name. It must not know pages or what a list shows."""

from __future__ import annotations

import msgspec

from tornado_sessions.damage import Unreadable
from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.messages import Message
from tornado_sessions.server.documents import Document, DocumentStore
from tornado_sessions.server.operations.errors import InvalidInput

__all__ = ["MAX_NAME", "MAX_VIEWS", "SavedView", "SavedViews"]

#: Maximum number of views of one operator, and the maximum length of their names and of their query strings, in characters.
MAX_VIEWS, MAX_NAME, _MAX_QUERY = 20, 40, 500
_KIND = "view"
#: Attempts to write while the same operator writes in another tab.
_ATTEMPTS = 5


class SavedView(msgspec.Struct, frozen=True):
    """A name for the query string of a list."""

    name: str
    query: str


class _Views(msgspec.Struct, frozen=True, kw_only=True):
    owner: str
    views: list[SavedView] = []


class SavedViews:
    """Stores the views of each operator.

    Args:
        documents: where they are stored.
    """

    def __init__(self, documents: DocumentStore) -> None:
        self._documents = documents

    async def of(self, owner: str) -> list[SavedView]:
        """Return the views of an operator, by name. Damaged ones are none. Raises ``StoreUnavailable``."""
        return (await self._read(owner))[0]

    async def save(self, owner: str, name: str, query: str) -> None:
        """Save a view, replacing the one of this name.

        Raises:
            InvalidInput: the name is empty, too long or not printable, the view is too long, or there are too many views.
            StoreUnavailable: nothing was saved.
        """
        name = " ".join(name.split())
        if not 0 < len(name) <= MAX_NAME:
            raise InvalidInput(Message("Enter a name of at most %s characters.", (MAX_NAME,)))
        if not name.isprintable():
            # Nobody would see what it is, and a form could not send a NUL back to delete it.
            raise InvalidInput("Use letters, digits and punctuation only.")
        if len(query) > _MAX_QUERY:
            raise InvalidInput("This view has too many filters to be saved.")
        await self._change(owner, name, SavedView(name, query))

    async def delete(self, owner: str, name: str) -> None:
        """Delete a view; do nothing if there is none of this name. Raises ``StoreUnavailable``."""
        await self._change(owner, name, None)

    async def forget(self, owner: str) -> None:
        """Remove all views of an operator."""
        await self._documents.delete(_KIND, owner)

    async def _change(self, owner: str, name: str, new: SavedView | None) -> None:
        for _ in range(_ATTEMPTS):
            views, revision = await self._read(owner)
            others = [view for view in views if view.name != name]
            if new is not None and len(others) >= MAX_VIEWS:
                raise InvalidInput(Message("You can save at most %s views. Delete one first.", (MAX_VIEWS,)))
            kept = sorted([*others, new] if new is not None else others, key=lambda view: view.name.casefold())
            body = msgspec.json.encode(_Views(owner=owner, views=kept))
            if await self._documents.put(_KIND, Document(owner, revision + 1, body)):
                return
        raise StoreUnavailable("documents", "the saved views are being changed elsewhere")

    async def _read(self, owner: str) -> tuple[list[SavedView], int]:
        found = await self._documents.get(_KIND, owner)
        if found is None:
            return [], 0
        try:
            return found.read(_Views, "owner").views, found.revision
        except Unreadable:
            # The revision of a damaged document is not known, so it makes room for a new one.
            await self._documents.delete(_KIND, owner)
            return [], 0
