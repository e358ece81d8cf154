"""Lists and counts: keyset paging along a compound index, in bounded steps where no index fits.

It must not know how sessions are written. Each question names its index, since a planner might rather sort everybody.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from tornado_sessions.query import Count, Page, Query, Sort, State
from tornado_sessions.record import Facts
from tornado_sessions.stores.cursor import Place, decode_cursor, encode_cursor, page_of, place_of
from tornado_sessions.stores.matching import matcher, narrow, straight
from tornado_sessions.stores.mongo import documents
from tornado_sessions.stores.mongo.client import Client, translated

__all__ = ["count", "find", "index_of"]

#: Beyond this many a count is "at least".
COUNTED = 10_000
#: Documents that one page, or the count of a filter, looks at where no index fits.
STEP = 2_000
#: So many are read and sorted at most, where an index knows them but not their order.
_FEW = 1_000
_SHOWN = dict.fromkeys(Facts.__struct_fields__[1:], True)
_NEVER_SHOWN = {"data": False, "marks": False}
_COLUMNS = {"user": "user", "ip": "ip", "handle": "_id"}
_INDEXES = {"user": "by_user", "ip": "by_ip", "handle": "_id_"}


class _Walk(NamedTuple):
    """A run along an index.

    Attributes:
        by: the index's name.
        where: the part of it.
        sort: its order behind what ``where`` fixes; the handle comes last.
        last: whether its rows come after all others of the list (``Place.last``).
    """

    by: str
    where: dict[str, Any]
    sort: list[tuple[str, int]]
    last: bool = False


_NEWEST = [("last_seen_at", -1), ("_id", 1)]
_VISITORS = _Walk("by_user", {"user": None}, _NEWEST, last=True)
_IS_USERS = {"user": {"$gte": ""}}
_WALKS = {
    Sort.LAST_SEEN: [_Walk("by_last_seen", {}, _NEWEST)],
    Sort.EXPIRES: [_Walk("by_expiry", {}, [("expires_at", 1), ("_id", 1)])],
    Sort.SIGNED_IN: [_Walk("by_signed_in", _IS_USERS, [("signed_in_at", -1), ("_id", 1)]), _VISITORS],
    Sort.USER: [_Walk("by_user", _IS_USERS, [("user", 1), *_NEWEST]), _VISITORS],
}


async def find(client: Client, query: Query, not_before: float) -> Page:
    """One page."""
    passes = matcher(query)
    few = await _few(client, query, not_before)
    if few is not None:
        return page_of(filter(passes, few), query)
    after = decode_cursor(query.cursor, query.sort) if query.cursor is not None else None
    found: list[Facts] = []
    for walk in _walks(query):
        if after is not None and after.last and not walk.last:
            continue
        start = after if after is not None and after.last is walk.last else None
        many = STEP if _is_filtered(query) else query.limit + 1 - len(found)
        items = await _read(client, query, not_before, _behind(walk, start), many)
        found += filter(passes, items)
        if len(found) > query.limit:
            return Page(found[: query.limit], _cursor(found[query.limit - 1], query))
        if len(items) == many:
            return Page(found, _cursor(items[-1], query))
    return Page(found, None)


def _cursor(item: Facts, query: Query) -> str:
    return encode_cursor(place_of(item, query.sort), query.sort)


def _walks(query: Query) -> list[_Walk]:
    if query.state is State.ENDED:
        return [_Walk("by_end", {}, [("ended_at", -1), ("_id", 1)])]
    which = straight(query)
    if which == "visitors":
        return [_VISITORS._replace(last=query.sort is not Sort.LAST_SEEN)]
    if which != "all":
        return [_Walk(_INDEXES[which], {which: getattr(query, which)}, _NEWEST)]
    return _WALKS[query.sort]


def index_of(query: Query) -> str:
    """The index that the first page of a list without other filters is read from."""
    return "_id_" if query.handle is not None else _walks(query)[0].by


def _behind(walk: _Walk, after: Place | None) -> _Walk:
    """The part of a run behind a place."""
    if after is None:
        return walk
    name, direction = walk.sort[0]
    if name == "user":
        seen = "last_seen_at"
        older: list[dict[str, Any]] = [{seen: {"$lt": -after.at}}, {seen: -after.at, "_id": {"$gt": after.handle}}]
        later = {"$or": [{"user": {"$gt": after.name}}, *({"user": after.name, **part} for part in older)]}
        return walk._replace(where={"$and": [{"user": {"$gte": after.name}}, later]})
    at, worse, than = (after.at, "$gte", "$gt") if direction == 1 else (-after.at, "$lte", "$lt")
    later = {"$or": [{name: {than: at}}, {"_id": {"$gt": after.handle}}]}
    return walk._replace(where={"$and": [walk.where, {name: {worse: at}}, later]})


async def _read(client: Client, query: Query, not_before: float, walk: _Walk, limit: int) -> list[Facts]:
    """What is live, or a tombstone that is kept, of a run."""
    where = {"$and": [_alive(query, not_before), walk.where]} if walk.where else _alive(query, not_before)
    ended = query.state is State.ENDED
    shown = _NEVER_SHOWN if ended else _SHOWN
    more: dict[str, Any] = {"sort": walk.sort} if walk.sort else {}
    found = await client.all_of("sessions", where, projection=shown, limit=limit, hint=walk.by, **more)
    return [documents.read(item) if ended else documents.read_facts(item) for item in found]


def _alive(query: Query, not_before: float) -> dict[str, Any]:
    ended = {"keep_until": {"$gt": query.now}}
    return ended if query.state is State.ENDED else documents.live(query.now, not_before)


async def _few(client: Client, query: Query, not_before: float) -> list[Facts] | None:
    """All that can match, where an index knows them and they are few; else ``None``."""
    if query.handle is not None:
        return await _read(client, query, not_before, _Walk("_id_", {"_id": query.handle}, []), 1)
    ranges = narrow(query)
    if query.state is State.ENDED or straight(query) != "all" or not ranges:
        return None
    items: dict[str, Facts] = {}
    for name, value, is_prefix in ranges:
        column = _COLUMNS[name]
        part: dict[str, Any] = {column: {"$gte": value, "$lt": value + "\U0010ffff"} if is_prefix else value}
        some = await _read(client, query, not_before, _Walk(_INDEXES[name], part, []), _FEW + 1)
        if len(items) + len(some) > _FEW:
            return None
        items.update((item.handle, item) for item in some)
    return list(items.values())


def _is_filtered(query: Query) -> bool:
    """Whether more is asked than what the index itself knows."""
    return len(query.given) > (straight(query) != "all")


async def count(client: Client, query: Query, not_before: float) -> Count:
    """How many match, exact up to a bound."""
    few = await _few(client, query, not_before)
    passes = matcher(query)
    if few is not None:
        return Count(sum(map(passes, few)), exact=True)
    walk = _walks(query)[0] if straight(query) != "all" else _walks(Query(now=query.now, state=query.state))[0]
    if _is_filtered(query):
        items = await _read(client, query, not_before, _behind(walk, None), STEP)
        return Count(sum(map(passes, items)), exact=len(items) < STEP)
    where = {**_alive(query, not_before), **walk.where}
    # Without filters the index by expiry answers alone.
    index = walk.by if walk.by != "by_last_seen" else "by_expiry"
    total = await translated(
        lambda: client.collection("sessions").count_documents(where, limit=COUNTED + 1, hint=index)
    )
    return Count(min(total, COUNTED), exact=total <= COUNTED)
