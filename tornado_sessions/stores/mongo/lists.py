"""Lists and counts: keyset paging along a compound index, in bounded steps where no index fits.

It must not know how sessions are written. Each query names its index, since a planner might rather sort everybody. A damaged
session is a row like any other; where its place cannot be read, it stands where MongoDB sorts it: before or behind the others.
"""

from __future__ import annotations

from math import inf
from typing import Any, NamedTuple

from tornado_sessions.errors import QueryError
from tornado_sessions.query import Count, Page, Query, Sort, State
from tornado_sessions.record import SessionSummary
from tornado_sessions.stores.cursor import Place, decode_cursor, encode_cursor, page_of
from tornado_sessions.stores.matching import matcher, narrow, straight
from tornado_sessions.stores.mongo import documents
from tornado_sessions.stores.mongo.collection import SessionCollection
from tornado_sessions.stores.mongo.documents import Everybody
from tornado_sessions.stores.mongo.places import FIRST, REST, Row, rest_of, rows_of
from tornado_sessions.stores.mongo.reading import number_or

__all__ = ["count", "find", "index_of"]

#: Beyond this many a count is "at least".
COUNTED = 10_000
#: Documents that one page, or the count of a filter, looks at where no index fits.
STEP = 2_000
#: At most this many are read and sorted, where an index knows them but not their order.
_FEW = 1_000
#: More rows without a place than a list ever has; a cursor beyond that was made up.
_MOST_SKIPPED = 2**31
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
        skip: rows to pass over where no place can be read.
        first: the region that it begins in, ``FIRST`` or ``REST``.
        user: in the order by user: the one whose sessions it begins with.
    """

    by: str
    where: dict[str, Any]
    sort: list[tuple[str, int]]
    last: bool = False
    skip: int = 0
    first: str = FIRST
    user: str = ""


_NEWEST = [("last_seen_at", -1), ("_id", 1)]
_VISITORS = _Walk("by_user", {"user": None}, _NEWEST, last=True)
_WALKS = {
    Sort.LAST_SEEN: [_Walk("by_last_seen", {}, _NEWEST)],
    Sort.EXPIRES: [_Walk("by_expiry", {}, [("expires_at", 1), ("_id", 1)])],
    Sort.SIGNED_IN: [_Walk("by_sign_in", documents.HAS_USER, [("signed_in_at", -1), ("_id", 1)]), _VISITORS],
    Sort.USER: [_Walk("by_user", {"user": {"$ne": None}}, [("user", 1), *_NEWEST]), _VISITORS],
}


async def find(sessions: SessionCollection, query: Query, everybody: Everybody) -> Page:
    """One page."""
    passes = matcher(query)
    few = await _few(sessions, query, everybody)
    if few is not None:
        return page_of(filter(passes, few), query)
    after = _start(query)
    found: list[Row] = []
    for walk in _walks(query):
        if after is not None and after.last and not walk.last:
            continue
        start = after if after is not None and after.last is walk.last else None
        for part in _parts(walk, start):
            many = STEP if _is_filtered(query) else query.limit + 1 - len(found)
            rows, is_all = await _read(sessions, query, everybody, part, many, start)
            found += [row for row in rows if passes(row.item)]
            if len(found) > query.limit:
                return _page(found[: query.limit], found[query.limit - 1], query)
            if not is_all:
                return _page(found, rows[-1], query)
    return _page(found, None, query)


def _start(query: Query) -> Place | None:
    """The place that the page begins behind. Raises ``QueryError`` when the cursor makes no sense."""
    after = decode_cursor(query.cursor, query.sort) if query.cursor is not None else None
    if after is not None and after.handle in (FIRST, REST) and not 0 < after.at < _MOST_SKIPPED:
        raise QueryError("the cursor is not one that a page gave; start from the first page")
    return after


def _page(rows: list[Row], last: Row | None, query: Query) -> Page:
    return Page([row.item for row in rows], encode_cursor(last.place, query.sort) if last is not None else None)


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


def _parts(walk: _Walk, after: Place | None) -> list[_Walk]:
    """What is left of a run behind a place: what can be placed behind it, and then the rest."""
    if after is None:
        return [walk]
    name, direction = walk.sort[0]
    rest = walk._replace(where={"$and": [walk.where, rest_of(name, direction)]}, first=REST)
    if name == "user" and after.name:
        return [*_of_user(walk, after), rest]
    if after.handle == FIRST:
        return [walk._replace(skip=int(after.at))]
    if after.handle == REST:
        return [rest._replace(skip=int(after.at))]
    return [walk._replace(where={"$and": [walk.where, _later(name, direction, after)]}, first=REST), rest]


def _of_user(walk: _Walk, after: Place) -> list[_Walk]:
    """In the order by user: what is left of one user, and the users behind."""
    walk = walk._replace(user=after.name)
    others, rest = {"user": {"$gt": after.name}}, rest_of("last_seen_at", -1)
    if after.handle not in (FIRST, REST):
        same = {"$or": [_later("last_seen_at", -1, after), rest]}
        both = {"$and": [{"user": {"$gte": after.name}}, {"$or": [others, {"user": after.name, **same}]}]}
        return [walk._replace(where=both, first=REST)]
    left = {"user": after.name, **(rest if after.handle == REST else {})}
    return [
        walk._replace(where=left, skip=int(after.at), first=after.handle),
        walk._replace(where=others, first=REST, user=""),
    ]


def _later(name: str, direction: int, after: Place) -> dict[str, Any]:
    at, worse, than = (after.at, "$gte", "$gt") if direction == 1 else (-after.at, "$lte", "$lt")
    return {"$and": [{name: {worse: at}}, {"$or": [{name: {than: at}}, {"_id": {"$gt": after.handle}}]}]}


async def _read(
    sessions: SessionCollection, query: Query, everybody: Everybody, walk: _Walk, limit: int, after: Place | None
) -> tuple[list[Row], bool]:
    """Rows of a run, and whether these are all. The last row, where there are more, is behind ``after``."""
    while True:
        found = await _fetch(sessions, query, everybody, walk, limit)
        rows = rows_of(found, walk.sort, last=walk.last, skip=walk.skip, first=walk.first, user=walk.user)
        # A damaged field that is a list is found by each of its entries, but has one place.
        rows = [row for row in rows if row.place.handle and (after is None or _is_behind(row.place, after, walk))]
        if rows or len(found) < limit:
            return rows, len(found) < limit
        limit *= 2


def _is_behind(place: Place, after: Place, walk: _Walk) -> bool:
    is_placed = {place.handle, after.handle}.isdisjoint((FIRST, REST))
    if place.name == after.name:
        # What is left of a user comes with the walk of this user, and in no other.
        return walk.user == after.name and (not is_placed or place > after)
    return place.name > after.name or not place.name


async def _fetch(
    sessions: SessionCollection, query: Query, everybody: Everybody, walk: _Walk, limit: int
) -> list[dict[str, Any]]:
    """Documents of a run that are live, or tombstones that are kept."""
    alive = _alive(query, everybody)
    where = {"$and": [alive, walk.where]} if walk.where else alive
    shown = _NEVER_SHOWN if query.state is State.ENDED else documents.SHOWN
    more: dict[str, Any] = {"sort": walk.sort} if walk.sort else {}
    return await sessions.list_of(where, projection=shown, limit=limit, skip=walk.skip, hint=walk.by, **more)


def _alive(query: Query, everybody: Everybody) -> dict[str, Any]:
    ended = {"ended_at": {"$exists": True}, "keep_until": {"$not": {"$lte": query.now}}}
    return ended if query.state is State.ENDED else documents.live(query.now, everybody)


async def _few(sessions: SessionCollection, query: Query, everybody: Everybody) -> list[SessionSummary] | None:
    """All that can match, where an index knows them and they are few; else ``None``."""
    if query.handle is not None:
        return await _named(sessions, query)
    ranges = narrow(query)
    if query.state is State.ENDED or straight(query) != "all" or not ranges:
        return None
    items: dict[str, SessionSummary] = {}
    for name, value, is_prefix in ranges:
        column = _COLUMNS[name]
        part: dict[str, Any] = {column: {"$gte": value, "$lt": value + "\U0010ffff"} if is_prefix else value}
        found = await _fetch(sessions, query, everybody, _Walk(_INDEXES[name], part, []), _FEW + 1)
        if len(items) + len(found) > _FEW:
            return None
        some = map(documents.read_shown, found)
        items.update((item.handle, item) for item in some)
    return list(items.values())


async def _named(sessions: SessionCollection, query: Query) -> list[SessionSummary]:
    """The session of a handle, or its tombstone, if the query speaks of it."""
    stored, everybody = await sessions.read_shown([query.handle or ""])
    found = [document for document in stored.values() if documents.is_session(document) is (query.state is State.LIVE)]
    items = [(documents.read_shown(document), document) for document in found]
    if query.state is State.LIVE:
        return [item for item, document in items if documents.is_live(item, document, query.now, everybody)]
    return [item for item, document in items if number_or(document.get("keep_until"), inf) > query.now]


def _is_filtered(query: Query) -> bool:
    """Whether more is asked than what the index itself knows."""
    return len(query.given) > (straight(query) != "all")


async def count(sessions: SessionCollection, query: Query, everybody: Everybody) -> Count:
    """How many match, exact up to a bound."""
    few = await _few(sessions, query, everybody)
    passes = matcher(query)
    if few is not None:
        return Count(sum(map(passes, few)), exact=True)
    walk = _walks(query)[0] if straight(query) != "all" else _walks(Query(now=query.now, state=query.state))[0]
    if _is_filtered(query):
        rows, is_all = await _read(sessions, query, everybody, walk, STEP, None)
        return Count(sum(passes(row.item) for row in rows), exact=is_all)
    where = {**_alive(query, everybody), **walk.where}
    # Without filters the index by expiry answers alone.
    index = walk.by if walk.by != "by_last_seen" else "by_expiry"
    total = await sessions.client.count("sessions", where, limit=COUNTED + 1, hint=index)
    return Count(min(total, COUNTED), exact=total <= COUNTED)
