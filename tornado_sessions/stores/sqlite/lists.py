"""Read SQLite's indexes for ``stores.paging``: lists and counts of sessions and tombstones.

It must not know threads or writing.

SQLite does not enforce column types, so a column may have any value. A row with damaged sort columns has no position in
a list: scans skip it, and the last scan of the list (``Index.UNPLACED``) returns exactly these rows, by rowid.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from tornado_sessions.query import Count, Page, Query, State
from tornado_sessions.record import LATEST, Damaged, SessionSummary
from tornado_sessions.stores import paging
from tornado_sessions.stores.cursor import UNPLACED, SortKey
from tornado_sessions.stores.indexes import Index, IndexScan, Range, list_for
from tornado_sessions.stores.requests import (
    MAX_CANDIDATES,
    MAX_COUNTED,
    Candidates,
    CountIndex,
    Nearby,
    ProbeRanges,
    ReadRanges,
    Row,
    Rows,
)
from tornado_sessions.stores.sqlite import eras, rows
from tornado_sessions.stores.sqlite.columns import FACTS, TOMBSTONE, selected
from tornado_sessions.stores.sqlite.conditions import condition, necessary, shown, text_of
from tornado_sessions.stores.sqlite.nearby import around, place_of

__all__ = ["count", "find"]

#: With this many expired sessions that are not yet removed, each row's own time decides whether it is live.
_MANY_DEAD = 500


def find(connection: sqlite3.Connection, query: Query) -> Page:
    """Return one page of the sessions that match a query."""
    reader = _Reader(connection, query)
    page = paging.run(paging.find(query), reader)
    if query.state is State.ENDED:
        return page
    # Lists do not read all columns. Check the rest of this page's rows, so that a damaged hash or value is shown too.
    ids = [reader.ids[item.handle] for item in page.items if not isinstance(item, Damaged)]
    damaged = {item.handle: item for item in rows.damaged(connection, ids)}
    return page._replace(items=[damaged.get(item.handle, item) for item in page.items]) if damaged else page


def count(connection: sqlite3.Connection, query: Query) -> Count:
    """Return the number of sessions that match a query."""
    return paging.run(paging.count(query), _Reader(connection, query))


@dataclass(frozen=True, slots=True)
class _Part:
    """The part of an index that holds one list.

    Attributes:
        index: the name of the index.
        where, values: the condition that selects the part, and its parameters.
        time: the column to sort by; the latest comes first, except for ``expires_at``.
        is_by_user: whether the list is sorted by user first.
    """

    index: str
    where: str
    values: tuple[Any, ...] = ()
    time: str = "last_seen_at"
    is_by_user: bool = False

    def order(self, *, is_backwards: bool) -> str:
        """Return the terms of ``ORDER BY``, with the handle as a tie-breaker; SQLite reads the index in either direction."""
        up, down = ("DESC", "ASC") if is_backwards else ("ASC", "DESC")
        user = f"user {up}, " if self.is_by_user else ""
        return f"{user}{self.time} {up if self.time == 'expires_at' else down}, handle {up}"

    @property
    def is_placed(self) -> str:
        """The condition that the sort columns are readable. The unary plus keeps SQLite from choosing an index for it."""
        names = ("handle", "user") if self.is_by_user or self.time == "signed_in_at" else ("handle",)
        text = " AND ".join(f"+{name} < x''" for name in names)
        return f"{text} AND +{self.time} > {-LATEST} AND +{self.time} < {LATEST}"

    def after(self, key: SortKey, request: IndexScan) -> tuple[str, list[Any]]:
        """Return the condition that selects the rows of a scan after a position, and its parameters."""
        at, handle = (key.at if self.time == "expires_at" else -key.at), text_of(key.handle)
        on, back = ("<", ">") if request.is_backwards else (">", "<")
        later = on if self.time == "expires_at" else back
        beyond = f"handle {on}{'=' if request.includes_after else ''} CAST(? AS TEXT)"
        if self.is_by_user:
            user = text_of(key.name)
            where = (
                f"user {on}= CAST(? AS TEXT) AND (user {on} CAST(? AS TEXT) OR last_seen_at {later} ?"
                f" OR (last_seen_at = ? AND {beyond}))"
            )
            return where, [user, user, at, at, handle]
        where = f"{self.time} {later}= ? AND ({self.time} {later} ? OR {beyond})"
        return where, [at, at, handle]


_PARTS = {
    Index.LAST_SEEN: _Part("sessions_by_last_seen", "era = ?"),
    Index.EXPIRES: _Part("sessions_by_expiry", "era = ?", time="expires_at"),
    Index.SIGNED_IN: _Part("sessions_by_signed_in", "era = ? AND user IS NOT NULL", time="signed_in_at"),
    Index.USERS: _Part("sessions_by_user", "era = ? AND user IS NOT NULL", is_by_user=True),
    Index.VISITORS: _Part("sessions_of_visitors", "era = ? AND user IS NULL"),
    Index.OF_USER: _Part("sessions_by_user", "era = ? AND user = ?"),
    Index.OF_IP: _Part("sessions_by_ip", "era = ? AND ip = ?"),
}


class _Reader:
    """Reads indexes for one query, in one transaction."""

    def __init__(self, connection: sqlite3.Connection, query: Query) -> None:
        self.connection = connection
        self.query = query
        self.era = eras.standing(connection).era
        self.is_ended = query.state is State.ENDED
        self.table = "tombstones" if self.is_ended else "sessions"
        self.columns = selected(TOMBSTONE if self.is_ended else (*FACTS, "id"))
        #: The id of each session that was read, by handle.
        self.ids: dict[str, int] = {}
        self.is_alive = f"{'keep_until' if self.is_ended else 'expires_at'} > ?"
        #: The condition that a row has not been left to ``expire``.
        self.is_present = "1" if self.is_ended else "id NOT IN leftovers"

    @cached_property
    def is_alive_by_id(self) -> str:
        """The same condition as ``is_alive``; it reads the index of expiry, not the row, unless many wait for ``expire``."""
        if self.is_ended:
            return self.is_alive
        dead = f"SELECT id FROM sessions INDEXED BY sessions_by_expiry WHERE era = {self.era:d} AND expires_at <= ?"
        waiting = f"SELECT count(*) FROM ({dead} LIMIT {_MANY_DEAD})"
        many = self.connection.execute(waiting, (self.query.now,)).fetchone()[0] == _MANY_DEAD
        return self.is_alive if many else f"id NOT IN ({dead})"

    def scan(self, request: IndexScan) -> Rows:
        if request.index is Index.UNPLACED:
            return self._scan_unplaced(request)
        part = self._part(request)
        where, values = part.after(request.after, request) if request.after is not None else ("1", [])
        order = part.order(is_backwards=request.is_backwards)
        sql = (
            f"SELECT {self.columns}, {self.is_alive} FROM {self.table} INDEXED BY {part.index}"
            f" WHERE {part.where} AND {where} AND {part.is_placed} AND {self.is_present} ORDER BY {order} LIMIT ?"
        )
        bound = (self.query.now, *part.values, *values)
        conditions, needed = necessary(self.query, request.index)
        if not conditions:
            found = self._rows(request, part, sql, (*bound, request.limit))
            return Rows(found, is_end=len(found) < request.limit)
        # Filter inside SQLite, which is five times as fast as in Python. The last row is read even if it does not match:
        # the next scan continues after it.
        found = self._rows(request, part, f"SELECT * FROM ({sql}) WHERE {conditions}", (*bound, request.limit, *needed))
        last = self._rows(request, part, f"{sql} OFFSET ?", (*bound, 1, request.limit - 1))
        if last and (not found or found[-1].key != last[0].key):
            found.append(last[0])
        return Rows(found, is_end=not last)

    def _rows(self, request: IndexScan, part: _Part, sql: str, bound: tuple[Any, ...]) -> list[Row]:
        return [Row(self._key(request, part, row), self._item(row)) for row in self.connection.execute(sql, bound)]

    def _part(self, request: IndexScan) -> _Part:
        """Return the part of an index that a scan reads, limited to the current era for sessions."""
        if request.index is Index.ENDED_OF_IP:
            return _Part("tombstones_by_ip", "ip = ?", (request.value,), "ended_at")
        if request.index is Index.ENDED and self.query.user is not None:
            return _Part("tombstones_by_user", "user = ?", (self.query.user,), "ended_at")
        if request.index is Index.ENDED:
            return _Part("tombstones_by_end", "1", (), "ended_at")
        part = _PARTS[request.index]
        return replace(part, values=(self.era, request.value)[: part.where.count("?")])

    @staticmethod
    def _key(request: IndexScan, part: _Part, row: Sequence[Any]) -> SortKey:
        """Return the position of a row from its stored values, so that damage to other columns does not move it."""
        at = row[TOMBSTONE.index(part.time)]
        name = shown(row[1]) if part.is_by_user else ""
        return SortKey(request.part, name, at if part.time == "expires_at" else -at, shown(row[0]))

    def _item(self, row: Sequence[Any]) -> SessionSummary | None:
        if not row[-1]:
            return None
        if self.is_ended:
            return rows.to_tombstone(row)
        item = rows.to_facts(row)
        self.ids[item.handle] = row[len(FACTS)]
        return item

    def _scan_unplaced(self, request: IndexScan) -> Rows:
        """Return the rows that have no position in the list, by rowid.

        In the index of its column, a damaged value is outside the range of valid ones, so an index finds the candidates.
        Lists sort by different columns: a row without a position in one list may have one in another.
        """
        parts = [self._part(scan) for scan in list_for(self.query) if scan.index is not Index.UNPLACED]
        in_era, era = ("", ()) if self.is_ended else ("era = ? AND ", (self.era,))
        times = {"ended_at"} if self.is_ended else {"last_seen_at", parts[0].time}
        outside = (f">= {LATEST}", f"<= {-LATEST}")
        ranges = [f"{in_era}{time} {comparison}" for time in times for comparison in outside]
        if parts[0].is_by_user or parts[0].time == "signed_in_at":
            ranges.append(f"{in_era}user >= x''")
        if parts[0].time == "signed_in_at":
            ranges.append(f"{in_era}user IS NOT NULL AND signed_in_at IS NULL")
        candidates = " UNION ALL ".join(
            f"SELECT rowid FROM {self.table} WHERE {where}" for where in ("handle >= x'' OR handle IS NULL", *ranges)
        )
        beyond, direction = ("<", "DESC") if request.is_backwards else (">", "")
        beyond += "=" if request.includes_after else ""
        whole = " OR ".join(f"({part.where})" for part in parts)
        placed = " OR ".join(f"({part.where} AND {part.is_placed})" for part in parts)
        sql = (
            f"SELECT {self.columns}, rowid, {self.is_alive} FROM {self.table} NOT INDEXED WHERE rowid IN ({candidates})"
            f" AND {self.is_present} AND rowid {beyond} ? AND ({whole}) AND ({placed}) IS NOT TRUE"
            f" ORDER BY rowid {direction} LIMIT ?"
        )
        start = 2**63 - 1 if request.is_backwards else -1
        after = request.after.at if request.after is not None else start
        values = [value for part in parts for value in part.values]
        bound = (self.query.now, *era * len(ranges), after, *values, *values, request.limit)
        found = [
            Row(SortKey(UNPLACED, "", float(row[-2]), ""), self._item(row))
            for row in self.connection.execute(sql, bound)
        ]
        return Rows(found, is_end=len(found) < request.limit)

    def ranges(self, request: ReadRanges) -> Candidates:
        parts = [self._range(part) for part in request.ranges]
        # Count first, and stop just above the limit: loading more rows than MAX_CANDIDATES would cost more than a scan. The ranges
        # of one field do not overlap, so a row counts at most once for each field.
        counted = dict.fromkeys((part.field for part in request.ranges), 0)
        for part, (where, bound) in zip(request.ranges, parts, strict=True):
            limited = f"SELECT 1 FROM {self.table} WHERE {where} LIMIT {MAX_CANDIDATES + 1 - counted[part.field]}"
            counted[part.field] += self.connection.execute(f"SELECT count(*) FROM ({limited})", bound).fetchone()[0]
            if counted[part.field] > MAX_CANDIDATES:
                return None
        if request.page_of is not None:
            return self._nearby(parts)
        union = " UNION ".join(f"SELECT rowid FROM {self.table} WHERE {where}" for where, _ in parts)
        where = parts[0][0] if len(parts) == 1 else f"rowid IN ({union})"
        sql = f"SELECT {self.columns}, {self.is_alive} FROM {self.table} WHERE {where} AND {self.is_present}"
        values = [value for _, bound in parts for value in bound]
        rows_ = self.connection.execute(f"{sql} LIMIT {MAX_CANDIDATES + 1}", (self.query.now, *values)).fetchall()
        found = [item for item in map(self._item, rows_) if item is not None]
        return found if len(rows_) <= MAX_CANDIDATES else None

    def _nearby(self, parts: Sequence[tuple[str, list[Any]]]) -> Nearby:
        """Sort what the indexes hold of the sessions in some ranges, and read those around the page."""
        key = place_of(self.query.sort)
        alive = f"{self.is_alive_by_id} AND {self.is_present}"
        union = " UNION ".join(f"SELECT {key} FROM sessions WHERE {where} AND {alive}" for where, _ in parts)
        bound = [value for _, values in parts for value in (*values, self.query.now)]
        places = self.connection.execute(union, bound).fetchall()
        ids = around(places, self.query)
        if not ids:
            return Nearby([], len(places))
        sql = f"SELECT {self.columns}, 1 FROM sessions WHERE id IN ({', '.join('?' * len(ids))})"
        return Nearby([item for row in self.connection.execute(sql, ids) if (item := self._item(row))], len(places))

    def probe(self, request: ProbeRanges) -> list[bool]:
        conditions = [self._range(part) for part in request.ranges]
        asked = ", ".join(f"EXISTS(SELECT 1 FROM {self.table} WHERE {where})" for where, _ in conditions)
        bound = [value for _, values in conditions for value in values]
        return list(map(bool, self.connection.execute(f"SELECT {asked}", bound).fetchone()))

    def _range(self, part: Range) -> tuple[str, list[Any]]:
        where, values = condition(part)
        if self.is_ended:
            return where, values
        # A lookup by handle also finds sessions with a damaged era: text and blobs compare greater than all numbers.
        return f"{'+era >=' if part.field == 'handle' else 'era ='} ? AND {where}", [self.era, *values]

    def count(self, request: CountIndex) -> Count | None:
        """Count the live rows of an index, up to ``MAX_COUNTED``; without filters, sum the counts per minute of expiry."""
        if request.scan.index is Index.LAST_SEEN:
            return Count(self._count_live(), exact=True)
        part = self._part(request.scan)
        where = f"{part.where} AND {self.is_present}"
        inner = f"SELECT {self.is_alive_by_id} AS alive FROM {self.table} WHERE {where} LIMIT {MAX_COUNTED + 1}"
        sql = f"SELECT count(*), CAST(total(alive) AS INTEGER) FROM ({inner})"
        examined, alive = self.connection.execute(sql, (self.query.now, *part.values)).fetchone()
        return Count(min(alive, MAX_COUNTED), exact=examined <= MAX_COUNTED)

    def _count_live(self) -> int:
        # Whole minutes come from the maintained counts; only the sessions that expire in this minute are counted one by one.
        minute = int(self.query.now // 60)
        later = "SELECT CAST(total(sessions) AS INTEGER) FROM ending_in WHERE era = ? AND minute > ?"
        this = (
            "SELECT count(*) FROM sessions WHERE era = ? AND expires_at > ? AND expires_at < ? AND id NOT IN leftovers"
        )
        counted = self.connection.execute(later, (self.era, minute)).fetchone()[0]
        return int(counted + self.connection.execute(this, (self.era, self.query.now, (minute + 1) * 60)).fetchone()[0])
