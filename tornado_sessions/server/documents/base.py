"""The contract of ``DocumentStore``: small documents, one append-only log, and counts per minute.

Accounts, tokens, jobs, leases, the audit log and activity are kept in it, on whichever backend a URL names. It must not know
what a document, an entry or a count means: bodies are bytes.

Every backend guarantees, and the checks in ``tests/server/documents`` prove:

1. A change is one atomic step, judged by the revision it replaces: of two writers at once, one wins and the other is told.
2. A unique name belongs to one document, whatever several processes do at the same time.
3. Lists are bounded calls in key order: O(log n + page), never one call for each document.
4. The log has no gap and no number twice. An entry never changes; its outcome is written once.
5. One damaged record costs one record: it is returned with ``damage`` in its place, and no list fails for it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple, TypeVar

import msgspec

from tornado_sessions.damage import Unreadable, fields_of, struct_of

T = TypeVar("T", bound=msgspec.Struct)

__all__ = ["MAX_PAGE", "Document", "DocumentStore", "LogEntry", "LogQuery", "NameTaken", "Tallies"]

#: Documents that one call returns at most.
MAX_PAGE = 500

#: How often something happened, by minute (UTC seconds // 60) and name.
Tallies = dict[tuple[int, str], int]


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


class LogEntry(NamedTuple):
    """One entry of the log.

    Attributes:
        number: counts up from 1.
        body: what it says.
        outcome: what was added once it was over; empty until then.
        damage: why it cannot be read; empty for a sound entry.
    """

    number: int
    body: bytes
    outcome: bytes = b""
    damage: str = ""

    @classmethod
    def checked(cls, number: int, body: object, outcome: object) -> LogEntry:
        """Make an entry of stored values; it is damaged where they have another type."""
        if not isinstance(body, bytes):
            return cls(number, b"", b"", "body has the wrong type")
        if not isinstance(outcome, bytes):
            return cls(number, body, b"", "outcome has the wrong type")
        return cls(number, body, outcome)


class LogQuery(NamedTuple):
    """Which entries of the log, the newest first.

    Attributes:
        before: only entries with a smaller number.
        tags: the entries that have all of these.
        since, until: UTC seconds, both included.
        limit: at most this many.
    """

    before: int | None = None
    tags: Sequence[str] = ()
    since: float | None = None
    until: float | None = None
    limit: int = 50


class DocumentStore(ABC):
    """Where documents, the log and counts are kept.

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

    # --- documents -----------------------------------------------------------------------------------------------

    @abstractmethod
    async def get(self, kind: str, key: str) -> Document | None:
        """Return one document, or ``None``."""

    @abstractmethod
    async def put(self, kind: str, document: Document, *, tags: Sequence[str] = (), names: Sequence[str] = ()) -> bool:
        """Store a document with its tags and unique names, in place of the revision before.

        Args:
            kind: groups documents; a short word.
            document: revision 1 is stored if there is none of this key, revision n if revision n - 1 is stored.
            tags: ``page`` lists by them. Text without NUL.
            names: no other document of this kind has them, from then on. Text without NUL.

        Returns:
            False when another revision is stored; nothing was written.

        Raises:
            NameTaken: the revision is right, but a name is another document's; nothing was written.
        """

    @abstractmethod
    async def delete(self, kind: str, key: str, revision: int | None = None) -> bool:
        """Remove a document with its tags and names; with a ``revision``, only that one. Returns whether it did."""

    @abstractmethod
    async def page(self, kind: str, *, tag: str = "", after: str = "", limit: int = MAX_PAGE) -> list[Document]:
        """Return the next documents in the order of their keys (by code point), damaged ones included.

        Args:
            kind: of the documents.
            tag: only documents with this tag; ``""``: all.
            after: the key behind which the page starts; ``""``: the beginning.
            limit: at most this many, up to ``MAX_PAGE``. Fewer come only from the last page.
        """

    async def all(self, kind: str, *, tag: str = "") -> list[Document]:
        """Return every document of a kind, or of a tag: for kinds with few documents."""
        found: list[Document] = []
        while page := await self.page(kind, tag=tag, after=found[-1].key if found else ""):
            found += page
            if len(page) < MAX_PAGE:
                break
        return found

    # --- the log -------------------------------------------------------------------------------------------------

    @abstractmethod
    async def append(self, number: int, body: bytes, *, at: float, tags: Sequence[str] = ()) -> bool:
        """Add an entry; it succeeds when the store's memory is full.

        Args:
            number: one more than the last entry's.
            body: what it says.
            at: UTC seconds; queries and ``forget`` go by it.
            tags: queries find it by them.

        Returns:
            False when another entry has this number, or it is not the next; nothing was written.
        """

    @abstractmethod
    async def complete(self, number: int, outcome: bytes) -> None:
        """Write an entry's outcome. The first one stays; nothing happens when the entry is gone."""

    @abstractmethod
    async def entries(self, query: LogQuery) -> list[LogEntry]:
        """Return the entries that match, the newest first. A damaged one comes whenever the query may mean it."""

    @abstractmethod
    async def forget(self, before: float, limit: int) -> int:
        """Remove the oldest entries, at most ``limit``, that were written before a time (UTC seconds).

        The newest entry always stays, so that the numbers go on. Returns how many were removed.
        """

    # --- counts --------------------------------------------------------------------------------------------------

    @abstractmethod
    async def add(self, tallies: Tallies, forget_before: int) -> None:
        """Add to counts, from any number of processes, and drop those of minutes before ``forget_before``."""

    @abstractmethod
    async def tallies(self, minutes: range, names: Collection[str] = ()) -> Tallies:
        """Return the counts of these minutes, at most two days; with ``names``, theirs alone. A damaged count is left out.

        A limit on attempts that holds over all processes can be built on ``add`` and this: it costs one look at the
        few minutes of its window.
        """


def tally_of(minute: object, name: object, count: object) -> Tallies:
    """Return one count, or nothing where it cannot be read: a chart with a gap is better than no page."""
    sound = isinstance(minute, int) and isinstance(name, str) and isinstance(count, int)
    return {(minute, name): count} if sound else {}  # type: ignore[dict-item]


def outdated(entries: Iterable[tuple[int, object]], before: float) -> list[int]:
    """Return the numbers of the oldest entries that are from before a time, never the last of those given.

    An entry whose time cannot be read is as old as the one that follows it, so that damage does not stop the forgetting.

    Args:
        entries: ``(number, at)``, the oldest first.
        before: UTC seconds.
    """
    old: list[int] = []
    unknown: list[int] = []
    number = 0
    for number, at in entries:
        if isinstance(at, bool) or not isinstance(at, int | float) or not at:
            unknown.append(number)
        elif at < before:
            old += [*unknown, number]
            unknown = []
        else:
            break
    return [one for one in old if one != number]
