"""What is written: functions of a connection inside a write transaction.

It must not know threads or the event loop; ``Database.write`` runs these.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

from tornado_sessions.record import (
    Cause,
    Change,
    Conflict,
    Create,
    Ending,
    Event,
    EventKind,
    Outcome,
    Record,
    Tombstone,
    bury,
    expired,
)
from tornado_sessions.stores.apply import apply, is_live
from tornado_sessions.stores.sqlite import rows

__all__ = ["destroy", "destroy_user", "end_all", "expire", "save", "take"]

# Seconds for which events can still be heard by a process that was busy.
_EVENTS_KEPT = 600.0

_INSERT = f"INSERT INTO sessions VALUES ({', '.join('?' * len(rows.RECORD))})"
_MUTABLE = rows.RECORD[1:]
_UPDATE = f"UPDATE sessions SET {', '.join(f'{name} = ?' for name in _MUTABLE)} WHERE handle = ?"
_UPDATE_VALUES = "UPDATE sessions SET data = ? WHERE handle = ?"
_BURY = f"INSERT OR REPLACE INTO tombstones VALUES ({', '.join('?' * len(rows.TOMBSTONE))})"
_TELL = "INSERT INTO events (kind, handle, at, user, cause, ended_by) VALUES (?, ?, ?, ?, ?, ?)"


def save(connection: sqlite3.Connection, items: Sequence[Create | Change]) -> list[Outcome | Conflict | Exception]:
    """Apply changes in order; all reads go before all writes, and each row is written once."""
    not_before = rows.not_before(connection)
    stored = {record.handle: record for record in rows.records(connection, [item.handle for item in items])}
    buried = _buried(connection, [item.handle for item in items if isinstance(item, Create)])
    created: set[str] = set()
    updated: set[str] = set()
    refilled: set[str] = set()
    answers: list[Outcome | Conflict | Exception] = []
    for item in items:
        known = stored.get(item.handle)
        if isinstance(item, Create):
            free = known is None and item.handle not in buried and item.record.created_at >= not_before
            answers.append(Outcome.SAVED if free else Outcome.GONE)
            if free:
                stored[item.handle] = item.record
                created.add(item.handle)
        elif known is None or not is_live(known, item.now, not_before):
            answers.append(Outcome.GONE)
        else:
            applied = apply(item, known)
            answers.append(applied if isinstance(applied, Conflict) else Outcome.SAVED)
            if isinstance(applied, Record):
                stored[item.handle] = applied
                (refilled if item.is_of_values_only else updated).add(item.handle)
    connection.executemany(_INSERT, [_values(stored[handle]) for handle in created])
    connection.executemany(_UPDATE, [(*_values(stored[handle])[1:], handle) for handle in updated - created])
    refills = [(rows.pack(stored[handle].data), handle) for handle in refilled - updated - created]
    connection.executemany(_UPDATE_VALUES, refills)
    return answers


def _buried(connection: sqlite3.Connection, handles: list[str]) -> set[str]:
    return {tombstone.handle for tombstone in rows.tombstones(connection, handles)} if handles else set()


def _values(record: Record) -> tuple[object, ...]:
    return (*(getattr(record, name) for name in rows.RECORD[:-1]), rows.pack(record.data))


def destroy(connection: sqlite3.Connection, handles: Sequence[str], ending: Ending) -> list[str]:
    """End the live ones of these sessions."""
    not_before = rows.not_before(connection)
    found = {record.handle: record for record in rows.records(connection, handles)}
    live = [
        found[handle]
        for handle in dict.fromkeys(handles)
        if handle in found and is_live(found[handle], ending.at, not_before)
    ]
    _bury(connection, [bury(record, ending) for record in live], EventKind.DESTROYED)
    return [record.handle for record in live]


def take(connection: sqlite3.Connection, handle: str, ending: Ending) -> Record | None:
    """End one live session, and give what it was."""
    not_before = rows.not_before(connection)
    for record in rows.records(connection, [handle]):
        if is_live(record, ending.at, not_before):
            _bury(connection, [bury(record, ending)], None)
            return record
    return None


def destroy_user(connection: sqlite3.Connection, user: str, ending: Ending, except_handle: str | None) -> list[str]:
    """End every live session of a user but one."""
    found = connection.execute("SELECT handle FROM sessions WHERE user = ?", (user,)).fetchall()
    return destroy(connection, [handle for (handle,) in found if handle != except_handle], ending)


def end_all(connection: sqlite3.Connection, not_before: float, ending: Ending) -> None:
    """Move the global ``not_before`` forward."""
    if not_before <= rows.not_before(connection):
        return
    values = (not_before, ending.cause.value, ending.by, ending.reason, ending.keep_until)
    connection.execute("INSERT OR REPLACE INTO ended_all VALUES (1, ?, ?, ?, ?, ?)", values)
    _tell(connection, [Event(kind=EventKind.ENDED_ALL, handle="", at=not_before, cause=ending.cause, by=ending.by)])


def expire(connection: sqlite3.Connection, now: float, kept_for: float, limit: int) -> int:
    """Bury what ended by time, then what ended with everybody's; forget old tombstones and events."""
    connection.execute(
        "DELETE FROM tombstones WHERE handle IN (SELECT handle FROM tombstones WHERE keep_until <= ? LIMIT ?)",
        (now, limit),
    )
    connection.execute("DELETE FROM events WHERE at < ?", (now - _EVENTS_KEPT,))
    late = rows.expired_records(connection, now, limit)
    _bury(connection, [expired(record, now, now + kept_for) for record in late], EventKind.EXPIRED)
    swept = _sweep(connection, limit - len(late)) if len(late) < limit else 0
    return len(late) + swept


def _sweep(connection: sqlite3.Connection, limit: int) -> int:
    row = connection.execute("SELECT not_before, cause, ended_by, reason, keep_until FROM ended_all").fetchone()
    if row is None:
        return 0
    not_before, cause, by, reason, keep_until = row
    ending = Ending(at=not_before, cause=Cause(cause), by=by, reason=reason, keep_until=keep_until)
    old = rows.records_before(connection, not_before, limit)
    _bury(connection, [bury(record, ending) for record in old], None)
    return len(old)


def _bury(connection: sqlite3.Connection, dead: list[Tombstone], kind: EventKind | None) -> None:
    """Replace sessions by their tombstones and tell who listens, if they were not told before."""
    if not dead:
        return
    connection.executemany("DELETE FROM sessions WHERE handle = ?", [(item.handle,) for item in dead])
    connection.executemany(_BURY, [rows.tombstone_values(item) for item in dead])
    if kind is not None:
        _tell(
            connection,
            [
                Event(
                    kind=kind,
                    handle=item.handle,
                    at=item.ending.at,
                    user=item.user,
                    cause=item.ending.cause,
                    by=item.ending.by,
                )
                for item in dead
            ],
        )


def _tell(connection: sqlite3.Connection, events: Iterable[Event]) -> None:
    connection.executemany(
        _TELL,
        [
            (event.kind.value, event.handle, event.at, event.user, event.cause.value if event.cause else None, event.by)
            for event in events
        ],
    )
