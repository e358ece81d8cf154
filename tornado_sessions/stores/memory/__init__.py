"""``memory://``: sessions in a dict of this process, for tests and development.

It must not be used where they have to outlive the process. Lists are kept sorted by ``bisect``, so a write moves O(n)
pointers; that is fast enough for what it is for.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import AsyncGenerator, Iterable, Sequence
from itertools import islice
from urllib.parse import urlsplit

from typing_extensions import override

from tornado_sessions.change import apply, is_live
from tornado_sessions.errors import ConfigError
from tornado_sessions.query import Count, Page, Query, Sort, State
from tornado_sessions.record import (
    Change,
    Conflict,
    Create,
    Ending,
    Event,
    EventKind,
    Loaded,
    Outcome,
    Record,
    SessionSummary,
    Swapped,
    Tombstone,
    bury,
    expired,
)
from tornado_sessions.stores.base import FAR_AHEAD, FAR_AT_ONCE, Store
from tornado_sessions.stores.cursor import Place, decode_cursor, encode_cursor, page_of, place_of
from tornado_sessions.stores.matching import matcher, narrow, straight

__all__ = ["MemoryData", "MemoryStore"]

#: Entries that one page, or the count of a filter, looks at where no list fits.
STEP = 20_000


class MemoryData:
    """What stores of the same data share; one event loop, so nothing needs a lock.

    Attributes:
        records: every stored session, the ended ones included that ``expire`` has not yet removed.
        tombstones: what is kept of ended sessions.
        lists: the living in their orders, and of each user, address and visitor.
        by_expiry: a heap of when the living end.
        aside: lists of the sessions that ``end_all`` ended and ``expire`` has not yet removed.
        cells: values of ``swap``, with the time they are kept until.
    """

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}
        self.tombstones: dict[str, Tombstone] = {}
        self.not_before = 0.0
        self.ended_all: Ending | None = None
        self.by_expiry: list[tuple[float, str]] = []
        self.lists: dict[tuple[str, str], list[Place]] = {}
        self.aside: list[list[Place]] = []
        self.cells: dict[str, tuple[bytes, float]] = {}
        self.listeners: set[asyncio.Queue[Event | None]] = set()

    def set_aside(self) -> None:
        """Start new lists with the sessions created since ``not_before``; the others wait in ``aside``."""
        created = self.lists.get(_BY_CREATION, [])
        self.lists, self.by_expiry = {}, []
        living = created[: bisect_right(created, _last_at(-self.not_before))]
        self.aside.append(created)
        for place in living:
            self._list(self.records[place.handle])

    def newest(self, latest: float) -> float | None:
        """The latest time of any living session, leaving out those after ``latest``; ``None`` when there is none."""
        lists = [self.lists.get(name, []) for name in (_BY_CREATION, ("all", Sort.LAST_SEEN.value))]
        starts = [bisect_left(places, _first_at(-latest)) for places in lists]
        found = [places[start:] for places, start in zip(lists, starts, strict=True)]
        return max((-places[0].at for places in found if places), default=None)

    def created_after(self, latest: float, limit: int) -> list[str]:
        """The handles of the sessions created last, after ``latest``."""
        return [place.handle for place in self.lists.get(_BY_CREATION, [])[:limit] if -place.at > latest]

    def put(self, record: Record) -> None:
        """Store a record and move its index entries."""
        old = self.records.get(record.handle)
        if old is not None:
            self._unlist(old)
        self.records[record.handle] = record
        self._list(record, is_in_heap=old is not None and old.expires_at == record.expires_at)

    def _list(self, record: Record, *, is_in_heap: bool = False) -> None:
        for name, place in _places_of(record):
            insort(self.lists.setdefault(name, []), place)
        if not is_in_heap:
            heapq.heappush(self.by_expiry, (record.expires_at, record.handle))

    def remove(self, handle: str) -> Record | None:
        """Take a record away, with its index entries."""
        record = self.records.pop(handle, None)
        if record is not None:
            self._unlist(record)
        return record

    def _unlist(self, record: Record) -> None:
        for name, place in _places_of(record):
            entries = self.lists.get(name, [])
            index = bisect_left(entries, place)
            # A session that was set aside is in no list.
            if index < len(entries) and entries[index] == place:
                del entries[index]
                if not entries:
                    del self.lists[name]

    def tell(self, event: Event) -> None:
        """Tell every listener."""
        for queue in self.listeners:
            queue.put_nowait(event)

    def end(self, handle: str, ending: Ending) -> bool:
        """Destroy one live session; false when there is none."""
        record = self.records.get(handle)
        if record is None or not is_live(record, ending.at, self.not_before):
            return False
        self.remove(handle)
        self.tombstones[handle] = bury(record, ending)
        kind = EventKind.DESTROYED
        self.tell(Event(kind=kind, handle=handle, at=ending.at, user=record.user, cause=ending.cause, by=ending.by))
        return True


_BY_CREATION = ("created", "")


def _last_at(at: float) -> Place:
    """The place behind all others of this time."""
    return Place(last=False, name="", at=at, handle="\U0010ffff")


def _first_at(at: float) -> Place:
    """The place before all others of this time."""
    return Place(last=False, name="", at=at, handle="")


def _places_of(record: Record) -> list[tuple[tuple[str, str], Place]]:
    """The lists that a session is in, and where."""
    places = [(("all", sort.value), place_of(record, sort)) for sort in Sort]
    newest = places[0][1]
    owner = ("user", record.user) if record.user is not None else ("visitors", "")
    created = Place(last=False, name="", at=-record.created_at, handle=record.handle)
    return [*places, (_BY_CREATION, created), (("ip", record.ip), newest), (owner, newest)]


class MemoryStore(Store):
    """Sessions in memory.

    Args:
        data: of another ``MemoryStore``, to share its sessions.
    """

    backend = "memory"

    def __init__(self, data: MemoryData | None = None) -> None:
        self.data = data or MemoryData()
        self._queues: set[asyncio.Queue[Event | None]] = set()
        self._closed = False

    @classmethod
    def from_url(cls, url: str) -> MemoryStore:
        """An empty store. Raises ``ConfigError`` when the URL says more than ``memory://``."""
        parts = urlsplit(url)
        if parts.netloc or parts.path.strip("/") or parts.query:
            raise ConfigError("memory:// takes no host, path or query")
        return cls()

    async def open(self) -> None:
        """Be ready to tell events; there is nothing else to do."""
        self._closed = False

    async def close(self) -> None:
        """End the iterators of ``events``."""
        self._closed = True
        for queue in self._queues:
            queue.put_nowait(None)

    async def ping(self) -> None:
        """Nothing to ask."""

    @override
    async def load(self, handles: Sequence[str], now: float) -> Loaded:
        return Loaded([self._load(handle, now) for handle in handles], self.data.not_before)

    def _load(self, handle: str, now: float) -> Record | Tombstone | None:
        record = self.data.records.get(handle)
        if record is None:
            return self.data.tombstones.get(handle)
        return record if record.expires_at > now else expired(record, now, keep_until=now)

    @override
    async def save(self, changes: Sequence[Create | Change]) -> list[Outcome | Conflict | Exception]:
        return [self._create(item) if isinstance(item, Create) else self._change(item) for item in changes]

    def _create(self, create: Create) -> Outcome:
        record, data = create.record, self.data
        if record.handle in data.records or record.handle in data.tombstones or record.created_at < data.not_before:
            return Outcome.GONE
        data.put(record)
        return Outcome.SAVED

    def _change(self, change: Change) -> Outcome | Conflict:
        record = self.data.records.get(change.handle)
        if record is None or not is_live(record, change.now, self.data.not_before):
            return Outcome.GONE
        applied = apply(change, record)
        if isinstance(applied, Conflict):
            return applied
        if change.is_of_values_only:
            self.data.records[change.handle] = applied
        else:
            self.data.put(applied)
        return Outcome.SAVED

    @override
    async def destroy(self, handles: Sequence[str], ending: Ending) -> list[str]:
        return [handle for handle in dict.fromkeys(handles) if self.data.end(handle, ending)]

    @override
    async def destroy_user(self, user: str, ending: Ending, except_handle: str | None = None) -> list[str]:
        handles = [place.handle for place in self.data.lists.get(("user", user), ())]
        return await self.destroy([handle for handle in handles if handle != except_handle], ending)

    @override
    async def take(self, handle: str, ending: Ending) -> Record | None:
        record = self.data.records.get(handle)
        if record is None or not is_live(record, ending.at, self.data.not_before):
            return None
        self.data.remove(handle)
        self.data.tombstones[handle] = bury(record, ending)
        return record

    @override
    async def end_all(self, not_before: float | None, ending: Ending) -> float:
        data = self.data
        if not_before is None:
            latest = self._end_far_ahead(ending)
            newest = data.newest(latest)
            # Far in the future a microsecond is below the precision of a float.
            after = max(newest + 1e-6, math.nextafter(newest, math.inf)) if newest is not None else ending.at
            not_before = max(ending.at, after, data.not_before)
        elif not_before <= data.not_before:
            return data.not_before
        data.not_before, data.ended_all = not_before, ending
        data.set_aside()
        kind = EventKind.ENDED_ALL
        data.tell(Event(kind=kind, handle="", at=not_before, cause=ending.cause, by=ending.by))
        return not_before

    def _end_far_ahead(self, ending: Ending) -> float:
        """End sessions created at a time that is not believed. Returns the latest time that is."""
        latest = ending.at + FAR_AHEAD
        far = self.data.created_after(latest, FAR_AT_ONCE)
        for handle in far:
            self.data.end(handle, ending)
        return latest if len(far) < FAR_AT_ONCE else math.inf

    @override
    async def swap(self, name: str, expected: bytes | None, value: bytes | None, keep_until: float) -> Swapped:
        current, _ = self.data.cells.get(name, (None, 0.0))
        if current != expected:
            return Swapped(False, current)
        if value is None:
            self.data.cells.pop(name, None)
        else:
            self.data.cells[name] = value, keep_until
        return Swapped(True, value)

    @override
    async def find(self, query: Query) -> Page:
        few = self._few(query)
        if few is not None:
            return page_of(filter(matcher(query), few), query)
        sort = query.sort
        after = decode_cursor(query.cursor, sort) if query.cursor is not None else None
        places = self._places(query)
        start = bisect_right(places, after) if after is not None else 0
        passes = matcher(query)
        found: list[SessionSummary] = []
        for place in islice(places, start, start + STEP):
            item = self._shown(place.handle, query)
            if item is not None and passes(item):
                if len(found) == query.limit:
                    return Page(found, encode_cursor(place_of(found[-1], sort), sort))
                found.append(item)
        is_last = start + STEP >= len(places)
        return Page(found, None if is_last else encode_cursor(places[start + STEP - 1], sort))

    @override
    async def count(self, query: Query) -> Count:
        """Exact without filters, else up to a bound."""
        if query.state is State.LIVE and not query.given:
            places = self.data.lists.get(("all", Sort.EXPIRES.value), [])
            return Count(len(places) - bisect_right(places, _last_at(query.now)), exact=True)
        few, passes = self._few(query), matcher(query)
        if few is not None:
            return Count(sum(map(passes, few)), exact=True)
        places = self._places(query)
        shown = (self._shown(place.handle, query) for place in islice(places, STEP))
        return Count(sum(item is not None and passes(item) for item in shown), exact=len(places) <= STEP)

    def _few(self, query: Query) -> list[SessionSummary] | None:
        """All that can match, where a list of one user, address or name knows them; else ``None``."""
        if query.handle is not None:
            item = self._shown(query.handle, query)
            return [item] if item is not None else []
        ranges = narrow(query)
        if (
            query.state is State.ENDED
            or straight(query) != "all"
            or not ranges
            or any(part.is_prefix for part in ranges)
        ):
            return None
        places: Iterable[Place] = (
            place for part in ranges for place in self.data.lists.get((part.name, part.value), [])[:STEP]
        )
        return [item for place in places if (item := self._shown(place.handle, query)) is not None]

    def _places(self, query: Query) -> list[Place]:
        if query.state is State.ENDED:
            return sorted(place_of(item, query.sort) for item in self.data.tombstones.values())
        which = straight(query)
        if which == "all":
            return self.data.lists.get(("all", query.sort.value), [])
        places = self.data.lists.get((which, getattr(query, which, None) or ""), [])
        # In an order of users visitors come last, and a user's sessions have a name before them.
        return places if query.sort is Sort.LAST_SEEN else [self._place(place, query.sort) for place in places]

    def _place(self, place: Place, sort: Sort) -> Place:
        return place_of(self.data.records[place.handle], sort)

    def _shown(self, handle: str, query: Query) -> SessionSummary | None:
        if query.state is State.ENDED:
            item = self.data.tombstones.get(handle)
            return item if item is not None and item.ending.keep_until > query.now else None
        record = self.data.records.get(handle)
        return record if record is not None and is_live(record, query.now, self.data.not_before) else None

    @override
    async def expire(self, now: float, ending_kept_for: float, limit: int = 500) -> int:
        data, removed = self.data, 0
        for handle in [handle for handle, item in data.tombstones.items() if item.ending.keep_until <= now]:
            del data.tombstones[handle]
        for name in [name for name, (_, keep_until) in data.cells.items() if keep_until <= now]:
            del data.cells[name]
        while removed < limit and data.by_expiry and data.by_expiry[0][0] <= now:
            _, handle = heapq.heappop(data.by_expiry)
            record = data.records.get(handle)
            # An entry of before the last touch says nothing any more; a newer one stands in the heap.
            if record is not None and record.expires_at <= now:
                self._expire(record, now, now + ending_kept_for)
                removed += 1
        if data.ended_all is not None:
            removed += self._sweep(data.ended_all, now, now + ending_kept_for, limit - removed)
        return removed

    def _expire(self, record: Record, now: float, keep_until: float) -> None:
        self.data.remove(record.handle)
        tombstone = self.data.tombstones[record.handle] = expired(record, now, keep_until)
        cause, at = tombstone.ending.cause, tombstone.ending.at
        kind = EventKind.EXPIRED
        self.data.tell(Event(kind=kind, handle=record.handle, at=at, user=record.user, cause=cause))

    def _sweep(self, ending: Ending, now: float, keep_until: float, limit: int) -> int:
        """Remove sessions that ``end_all`` ended; its event already announced their end."""
        data, swept = self.data, 0
        while swept < limit and data.aside:
            places = data.aside[-1]
            if not places:
                data.aside.pop()
                continue
            record = data.records.get(places.pop().handle)
            # The list also names sessions that live on and sessions already removed.
            if record is None or record.created_at >= data.not_before:
                continue
            if record.expires_at <= now:
                self._expire(record, now, keep_until)
            else:
                data.remove(record.handle)
                data.tombstones[record.handle] = bury(record, ending)
            swept += 1
        return swept

    @override
    async def events(self) -> AsyncGenerator[Event, None]:
        if self._closed:
            return
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self.data.listeners.add(queue)
        self._queues.add(queue)
        try:
            while (event := await queue.get()) is not None:
                yield event
        finally:
            self.data.listeners.discard(queue)
            self._queues.discard(queue)
