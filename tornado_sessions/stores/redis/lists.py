"""Lists and counts: keyset paging along an index, in bounded steps.

It must not know how sessions are written. An index may name who is not there any more; such an entry is not shown, and
is taken out.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

from tornado_sessions.record import Count, Facts, Page, Query, Record, State, Tombstone
from tornado_sessions.stores.cursor import decode_cursor, encode_cursor
from tornado_sessions.stores.redis.client import Client, Script
from tornado_sessions.stores.redis.keys import Keys
from tornado_sessions.stores.redis.records import read_not_before, read_record, read_tombstone

__all__ = ["count", "find"]

#: Beyond this many a count is "at least".
COUNTED = 10_000
#: Entries that one call looks at where no index fits.
STEP = 2_000
_CHUNK = 500
_PAGE = Script(__package__, "common.lua", "page.lua")
_FORGET = Script(__package__, "common.lua", "forget.lua")


class _Index(NamedTuple):
    """An index in all its buckets, and what its entries stand for: ``s`` sessions, ``t`` tombstones."""

    keys: Sequence[str]
    kind: str


Entry = tuple[float, str]


async def find(client: Client, keys: Keys, query: Query) -> Page:
    """One page."""
    if query.handle is not None:
        items = await _load(client, keys, _index(keys, query), [(0.0, query.handle)], query)
        return Page([item for item in items if item is not None and _matches(item, query)], None)
    index = _index(keys, query)
    at, name = decode_cursor(query.cursor) if query.cursor is not None else (0.0, "")
    after: Entry = (-at, name)
    found: list[Facts] = []
    looked_at = 0
    while looked_at < STEP:
        chunk = max(query.limit + 1, _CHUNK) if _is_filtered(query) else query.limit + 1 - len(found)
        entries = await _step(client, index, after, chunk)
        items = await _load(client, keys, index, entries, query)
        for entry, item in zip(entries, items, strict=True):
            if item is not None and _matches(item, query):
                if len(found) == query.limit:
                    return Page(found, encode_cursor(-after[0], after[1]))
                found.append(item)
            after = entry
        looked_at += len(entries)
        if len(entries) < chunk:
            return Page(found, None)
    return Page(found, encode_cursor(-after[0], after[1]))


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
    ended = read_not_before((await client.read([("GET", keys.not_before()[0])]))[0])
    by_expiry = [("ZCOUNT", key, f"({now!r}", "+inf") for key in keys.expiries()]
    old = [("ZCOUNT", key, repr(-ended), "+inf") for key in keys.lists()] if ended else []
    counted: list[int] = await client.read([*by_expiry, *old])
    if any(counted[len(by_expiry) :]):
        return None
    return sum(counted[: len(by_expiry)])


def _index(keys: Keys, query: Query) -> _Index:
    """The index that fits best; what it does not know is looked at entry by entry."""
    if query.state is State.ENDED:
        return _Index(keys.ended(), "t")
    if query.user is not None:
        return _Index(keys.of_user(query.user), "s")
    return _Index(keys.of_ip(query.ip) if query.ip is not None else keys.lists(), "s")


def _is_filtered(query: Query) -> bool:
    indexed = query.state is State.LIVE and (query.user is None or query.ip is None)
    return bool(query.text) or not (indexed or (query.user is None and query.ip is None))


async def _step(client: Client, index: _Index, after: Entry, many: int) -> list[Entry]:
    """The next entries of all buckets together, in order."""
    arguments = [repr(after[0]), after[1], many]
    answers = await client.run_each(_PAGE, index.keys, arguments)
    flat = list(chain.from_iterable(answers))
    entries = sorted((float(score), name.decode()) for name, score in zip(flat[::2], flat[1::2], strict=True))
    return entries[:many]


async def _load(
    client: Client, keys: Keys, index: _Index, entries: Sequence[Entry], query: Query
) -> list[Facts | None]:
    """What the entries stand for, where it is live, or is a tombstone that is kept."""
    handles = [handle for _, handle in entries]
    stored, ended = await keys.get_all(client, index.kind, handles)
    gone = [handle for handle, value in zip(handles, stored, strict=True) if value is None]
    if gone and index.keys:
        await _forget(client, keys, index, gone)
    items: list[Facts | None] = []
    for handle, value in zip(handles, stored, strict=True):
        item = _read(index.kind, handle, value) if value is not None else None
        items.append(item if item is not None and _is_shown(item, query.now, ended) else None)
    return items


def _read(kind: str, handle: str, value: bytes) -> Facts:
    return read_tombstone(handle, value) if kind == "t" else read_record(handle, value)


def _is_shown(item: Facts, now: float, not_before: float) -> bool:
    if isinstance(item, Tombstone):
        return item.ending.keep_until > now
    return isinstance(item, Record) and item.expires_at > now and item.created_at >= not_before


async def _forget(client: Client, keys: Keys, index: _Index, handles: Sequence[str]) -> None:
    """Take out entries whose session is gone; each is looked at again by the server, since it may just have come."""
    for group in client.groups(handles):
        chosen = [handles[place] for place in group]
        pairs = [part for handle in chosen for part in (index.kind, handle)]
        await client.run(_FORGET, [keys.same_bucket(index.keys, handle) for handle in chosen], pairs)


def _matches(item: Facts, query: Query) -> bool:
    text = query.text
    return (
        (query.user is None or item.user == query.user)
        and (query.ip is None or item.ip == query.ip)
        and (not text or any(word.startswith(text) for word in (item.user or "", item.handle, item.ip)))
    )
