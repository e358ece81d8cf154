"""``memory://``: the dashboard's data in dicts, for tests and development. They must not outlive the process."""

from __future__ import annotations

from itertools import islice

import msgspec
from typing_extensions import override

from tornado_sessions.server.operations.stores.base import (
    AdminStore,
    AuditQuery,
    Document,
    Entry,
    Tallies,
    aged,
    document_of,
    entry_of,
)

__all__ = ["MemoryAdminStore"]


class MemoryAdminStore(AdminStore):
    """The dashboard's data in memory."""

    def __init__(self) -> None:
        self._entries: dict[int, Entry] = {}
        self._last = 0
        self._documents: dict[tuple[str, str], Document] = {}
        self._tallies: Tallies = {}

    @classmethod
    def from_url(cls, _url: str) -> MemoryAdminStore:
        """An empty store."""
        return cls()

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""

    @override
    async def append(self, entry: Entry) -> bool:
        if entry.id != self._last + 1:
            return False
        self._entries[entry.id] = entry
        self._last = entry.id
        return True

    @override
    async def complete(self, entry_id: int, ended: int, seal: str) -> None:
        entry = self._entries.get(entry_id)
        if entry is not None and entry.ended is None:
            self._entries[entry_id] = msgspec.structs.replace(entry, ended=ended, seal=seal)

    @override
    async def entries(self, query: AuditQuery) -> list[Entry]:
        before = query.before if query.before is not None else self._last + 1
        found = (self._sound(number) for number in reversed(self._entries) if number < before)
        return list(islice(filter(query.matches, found), query.limit))

    def _sound(self, number: int) -> Entry:
        stored: object = self._entries[number]
        return entry_of(number, msgspec.structs.asdict(stored) if isinstance(stored, Entry) else {})

    @override
    async def forget_entries(self, before: float, limit: int) -> int:
        oldest = ((number, self._sound(number).at) for number in self._entries)
        old = aged(islice(oldest, limit + 1), before)
        for number in old:
            del self._entries[number]
        return len(old)

    @override
    async def documents(self, kind: str) -> list[Document]:
        return [_sound(name[1], self._documents[name]) for name in sorted(self._documents) if name[0] == kind]

    @override
    async def document(self, kind: str, key: str) -> Document | None:
        known = self._documents.get((kind, key))
        return _sound(key, known) if known is not None else None

    @override
    async def put(self, kind: str, document: Document) -> bool:
        known = self._documents.get((kind, document.key))
        if (known.revision if known is not None else 0) != document.revision - 1:
            return False
        self._documents[kind, document.key] = document
        return True

    @override
    async def remove(self, kind: str, key: str) -> bool:
        return self._documents.pop((kind, key), None) is not None

    @override
    async def add_tallies(self, tallies: Tallies, forget_before: int) -> None:
        self._tallies = {name: count for name, count in self._tallies.items() if name[0] >= forget_before}
        for name, count in tallies.items():
            self._tallies[name] = self._tallies.get(name, 0) + count

    @override
    async def tallies(self, since: int) -> Tallies:
        return {name: count for name, count in self._tallies.items() if name[0] >= since}


def _sound(key: str, stored: Document) -> Document:
    return document_of(key, getattr(stored, "revision", None), getattr(stored, "body", None))
