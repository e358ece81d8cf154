"""The data of memory stores: records, tombstones and sorted indexes.

Indexes are sorted lists, so a write moves O(n) pointers, which is fast enough for tests and development. It must not know queries
or changes.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right, insort

from tornado_sessions.change import is_live
from tornado_sessions.query import Sort
from tornado_sessions.record import Ending, Event, EventKind, Record, Tombstone, bury, expired
from tornado_sessions.stores.cursor import SortKey, sort_key

__all__ = ["MemoryData"]

#: The kind of an index, and its order, user or address.
IndexName = tuple[str, str]

_BY_CREATION, _BY_EXPIRY = ("created", ""), ("all", Sort.EXPIRES.value)


class MemoryData:
    """The data that several memory stores can share. Only one event loop uses it, so it needs no lock.

    Attributes:
        records: every stored session, including ended ones until ``expire`` removes them.
        tombstones: summaries of ended sessions, by handle.
        not_before: sessions created earlier have ended.
        ended_all: the ending of the last ``end_all``.
        lists: sorted keys of live sessions, by index.
        aside: for each ``end_all``, keys by creation time of the sessions that were live before it.
        cells: values of ``swap``, with the time until which they are kept.
        listeners: a queue for each reader of ``events``.
    """

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}
        self.tombstones: dict[str, Tombstone] = {}
        self.not_before = 0.0
        self.ended_all: Ending | None = None
        self.lists: dict[IndexName, list[SortKey]] = {}
        self.aside: list[list[SortKey]] = []
        self.cells: dict[str, tuple[bytes, float]] = {}
        self.listeners: set[asyncio.Queue[Event | None]] = set()

    def put(self, record: Record) -> None:
        """Store a record and move its index entries."""
        old = self.records.get(record.handle)
        if old is not None:
            self._unlist(old)
        self.records[record.handle] = record
        self._list(record)

    def remove(self, handle: str) -> Record | None:
        """Remove a record and its index entries."""
        record = self.records.pop(handle, None)
        if record is not None:
            self._unlist(record)
        return record

    def _list(self, record: Record) -> None:
        for name, key in _entries_of(record):
            insort(self.lists.setdefault(name, []), key)

    def _unlist(self, record: Record) -> None:
        for name, key in _entries_of(record):
            keys = self.lists.get(name, [])
            place = bisect_left(keys, key)
            # A session that was set aside is in no list, so there may be nothing to remove.
            if place < len(keys) and keys[place] == key:
                del keys[place]
                if not keys:
                    del self.lists[name]

    def publish(self, event: Event) -> None:
        """Send an event to every listener."""
        for queue in self.listeners:
            queue.put_nowait(event)

    def end(self, handle: str, ending: Ending, *, quietly: bool = False) -> Record | None:
        """End one live session, with an event unless ``quietly``. Return its last state; ``None`` if it is not live."""
        record = self.records.get(handle)
        if record is None or not is_live(record, ending.at, self.not_before):
            return None
        self.remove(handle)
        self.tombstones[handle] = bury(record, ending)
        if not quietly:
            at, cause, by = ending.at, ending.cause, ending.by
            self.publish(Event(kind=EventKind.DESTROYED, handle=handle, at=at, user=record.user, cause=cause, by=by))
        return record

    def set_aside(self) -> None:
        """Start new indexes with the sessions created since ``not_before``, so that lists do not read the ended ones."""
        created = self.lists.get(_BY_CREATION, [])
        self.lists = {}
        self.aside.append(created)
        # Keys have negative creation times, so the newest come first.
        for key in created[: bisect_right(created, _last_at(-self.not_before))]:
            self._list(self.records[key.handle])

    def handles_of(self, user: str) -> list[str]:
        """Return the handles of a user's live sessions."""
        return [key.handle for key in self.lists.get(("user", user), ())]

    def newest(self, latest: float) -> float | None:
        """Return the latest creation or use of a live session that is not after ``latest``."""
        found = []
        for name in (_BY_CREATION, ("all", Sort.LAST_SEEN.value)):
            keys = self.lists.get(name, [])
            found += [-key.at for key in keys[bisect_left(keys, SortKey(0, "", -latest, "")) :][:1]]
        return max(found, default=None)

    def created_after(self, latest: float, limit: int) -> list[str]:
        """Return the handles of at most ``limit`` sessions created after ``latest``, newest first."""
        return [key.handle for key in self.lists.get(_BY_CREATION, [])[:limit] if -key.at > latest]

    def count_live(self, now: float) -> int:
        """Return the number of sessions that have not expired."""
        keys = self.lists.get(_BY_EXPIRY, [])
        return len(keys) - bisect_right(keys, _last_at(now))

    def expire(self, now: float, keep_until: float, limit: int) -> int:
        """Replace at most ``limit`` sessions that expired or that ``end_all`` ended by tombstones. Return their number."""
        removed = 0
        for key in self.lists.get(_BY_EXPIRY, [])[:limit]:
            if key.at <= now and key.handle in self.records:
                self._expire(self.records[key.handle], now, keep_until)
                removed += 1
        while removed < limit and self.aside:
            if not self.aside[-1]:
                self.aside.pop()
            else:
                removed += self._sweep(self.aside[-1].pop().handle, now, keep_until)
        return removed

    def _expire(self, record: Record, now: float, keep_until: float) -> None:
        self.remove(record.handle)
        ended = self.tombstones[record.handle] = expired(record, now, keep_until)
        at, cause = ended.ending.at, ended.ending.cause
        self.publish(Event(kind=EventKind.EXPIRED, handle=record.handle, at=at, user=record.user, cause=cause))

    def _sweep(self, handle: str, now: float, keep_until: float) -> bool:
        """Replace a session that ``end_all`` ended by its tombstone. The event of ``end_all`` has already reported its end."""
        record = self.records.get(handle)
        # The list also contains sessions that are still live and sessions already removed.
        if record is None or record.created_at >= self.not_before or self.ended_all is None:
            return False
        if record.expires_at <= now:
            self._expire(record, now, keep_until)
        else:
            self.remove(handle)
            self.tombstones[handle] = bury(record, self.ended_all)
        return True


def _last_at(at: float) -> SortKey:
    """Return a key that sorts after all others of this time."""
    return SortKey(0, "", at, "\U0010ffff")


def _entries_of(record: Record) -> list[tuple[IndexName, SortKey]]:
    """Return the indexes that contain a session, and its key in each."""
    sorts = (Sort.LAST_SEEN, Sort.EXPIRES) if record.user is None else Sort
    entries: list[tuple[IndexName, SortKey]] = [(("all", sort.value), sort_key(record, sort)) for sort in sorts]
    newest = sort_key(record, Sort.LAST_SEEN)
    owner = ("user", record.user) if record.user is not None else ("visitors", "")
    created = SortKey(0, "", -record.created_at, record.handle)
    return [*entries, (_BY_CREATION, created), (("ip", record.ip), newest), (owner, newest)]
