"""The contract of ``DocumentStore``: small records with a revision, unique names and tags, on any backend.

Accounts, tokens, jobs, leases, the audit log and counters are built on it. It must not know what a document means: bodies
are bytes.

Every backend guarantees, and the checks in ``tests/server/documents`` prove:

1. A change is one atomic step that names the revision it replaces. If two processes write at once, one succeeds, and the
   other gets ``False``.
2. A unique name belongs to at most one document, even if several processes write at once.
3. A list is one bounded call in key order, O(log n + page); never one call per document.
4. One damaged record costs one record: it is returned with ``damage`` set, and no list fails because of it.
5. Counts that several processes change at once lose nothing, and are removed after their time without being asked for.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import msgspec

from tornado_sessions.damage import Unreadable, fields_of, struct_of

__all__ = ["MAX_PAGE", "Count", "Document", "DocumentStore", "Links", "NameTaken", "Total"]

T = TypeVar("T", bound=msgspec.Struct)

#: The maximum number of documents that one call returns.
MAX_PAGE = 500


class NameTaken(Exception):
    """Another document of the same kind has one of the unique names. Nothing was written.

    Attributes:
        name: the name, or one of several.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Document(NamedTuple):
    """A small record.

    Attributes:
        key: its key, unique within its kind: text, not empty, without NUL.
        revision: the number of times it was stored, from 1.
        body: its content.
        damage: why it is unreadable; empty if it is not. A damaged document has revision 0 and an empty body.
    """

    key: str
    revision: int
    body: bytes
    damage: str = ""

    @classmethod
    def checked(cls, key: str, revision: object, body: object) -> Document:
        """Return a document with stored values; it is damaged if they have the wrong type."""
        if isinstance(revision, bool) or not isinstance(revision, int) or revision < 1:
            return cls(key, 0, b"", "revision has the wrong type")
        if not isinstance(body, bytes):
            return cls(key, 0, b"", "body has the wrong type")
        return cls(key, revision, body)

    def read(self, kind: type[T], own_key: str) -> T:
        """Decode the body from JSON into a struct. Unknown fields are ignored; missing ones have their default.

        Args:
            kind: the class of the struct.
            own_key: the attribute that repeats the key. It must be equal, so that no record passes for another.

        Raises:
            Unreadable: the document is damaged; ``why`` has the reason.
        """
        if self.damage:
            raise Unreadable(self.damage)
        made = struct_of(kind, fields_of(self.body))
        if getattr(made, own_key) != self.key:
            raise Unreadable(f"{own_key} differs from the document's key")
        return made


class Links(NamedTuple):
    """The tags and unique names of a document."""

    tags: Sequence[str]
    names: Sequence[str]


class Count(NamedTuple):
    """A change of a count.

    Attributes:
        key: the key of the count: text, not empty, without NUL.
        amount: how much to add; 0 only reads, and a negative number never makes a count negative.
        seconds: a new count starts again at zero after this time.
    """

    key: str
    amount: int
    seconds: float


class Total(NamedTuple):
    """A count after a change, and the time at which it starts again at zero, in UTC seconds."""

    amount: int
    ends_at: float


class DocumentStore(ABC):
    """A store of documents.

    The constructor does no I/O. For reasons outside its arguments, each method raises only ``StoreUnavailable``: the store
    is unreachable, full, locked or too slow. A cancelled call may have happened, but never partly.
    """

    @abstractmethod
    async def open(self) -> None:
        """Connect and prepare the schema; do nothing if it is open.

        Raises:
            StoreMismatch: the store contains accounts in the layout of an earlier version, which cannot be read.
        """

    @abstractmethod
    async def close(self) -> None:
        """Release all resources; do nothing if it is closed."""

    @abstractmethod
    async def get(self, kind: str, key: str) -> Document | None:
        """Return one document; ``None`` if there is none with this key."""

    @abstractmethod
    async def links(self, kind: str, key: str) -> Links:
        """Return the tags and unique names of a document, to copy it to another store; empty ones if there is none."""

    @abstractmethod
    async def put(self, kind: str, document: Document, *, tags: Sequence[str] = (), names: Sequence[str] = ()) -> bool:
        """Store a document with its tags and unique names, replacing the previous revision; works when memory is full.

        Args:
            kind: the group of documents; a short word.
            document: with revision 1 if its key is not stored yet, otherwise with the stored revision plus 1.
            tags: words by which ``page`` can list it; text without NUL.
            names: words that no other document of this kind may have; text without NUL.

        Returns:
            Whether it was stored; ``False`` if another revision is stored, in which case nothing was written.

        Raises:
            NameTaken: the revision is right, but another document has one of the names; nothing was written.
        """

    @abstractmethod
    async def delete(self, kind: str, key: str, revision: int | None = None) -> bool:
        """Remove a document with its tags and names, if it has this ``revision`` (``None``: any); return whether it did."""

    @abstractmethod
    async def page(
        self, kind: str, *, tag: str = "", after: str = "", limit: int = MAX_PAGE, backwards: bool = False
    ) -> list[Document]:
        """Return the next documents in the order of their keys (by code point), including damaged ones.

        Args:
            kind: the kind of the documents.
            tag: only documents with this tag; ``""`` for all.
            after: the last key of the previous page; ``""`` for the first page.
            limit: the maximum number of documents, up to ``MAX_PAGE``; only the last page has fewer.
            backwards: whether to list from the last key to the first.
        """

    @abstractmethod
    async def count(self, counts: Sequence[Count], now: float) -> list[Total]:
        """Change counts in one bounded call, each in one atomic step, and return their totals in the same order.

        The time of a count runs from its first change and does not grow with later ones. A count that does not exist, or whose
        time has passed, is zero.

        Args:
            counts: at most ``MAX_PAGE`` changes of different keys.
            now: the time in UTC seconds.
        """

    async def forget(self, kind: str, through: str) -> int:
        """Remove the first documents of a log, up to this key, with their tags; return the number removed.

        A backend that protects the entries of a log against ``delete`` allows this removal only.
        """
        removed = 0
        while keys := [document.key for document in await self.page(kind) if document.key <= through]:
            removed += sum(await asyncio.gather(*(self.delete(kind, key) for key in keys)))
        return removed

    async def all(self, kind: str, *, tag: str = "") -> list[Document]:
        """Return all documents of a kind, or those with a tag; only for kinds with few documents."""
        found: list[Document] = []
        while page := await self.page(kind, tag=tag, after=found[-1].key if found else ""):
            found += page
            if len(page) < MAX_PAGE:
                break
        return found
