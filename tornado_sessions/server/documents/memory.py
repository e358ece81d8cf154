"""``memory://``: documents in a dict, for tests and development. They are lost when the process ends."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple

from typing_extensions import override

from tornado_sessions.server.documents.base import MAX_PAGE, Count, Document, DocumentStore, Links, NameTaken, Total

__all__ = ["MemoryData", "MemoryDocuments"]


#: How many counts are checked for their end at each call.
_SWEEP = 8


class _Stored(NamedTuple):
    revision: Any
    body: Any
    tags: Sequence[str]
    names: Sequence[str]


class MemoryData(dict[tuple[str, str], _Stored]):
    """Documents by kind and key, and counts. Several stores can share it, like several processes sharing a server."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: dict[str, Total] = {}


class MemoryDocuments(DocumentStore):
    """Documents in memory.

    Args:
        data: the documents, shared with other stores; ``None`` for a store of its own.
    """

    def __init__(self, data: MemoryData | None = None) -> None:
        self.data = MemoryData() if data is None else data

    @classmethod
    def from_url(cls, _url: str, _beside: object) -> MemoryDocuments:
        """Return an empty store."""
        return cls()

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""

    @override
    async def get(self, kind: str, key: str) -> Document | None:
        stored = self.data.get((kind, key))
        return Document.checked(key, stored.revision, stored.body) if stored is not None else None

    @override
    async def links(self, kind: str, key: str) -> Links:
        stored = self.data.get((kind, key))
        return Links(stored.tags, stored.names) if stored is not None else Links((), ())

    @override
    async def put(self, kind: str, document: Document, *, tags: Sequence[str] = (), names: Sequence[str] = ()) -> bool:
        place = (kind, document.key)
        stored = self.data.get(place)
        if (stored.revision if stored is not None else 0) != document.revision - 1:
            return False
        # Reading and writing without an await in between is one atomic step on the event loop.
        others = (other for at, other in self.data.items() if at[0] == kind and at != place) if names else ()
        taken = next((name for other in others for name in names if name in other.names), None)
        if taken is not None:
            raise NameTaken(taken)
        self.data[place] = _Stored(document.revision, document.body, tags, names)
        return True

    @override
    async def delete(self, kind: str, key: str, revision: int | None = None) -> bool:
        stored = self.data.get((kind, key))
        if stored is None or (revision is not None and stored.revision != revision):
            return False
        del self.data[kind, key]
        return True

    @override
    async def page(
        self, kind: str, *, tag: str = "", after: str = "", limit: int = MAX_PAGE, backwards: bool = False
    ) -> list[Document]:
        keys = sorted(
            (
                key
                for (its_kind, key), stored in self.data.items()
                if its_kind == kind and (not tag or tag in stored.tags)
                if not after or (key < after if backwards else key > after)
            ),
            reverse=backwards,
        )
        return [Document.checked(key, *self.data[kind, key][:2]) for key in keys[:limit]]

    @override
    async def count(self, counts: Sequence[Count], now: float) -> list[Total]:
        self._sweep(now)
        return [self._count(count, now) for count in counts]

    def _count(self, count: Count, now: float) -> Total:
        total = self.data.counts.get(count.key)
        if total is None or total.ends_at <= now:
            total = Total(0, now + count.seconds)
        total = total._replace(amount=max(0, total.amount + count.amount))
        if count.amount:
            self.data.counts[count.key] = total
        return total

    def _sweep(self, now: float) -> None:
        """Remove some counts whose time has passed. Those that stay move to the end, so that all have their turn."""
        counts = self.data.counts
        for key in list(islice(counts, _SWEEP)):
            total = counts.pop(key)
            if total.ends_at > now:
                counts[key] = total
