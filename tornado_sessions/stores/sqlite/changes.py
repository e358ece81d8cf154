"""The store's writes: functions that take a connection inside a write transaction.

It must not know threads or the event loop. ``Database.write`` runs these functions, possibly twice.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

from tornado_sessions.change import apply, is_live
from tornado_sessions.record import (
    LATEST,
    Cause,
    Change,
    Conflict,
    Create,
    Damaged,
    Ending,
    Event,
    EventKind,
    Outcome,
    Record,
    Swapped,
    Tombstone,
    bury,
    expired,
)
from tornado_sessions.stores.base import FAR_AHEAD, FAR_AT_ONCE
from tornado_sessions.stores.sqlite import eras, rows
from tornado_sessions.stores.sqlite.columns import RECORD, TOMBSTONE
from tornado_sessions.stores.sqlite.eras import Standing
from tornado_sessions.stores.sqlite.rows import Stored

__all__ = ["destroy", "destroy_user", "end_all", "expire", "save", "swap", "take"]

#: Seconds that events are kept: a listener that polls less often misses some.
_EVENTS_KEPT = 600.0

_INSERT = f"INSERT INTO sessions ({', '.join(RECORD)}, era) VALUES ({', '.join('?' * len(RECORD))}, ?)"
_UPDATE = f"UPDATE sessions SET {', '.join(f'{name} = ?' for name in RECORD[1:])} WHERE handle = ?"
_UPDATE_VALUES = "UPDATE sessions SET data = ? WHERE handle = ?"
_BURY = f"INSERT OR REPLACE INTO tombstones VALUES ({', '.join('?' * len(TOMBSTONE))})"
_PUBLISH = "INSERT INTO events (kind, handle, at, user, cause, ended_by) VALUES (?, ?, ?, ?, ?, ?)"


def save(connection: sqlite3.Connection, items: Sequence[Create | Change]) -> list[Outcome | Conflict | Exception]:
    """Apply changes in order; return an outcome for each.

    All rows are read first, and the changes are applied in memory. Each row is therefore written once, however many items
    change it, and a change of data alone updates no index and runs no trigger.
    """
    standing = eras.standing(connection)
    stored = {row.item.handle: row for row in rows.stored(connection, [item.handle for item in items])}
    # A handle with a tombstone is not free: creating it again would revive an ended session.
    buried = rows.known_handles(connection, [item.handle for item in items if isinstance(item, Create)])
    created: set[str] = set()
    updated: set[str] = set()
    refilled: set[str] = set()
    answers: list[Outcome | Conflict | Exception] = []
    for item in items:
        known = stored.get(item.handle)
        after: Stored | Outcome | Conflict
        if isinstance(item, Create):
            is_free = known is None and item.handle not in buried
            after, written = (_created(item, standing) if is_free else Outcome.GONE), created
        else:
            after, written = _changed(item, known, standing), (refilled if item.is_of_values_only else updated)
        answers.append(Outcome.SAVED if isinstance(after, Stored) else after)
        if isinstance(after, Stored):
            stored[item.handle] = after
            written.add(item.handle)
    now = {handle: row.item for handle, row in stored.items() if isinstance(row.item, Record)}
    connection.executemany(_INSERT, [(*rows.values_of(now[handle]), standing.era) for handle in created])
    connection.executemany(_UPDATE, [(*rows.values_of(now[handle])[1:], handle) for handle in updated - created])
    refills = [(rows.pack(now[handle].data), handle) for handle in refilled - updated - created]
    connection.executemany(_UPDATE_VALUES, refills)
    return answers


def _created(item: Create, standing: Standing) -> Stored | Outcome:
    return Stored(0, standing.era, item.record) if item.record.created_at >= standing.not_before else Outcome.GONE


def _changed(item: Change, known: Stored | None, standing: Standing) -> Stored | Outcome | Conflict:
    if known is None or not isinstance(known.item, Record) or not _is_live(known, item.now, standing):
        return Outcome.GONE
    applied = apply(item, known.item)
    return applied if isinstance(applied, Conflict) else known._replace(item=applied)


def _is_live(row: Stored, now: float, standing: Standing) -> bool:
    return isinstance(row.item, Record) and standing.holds(row) and is_live(row.item, now, standing.not_before)


def destroy(connection: sqlite3.Connection, handles: Sequence[str], ending: Ending) -> list[str]:
    """End the live and damaged sessions among these handles; return the handles of those ended."""
    found = {row.item.handle: row for row in rows.stored(connection, handles)}
    return _destroy(connection, [found[handle] for handle in dict.fromkeys(handles) if handle in found], ending)


def destroy_user(connection: sqlite3.Connection, user: str, ending: Ending, except_handle: str | None) -> list[str]:
    """End a user's sessions, except the one with ``except_handle``; return the handles of those ended."""
    found = rows.rows_of_user(connection, user, eras.standing(connection).era)
    return _destroy(connection, [row for row in found if row.item.handle != except_handle], ending)


def _destroy(connection: sqlite3.Connection, found: list[Stored], ending: Ending) -> list[str]:
    standing = eras.standing(connection)
    ended = [
        row
        for row in found
        if _is_live(row, ending.at, standing) or (isinstance(row.item, Damaged) and standing.holds(row))
    ]
    _bury(connection, [(row, bury(row.item, ending)) for row in ended], EventKind.DESTROYED)
    return [row.item.handle for row in ended if row.item.handle]


def take(connection: sqlite3.Connection, handle: str, ending: Ending) -> Record | None:
    """End a live session without an event, and return its last state; ``None`` if it is not live or is damaged."""
    standing = eras.standing(connection)
    for row in rows.stored(connection, [handle]):
        if isinstance(row.item, Record) and _is_live(row, ending.at, standing):
            _bury(connection, [(row, bury(row.item, ending))], None)
            return row.item
    return None


