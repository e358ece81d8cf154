"""Read Redis' indexes for ``stores.paging``: lists and counts of sessions and tombstones.

It must not know how sessions are written. An entry without a session is skipped and removed. A damaged session is still
a row: its unreadable fields are filled in from the entry, so it keeps its position and passes the filter that found it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from tornado_sessions.drivers.redis.client import Client, Script
from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.query import Count, Page, Query, State
from tornado_sessions.record import Damaged, SessionSummary, Tombstone
from tornado_sessions.stores import paging
from tornado_sessions.stores.cursor import SortKey
from tornado_sessions.stores.indexes import Index, IndexScan, Range
from tornado_sessions.stores.letters import fold
from tornado_sessions.stores.redis import answers
from tornado_sessions.stores.redis.endings import load_tombstone
from tornado_sessions.stores.redis.keys import (
    ALL,
    ENDED,
    SIGNED_IN,
    USERS,
    VISITORS,
    Keys,
    Listing,
    escaped,
    of_ip,
    of_user,
)
from tornado_sessions.stores.redis.records import complete, load_facts
from tornado_sessions.stores.redis.scans import Entry, newest_named, read_listing, scan_by_expiry, scan_listing
from tornado_sessions.stores.requests import (
    MAX_CANDIDATES,
    MAX_CHUNK,
    Candidates,
    CountIndex,
    ProbeRanges,
    ReadRanges,
    Row,
    Rows,
)

__all__ = ["count", "find"]

#: The number of sessions, those used last, among which a part of a session ID is looked for.
_NAMED = 10_000
_COUNT = Script(__package__, "blocks.lua", "count.lua")
_FORGET = Script(__package__, "blocks.lua", "forget.lua")
_LISTINGS = {
    Index.LAST_SEEN: ALL,
    Index.SIGNED_IN: SIGNED_IN,
    Index.USERS: USERS,
    Index.VISITORS: VISITORS,
    Index.ENDED: ENDED,
    Index.ENDED_OF_IP: ENDED,
}


async def find(client: Client, keys: Keys, query: Query) -> Page:
    """Return one page of the sessions that match a query."""
    return await paging.run_async(paging.find(query), _Reader(client, keys, query))


async def count(client: Client, keys: Keys, query: Query) -> Count:
    """Return the number of sessions that match a query."""
    return await paging.run_async(paging.count(query), _Reader(client, keys, query))


class _Reader:
    """Reads indexes for one query."""

    def __init__(self, client: Client, keys: Keys, query: Query) -> None:
        self.client = client
        self.keys = keys
        self.query = query

    async def scan(self, request: IndexScan) -> Rows:
        if request.index is Index.UNPLACED:
            # Redis has no such rows: a session that is damaged later keeps its index entries.
            return Rows([], is_end=True)
        if request.index is Index.ENDED_OF_IP and request.part:
            # The first spelling has read the tombstones of all.
            return Rows([], is_end=True)
        if request.index is Index.EXPIRES:
            entries, is_end = await scan_by_expiry(self.client, self.keys, request, self.query.now)
            listing = None
        else:
            listing = _listing_of(request)
            entries, is_end = await scan_listing(self.client, self.keys, listing, request)
        # Entries and their sessions are read in two steps, so a session may have ended in between. Its row has no session, but
        # stays: its key says where the next scan continues.
        items = await self._load(listing, entries)
        found = [entry.key for entry in entries]
        if request.part:
            found = [key._replace(part=request.part) for key in found]
        return Rows(list(map(Row, found, items)), is_end)

    async def ranges(self, request: ReadRanges) -> Candidates:
        """Return all sessions in the ranges; ``None`` if they are too many. For prefixes of handles, see ``_named``."""
        listings = [_listing_of_range(part) for part in request.ranges if part.field != "handle"]
        # Lengths first: counting is cheap, while a list may have a million entries.
        lengths = await self._lengths_of(listings, MAX_CANDIDATES)
        if sum(lengths) > MAX_CANDIDATES:
            return None
        parts = [part for part in request.ranges if part.field == "handle"]
        found: dict[str, SessionSummary] = {item.handle: item for item in (await self._named(parts) if parts else [])}
        for listing in [listing for listing, length in zip(listings, lengths, strict=True) if length]:
            entries = await read_listing(self.client, self.keys, listing, MAX_CANDIDATES)
            # In chunks, so that the event loop serves others in between.
            for start in range(0, len(entries), MAX_CHUNK):
                items = await self._load(listing, entries[start : start + MAX_CHUNK])
                found.update((item.handle, item) for item in items if item is not None)
        return list(found.values())

    async def _named(self, parts: Sequence[Range]) -> list[SessionSummary]:
        """Return the sessions with these handles. Of those with a prefix, return the ones among the ``_NAMED`` used last.

        Redis has no index of handles, but the entries of a list contain them. All prefixes are spellings of one text.
        """
        handles = [part.value for part in parts]
        if parts[0].is_prefix:
            handles += await newest_named(self.client, self.keys, fold(parts[0].value), _NAMED)
        entries = [Entry(SortKey(0, "", 0.0, handle)) for handle in dict.fromkeys(handles)]
        # Entries that are made here lie in no list. The empty prefix keeps ``_load`` from removing any.
        kind = "t" if self.query.state is State.ENDED else "s"
        return [item for item in await self._load(Listing(b"", kind), entries[:MAX_CHUNK]) if item is not None]

    async def _lengths_of(self, listings: Sequence[Listing], most: int) -> list[int]:
        """Return the number of entries of each of these lists; of one with more than ``most``, any greater number."""
        if not listings:
            return []
        arguments = [most, *(listing.prefix for listing in listings)]
        # On a cluster, each bucket is a separate call.
        groups = [[key] for key in self.keys.listings] if self.client.is_cluster else [self.keys.listings]
        found = await asyncio.gather(*(self.client.run(_COUNT, keys, arguments) for keys in groups))
        counted = [map(answers.number, answers.several(answer, len(listings))) for answer in found]
        return list(map(sum, zip(*counted, strict=True)))

    async def probe(self, request: ProbeRanges) -> list[bool] | None:
        """Return for each range whether it has a row; ``None`` for handles, of which there is no index."""
        if request.ranges[0].field == "handle":
            return None
        return list(map(bool, await self._lengths_of([_listing_of_range(part) for part in request.ranges], 0)))

    async def count(self, request: CountIndex) -> Count | None:
        """Count live sessions by the index of expiries; return ``None`` for other lists, which must be loaded."""
        if request.scan.index is not Index.LAST_SEEN:
            return None
        expiries = self.keys.expiries
        counted = await self.client.read([("ZCOUNT", key, f"({self.query.now!r}", "+inf") for key in expiries])
        return Count(sum(map(answers.number, counted)), exact=True)

    async def _load(self, listing: Listing | None, entries: Sequence[Entry]) -> list[SessionSummary | None]:
        """Return the session of each entry: live, a tombstone or damaged; ``None`` if it is gone or no longer live."""
        kind = listing.kind if listing is not None else "s"
        handles = [entry.key.handle for entry in entries]
        stored, not_before = await self.keys.get_all(self.client, kind, handles)
        await self.keys.mark_foreign(self.client, kind, handles, stored)
        items = [
            self._read(listing, kind, entry, value, not_before) if value is not None else None
            for entry, value in zip(entries, stored, strict=True)
        ]
        # An entry outlives its session if the session's key was evicted or deleted by hand. Whoever reads it removes it.
        gone = [entry for entry, value in zip(entries, stored, strict=True) if value is None]
        if gone and listing is not None and listing.prefix:
            await self._forget(listing, gone)
        return items

    def _read(
        self, listing: Listing | None, kind: str, entry: Entry, value: bytes, not_before: float
    ) -> SessionSummary | None:
        handle, now = entry.key.handle, self.query.now
        item: SessionSummary | None
        if kind == "t":
            item = load_tombstone(handle, value)
            if isinstance(item, Tombstone) and item.ending.keep_until <= now:
                return None
        else:
            item = load_facts(handle, value, now, not_before)
        # An entry that ``_named`` has made says nothing about its session.
        is_from_index = listing is None or listing.prefix
        if isinstance(item, Damaged) and is_from_index:
            return complete(item, listing.prefix + entry.text if listing is not None else b"", entry.at)
        return item

    async def _forget(self, listing: Listing, entries: Sequence[Entry]) -> None:
        """Remove entries without a session; the script checks each again, since it may just have been created."""
        handles = [entry.key.handle for entry in entries]
        for group in self.client.groups(handles):
            chosen = [handles[place] for place in group]
            lists = [self.keys.listing(listing, handle) for handle in chosen]
            items = [self.keys.item(listing.kind, handle) for handle in chosen]
            texts = [listing.prefix + entries[place].text for place in group]
            # This is only tidying: a server that refuses writes must still serve lists.
            with suppress(StoreUnavailable):
                await self.client.run(_FORGET, [*lists, *items], texts)


def _listing_of(request: IndexScan) -> Listing:
    if request.index is Index.OF_USER:
        return of_user(request.value)
    return of_ip(request.value) if request.index is Index.OF_IP else _LISTINGS[request.index]


def _listing_of_range(part: Range) -> Listing:
    if part.is_prefix:
        return Listing((b"u" if part.field == "user" else b"i") + escaped(part.value), "s")
    return of_user(part.value) if part.field == "user" else of_ip(part.value)
