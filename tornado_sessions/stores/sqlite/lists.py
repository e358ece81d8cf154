"""Lists and counts: keyset paging along an index, never a scan of everything.

It must not know threads or writing. Each filter has an index whose order is the list's; a prefix of anything is looked up in
three indexes, and where it fits too much, in bounded steps along the list.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple

from tornado_sessions.record import Count, Facts, Page, Query, State
from tornado_sessions.stores.cursor import decode_cursor, encode_cursor
from tornado_sessions.stores.sqlite import rows

__all__ = ["count", "find"]

#: Beyond this many a count is "at least".
COUNTED = 10_000
#: Rows that one step looks at where no index fits.
STEP = 2_000
_CANDIDATES = 1_000


class _List(NamedTuple):
    """One of the two lists: its table, columns, sort column and how a row becomes an item."""

    table: str
    columns: Sequence[str]
    sort: str
    live: str

    def item(self, row: tuple[Any, ...]) -> Facts:
        return rows.to_tombstone(row) if self.table == "tombstones" else rows.to_facts(row)

    def cursor(self, row: tuple[Any, ...]) -> str:
        return encode_cursor(row[self.columns.index(self.sort)], row[0])


# The unary plus keeps the planner on the list's own index, so that nothing is sorted.
_LIVE = _List("sessions", rows.FACTS, "last_seen_at", "+expires_at > ? AND +created_at >= ?")
_ENDED = _List("tombstones", rows.TOMBSTONE, "ended_at", "+keep_until > ?")


def find(connection: sqlite3.Connection, query: Query) -> Page:
    """One page."""
    which = _ENDED if query.state is State.ENDED else _LIVE
    where, values = _filters(connection, which, query)
    if query.cursor is not None:
        at, handle = decode_cursor(query.cursor)
        where += [f"{which.sort} <= ?", f"({which.sort} < ? OR handle > ?)"]
        values += [at, at, handle]
    if query.text:
        return _find_text(connection, which, where, values, query)
    found = _select(connection, which, where, values, query.limit + 1)
    return _page(which, found, query.limit, None)


def count(connection: sqlite3.Connection, query: Query) -> Count:
    """How many match, exact up to a bound."""
    which = _ENDED if query.state is State.ENDED else _LIVE
    if query.text:
        page = find(
            connection,
            Query(now=query.now, user=query.user, ip=query.ip, text=query.text, state=query.state, limit=500),
        )
        return Count(len(page.items), exact=page.next_cursor is None)
    where, values = _filters(connection, which, query)
    if where == [_LIVE.live]:
        # Without a filter the index by expiry answers alone.
        where = ["expires_at > ? AND created_at >= ?"]
    sql = f"SELECT count(*) FROM (SELECT 1 FROM {which.table} WHERE {' AND '.join(where)} LIMIT {COUNTED + 1})"
    total = connection.execute(sql, values).fetchone()[0]
    return Count(min(total, COUNTED), exact=total <= COUNTED)


def _filters(connection: sqlite3.Connection, which: _List, query: Query) -> tuple[list[str], list[Any]]:
    where, values = [which.live], [query.now]
    if which is _LIVE:
        values.append(rows.not_before(connection))
    # One filter chooses the index; the others are looked at row by row, within what it finds.
    chosen = ""
    for name in ("handle", "user", "ip"):
        value = getattr(query, name)
        if value is not None:
            where.append(f"{'+' if chosen else ''}{name} = ?")
            values.append(value)
            chosen = name
    return where, values


def _select(
    connection: sqlite3.Connection, which: _List, where: Sequence[str], values: Sequence[Any], limit: int
) -> list[tuple[Any, ...]]:
    sql = (
        f"SELECT {', '.join(which.columns)} FROM {which.table} WHERE {' AND '.join(where)} "
        f"ORDER BY {which.sort} DESC, handle LIMIT ?"
    )
    return connection.execute(sql, (*values, limit)).fetchall()


def _page(which: _List, found: list[tuple[Any, ...]], limit: int, go_on: str | None) -> Page:
    shown = found[:limit]
    cursor = which.cursor(shown[-1]) if len(found) > limit else go_on
    return Page([which.item(row) for row in shown], cursor)


def _find_text(connection: sqlite3.Connection, which: _List, where: list[str], values: list[Any], query: Query) -> Page:
    """Rows with a user, handle or address that begins so: by three indexes, or stepwise where it begins too many."""
    text = query.text or ""
    handles = _candidates(connection, which, text)
    if handles is not None:
        marks = ", ".join("?" * len(handles))
        found = _select(connection, which, [*where, f"handle IN ({marks})"], [*values, *handles], query.limit + 1)
        return _page(which, found, query.limit, None)
    seen = _select(connection, which, where, values, STEP)
    matching = [row for row in seen if any((row[place] or "").startswith(text) for place in range(3))]
    return _page(which, matching, query.limit, which.cursor(seen[-1]) if len(seen) == STEP else None)


def _candidates(connection: sqlite3.Connection, which: _List, text: str) -> list[str] | None:
    """Handles that match a prefix; ``None`` when they are too many to sort."""
    handles: set[str] = set()
    for name in ("handle", "user", "ip"):
        sql = f"SELECT handle FROM {which.table} WHERE {name} >= ? AND {name} < ? LIMIT ?"
        found = connection.execute(sql, (text, text + "\U0010ffff", _CANDIDATES + 1)).fetchall()
        if len(found) > _CANDIDATES:
            return None
        handles.update(handle for (handle,) in found)
    return sorted(handles)
