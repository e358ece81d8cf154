"""Lists and counts: keyset paging along a list in the order of bytes, in bounded steps.

It must not know how sessions are written. A list may name who is not there any more; such an entry is not shown, and is taken out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from heapq import merge
from typing import NamedTuple

from tornado_sessions.query import Count, Page, Query, Sort, State
from tornado_sessions.record import Facts
from tornado_sessions.stores.cursor import Place, decode_cursor, encode_cursor, page_of, place_of
from tornado_sessions.stores.matching import Range, matcher, narrow, straight
from tornado_sessions.stores.redis.client import Client, Script
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
    time_of,
    unescaped,
)
from tornado_sessions.stores.redis.records import read_facts, read_not_before, read_tombstone

__all__ = ["count", "find"]

#: Entries that a count looks at where a list holds just what is asked for; beyond, it is "at least".
COUNTED = 10_000
#: Entries that one page looks at where no list fits, and that the count of a filter does.
STEP, FILTERED = 1_000, 2_000
#: So many are loaded and sorted at most, where a list knows them but not their order.
_FEW = 1_000
_CHUNK = 500
_ORDER = 17
_FORGET = Script(__package__, "forget.lua")


class _Walk(NamedTuple):
    """A run along a list; ``None``: along when they end. ``last``: whether it comes after all others (``Place.last``)."""

    listing: Listing | None
    last: bool = False


class _Entry(NamedTuple):
    """A line of a list, without what it begins with, and whose it is; its place where the text does not say that."""

    text: bytes
    handle: str
    place: Place | None = None

    def stands(self, *, last: bool) -> Place:
        """Its place in the list: a name, if there is one, and the order."""
        if self.place is not None:
            return self.place
        name, _, rest = self.text.rpartition(b"\0")
        return Place(last=last, name=unescaped(name), at=-time_of(rest[:_ORDER]), handle=self.handle)


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
    """What matched so far, and how far was looked."""

    def __init__(self, query: Query) -> None:
        self.query = query
        self.items: list[Facts] = []
        self._passes = matcher(query)
        self._reached: _Entry | None = None
        self._comes_last = False

    @property
    def is_full(self) -> bool:
        """Whether there is one more than a page."""
        return len(self.items) > self.query.limit

    def look_at(self, entry: _Entry, item: Facts | None, *, comes_last: bool) -> None:
        """Keep a session if it is live and matches; what is dead was looked at as well."""
        self._reached, self._comes_last = entry, comes_last
        if item is not None and self._passes(item):
            self.items.append(item)

    def page(self, *, is_all: bool) -> Page:
        """The page; where more may follow, the next one begins behind the last line that was looked at."""
        shown, sort = self.items[: self.query.limit], self.query.sort
        if is_all or self._reached is None:
            return Page(shown, None)
        last = place_of(shown[-1], sort) if self.is_full else self._reached.stands(last=self._comes_last)
        return Page(shown, encode_cursor(last, sort))


async def _walk(client: Client, keys: Keys, walk: _Walk, start: Place | None, found: _Found, left: int) -> int:
    """Look at a list until a page is full, the list ends or enough was looked at. Returns what is left of that."""
    query, after = found.query, start
    # Without filters nearly all that is there is shown, so no more is asked for.
    chunk = _CHUNK if _is_filtered(query) else min(_CHUNK, query.limit + 1)
    text = b""
    while left > 0:
        if walk.listing is None:
            entries, after = await _step_by_end(client, keys, after, query.now, chunk)
            is_end = len(entries) < chunk
        else:
            text = _text_of(walk.listing, after) if after is not None else text
            entries, is_end = await _step(client, keys, walk.listing, text, chunk)
            after = None
        for entry, item in zip(entries, await _load(client, keys, walk.listing, entries, query), strict=True):
            if not found.is_full:
                found.look_at(entry, item, comes_last=walk.last)
        left -= len(entries)
        if found.is_full:
            return left
        if is_end:
            return max(left, 1)
        text = entries[-1].text
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
    """Whether more is asked than what the list itself knows."""
    known = {"user": 1, "ip": 1, "visitors": 1}.get(straight(query), 0)
    return len(query.given) > known


def _text_of(listing: Listing, place: Place) -> bytes:
    """How the entry of a place ends."""
    name = escaped(place.name) + b"\0" if listing == USERS else b""
    return name + order(-place.at) + place.handle.encode()


async def _step(client: Client, keys: Keys, listing: Listing, after: bytes, many: int) -> tuple[list[_Entry], bool]:
    """About so many of the next entries of all buckets together, in order, at least one; and whether the list ends there."""
    start, end = (b"(" if after else b"[") + listing.prefix + after, b"(" + listing.prefix + b"\xff"
    # Of each bucket more than its share; where one has even more, the others are used as far as that reaches.
    share = 2 * many // len(keys.listings) + 8
    commands = [("ZRANGEBYLEX", key, start, end, "LIMIT", 0, share) for key in keys.listings]
    answers = await client.read(commands)
    reached = min((answer[-1] for answer in answers if len(answer) == share), default=None)
    begins = len(listing.prefix)
    found = [text for text in merge(*answers) if reached is None or text <= reached]
    return [_Entry(text[begins:], _handle_of(text[begins:])) for text in found], reached is None


def _handle_of(text: bytes) -> str:
    """Behind the name, if there is one, and behind the order."""
    return text[text.rfind(b"\0") + 1 + _ORDER :].decode()


async def _step_by_end(
    client: Client, keys: Keys, after: Place | None, now: float, many: int
) -> tuple[list[_Entry], Place | None]:
    """The next sessions by when they end, and where that leaves us."""
    start = f"({now!r}" if after is None else repr(after.at)
    behind: list[Place] = []
    left, skipped, had = keys.expiries, 0, Counter[str]()
    # Those that end in the same moment come in order of their names, but cannot be asked for from a name on.
    while left:
        commands = [("ZRANGEBYSCORE", key, start, "+inf", "WITHSCORES", "LIMIT", skipped, many) for key in left]
        more: list[str] = []
        for key, answer in zip(left, await client.read(commands), strict=True):
            places = [_place_by_end(answer[n], answer[n + 1]) for n in range(0, len(answer), 2)]
            new = [place for place in places if after is None or place > after]
            behind += new
            had[key] += len(new)
            if had[key] < many == len(places):
                more.append(key)
        left, skipped = more, skipped + many
    behind = sorted(behind)[:many]
    return [_Entry(b"", place.handle, place) for place in behind], behind[-1] if behind else after


def _place_by_end(handle: bytes, at: bytes) -> Place:
    return Place(last=False, name="", at=float(at), handle=handle.decode())


async def _few(client: Client, keys: Keys, query: Query) -> list[Facts] | None:
    """All that can match, where a list knows them and they are few; else ``None``."""
    if query.handle is not None:
        listing = Listing(b"", "t" if query.state is State.ENDED else "s")
        found = await _load(client, keys, listing, [_Entry(b"", query.handle)], query)
        return [item for item in found if item is not None]
    ranges = narrow(query)
    if query.state is State.ENDED or straight(query) != "all" or not ranges:
        return None
    if any(part.name == "handle" for part in ranges):
        return None
    listings = [_listing_of(part) for part in ranges]
    if await _length(client, keys, listings) > _FEW:
        return None
    items: dict[str, Facts] = {}
    for listing in listings:
        text, is_end = b"", False
        while not is_end:
            entries, is_end = await _step(client, keys, listing, text, _CHUNK)
            loaded = await _load(client, keys, listing, entries, query)
            items.update((item.handle, item) for item in loaded if item is not None)
            text = entries[-1].text if entries else text
    return list(items.values())


async def _length(client: Client, keys: Keys, listings: Sequence[Listing]) -> int:
    """How many entries these lists have together."""
    ranges = [(b"[" + listing.prefix, b"(" + listing.prefix + b"\xff") for listing in listings]
    return (
        sum(await client.read([("ZLEXCOUNT", key, *part) for part in ranges for key in keys.listings])) if ranges else 0
    )


def _listing_of(part: Range) -> Listing:
    if part.is_prefix:
        return Listing((b"u" if part.name == "user" else b"i") + escaped(part.value), "s")
    return of_user(part.value) if part.name == "user" else of_ip(part.value)


async def count(client: Client, keys: Keys, query: Query) -> Count:
    """How many match: the index by expiry knows all who live; else they are looked at, up to a bound."""
    if query.state is State.LIVE and not query.given:
        total = await _count_live(client, keys, query.now)
        if total is not None:
            return Count(total, exact=True)
    few = await _few(client, keys, query)
    if few is not None:
        return Count(sum(map(matcher(query), few)), exact=True)
    total, left = 0, FILTERED if _is_filtered(query) else COUNTED
    passes = matcher(query)
    for walk in _walks(query if straight(query) != "all" else _newest(query)):
        text, listing = b"", walk.listing or ALL
        while left > 0:
            entries, is_end = await _step(client, keys, listing, text, _CHUNK)
            items = await _load(client, keys, listing, entries, query)
            total += sum(item is not None and passes(item) for item in items)
            left -= len(entries)
            if is_end:
                return Count(total, exact=True)
            text = entries[-1].text
    return Count(total, exact=False)


def _newest(query: Query) -> Query:
    """The same without an order: whatever list is the shortest way."""
    return Query(now=query.now, state=query.state)


async def _count_live(client: Client, keys: Keys, now: float) -> int | None:
    """All who live, from the indexes alone; ``None`` while sessions of before everybody's end wait to be removed."""
    ended = read_not_before((await client.read([("GET", keys.not_before[0])]))[0])
    by_expiry = [("ZCOUNT", key, f"({now!r}", "+inf") for key in keys.expiries]
    old = [("ZLEXCOUNT", key, b"[l" + order(ended), b"(m") for key in keys.listings] if ended else []
    counted: list[int] = await client.read([*by_expiry, *old])
    if any(counted[len(by_expiry) :]):
        return None
    return sum(counted[: len(by_expiry)])


