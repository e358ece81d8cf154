"""``Log``: an append-only log of documents, numbered without a gap, and forgotten from its old end.

It must not know what an entry says; its owner tells the time of one.

An entry is a document whose key is its number, and revision 1 of it can be stored only once: of two processes that write the next
number at once, one succeeds, and the other reads the end of the log again. The newest entry is never forgotten, so that numbers go
on from it. The one change that is possible is a completion, which is stored as revision 2, and so only once as well.

Times grow with the numbers, apart from differences between the clocks of processes. So a time is found by bisection, and whatever
lies within ``_CLOCKS`` of it is compared one by one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.server.documents.base import MAX_PAGE, Document, DocumentStore

__all__ = ["Log", "LogQuery"]

#: Seconds by which the clocks of processes may differ.
_CLOCKS = 3600.0
_ATTEMPTS = 1000
#: Behind all numbers, in the order of keys.
_END = ":"

#: Makes the body and the tags of an entry, given its number and the entry before it.
Make = Callable[[int, Document | None], tuple[bytes, Sequence[str]]]


class LogQuery(NamedTuple):
    """Which entries, the newest first.

    Attributes:
        before: only entries with a smaller number.
        tag: only entries with this tag; ``""``: all.
        since, until: UTC seconds, both included.
        limit: at most this many.
    """

    before: int | None = None
    tag: str = ""
    since: float | None = None
    until: float | None = None
    limit: int = 50


class Log:
    """A log. Each coroutine may raise ``StoreUnavailable``.

    Args:
        documents: where it is kept.
        kind: of its documents.
        time_of: returns when an entry was written, in UTC seconds; ``None`` where it cannot be read.
    """

    def __init__(self, documents: DocumentStore, kind: str, time_of: Callable[[Document], float | None]) -> None:
        self._documents = documents
        self._kind = kind
        self._time_of = time_of
        self._one_at_a_time = asyncio.Lock()
        self._last: list[Document] | None = None

    async def append(self, make: Make) -> Document:
        """Write the next entry, and return it. After ``StoreUnavailable`` it may have been written or not."""
        async with self._one_at_a_time:
            for _ in range(_ATTEMPTS):
                # The entry that this process wrote last is remembered, which saves a read. It is forgotten until the next one is
                # acknowledged: after a lost answer, nobody knows which entry is the last.
                last = self._last if self._last is not None else await self._newest()
                self._last = None
                number = int(last[0].key) + 1 if last else 1
                body, tags = make(number, last[0] if last else None)
                entry = Document(_key(number), 1, body)
                if await self._documents.put(self._kind, entry, tags=tags):
                    self._last = [entry]
                    return entry
        raise StoreUnavailable("log", "too many processes write at the same time")

    async def complete(self, number: int, body: bytes, tags: Sequence[str]) -> bool:
        """Replace an entry by its completed form, once. Returns whether this was the first time."""
        return await self._documents.put(self._kind, Document(_key(number), 2, body), tags=tags)

    async def entries(self, query: LogQuery) -> list[Document]:
        """Return the entries that match, the newest first; a damaged one whenever it may match."""
        start = _END if query.before is None else _key(query.before)
        if query.until is not None:
            start = min(start, await self._behind(query.until))
        found: list[Document] = []
        is_timed = query.since is not None or query.until is not None
        step = MAX_PAGE if query.until is not None else min(MAX_PAGE, query.limit)
        while len(found) < query.limit:
            page = await self._documents.page(self._kind, tag=query.tag, after=start, limit=step, backwards=True)
            for entry in filter(_is_numbered, page):
                at = self._time_of(entry) if is_timed else None
                if at is not None and query.since is not None and at < query.since - _CLOCKS:
                    return found[: query.limit]
                if at is None or (query.since or at) <= at <= (query.until or at):
                    found.append(entry)
            if len(page) < step:
                break
            start = page[-1].key
        return found[: query.limit]

    async def forget(self, before: float) -> int:
        """Remove the oldest entries, some hundred at a time, if they were written before a time (UTC seconds).

        Returns how many were removed; the newest entry always stays.
        """
        oldest = filter(_is_numbered, await self._documents.page(self._kind))
        old = outdated(((entry.key, self._time_of(entry)) for entry in oldest), before)
        await asyncio.gather(*(self._documents.delete(self._kind, key) for key in old))
        return len(old)

    async def _newest(self) -> list[Document]:
        newest = await self._documents.page(self._kind, after=_END, limit=1, backwards=True)
        return list(filter(_is_numbered, newest))

    async def _behind(self, until: float) -> str:
        """A key behind every entry of up to a time, and not far behind."""
        newest = await self._newest()
        low, high = 0, int(newest[0].key) + 1 if newest else 1
        while high - low > 1:
            middle = (low + high) // 2
            entry = await self._documents.get(self._kind, _key(middle))
            at = self._time_of(entry) if entry is not None else None
            # One that was forgotten or is damaged counts as early: then the walk begins a little later than it could.
            if at is not None and at > until + _CLOCKS:
                high = middle
            else:
                low = middle
        return _key(high)


def _key(number: int) -> str:
    """A number as text, with the same order."""
    return f"{number:016}"


def _is_numbered(entry: Document) -> bool:
    return entry.key.isdecimal()


def outdated(entries: Iterable[tuple[str, float | None]], before: float) -> list[str]:
    """Return the keys of the oldest entries that are from before a time, never the last of those given.

    An entry whose time cannot be read is as old as the one that follows it, so that damage does not stop the forgetting.

    Args:
        entries: key and time, the oldest first.
        before: UTC seconds.
    """
    old: list[str] = []
    unknown: list[str] = []
    key = ""
    for key, at in entries:
        if not at:
            unknown.append(key)
        elif at < before:
            old += [*unknown, key]
            unknown = []
        else:
            break
    return [one for one in old if one != key]
