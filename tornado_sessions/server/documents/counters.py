"""``Counters``: count events per slot of time, such as a minute, summed over all processes.

It must not know what is counted or how long a slot is. The counts of several slots are one document. A process replaces it by
revision; if another process was faster, it reads and adds again, so no count is lost.
"""

from __future__ import annotations

from collections import Counter

import msgspec

from tornado_sessions.damage import Unreadable, fields_of
from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.server.documents.base import Document, DocumentStore

__all__ = ["Counters", "Tallies"]

_ATTEMPTS = 100

#: The number of events by slot (UTC seconds // length of a slot) and name.
Tallies = Counter[tuple[int, str]]


class Counters:
    """Counts by slot and name, kept in memory until ``flush``.

    Args:
        documents: the store to flush to.
        kind: the kind of its documents.
        slots: the number of slots in one document.
    """

    def __init__(self, documents: DocumentStore, kind: str = "tally", slots: int = 60) -> None:
        self._documents = documents
        self._kind = kind
        self._slots = slots
        self._pending: Tallies = Counter()

    def add(self, slot: int, name: str, times: int = 1) -> None:
        """Add to a count, in memory."""
        self._pending[slot, name] += times

    async def flush(self, forget_before: int) -> None:
        """Add the counts in memory to the store; on failure they stay in memory for the next call.

        Args:
            forget_before: a slot; documents that ended before it are removed.

        Raises:
            StoreUnavailable: the store does not answer, or too many processes add at the same time.
        """
        for number in {slot // self._slots for slot, _ in self._pending}:
            counts = Counter({place: n for place, n in self._pending.items() if place[0] // self._slots == number})
            # Take these counts out before the first await: ``add`` may run in the meantime, and must not be lost.
            self._pending = Counter({place: n for place, n in self._pending.items() if place not in counts})
            try:
                is_new = await self._add(number, counts)
            except BaseException:
                self._pending.update(counts)
                raise
            if is_new:
                await self._forget(forget_before)

    async def _add(self, number: int, counts: Tallies) -> bool:
        """Add the counts of one document; return whether it is new."""
        key = _key(number)
        for _ in range(_ATTEMPTS):
            found = await self._documents.get(self._kind, key)
            # A damaged document can never be replaced by revision: drop it, or counting would stop until the next one.
            if found is not None and found.damage:
                await self._documents.delete(self._kind, key)
                continue
            total = {f"{slot} {name}": count for (slot, name), count in (_counts(found) + counts).items()}
            revision = found.revision + 1 if found is not None else 1
            if await self._documents.put(self._kind, Document(key, revision, msgspec.json.encode(total))):
                return found is None
        raise StoreUnavailable("counters", "too many processes add at the same time")

    async def _forget(self, before: int) -> None:
        for document in await self._documents.page(self._kind):
            if document.key >= _key(before // self._slots):
                break
            await self._documents.delete(self._kind, document.key)

    async def tallies(self, slots: range) -> Tallies:
        """Return the counts of these slots, including those in the memory of this process; may raise ``StoreUnavailable``.

        Damaged counts are skipped: a chart with a gap is better than an error page.
        """
        first, last = slots.start // self._slots, (slots.stop - 1) // self._slots
        stored = await self._documents.page(self._kind, after=_key(first - 1), limit=last - first + 1)
        found = Counter(self._pending)
        for document in stored:
            found.update(_counts(document))
        return Counter({place: count for place, count in found.items() if place[0] in slots})


def _key(number: int) -> str:
    return f"{number:010}"


def _counts(document: Document | None) -> Tallies:
    """Return the readable counts of one document."""
    found: Tallies = Counter()
    try:
        fields = fields_of(document.body) if document is not None else {}
    except Unreadable:
        return found
    for field, count in fields.items():
        slot, _, name = field.partition(" ")
        if slot.isdigit() and isinstance(count, int):
            found[int(slot), name] = count
    return found
