"""Lists and counts: keyset paging along an index, in bounded steps, never a scan of everything.

It must not know threads or writing. A list is walked along the index of its order; where another index knows the few rows that
can match, these are sorted instead.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from tornado_sessions.query import Count, Page, Query, State
from tornado_sessions.record import LATEST, Damaged, SessionSummary
from tornado_sessions.stores.cursor import Place, decode_cursor, encode_cursor, page_of
from tornado_sessions.stores.matching import DEVICES, Range, in_network, narrow, straight
from tornado_sessions.stores.sqlite import eras, rows
from tornado_sessions.stores.sqlite.columns import FACTS, TOMBSTONE
from tornado_sessions.stores.sqlite.walks import BYTES, Values, Walk, behind, joined, place_of_row, walks_of

__all__ = ["count", "find"]

#: Rows that a count of filters looks at; beyond, it is "at least".
COUNTED = 10_000
#: Rows that one page looks at where no index fits.
STEP = 5_000
#: So many are read and sorted at most, where an index knows them but not their order.
_FEW = 2_000


def find(connection: sqlite3.Connection, query: Query) -> Page:
    """One page."""
    wanted = _conditions(connection, query)
    few = _few(connection, query)
    page = (
        page_of(_select(connection, query, *few, wanted), query)
        if few is not None
        else _walk(connection, query, wanted)
    )
    return page if query.state is State.ENDED else _looked_into(connection, page)


def _looked_into(connection: sqlite3.Connection, page: Page) -> Page:
    """Check the columns that lists do not read, so that a session with a damaged hash or value shows as damaged."""
    stored = rows.stored(connection, [item.handle for item in page.items if not isinstance(item, Damaged)])
    damaged = {row.item.handle: row.item for row in stored if isinstance(row.item, Damaged)}
    return Page([damaged.get(item.handle, item) for item in page.items], page.next_cursor) if damaged else page


def _walk(connection: sqlite3.Connection, query: Query, wanted: tuple[str, Values]) -> Page:
    after = decode_cursor(query.cursor, query.sort) if query.cursor is not None else None
    found: list[tuple[SessionSummary, Place]] = []
    walks = walks_of(query, eras.standing(connection).era)
    for walk in walks:
        if after is not None and after.last and (not walk.last or after.name == BYTES):
            continue
        begins = after is None or after.last is not walk.last
        part = walk if begins or after is None else behind(walk, after)
        items, reached = _step(connection, query, part, wanted, query.limit + 1 - len(found))
        found += items
        if len(found) > query.limit:
            return _page(query, found)
        if reached is not None:
            return Page([item for item, _ in found], encode_cursor(reached, query.sort))
    begins_at = after.at if after is not None and after.last and after.name == BYTES else -1.0
    found += _unsorted(connection, query, walks, wanted, begins_at, query.limit + 1 - len(found))
    return _page(query, found)


def _page(query: Query, found: list[tuple[SessionSummary, Place]]) -> Page:
    items = [item for item, _ in found[: query.limit]]
    more = len(found) > query.limit
    return Page(items, encode_cursor(found[query.limit - 1][1], query.sort) if more else None)


def _step(
    connection: sqlite3.Connection, query: Query, walk: Walk, wanted: tuple[str, Values], limit: int
) -> tuple[list[tuple[SessionSummary, Place]], Place | None]:
    """What matches among the next rows; also the place of the last one, where there are more and too few matched."""
    table, columns = _table(query)
    part = f"FROM {table} INDEXED BY {walk.by} WHERE {walk.where} AND {walk.sound} ORDER BY {walk.order} LIMIT {STEP}"
    sql = f"SELECT * FROM (SELECT {columns} {part}) WHERE {wanted[0]} LIMIT ?"
    found = [
        (_item(query, row), place_of_row(walk, row))
        for row in connection.execute(sql, (*walk.values, *wanted[1], limit))
    ]
    if len(found) == limit:
        return found, None
    edge = part.removesuffix(f"LIMIT {STEP}") + f"LIMIT 1 OFFSET {STEP - 1}"
    row = connection.execute(f"SELECT {columns} {edge}", walk.values).fetchone()
    return found, place_of_row(walk, row) if row is not None else None


def _unsorted(
    connection: sqlite3.Connection,
    query: Query,
    walks: Sequence[Walk],
    wanted: tuple[str, Values],
    after: float,
    limit: int,
) -> list[tuple[SessionSummary, Place]]:
    """Rows that no walk shows because what they are sorted by is damaged; they come last, ordered by row id."""
    table, columns = _table(query)
    (where, values), era = joined(walks), walks[0].values[:1]
    in_era = "era = ? AND " if table == "sessions" else ""
    parts = [("handle >= x'' OR handle IS NULL", False)]
    times = {"ended_at"} if table == "tombstones" else {"last_seen_at", walks[0].time}
    parts += [
        (f"{in_era}{time} {comparison}", True) for time in times for comparison in (f">= {LATEST}", f"<= {-LATEST}")
    ]
    if walks[0].column in {"user", "signed_in_at"}:
        parts.append((f"{in_era}user >= x''", True))
    if walks[0].column == "signed_in_at":
        parts.append((f"{in_era}user IS NOT NULL AND signed_in_at IS NULL", True))
    candidates = " UNION ALL ".join(f"SELECT rowid FROM {table} WHERE {part}" for part, _ in parts)
    given = era * sum(is_of_era for _, is_of_era in parts) if in_era else []
    shown = " OR ".join(f"({walk.where} AND {walk.sound})" for walk in walks)
    of_walks = [value for walk in walks for value in walk.values]
    sql = (
        f"SELECT * FROM (SELECT {columns}, rowid FROM {table} NOT INDEXED WHERE rowid IN ({candidates}) AND rowid > ?"
        f" AND {where} AND ({shown}) IS NOT TRUE ORDER BY rowid) WHERE {wanted[0]} LIMIT ?"
    )
    bound = (*given, after, *values, *of_walks, *wanted[1], limit)
    return [
        (_item(query, row), Place(last=True, name=BYTES, at=float(row[-1]), handle=""))
        for row in connection.execute(sql, bound)
    ]


def _few(connection: sqlite3.Connection, query: Query) -> tuple[str, Values] | None:
    """The condition that names the few rows which hold all that matches; ``None`` where an index in order serves better."""
    if query.handle is not None:
        return "handle = ?", [query.handle]
    if query.state is State.LIVE and straight(query) != "all":
        return None
    ranges = narrow(query)
    if not ranges or (query.state is State.ENDED and (query.user or query.ip) is not None):
        return None
    where, values = _in_ranges(connection, query, ranges)
    sql = f"SELECT count(*) FROM (SELECT 1 FROM {_table(query)[0]} WHERE {where} LIMIT {_FEW + 1})"
    return (where, values) if connection.execute(sql, values).fetchone()[0] <= _FEW else None


def _in_ranges(connection: sqlite3.Connection, query: Query, ranges: Sequence[Range]) -> tuple[str, Values]:
    parts: list[str] = []
    values: Values = []
    for name, value, is_prefix in ranges:
        part = f"{name} >= ? AND {name} < ?" if is_prefix else f"{name} = ?"
        if query.state is State.LIVE and name != "handle":
            part = f"era = ? AND {part}"
            values.append(eras.standing(connection).era)
        values += [value, value + "\U0010ffff"] if is_prefix else [value]
        parts.append(f"SELECT rowid FROM {_table(query)[0]} WHERE {part}")
    if len(parts) == 1:
        return parts[0].partition(" WHERE ")[2], values
    return f"rowid IN ({' UNION '.join(parts)})", values


def _select(
    connection: sqlite3.Connection, query: Query, where: str, values: Values, wanted: tuple[str, Values]
) -> list[SessionSummary]:
    table, columns = _table(query)
    sql = f"SELECT * FROM (SELECT {columns} FROM {table} WHERE {where} LIMIT -1) WHERE {wanted[0]}"
    return [_item(query, row) for row in connection.execute(sql, (*values, *wanted[1]))]


def count(connection: sqlite3.Connection, query: Query) -> Count:
    """How many match: without filters from what is counted per minute, else by looking at rows, up to a bound."""
    if query.state is State.LIVE and not query.given:
        return Count(_count_live(connection, query.now), exact=True)
    wanted, values = _conditions(connection, query)
    table, columns = _table(query)
    where, bound = _few(connection, query) or joined(walks_of(query, eras.standing(connection).era))
    inner = f"SELECT {columns} FROM {table} WHERE {where} LIMIT {COUNTED + 1}"
    sql = f"SELECT count(*), total({wanted}) FROM ({inner})"
    looked_at, matched = connection.execute(sql, (*values, *bound)).fetchone()
    exact = looked_at <= COUNTED
    return Count(int(matched) if exact else min(int(matched), COUNTED), exact=exact)


def _count_live(connection: sqlite3.Connection, now: float) -> int:
    era, minute = eras.standing(connection).era, int(now // 60)
    later = "SELECT CAST(total(sessions) AS INTEGER) FROM ending_in WHERE era = ? AND minute > ?"
    this = "SELECT count(*) FROM sessions WHERE era = ? AND expires_at > ? AND expires_at < ?"
    counted = connection.execute(later, (era, minute)).fetchone()[0]
    return int(counted + connection.execute(this, (era, now, (minute + 1) * 60)).fetchone()[0])


def _table(query: Query) -> tuple[str, str]:
    ended = query.state is State.ENDED
    return ("tombstones", ", ".join(TOMBSTONE)) if ended else ("sessions", f"{', '.join(FACTS)}, era")


def _item(query: Query, row: tuple[Any, ...]) -> SessionSummary:
    return rows.to_tombstone(row) if query.state is State.ENDED else rows.to_facts(row)


def _conditions(connection: sqlite3.Connection, query: Query) -> tuple[str, Values]:
    """What each row has to be: alive, or a tombstone that is kept; and all filters."""
    if query.state is State.ENDED:
        where, values = ["keep_until > ?"], Values([query.now])
    else:
        # Not "=": text and blobs compare greater, so a lookup by handle finds a session whose era is damaged.
        where, values = ["expires_at > ?", "era >= ?"], Values([query.now, eras.standing(connection).era])
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
        _add_functions(connection)
        # As bytes: text that is not UTF-8 cannot be passed to a Python function.
        where.append("in_network(CAST(ip AS BLOB), ?)")
        values.append(query.network)
    return " AND ".join(where), values


def _add_functions(connection: sqlite3.Connection) -> None:
    """Add ``in_network`` once; SQLite refuses to replace a function while a failed statement is still open."""
    try:
        connection.execute("SELECT in_network(NULL, NULL)")
    except sqlite3.OperationalError:
        connection.create_function("in_network", 2, _in_network, deterministic=True)


def _in_network(ip: bytes | None, network: str | None) -> bool:
    try:
        return ip is not None and network is not None and in_network(ip.decode(), network)
    except UnicodeDecodeError:
        return False


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