def end_all(connection: sqlite3.Connection, not_before: float | None, ending: Ending, *, quietly: bool) -> float:
    """End all sessions created before a time; return the ``not_before`` in force, in UTC seconds.

    Args:
        connection: inside a transaction.
        not_before: in UTC seconds; ``None`` for a time after that of every session.
        ending: who ends them and why.
        quietly: whether to publish no event.
    """
    latest = _end_far_ahead(connection, ending) if not_before is None else LATEST
    moved = eras.start(connection, not_before, ending, latest)
    if moved is None:
        return eras.standing(connection).not_before
    if not quietly:
        _publish(connection, [Event(kind=EventKind.ENDED_ALL, handle="", at=moved, cause=ending.cause, by=ending.by)])
    return moved


def _end_far_ahead(connection: sqlite3.Connection, ending: Ending) -> float:
    """End the sessions created at an untrusted time, more than ``FAR_AHEAD`` ahead; return the latest trusted time.

    If there are ``FAR_AT_ONCE`` of them, the clock of ``ending.at`` is wrong instead, and every time is trusted.
    """
    latest = min(ending.at + FAR_AHEAD, LATEST)
    far = rows.created_after(connection, eras.standing(connection).era, latest, FAR_AT_ONCE)
    _destroy(connection, far, ending)
    return latest if len(far) < FAR_AT_ONCE else LATEST


def expire(connection: sqlite3.Connection, now: float, kept_for: float, limit: int) -> int:
    """Remove old tombstones, cells and events; turn expired sessions, then those ``end_all`` ended, into tombstones.

    Returns:
        The number of sessions removed, at most ``limit``.
    """
    for table, key in (("tombstones", "handle"), ("cells", "name")):
        old = f"SELECT {key} FROM {table} WHERE keep_until <= ? LIMIT ?"
        connection.execute(f"DELETE FROM {table} WHERE {key} IN ({old})", (now, limit))
    # Also deletes events with a damaged time, which would otherwise stay forever.
    connection.execute("DELETE FROM events WHERE (at >= ? AND at < ?) IS NOT TRUE", (now - _EVENTS_KEPT, LATEST))
    standing = eras.standing(connection)
    late = rows.expired_rows(connection, standing.era, now, limit)
    _bury(connection, [(row, _expired(row.item, now, now + kept_for)) for row in late], EventKind.EXPIRED)
    return len(late) + _sweep(connection, standing, now, kept_for, limit - len(late))


def _expired(item: Record | Damaged, now: float, keep_until: float) -> Tombstone:
    if isinstance(item, Record):
        return expired(item, now, keep_until)
    return bury(item, Ending(at=item.expires_at or now, cause=Cause.IDLE, keep_until=keep_until))


def _sweep(connection: sqlite3.Connection, standing: Standing, now: float, kept_for: float, limit: int) -> int:
    """Turn sessions that ``end_all`` ended into tombstones, without events: ``end_all`` published one for all."""
    dead: list[tuple[Stored, Tombstone]] = []
    late: list[tuple[Stored, Tombstone]] = []
    strays: list[int] = []
    ending = eras.ending(connection, now + kept_for)
    for row in rows.rows_outside(connection, standing.era, limit):
        # not_before decides first: a row outside the current era is live if only its era is damaged.
        if standing.is_certain and row.item.created_at >= standing.not_before:
            strays.append(row.rowid)
        elif isinstance(row.item, Record) and row.item.expires_at <= now:
            late.append((row, expired(row.item, now, now + kept_for)))
        else:
            dead.append((row, bury(row.item, ending)))
    # Live sessions with a damaged era return to their lists.
    connection.executemany("UPDATE sessions SET era = ? WHERE rowid = ?", [(standing.era, rowid) for rowid in strays])
    _bury(connection, late, EventKind.EXPIRED)
    _bury(connection, dead, None)
    return len(late) + len(dead)


def _bury(connection: sqlite3.Connection, dead: list[tuple[Stored, Tombstone]], kind: EventKind | None) -> None:
    """Replace sessions by tombstones, and publish an event of this kind for each; ``None`` for no events."""
    connection.executemany("DELETE FROM sessions WHERE rowid = ?", [(row.rowid,) for row, _ in dead])
    # Without a handle, a tombstone could never be looked up.
    buried = [item for _, item in dead if item.handle]
    connection.executemany(_BURY, [rows.tombstone_values(item) for item in buried])
    if kind is not None:
        _publish(connection, [_event(kind, item) for item in buried])


def _event(kind: EventKind, item: Tombstone) -> Event:
    end = item.ending
    return Event(kind=kind, handle=item.handle, at=end.at, user=item.user, cause=end.cause, by=end.by)


def _publish(connection: sqlite3.Connection, events: Iterable[Event]) -> None:
    values = [
        (event.kind.value, event.handle, event.at, event.user, event.cause.value if event.cause else None, event.by)
        for event in events
    ]
    connection.executemany(_PUBLISH, values)


def swap(
    connection: sqlite3.Connection, name: str, expected: bytes | None, value: bytes | None, keep_until: float
) -> Swapped:
    """Replace a value if it is the expected one; see ``Store.swap``."""
    row = connection.execute("SELECT value FROM cells WHERE name = ?", (name,)).fetchone()
    # A value of another type is damaged and counts as missing; otherwise no swap could ever replace it.
    current = row[0] if row is not None and isinstance(row[0], bytes) else None
    if current != expected:
        return Swapped(False, current)
    if value is None:
        connection.execute("DELETE FROM cells WHERE name = ?", (name,))
    else:
        connection.execute("INSERT OR REPLACE INTO cells VALUES (?, ?, ?)", (name, value, keep_until))
    return Swapped(True, value)
