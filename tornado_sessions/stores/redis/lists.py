"""Lists and counts: keyset paging along a list in the order of bytes, in bounded steps.

It must not know how sessions are written. An entry whose session no longer exists, or that makes no sense, is left out and removed.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from tornado_sessions.drivers.redis import Client, Script
from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.query import Count, Page, Query, Sort, State
from tornado_sessions.record import Damaged, SessionSummary, Tombstone
from tornado_sessions.stores.cursor import Place, decode_cursor, encode_cursor, page_of, place_of
from tornado_sessions.stores.matching import Range, matcher, narrow, straight
from tornado_sessions.stores.redis import answers
from tornado_sessions.stores.redis.damage import complete, load_facts, load_tombstone
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
    order,
)
from tornado_sessions.stores.redis.steps import Entry, step, step_by_end

__all__ = ["count", "find"]

#: How many entries a count examines if a list holds exactly what is asked for; beyond, the total is "at least".
COUNTED = 10_000
#: How many entries one page, and the count of a filter, examine if no list fits.
STEP, FILTERED = 1_000, 2_000
#: How many sessions are loaded and sorted at most, if a list finds them in another order.
_FEW = 1_000
_CHUNK = 500
_FORGET = Script(__package__, "forget.lua")


class _Walk(NamedTuple):
    """A run along a list; ``None``: along the index by expiry. ``last``: whether it comes after all others (``Place.last``)."""

    listing: Listing | None
    last: bool = False


_WALKS = {
    Sort.LAST_SEEN: [_Walk(ALL)],
    Sort.EXPIRES: [_Walk(None)],
    Sort.SIGNED_IN: [_Walk(SIGNED_IN), _Walk(VISITORS, last=True)],
    Sort.USER: [_Walk(USERS), _Walk(VISITORS, last=True)],
}


async def find(client: Client, keys: Keys, query: Query) -> Page:
    """One page."""
    few = await _few(client, keys, query)
    if few is not None:
        return page_of(filter(matcher(query), few), query)
    after = decode_cursor(query.cursor, query.sort) if query.cursor is not None else None
    found, left = _Found(query), STEP
    for walk in _walks(query):
        if after is not None and after.last and not walk.last:
            continue
        start = after if after is not None and after.last is walk.last else None
        left = await _walk(client, keys, walk, start, found, left)
        if found.is_full or left <= 0:
            break
    return found.page(is_all=not found.is_full and left > 0)


class _Found:
    """What has matched so far, and how far the list was examined."""

    def __init__(self, query: Query) -> None:
        self.query = query
        self.items: list[tuple[SessionSummary, Place]] = []
        self._passes = matcher(query)
        self._reached: Place | None = None

    @property
    def is_full(self) -> bool:
        """Whether there is one more than a page."""
        return len(self.items) > self.query.limit

    def examine(self, entry: Entry, item: SessionSummary | None, *, comes_last: bool) -> None:
        """Keep a session if it is live and matches; a page may also end at one that is not."""
        self._reached = entry.stands(last=comes_last)
        if item is not None and self._passes(item):
            # A damaged session stands where its entry is: its own fields may say anything.
            is_damaged = isinstance(item, Damaged)
            self.items.append((item, self._reached if is_damaged else place_of(item, self.query.sort)))

    def page(self, *, is_all: bool) -> Page:
        """The page; if more may follow, the next one begins behind the last entry that was examined."""
        shown, sort = self.items[: self.query.limit], self.query.sort
        items = [item for item, _ in shown]
        if is_all or self._reached is None:
            return Page(items, None)
        return Page(items, encode_cursor(shown[-1][1] if self.is_full else self._reached, sort))


async def _walk(client: Client, keys: Keys, walk: _Walk, start: Place | None, found: _Found, left: int) -> int:
    """Examine a list until a page is full, the list ends or enough was examined. Returns how many entries may still be."""
    query, after = found.query, start
    # Without filters nearly every entry is shown, so fetching more than a page would be wasted.
    chunk = _CHUNK if _is_filtered(query) else min(_CHUNK, query.limit + 1)
    text = b""
    while left > 0:
        if walk.listing is None:
            entries, after = await step_by_end(client, keys, after, query.now, chunk)
            is_end = len(entries) < chunk
        else:
            text = _text_of(walk.listing, after) if after is not None else text
            entries, text, is_end = await step(client, keys, walk.listing, text, chunk)
            after = None
        for entry, item in zip(entries, await _load(client, keys, walk.listing, entries, query), strict=True):
            if not found.is_full:
                found.examine(entry, item, comes_last=walk.last)
        left -= len(entries)
        if found.is_full:
            return left
        if is_end:
            return max(left, 1)
    return left


def _walks(query: Query) -> list[_Walk]:
    if query.state is State.ENDED:
        return [_Walk(ENDED)]
    which = straight(query)
    if which == "visitors":
        return [_Walk(VISITORS, last=query.sort is not Sort.LAST_SEEN)]
    if which == "user":
        return [_Walk(of_user(query.user or ""))]
    return [_Walk(of_ip(query.ip or ""))] if which == "ip" else _WALKS[query.sort]


def _is_filtered(query: Query) -> bool:
    """Whether there are filters that the list itself does not answer."""
    known = {"user": 1, "ip": 1, "visitors": 1}.get(straight(query), 0)
    return len(query.given) > known


def _text_of(listing: Listing, place: Place) -> bytes:
    """How the entry of a place ends."""
    name = escaped(place.name) + b"\0" if listing == USERS else b""
    return name + order(-place.at) + place.handle.encode()


async def _few(client: Client, keys: Keys, query: Query) -> list[SessionSummary] | None:
    """All sessions that can match, if a list finds them and they are few; else ``None``."""
    if query.handle is not None:
        listing = Listing(b"", "t" if query.state is State.ENDED else "s")
        found = await _load(client, keys, listing, [Entry(b"", query.handle)], query)
        return [item for item in found if item is not None]
    ranges = narrow(query)
    if query.state is State.ENDED or straight(query) != "all" or not ranges:
        return None
    if any(part.name == "handle" for part in ranges):
        return None
    listings = [_listing_of(part) for part in ranges]
    if await _length(client, keys, listings) > _FEW:
        return None
    items: dict[str, SessionSummary] = {}
    for listing in listings:
        text, is_end = b"", False
        while not is_end:
            entries, text, is_end = await step(client, keys, listing, text, _CHUNK)
            loaded = await _load(client, keys, listing, entries, query)
            items.update((item.handle, item) for item in loaded if item is not None)
    return list(items.values())


async def _length(client: Client, keys: Keys, listings: Sequence[Listing]) -> int:
    """How many entries these lists have together."""
    ranges = [(b"[" + listing.prefix, b"(" + listing.prefix + b"\xff") for listing in listings]
    if not ranges:
        return 0
    counted = await client.read([("ZLEXCOUNT", key, *part) for part in ranges for key in keys.listings])
    return sum(map(answers.number, counted))


def _listing_of(part: Range) -> Listing:
    if part.is_prefix:
        return Listing((b"u" if part.name == "user" else b"i") + escaped(part.value), "s")
    return of_user(part.value) if part.name == "user" else of_ip(part.value)


async def count(client: Client, keys: Keys, query: Query) -> Count:
    """How many match. The index by expiry counts all living sessions; filters are counted up to a bound."""
    if query.state is State.LIVE and not query.given:
        return Count(await _count_live(client, keys, query.now), exact=True)
    few = await _few(client, keys, query)
    if few is not None:
        return Count(sum(map(matcher(query), few)), exact=True)
    total, left = 0, FILTERED if _is_filtered(query) else COUNTED
    passes = matcher(query)
    for walk in _walks(query if straight(query) != "all" else _newest(query)):
        text, listing = b"", walk.listing or ALL
        while left > 0:
            entries, text, is_end = await step(client, keys, listing, text, _CHUNK)
            items = await _load(client, keys, listing, entries, query)
            total += sum(item is not None and passes(item) for item in items)
            left -= len(entries)
            if is_end:
                return Count(total, exact=True)
    return Count(total, exact=False)


def _newest(query: Query) -> Query:
    """The same without an order: whatever list is the shortest way."""
    return Query(now=query.now, state=query.state)


async def _count_live(client: Client, keys: Keys, now: float) -> int:
    """All living sessions: the index by expiry holds no others but the expired."""
    counted = await client.read([("ZCOUNT", key, f"({now!r}", "+inf") for key in keys.expiries])
    return sum(map(answers.number, counted))


async def _load(
    client: Client, keys: Keys, listing: Listing | None, entries: Sequence[Entry], query: Query
) -> list[SessionSummary | None]:
    """What the entries stand for: living sessions, tombstones that are still kept, and damaged ones; else ``None``."""
    kind = listing.kind if listing is not None else "s"
    handles = [entry.handle for entry in entries]
    stored, ended = await keys.get_all(client, kind, handles)
    await keys.mark_foreign(client, kind, handles, stored)
    items: list[SessionSummary | None] = []
    gone: list[Entry] = []
    for entry, value in zip(entries, stored, strict=True):
        item: SessionSummary | None = None
        if value is None:
            gone.append(entry)
        elif kind == "t":
            found = load_tombstone(entry.handle, value)
            is_over = isinstance(found, Tombstone) and found.ending.keep_until <= query.now
            item = None if is_over else found
        else:
            item = load_facts(entry.handle, value, query.now, ended)
        if isinstance(item, Damaged) and (entry.text or entry.place):
            item = complete(item, listing.prefix + entry.text if listing is not None else b"", entry.at)
        items.append(item)
    if gone and listing is not None and listing.prefix:
        await _forget(client, keys, listing, gone)
    return items


async def _forget(client: Client, keys: Keys, listing: Listing, entries: Sequence[Entry]) -> None:
    """Remove entries whose session is gone; the server checks each again, because it may just have been created."""
    handles = [entry.handle for entry in entries]
    for group in client.groups(handles):
        chosen = [handles[place] for place in group]
        named = [
            *(keys.listing(listing, handle) for handle in chosen),
            *(keys.item(listing.kind, handle) for handle in chosen),
        ]
        # Only tidying up: a server that refuses writes still serves its readers.
        with suppress(StoreUnavailable):
            await client.run(_FORGET, named, [listing.prefix + entries[place].text for place in group])
