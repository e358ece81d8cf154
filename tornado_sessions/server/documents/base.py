"""The contract of ``DocumentStore``: small records with a revision, unique names and tags, on whichever backend a URL names.

Accounts, tokens, jobs, leases, the audit log and counts are built on it. It must not know what a document means: bodies are bytes.

Every backend guarantees, and the checks in ``tests/server/documents`` prove:

1. A change is one atomic step, judged by the revision it replaces: of two writers at once one wins, and the other learns that.
2. A unique name belongs to one document, whatever several processes do at the same time.
3. A list is one bounded call in key order, O(log n + page); never one call for each document.
4. One damaged record costs one record: it is returned with ``damage`` in its place, and no list fails for it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import msgspec

from tornado_sessions.damage import Unreadable, fields_of, struct_of

__all__ = ["MAX_PAGE", "Document", "DocumentStore", "NameTaken"]

T = TypeVar("T", bound=msgspec.Struct)

#: Documents that one call returns at most.
MAX_PAGE = 500


class NameTaken(Exception):
    """Another document of the same kind has one of the unique names; nothing was written."""


class Document(NamedTuple):
    """A small record.

    Attributes:
        key: its name among the documents of its kind: text, not empty, without NUL.
        revision: counts its changes, from 1.
        body: what it says.
        damage: why it cannot be read; empty for a sound document. Revision and body of a damaged one are blank.
    """

    key: str
    revision: int
    body: bytes
    damage: str = ""

    @classmethod
    def checked(cls, key: str, revision: object, body: object) -> Document:
        """Make a document of stored values; it is damaged where they have another type."""
        if isinstance(revision, bool) or not isinstance(revision, int) or revision < 1:
            return cls(key, 0, b"", "revision has the wrong type")
        if not isinstance(body, bytes):
            return cls(key, 0, b"", "body has the wrong type")
        return cls(key, revision, body)

    def read(self, kind: type[T], own_key: str) -> T:
        """Return the struct whose JSON the body is. Unknown fields are ignored, missing ones take their default.

        Args:
            kind: the class.
            own_key: the attribute that repeats the document's key. One with another value would be taken for another record.

        Raises:
            Unreadable: the document is damaged; ``why`` says how.
        """
        if self.damage:
            raise Unreadable(self.damage)
        made = struct_of(kind, fields_of(self.body))
        if getattr(made, own_key) != self.key:
            raise Unreadable(f"{own_key} is not the one it is filed under")
        return made


class DocumentStore(ABC):
    """Where documents are kept.

    Building one does no I/O. Each method may raise ``StoreUnavailable`` (cannot be reached, full, locked, too slow) and nothing
    else for reasons outside its arguments. A cancelled call may or may not have happened; it never happened by half.
    """

    @abstractmethod
    async def open(self) -> None:
        """Connect and prepare the schema; harmless when open.

        Raises:
            StoreMismatch: the accounts in it were written by a version before this layout, which this one cannot read.
        """

    @abstractmethod
    async def close(self) -> None:
        """Release every resource; harmless when closed."""

    @abstractmethod
    async def get(self, kind: str, key: str) -> Document | None:
        """Return one document, or ``None``."""

    @abstractmethod
    async def put(self, kind: str, document: Document, *, tags: Sequence[str] = (), names: Sequence[str] = ()) -> bool:
        """Store a document with its tags and unique names, in place of the revision before. It works when memory is full.

        Args:
            kind: groups documents; a short word.
            document: revision 1 is stored if there is none of this key, revision n if revision n - 1 is stored.
            tags: ``page`` lists by them. Text without NUL.
            names: no other document of this kind can have them from then on. Text without NUL.

        Returns:
            False when another revision is stored; nothing was written.

        Raises:
            NameTaken: the revision is right, but another document has one of the names; nothing was written.
        """

    @abstractmethod
    async def delete(self, kind: str, key: str, revision: int | None = None) -> bool:
        """Remove a document with its tags and names; with a ``revision``, only that one. Returns whether it did."""

    @abstractmethod
    async def page(
        self, kind: str, *, tag: str = "", after: str = "", limit: int = MAX_PAGE, backwards: bool = False
    ) -> list[Document]:
        """Return the next documents in the order of their keys (by code point), damaged ones included.

        Args:
            kind: of the documents.
            tag: only documents with this tag; ``""``: all.
            after: the key behind which the page starts; ``""``: the beginning.
            limit: at most this many, up to ``MAX_PAGE``. Fewer come only from the last page.
            backwards: from the last key to the first.
        """

    async def all(self, kind: str, *, tag: str = "") -> list[Document]:
        """Return every document of a kind, or of a tag: for kinds with few documents."""
        found: list[Document] = []
        while page := await self.page(kind, tag=tag, after=found[-1].key if found else ""):
            found += page
            if len(page) < MAX_PAGE:
                break
        return found
