"""``memory://``: documents in dicts, for tests and development. They do not outlive the process."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import islice
from typing import Any, NamedTuple

from typing_extensions import override

from tornado_sessions.server.documents.base import (
    MAX_PAGE,
    Document,
    DocumentStore,
    LogEntry,
    LogQuery,
    NameTaken,
    Tallies,
    outdated,
    tally_of,
)

__all__ = ["MemoryData", "MemoryDocuments"]


class _Stored(NamedTuple):
    revision: Any
    body: Any
    tags: Sequence[str]
    names: Sequence[str]


class _Logged(NamedTuple):
    at: Any
    body: Any
    tags: Sequence[str]
    outcome: Any = b""


class MemoryData:
    """What stores in memory can share, as those of several processes share a server."""

    def __init__(self) -> None:
        self.documents: dict[tuple[str, str], _Stored] = {}
        self.log: dict[int, _Logged] = {}
        self.last = 0
        self.tallies: dict[tuple[int, str], Any] = {}


class MemoryDocuments(DocumentStore):
    """Documents in memory.

    Args:
        data: shared with other stores; ``None``: its own.
    """

    def __init__(self, data: MemoryData | None = None) -> None:
        self.data = data or MemoryData()

    @classmethod
    def from_url(cls, _url: str, _beside: object) -> MemoryDocuments:
        """Make an empty store."""
        return cls()

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""

    @override
    async def get(self, kind: str, key: str) -> Document | None:
        stored = self.data.documents.get((kind, key))
        return Document.checked(key, stored.revision, stored.body) if stored is not None else None

    @override
    async def put(self, kind: str, document: Document, *, tags: Sequence[str] = (), names: Sequence[str] = ()) -> bool:
        place = (kind, document.key)
        stored = self.data.documents.get(place)
        if (stored.revision if stored is not None else 0) != document.revision - 1:
            return False
        others = (other for at, other in self.data.documents.items() if at[0] == kind and at != place)
        if names and any(name in other.names for other in others for name in names):
            raise NameTaken
        self.data.documents[place] = _Stored(document.revision, document.body, tags, names)
        return True

    @override
    async def delete(self, kind: str, key: str, revision: int | None = None) -> bool:
        stored = self.data.documents.get((kind, key))
        if stored is None or (revision is not None and stored.revision != revision):
            return False
        del self.data.documents[kind, key]
        return True

    @override
    async def page(self, kind: str, *, tag: str = "", after: str = "", limit: int = MAX_PAGE) -> list[Document]:
        keys = sorted(
            key
            for (its_kind, key), stored in self.data.documents.items()
            if its_kind == kind and key > after and (not tag or tag in stored.tags)
        )
        found = ((key, self.data.documents[kind, key]) for key in keys[:limit])
        return [Document.checked(key, stored.revision, stored.body) for key, stored in found]

    @override
    async def append(self, number: int, body: bytes, *, at: float, tags: Sequence[str] = ()) -> bool:
        if number != self.data.last + 1:
            return False
        self.data.log[number] = _Logged(at, body, tags)
        self.data.last = number
        return True

    @override
    async def complete(self, number: int, outcome: bytes) -> None:
        entry = self.data.log.get(number)
        if entry is not None and not entry.outcome:
            self.data.log[number] = entry._replace(outcome=outcome)

    @override
    async def entries(self, query: LogQuery) -> list[LogEntry]:
        found = (
            LogEntry.checked(number, entry.body, entry.outcome)
            for number, entry in reversed(self.data.log.items())
            if (query.before is None or number < query.before) and _matches(entry, query)
        )
        return list(islice(found, query.limit))

    @override
    async def forget(self, before: float, limit: int) -> int:
        old = outdated(((number, entry.at) for number, entry in islice(self.data.log.items(), limit + 1)), before)
        for number in old:
            del self.data.log[number]
        return len(old)

    @override
    async def add(self, tallies: Tallies, forget_before: int) -> None:
        kept = {place: count for place, count in self.data.tallies.items() if place[0] >= forget_before}
        for place, count in tallies.items():
            known = kept.get(place, 0)
            kept[place] = count + (known if isinstance(known, int) else 0)
        self.data.tallies = kept

    @override
    async def tallies(self, minutes: range, names: Collection[str] = ()) -> Tallies:
        found: Tallies = {}
        for (minute, name), count in self.data.tallies.items():
            if minute in minutes and (not names or name in names):
                found |= tally_of(minute, name, count)
        return found


def _matches(entry: _Logged, query: LogQuery) -> bool:
    is_time = isinstance(entry.at, int | float)
    return (
        all(tag in entry.tags for tag in query.tags)
        and not (is_time and query.since is not None and entry.at < query.since)
        and not (is_time and query.until is not None and entry.at > query.until)
    )
