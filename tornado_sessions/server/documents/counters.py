"""``Counters``: count events per minute, summed over all processes.

It must not know what is counted. The counts of an hour are one document. A process replaces it by revision; if another
process was faster, it reads and adds again, so no count is lost.
"""

from __future__ import annotations

from collections import Counter

import msgspec

from tornado_sessions.damage import Unreadable, fields_of
from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.server.documents.base import Document, DocumentStore

__all__ = ["Counters", "Tallies"]

_HOUR = 60
_ATTEMPTS = 100

#: The number of events by minute (UTC seconds // 60) and name.
Tallies = Counter[tuple[int, str]]


class Counters:
    """Counts by minute and name, kept in memory until ``flush``.

    Args:
        documents: the store to flush to.
        kind: the kind of its documents.
    """

    def __init__(self, documents: DocumentStore, kind: str = "tally") -> None:
        self._documents = documents
        self._kind = kind
        self._pending: Tallies = Counter()

    def add(self, minute: int, name: str, times: int = 1) -> None:
        """Add to a count, in memory."""
        self._pending[minute, name] += times

    async def flush(self, forget_before: int) -> None:
        """Add the counts in memory to the store; on failure they stay in memory for the next call.

        Args:
            forget_before: a minute (UTC seconds // 60); counts of hours that ended before it are removed.

        Raises:
            StoreUnavailable: the store does not answer, or too many processes add at the same time.
        """
        for hour in {minute // _HOUR for minute, _ in self._pending}:
            counts: Tallies = Counter({place: n for place, n in self._pending.items() if place[0] // _HOUR == hour})
            # Take these counts out before the first await: ``add`` may run in the meantime, and must not be lost.
            self._pending = Counter({place: n for place, n in self._pending.items() if place not in counts})
            try:
                is_new = await self._add(hour, counts)
            except BaseException:
                self._pending.update(counts)
                raise
            if is_new:
                await self._forget(forget_before)

    async def _add(self, hour: int, counts: Tallies) -> bool:
        """Add the counts of one hour; return whether they are the first of that hour."""
        for _ in range(_ATTEMPTS):
            found = await self._documents.get(self._kind, _key(hour))
            # A damaged hour can never be replaced by revision: drop it, or counting would stop for the hour.
            if found is not None and found.damage:
                await self._documents.delete(self._kind, _key(hour))
                continue
            total = {f"{minute} {name}": count for (minute, name), count in (_counts(found) + counts).items()}
            revision = found.revision + 1 if found is not None else 1
            if await self._documents.put(self._kind, Document(_key(hour), revision, msgspec.json.encode(total))):
                return found is None
        raise StoreUnavailable("counters", "too many processes add at the same time")

    async def _forget(self, before: int) -> None:
        for document in await self._documents.page(self._kind):
            if document.key >= _key(before // _HOUR):
                break
            await self._documents.delete(self._kind, document.key)

    async def tallies(self, minutes: range) -> Tallies:
        """Return the counts of these minutes, including those in the memory of this process; may raise ``StoreUnavailable``.

        Damaged counts are skipped: a chart with a gap is better than an error page.
        """
        first, last = minutes.start // _HOUR, (minutes.stop - 1) // _HOUR
        stored = await self._documents.page(self._kind, after=_key(first - 1), limit=last - first + 1)
        found = sum(map(_counts, stored), Counter(self._pending))
        return Counter({place: count for place, count in found.items() if place[0] in minutes})


def _key(hour: int) -> str:
    return f"{hour:010}"


def _counts(document: Document | None) -> Tallies:
    """Return the readable counts of one hour."""
    found: Tallies = Counter()
    try:
        fields = fields_of(document.body) if document is not None else {}
    except Unreadable:
        return found
    for field, count in fields.items():
        minute, _, name = field.partition(" ")
        if minute.isdigit() and isinstance(count, int):
            found[int(minute), name] = count
    return found
