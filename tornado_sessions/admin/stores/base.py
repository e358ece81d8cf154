"""The contract of the store behind the dashboard: the audit log, documents (API tokens, jobs) and counts per minute.

It must not know what entries and documents say. Audit entries are only ever added, completed once, and forgotten from the old end.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import msgspec

__all__ = ["AdminStore", "AuditQuery", "Document", "Entry", "Tallies"]

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
        """Whether an entry is asked for, its id aside."""
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
    """

    key: str
    revision: int
    body: bytes


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
        """Entries that match, the newest first."""

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
