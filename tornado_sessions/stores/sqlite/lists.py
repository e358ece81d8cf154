"""Lists and counts: keyset paging along an index, in bounded steps, never a scan of everything.

It must not know threads or writing. A list is walked along the index of its order; where another index knows the few rows that
can match, these are sorted instead.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple

from tornado_sessions.query import Count, Page, Query, Sort, State
from tornado_sessions.record import Facts
from tornado_sessions.stores.cursor import Place, decode_cursor, encode_cursor, page_of, place_of
from tornado_sessions.stores.matching import DEVICES, Range, in_network, narrow, straight
from tornado_sessions.stores.sqlite import rows

__all__ = ["count", "find"]

#: Rows that a count of filters looks at; beyond, it is "at least".
COUNTED = 10_000
#: Rows that one page looks at where no index fits.
STEP = 5_000
#: So many are read and sorted at most, where an index knows them but not their order.
_FEW = 2_000

Values = list[Any]


class _Walk(NamedTuple):
    """A run along an index.

    Attributes:
        by: the index's name.
        where, values: the part of it.
        order: its order, as SQL.
        last: whether its rows come after all others of the list (``Place.last``).
    """

    by: str
    where: str
    values: Values
    order: str
    last: bool = False


_NEWEST = "last_seen_at DESC, handle"
_VISITORS = _Walk("sessions_of_visitors", "user IS NULL", [], _NEWEST, last=True)
_WALKS = {
    Sort.LAST_SEEN: [_Walk("sessions_by_last_seen", "1", [], _NEWEST)],
    Sort.EXPIRES: [_Walk("sessions_by_expiry", "1", [], "expires_at, handle")],
    Sort.SIGNED_IN: [_Walk("sessions_by_signed_in", "user IS NOT NULL", [], "signed_in_at DESC, handle"), _VISITORS],
    Sort.USER: [_Walk("sessions_by_user", "user IS NOT NULL", [], f"user, {_NEWEST}"), _VISITORS],
}
_INDEXES = {"user": "by_user", "ip": "by_ip"}


def find(connection: sqlite3.Connection, query: Query) -> Page:
    """One page."""
    wanted = _conditions(connection, query)
    few = _few(connection, query)
    if few is not None:
        return page_of(_select(connection, query, *few, wanted), query)
    return _walk(connection, query, wanted)


def _walk(connection: sqlite3.Connection, query: Query, wanted: tuple[str, Values]) -> Page:
    after = decode_cursor(query.cursor, query.sort) if query.cursor is not None else None
    found: list[Facts] = []
    for walk in _walks(query):
        if after is not None and after.last and not walk.last:
            continue
        begins = after is None or after.last is not walk.last
        part = walk if begins or after is None else _behind(walk, after)
        items, reached = _step(connection, query, part, wanted, query.limit + 1 - len(found))
        found += items
        if len(found) > query.limit:
            last = found[query.limit - 1]
            return Page(found[: query.limit], encode_cursor(place_of(last, query.sort), query.sort))
        if reached is not None:
            return Page(found, encode_cursor(place_of(reached, query.sort), query.sort))
    return Page(found, None)


def _walks(query: Query) -> list[_Walk]:
    """The runs that make the list, one after the other."""
    if query.state is State.ENDED:
        for name in ("user", "ip"):
            if (value := getattr(query, name)) is not None:
                return [_Walk(f"tombstones_{_INDEXES[name]}", f"{name} = ?", [value], "ended_at DESC, handle")]
        return [_Walk("tombstones_by_end", "1", [], "ended_at DESC, handle")]
    which = straight(query)
    if which == "visitors":
        return [_VISITORS._replace(last=query.sort is not Sort.LAST_SEEN)]
    if which != "all":
        return [_Walk(f"sessions_{_INDEXES[which]}", f"{which} = ?", [getattr(query, which)], _NEWEST)]
    return _WALKS[query.sort]


def _behind(walk: _Walk, after: Place) -> _Walk:
    """The part of a run behind a place."""
    column = walk.order.split(",")[0].removesuffix(" DESC")
    if column == "user":
        where = "user >= ? AND (user > ? OR last_seen_at < ? OR (last_seen_at = ? AND handle > ?))"
        values: Values = [after.name, after.name, -after.at, -after.at, after.handle]
    elif column == "expires_at":
        where, values = "expires_at >= ? AND (expires_at > ? OR handle > ?)", [after.at, after.at, after.handle]
    else:
        where = f"{column} <= ? AND ({column} < ? OR handle > ?)"
        values = [-after.at, -after.at, after.handle]
    return walk._replace(where=f"{walk.where} AND {where}", values=[*walk.values, *values])


def _step(
    connection: sqlite3.Connection, query: Query, walk: _Walk, wanted: tuple[str, Values], limit: int
) -> tuple[list[Facts], Facts | None]:
    """What matches among the next rows; also the last row looked at, where there are more and too few matched."""
    table, columns = _table(query)
    part = f"FROM {table} INDEXED BY {walk.by} WHERE {walk.where} ORDER BY {walk.order} LIMIT {STEP}"
    sql = f"SELECT * FROM (SELECT {columns} {part}) WHERE {wanted[0]} LIMIT ?"
    found = [_item(query, row) for row in connection.execute(sql, (*walk.values, *wanted[1], limit))]
    if len(found) == limit:
        return found, None
    edge = part.removesuffix(f"LIMIT {STEP}") + f"LIMIT 1 OFFSET {STEP - 1}"
    row = connection.execute(f"SELECT {columns} {edge}", walk.values).fetchone()
    return found, _item(query, row) if row is not None else None


def _few(connection: sqlite3.Connection, query: Query) -> tuple[str, Values] | None:
    """The condition that names the few rows which hold all that matches; ``None`` where an index in order serves better."""
    if query.handle is not None:
        return "handle = ?", [query.handle]
    if query.state is State.LIVE and straight(query) != "all":
        return None
    ranges = narrow(query)
    if not ranges or (query.state is State.ENDED and (query.user or query.ip) is not None):
        return None
    where, values = _in_ranges(query, ranges)
    sql = f"SELECT count(*) FROM (SELECT 1 FROM {_table(query)[0]} WHERE {where} LIMIT {_FEW + 1})"
    return (where, values) if connection.execute(sql, values).fetchone()[0] <= _FEW else None


def _in_ranges(query: Query, ranges: Sequence[Range]) -> tuple[str, Values]:
    parts: list[str] = []
    values: Values = []
    for name, value, is_prefix in ranges:
        part = f"{name} >= ? AND {name} < ?" if is_prefix else f"{name} = ?"
        values += [value, value + "\U0010ffff"] if is_prefix else [value]
        parts.append(f"SELECT handle FROM {_table(query)[0]} WHERE {part}")
    if len(parts) == 1:
        return parts[0].partition(" WHERE ")[2], values
    return f"handle IN ({' UNION '.join(parts)})", values


def _select(
    connection: sqlite3.Connection, query: Query, where: str, values: Values, wanted: tuple[str, Values]
) -> list[Facts]:
    table, columns = _table(query)
    sql = f"SELECT * FROM (SELECT {columns} FROM {table} WHERE {where} LIMIT -1) WHERE {wanted[0]}"
    return [_item(query, row) for row in connection.execute(sql, (*values, *wanted[1]))]


def count(connection: sqlite3.Connection, query: Query) -> Count:
    """How many match: without filters from what is counted per minute, else by looking at rows, up to a bound."""
    if query.state is State.LIVE and not query.given:
        total = _count_live(connection, query.now)
        if total is not None:
            return Count(total, exact=True)
    wanted, values = _conditions(connection, query)
    table, columns = _table(query)
    where, bound = _few(connection, query) or _joined(_walks(query))
    inner = f"SELECT {columns} FROM {table} WHERE {where} LIMIT {COUNTED + 1}"
    sql = f"SELECT count(*), total({wanted}) FROM ({inner})"
    looked_at, matched = connection.execute(sql, (*values, *bound)).fetchone()
    exact = looked_at <= COUNTED
    return Count(int(matched) if exact else min(int(matched), COUNTED), exact=exact)


def _joined(walks: Sequence[_Walk]) -> tuple[str, Values]:
    return ("1", []) if len(walks) > 1 else (walks[0].where, walks[0].values)


def _count_live(connection: sqlite3.Connection, now: float) -> int | None:
    """All who live; ``None`` while sessions of before everybody's end wait to be removed."""
    old = connection.execute("SELECT 1 FROM sessions WHERE created_at < ? LIMIT 1", (rows.not_before(connection),))
    if old.fetchone() is not None:
        return None
    minute = int(now // 60)
    later = connection.execute("SELECT total(sessions) FROM ending_in WHERE minute > ?", (minute,)).fetchone()[0]
    sql = "SELECT count(*) FROM sessions WHERE expires_at > ? AND expires_at < ?"
    return int(later) + int(connection.execute(sql, (now, (minute + 1) * 60)).fetchone()[0])


def _table(query: Query) -> tuple[str, str]:
    ended = query.state is State.ENDED
    return ("tombstones", ", ".join(rows.TOMBSTONE)) if ended else ("sessions", ", ".join(rows.FACTS))


def _item(query: Query, row: tuple[Any, ...]) -> Facts:
    return rows.to_tombstone(row) if query.state is State.ENDED else rows.to_facts(row)


def _conditions(connection: sqlite3.Connection, query: Query) -> tuple[str, Values]:
    """What each row has to be: alive, or a tombstone that is kept; and all filters."""
    if query.state is State.ENDED:
        where, values = ["keep_until > ?"], Values([query.now])
    else:
        where, values = ["expires_at > ?", "created_at >= ?"], Values([query.now, rows.not_before(connection)])
    for name, comparison in _COMPARISONS:
        value = getattr(query, name)
        if value is not None:
            where.append(comparison)
            values += [value] * comparison.count("?")
    if query.users is not None:
        where.append(f"user IN ({', '.join('?' * len(query.users))})")
        values += query.users
    if query.signed_in is not None:
        where.append("user IS NOT NULL" if query.signed_in else "user IS NULL")
    if query.device is not None:
        has, lacks = DEVICES[query.device]
        where += ["instr(user_agent, ?) > 0" for _ in has] + ["instr(user_agent, ?) = 0" for _ in lacks]
        values += [*has, *lacks]
    if query.network is not None:
        connection.create_function("in_network", 2, in_network, deterministic=True)
        where.append("in_network(ip, ?)")
        values.append(query.network)
    return " AND ".join(where), values


# As bytes: length() and substr() of text end at its first NUL.
_BEGINS = "substr(CAST({0} AS BLOB), 1, length(CAST(? AS BLOB))) = CAST(? AS BLOB)"
_COMPARISONS = (
    ("user", "user = ?"),
    ("ip", "ip = ?"),
    ("handle", "handle = ?"),
    ("user_prefix", _BEGINS.format("user")),
    ("text", f"({_BEGINS.format('user')} OR {_BEGINS.format('ip')} OR {_BEGINS.format('handle')})"),
    ("signed_in_since", "signed_in_at >= ?"),
    ("idle_since", "last_seen_at <= ?"),
    ("created_until", "max(created_at, coalesce(signed_in_at, 0)) <= ?"),
)
