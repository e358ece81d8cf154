"""``Log``: an append-only log of documents, numbered without gaps; the oldest entries are removed.

It must not know the content of an entry; its owner passes a function that returns the time of one.

An entry is a document with its number as the key. Revision 1 of a key can be stored only once: if two processes append
the same number, one succeeds, and the other reads the end of the log again. The newest entry is never removed, so that
numbering continues from it. An entry is never changed.

Times increase with the numbers, except for differences between the clocks of processes. A time is therefore found by
bisection, and entries within ``_CLOCKS`` of it are compared one by one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.server.documents.base import MAX_PAGE, Document, DocumentStore

__all__ = ["Log", "LogQuery"]

#: The maximum difference between the clocks of processes, in seconds.
_CLOCKS = 3600.0
_ATTEMPTS = 1000
#: A key that sorts after all numbers.
_END = ":"

#: Returns the body and the tags of an entry, given its number and the previous entry.
Make = Callable[[int, Document | None], tuple[bytes, Sequence[str]]]


class LogQuery(NamedTuple):
    """A selection of entries, newest first.

    Attributes:
        before: only entries with a smaller number.
        tag: only entries with this tag; ``""`` for all.
        since, until: only entries from this period, inclusive, in UTC seconds.
        limit: the maximum number of entries.
    """

    before: int | None = None
    tag: str = ""
    since: float | None = None
    until: float | None = None
    limit: int = 50


class Log:
    """A log. Each coroutine may raise ``StoreUnavailable``.

    Args:
        documents: the store of its entries.
        kind: the kind of its documents.
        time_of: returns when an entry was written, in UTC seconds; ``None`` if that is unreadable.
    """

    def __init__(self, documents: DocumentStore, kind: str, time_of: Callable[[Document], float | None]) -> None:
        self._documents = documents
        self._kind = kind
        self._time_of = time_of
        self._one_at_a_time = asyncio.Lock()
        self._last: Document | None = None

    async def append(self, make: Make, above: int = 0) -> Document:
        """Append an entry and return it. After ``StoreUnavailable`` it may have been written.

        Args:
            make: returns the body and the tags; called again with another number if another process was faster.
            above: a number that was used before. If the log ends earlier, because entries were removed from its end, the
                number of the new entry leaves a gap that shows it, and ``make`` gets no previous entry.
        """
        async with self._one_at_a_time:
            for _ in range(_ATTEMPTS):
                # Remembering the last entry saves a read. Forget it until the next write is acknowledged: if that answer is
                # lost, the last entry is unknown.
                last = self._last if self._last is not None else await self.newest()
                self._last = None
                if last is not None and int(last.key) < above:
                    last = None
                number = max(above, int(last.key) if last is not None else 0) + 1
                body, tags = make(number, last)
                entry = Document(_key(number), 1, body)
                if await self._documents.put(self._kind, entry, tags=tags):
                    self._last = entry
                    return entry
        raise StoreUnavailable("log", "too many processes write at the same time")

    async def get(self, number: int) -> Document | None:
        """Return one entry, or ``None`` if there is none with this number."""
        return await self._documents.get(self._kind, _key(number))

    async def newest(self) -> Document | None:
        """Return the newest entry, or ``None`` if the log is empty."""
        newest = await self._documents.page(self._kind, after=_END, limit=1, backwards=True)
        return next(filter(_is_numbered, newest), None)

    async def following(self, number: int, tag: str, limit: int = MAX_PAGE) -> list[Document]:
        """Return the entries with this tag after a number, oldest first, at most ``limit``."""
        found = await self._documents.page(self._kind, tag=tag, after=_key(number), limit=limit)
        return list(filter(_is_numbered, found))

    async def entries(self, query: LogQuery) -> list[Document]:
        """Return the matching entries, newest first, including damaged ones that may match."""
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
                # Only beyond the difference of clocks are all older entries certainly too early.
                if at is not None and query.since is not None and at < query.since - _CLOCKS:
                    return found[: query.limit]
                if at is None or (query.since or at) <= at <= (query.until or at):
                    found.append(entry)
            if len(page) < step:
                break
            start = page[-1].key
        return found[: query.limit]

    async def outdated(self, before: float) -> Document | None:
        """Return the newest of the oldest entries that were written before a time, in UTC seconds; ``None`` if none was.

        One call looks at ``MAX_PAGE`` entries, and never returns the newest entry of the log.
        """
        oldest = {entry.key: entry for entry in filter(_is_numbered, await self._documents.page(self._kind))}
        old = outdated(((entry.key, self._time_of(entry)) for entry in oldest.values()), before)
        return oldest[old[-1]] if old else None

    async def forget(self, through: Document) -> int:
        """Remove all entries up to this one; return the number removed."""
        return await self._documents.forget(self._kind, through.key)

    async def _behind(self, until: float) -> str:
        """Return a key after all entries up to a time, by bisection; few other entries are before it."""
        newest = await self.newest()
        low, high = 0, int(newest.key) + 1 if newest is not None else 1
        while high - low > 1:
            middle = (low + high) // 2
            entry = await self.get(middle)
            at = self._time_of(entry) if entry is not None else None
            # A removed or damaged entry counts as early: the scan then only starts later than necessary.
            if at is not None and at > until + _CLOCKS:
                high = middle
            else:
                low = middle
        return _key(high)


def _key(number: int) -> str:
    """Return a number as text that sorts like numbers."""
    return f"{number:016}"


def _is_numbered(entry: Document) -> bool:
    return entry.key.isdecimal()


def outdated(entries: Iterable[tuple[str, float | None]], before: float) -> list[str]:
    """Return the keys of the oldest entries, if they were written before a time; never the last of those given.

    An entry with an unreadable time counts as old as the next one, so that damage does not stop the removal.

    Args:
        entries: keys and times, oldest first.
        before: in UTC seconds.
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