async def _load(
    client: Client, keys: Keys, listing: Listing | None, entries: Sequence[_Entry], query: Query
) -> list[Facts | None]:
    """What the entries stand for, where it is live, or is a tombstone that is kept."""
    kind = listing.kind if listing is not None else "s"
    stored, ended = await keys.get_all(client, kind, [entry.handle for entry in entries])
    items: list[Facts | None] = []
    gone: list[_Entry] = []
    for entry, value in zip(entries, stored, strict=True):
        if value is None:
            gone.append(entry)
            items.append(None)
        elif kind == "t":
            tombstone = read_tombstone(entry.handle, value)
            items.append(tombstone if tombstone.ending.keep_until > query.now else None)
        else:
            items.append(read_facts(entry.handle, value, query.now, ended))
    if gone and listing is not None and listing.prefix:
        await _forget(client, keys, listing, gone)
    return items


async def _forget(client: Client, keys: Keys, listing: Listing, entries: Sequence[_Entry]) -> None:
    """Take out entries whose session is gone; the server looks again at each, since it may just have come."""
    handles = [entry.handle for entry in entries]
    for group in client.groups(handles):
        chosen = [handles[place] for place in group]
        named = [*map(keys.listing, chosen), *(keys.item(listing.kind, handle) for handle in chosen)]
        await client.run(_FORGET, named, [listing.prefix + entries[place].text for place in group])
