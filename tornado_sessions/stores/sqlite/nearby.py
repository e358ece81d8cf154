"""Choose the rows of a page from what the indexes hold of all rows that match.

Reading an entry of an index takes a tenth of the time of reading a session. Pure functions; they must not know connections.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tornado_sessions.query import Query, Sort
from tornado_sessions.record import LATEST
from tornado_sessions.stores.cursor import VISITORS_LAST, Edge, SortKey, edge_of

__all__ = ["Place", "around", "place_of"]

#: The sort key of a row without its handle, which no index holds, the id of the row and, where the user decides the order, what
#: SQLite took for the user, and the time that orders it if that is none.
Place = tuple[Any, ...]


def place_of(sort: Sort) -> str:
    """Return the columns of SQL for a ``Place``; damaged values count as missing."""
    used, user = f"-{_time('last_seen_at')}", "user IS NOT NULL AND user < x''"
    if sort is Sort.LAST_SEEN:
        return f"0, '', {used}, id"
    if sort is Sort.EXPIRES:
        return f"0, '', {_time('expires_at')}, id"
    part = f"CASE WHEN {user} THEN 0 ELSE {VISITORS_LAST} END"
    if sort is Sort.SIGNED_IN:
        return f"{part}, '', CASE WHEN {user} THEN -{_time('signed_in_at')} ELSE {used} END, id, user, {used}"
    return f"{part}, CASE WHEN {user} THEN user ELSE '' END, {used}, id, user, {used}"


def _time(column: str) -> str:
    return f"(CASE WHEN {column} > {-LATEST} AND {column} < {LATEST} THEN {column} ELSE 0.0 END)"


def around(places: Sequence[Place], query: Query) -> list[int]:
    """Return the ids of the rows on a query's page, of one row more, and of those whose order only the handle decides."""
    if query.sort in (Sort.USER, Sort.SIGNED_IN):
        # SQLite takes bytes that are not UTF-8 for a text; no user has them.
        places = [(VISITORS_LAST, "", at[5], at[3]) if isinstance(at[4], bytearray) else at for at in places]
    found = sorted(places, reverse=query.is_reversed)
    if query.is_reversed:
        found.sort(key=lambda place: place[0])
    edge, many = edge_of(query), query.limit + 1
    if edge is not None:
        many += sum(place[:3] == edge.key[:3] for place in found)
        found = [place for place in found if _may_be_on_page(place, edge, query)]
        if edge.is_backwards:
            found.reverse()
    if len(found) > many:
        last = found[many - 1][:3]
        while many < len(found) and found[many][:3] == last:
            many += 1
    return [place[3] for place in found[:many]]


def _may_be_on_page(place: Place, edge: Edge, query: Query) -> bool:
    part, name, at = place[:3]
    key = SortKey(part, name, at, "")
    return key[:3] == edge.key[:3] or edge.is_on_page(key, is_reversed=query.is_reversed)
