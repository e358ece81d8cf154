"""The contract of the store behind the dashboard: the audit log, documents (API tokens, jobs) and counts per minute.

It must not know what entries and documents say. Audit entries are only ever added, completed once, and forgotten from the old end.
One damaged record costs one record: it is a ``DamagedEntry`` or a ``Document`` with ``damage`` in its place, a count is left out,
and no list fails for it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from tornado_sessions.damage import Unreadable, salvaged, struct_of

__all__ = [
    "AdminStore",
    "AuditQuery",
    "DamagedEntry",
    "Document",
    "Entry",
    "Tallies",
    "aged",
    "damaged_entry",
    "document_of",
    "entry_of",
    "tally_of",
]

#: How often something happened, by minute (UTC seconds // 60) and name.
Tallies = dict[tuple[int, str], int]


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the audit log.

    Attributes:
        id: counts up from 1, without a gap; 0 until it is stored.
        at: UTC seconds.
        actor: who: a user, ``token NAME`` or ``cli``.
        user: whom it concerns, where that is a user; else empty.
        ip: from where.
        act: what, such as ``end session``.
        target: to what.
        reason: why, in the actor's words.
        ended: how many sessions it ended; ``None`` while it is under way, when it failed, and for acts that end none.
        previous, hash: the chain: the hash of the entry before, and of this one with that; hexadecimal.
        seal: proves ``ended``, which comes later; hexadecimal, empty until then.
    """

    id: int = 0
    at: float
    actor: str
    user: str = ""
    ip: str = ""
    act: str
    target: str = ""
    reason: str = ""
    ended: int | None = None
    previous: str = ""
    hash: str = ""
    seal: str = ""


class DamagedEntry(Entry, frozen=True, kw_only=True):
    """An entry that cannot be read as it was written. Whatever can still be read stands in its fields, the others are blank.

    Attributes:
        why: what is wrong with it, for operators; never a value.
    """

    at: float = 0.0
    actor: str = ""
    act: str = ""
    why: str


def entry_of(number: int, fields: Mapping[str, Any]) -> Entry:
    """The entry of a stored record, or what can be read of it.

    Args:
        number: what it is filed under.
        fields: by the names of ``Entry``; an ``id`` among them has to be the number.
    """
    if fields.get("id", number) != number:
        return damaged_entry(number, "id is not the one it is filed under", fields)
    try:
        return struct_of(Entry, {**fields, "id": number})
    except Unreadable as error:
        return damaged_entry(number, error.why, fields)


def damaged_entry(number: int, why: str, fields: Mapping[str, Any] | None = None) -> DamagedEntry:
    """A damaged entry, with what is right of these fields."""
    return DamagedEntry(why=why, **{**salvaged(Entry, fields or {}), "id": number})


def aged(entries: Iterable[tuple[int, object]], before: float) -> list[int]:
    """Ids of the oldest entries that are of before a time, never with the last of those given.

    A time that cannot be read counts as that of the entries behind it, so that damage does not stop the forgetting.

    Args:
        entries: ``(id, at)``, from the oldest on.
        before: in UTC seconds.
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
    return [kept for kept in old if kept != number]


class AuditQuery(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which entries, the newest first.

    Attributes:
        before: only those with a smaller id.
        who: who acted, or whom it concerns.
        act: what.
        since, until: UTC seconds.
        limit: at most so many.
    """

    before: int | None = None
    who: str = ""
    act: str = ""
    since: float | None = None
    until: float | None = None
    limit: int = 50

    def matches(self, entry: Entry) -> bool:
        """Whether an entry is asked for, its id aside; what cannot be read of a damaged one, an index has found."""
        if isinstance(entry, DamagedEntry):
            return (not self.act or entry.act in ("", self.act)) and (not self.since or entry.at >= self.since)
        return (
            (not self.who or self.who in (entry.actor, entry.user))
            and (not self.act or self.act == entry.act)
            and (self.since is None or entry.at >= self.since)
            and (self.until is None or entry.at <= self.until)
        )


class Document(NamedTuple):
    """Something small that is kept under a name.

    Attributes:
        key: its name, among those of its kind.
        revision: counts its changes, from 1.
        body: what it says.
        damage: why it cannot be read, empty for a sound one; revision and body then say nothing.
    """

    key: str
    revision: int
    body: bytes
    damage: str = ""


def document_of(key: str, revision: object, body: object) -> Document:
    """The document of stored fields, damaged where they are of another type."""
    if isinstance(revision, bool) or not isinstance(revision, int) or revision < 1:
        return Document(key, 0, b"", "revision has the wrong type")
    if not isinstance(body, bytes):
        return Document(key, 0, b"", "body has the wrong type")
    return Document(key, revision, body)


def tally_of(minute: object, name: object, count: object) -> Tallies:
    """One count; empty where it cannot be read: a chart with a gap is better than no page."""
    if isinstance(minute, int) and isinstance(name, str) and isinstance(count, int):
        return {(int(minute), name): int(count)}
    return {}


class AdminStore(ABC):
    """Where all of it is kept. Each method may raise ``StoreUnavailable``."""

    @abstractmethod
    async def open(self) -> None:
        """Connect and prepare the schema; harmless when open."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of every resource; harmless when closed."""

    @abstractmethod
    async def append(self, entry: Entry) -> bool:
        """Add an entry whose id follows the last one's. False, and nothing is written, when another has that id by now."""

    @abstractmethod
    async def complete(self, entry_id: int, ended: int, seal: str) -> None:
        """Say what an entry's act came to; what was said once stays."""

    @abstractmethod
    async def entries(self, query: AuditQuery) -> list[Entry]:
        """Entries that match, the newest first; a damaged one as ``DamagedEntry``, by the filters that can still find it."""

    @abstractmethod
    async def forget_entries(self, before: float, limit: int) -> int:
        """Remove the oldest entries, of before a time; at most so many. The newest one always stays. Returns how many."""

    @abstractmethod
    async def documents(self, kind: str) -> list[Document]:
        """All documents of a kind, in the order of their keys."""

    @abstractmethod
    async def document(self, kind: str, key: str) -> Document | None:
        """One document, or ``None``."""

    @abstractmethod
    async def put(self, kind: str, document: Document) -> bool:
        """Store a document if the stored one is the revision before (for revision 1: if there is none). Returns whether it was."""

    @abstractmethod
    async def remove(self, kind: str, key: str) -> bool:
        """Remove a document. Returns whether there was one."""

    @abstractmethod
    async def add_tallies(self, tallies: Tallies, forget_before: int) -> None:
        """Add to the counts of these minutes, and forget those of minutes before one."""

    @abstractmethod
    async def tallies(self, since: int) -> Tallies:
        """The counts from a minute on."""
