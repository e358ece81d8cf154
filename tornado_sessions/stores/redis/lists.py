"""Lists and counts: keyset paging along a list in the order of bytes, in bounded steps.

It must not know how sessions are written. A list may name who is not there any more; such an entry is not shown, and is taken out.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import merge
from itertools import islice

from tornado_sessions.record import Count, Facts, Page, Query, Record, State, Tombstone
from tornado_sessions.stores.cursor import decode_cursor, encode_cursor
from tornado_sessions.stores.redis.client import Client, Script
from tornado_sessions.stores.redis.keys import ALL, ENDED, Keys, Listing, of_ip, of_user, order
from tornado_sessions.stores.redis.records import read_not_before, read_record, read_tombstone

__all__ = ["count", "find"]

#: Beyond this many a count is "at least".
COUNTED = 10_000
#: Entries that one call looks at where no list fits.
STEP = 2_000
_CHUNK = 500
_ORDER = 17
_FORGET = Script(__package__, "forget.lua")


async def find(client: Client, keys: Keys, query: Query) -> Page:
    """One page."""
    listing = _listing(query)
    if query.handle is not None:
        entry = bytes(_ORDER) + query.handle.encode()
        items = await _load(client, keys, Listing(b"", listing.kind), [entry], query)
        return Page([item for item in items if item is not None and _matches(item, query)], None)
    after = b""
    if query.cursor is not None:
        at, handle = decode_cursor(query.cursor)
        after = order(at) + handle.encode()
    found: list[Facts] = []
    looked_at = 0
    last: Facts | None = None
    while looked_at < STEP:
        chunk = _CHUNK if _is_filtered(query) else query.limit + 1 - len(found)
        entries = await _step(client, keys, listing, after, chunk)
        for item in await _load(client, keys, listing, entries, query):
            if item is not None and _matches(item, query):
                if len(found) == query.limit:
                    return Page(found, _cursor(found[-1]))
                found.append(item)
            last = item or last
        looked_at += len(entries)
        if len(entries) < chunk:
            return Page(found, None)
        after = entries[-1]
    # What comes behind the last one that was there; entries of who is gone are out of the list by now.
    return Page(found, _cursor(last) if last is not None else None)


def _cursor(item: Facts) -> str:
    return encode_cursor(item.ending.at if isinstance(item, Tombstone) else item.last_seen_at, item.handle)


async def count(client: Client, keys: Keys, query: Query) -> Count:
    """How many match: the index by expiry knows all who live; else they are looked at, up to a bound."""
    if query.state is State.LIVE and query.handle is query.user is query.ip is None and not query.text:
        total = await _count_live(client, keys, query.now)
        if total is not None:
            return Count(total, exact=True)
    total, cursor = 0, None
    while total < COUNTED:
        asked = Query(
            now=query.now,
            user=query.user,
            ip=query.ip,
            handle=query.handle,
            text=query.text,
            state=query.state,
            cursor=cursor,
            limit=_CHUNK,
        )
        page = await find(client, keys, asked)
        total += len(page.items)
        cursor = page.next_cursor
        if cursor is None or query.text:
            return Count(total, exact=cursor is None)
    return Count(total, exact=False)


async def _count_live(client: Client, keys: Keys, now: float) -> int | None:
    """All who live, from the indexes alone; ``None`` while sessions of before everybody's end wait to be removed."""
    ended = read_not_before((await client.read([("GET", keys.not_before[0])]))[0])
    by_expiry = [("ZCOUNT", key, f"({now!r}", "+inf") for key in keys.expiries]
    old = [("ZLEXCOUNT", key, b"[l" + order(ended), b"(m") for key in keys.listings] if ended else []
    counted: list[int] = await client.read([*by_expiry, *old])
    if any(counted[len(by_expiry) :]):
        return None
    return sum(counted[: len(by_expiry)])


def _listing(query: Query) -> Listing:
    """The list that fits best; what it does not know is looked at entry by entry."""
    if query.state is State.ENDED:
        return ENDED
    if query.user is not None:
        return of_user(query.user)
    return of_ip(query.ip) if query.ip is not None else ALL


def _is_filtered(query: Query) -> bool:
    indexed = query.state is State.LIVE and (query.user is None or query.ip is None)
    return bool(query.text) or not (indexed or (query.user is None and query.ip is None))


async def _step(client: Client, keys: Keys, listing: Listing, after: bytes, many: int) -> list[bytes]:
    """The next entries of all buckets together, in order, without what they begin with."""
    start, end = b"(" + listing.prefix + after, b"[" + listing.prefix + b"\xff"
    commands = [("ZRANGEBYLEX", key, start, end, "LIMIT", 0, many) for key in keys.listings]
    begins = len(listing.prefix)
    return [entry[begins:] for entry in islice(merge(*await client.read(commands)), many)]


async def _load(
    client: Client, keys: Keys, listing: Listing, entries: Sequence[bytes], query: Query
) -> list[Facts | None]:
    """What the entries stand for, where it is live, or is a tombstone that is kept."""
    handles = [entry[_ORDER:].decode() for entry in entries]
    stored, ended = await keys.get_all(client, listing.kind, handles)
    items: list[Facts | None] = []
    gone: list[int] = []
    for place, (handle, value) in enumerate(zip(handles, stored, strict=True)):
        if value is None:
            gone.append(place)
        item = _read(listing.kind, handle, value) if value is not None else None
        items.append(item if item is not None and _is_shown(item, query.now, ended) else None)
    if gone and listing.prefix:
        await _forget(client, keys, listing, [entries[place] for place in gone])
    return items


async def _forget(client: Client, keys: Keys, listing: Listing, entries: Sequence[bytes]) -> None:
    """Take out entries whose session is gone; the server looks again at each, since it may just have come."""
    handles = [entry[_ORDER:].decode() for entry in entries]
    for group in client.groups(handles):
        chosen = [handles[place] for place in group]
        named = [*map(keys.listing, chosen), *(keys.item(listing.kind, handle) for handle in chosen)]
        await client.run(_FORGET, named, [listing.prefix + entries[place] for place in group])


def _read(kind: str, handle: str, value: bytes) -> Facts:
    return read_tombstone(handle, value) if kind == "t" else read_record(handle, value)


def _is_shown(item: Facts, now: float, not_before: float) -> bool:
    if isinstance(item, Tombstone):
        return item.ending.keep_until > now
    return isinstance(item, Record) and item.expires_at > now and item.created_at >= not_before


def _matches(item: Facts, query: Query) -> bool:
    text = query.text
    return (
        (query.user is None or item.user == query.user)
        and (query.ip is None or item.ip == query.ip)
        and (not text or any(word.startswith(text) for word in (item.user or "", item.handle, item.ip)))
    )
