"""The store's writes: functions that take a transaction of the writer.

It must not know threads or the event loop. ``Database.write`` runs these functions, possibly twice. It has more than 300
lines because all writes turn sessions into tombstones and events in the same way.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import NamedTuple

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
from tornado_sessions.stores.sqlite.columns import ADD_AGENT, FACTS, RECORD, TOMBSTONE, assigned
from tornado_sessions.stores.sqlite.eras import Standing
from tornado_sessions.stores.sqlite.rows import Stored
from tornado_sessions.stores.sqlite.transaction import Transaction

__all__ = ["Expired", "destroy", "destroy_user", "end_all", "expire", "save", "swap", "take"]

#: Seconds that events are kept: a listener that polls less often misses some.
_EVENTS_KEPT = 600.0
#: How many old events are examined per session that may be removed; each removal publishes one.
_EVENTS_EXAMINED = 10

#: If one call ends more sessions than this, their rows are left to ``expire``: deleting 1,000 of a million changes 6,000 pages.
_FEW = 50
#: Maximum number of rows left to ``expire``, because lists skip them one by one.
_MOST_LEFT = 5000

_INSERT = f"INSERT INTO sessions ({', '.join(RECORD)}, era) VALUES ({', '.join(map(assigned, RECORD))}, ?)"
# If a constraint fails, the whole transaction is undone. "OR FAIL" tells SQLite that it need not be able to undo this statement
# alone, for which it would copy every page that the statement and its trigger change.
_BURY = f"INSERT OR FAIL INTO tombstones ({', '.join(TOMBSTONE)}) VALUES ({', '.join(map(assigned, TOMBSTONE))})"
_PUBLISH = "INSERT INTO events (kind, handle, at, user, cause, ended_by) VALUES (?, ?, ?, ?, ?, ?)"


class Expired(NamedTuple):
    """What ``expire`` did.

    Attributes:
        removed: number of sessions.
        is_more: whether more rows of any kind may wait to be removed.
    """

    removed: int
    is_more: bool


def save(transaction: Transaction, items: Sequence[Create | Change]) -> list[Outcome | Conflict | Exception]:
    """Apply changes in order; return an outcome for each.

    All rows are read first, and the changes are applied in memory. Each row is therefore written once, however many items
    change it, and a change that no list shows updates no index.
    """
    connection, standing = transaction.connection, transaction.standing
    before = transaction.current([item.handle for item in items])
    # A handle with a tombstone is not free: creating it again would revive an ended session.
    creates = [item.handle for item in items if isinstance(item, Create)]
    buried = rows.known_handles(connection, creates) if creates else set()
    after: dict[str, Record] = {}
    answers: list[Outcome | Conflict | Exception] = []
    for item in items:
        handle = item.handle
        record = after.get(handle) or before.get(handle)
        answer: Record | Outcome | Conflict = Outcome.GONE
        if isinstance(item, Create):
            is_free = handle not in before and handle not in after and handle not in buried
            if is_free and item.record.created_at >= standing.not_before:
                answer = item.record
        elif record is not None and is_live(record, item.now, standing.not_before):
            answer = apply(item, record)
        if isinstance(answer, Record):
            after[handle] = answer
            answers.append(Outcome.SAVED)
        else:
            answers.append(answer)
    for handle, record in after.items():
        _write(connection, handle, before.get(handle), record, standing.era)
    transaction.changed.update(after)
    return answers


def _write(connection: sqlite3.Connection, handle: str, before: Record | None, after: Record, era: int) -> None:
    """Write what has changed: each column that is set costs a change of every index that has it, even for the same value."""
    facts, private = rows.facts_of(after), rows.private_of(after)
    if before is None or before.user_agent != after.user_agent:
        connection.execute(ADD_AGENT, (after.user_agent,))
    if before is None:
        connection.execute(_INSERT, (*facts, private, era))
        return
    changed = {
        name: value for name, old, value in zip(FACTS, rows.facts_of(before), facts, strict=True) if value != old
    }
    columns = ", ".join(f"{name} = {assigned(name)}" for name in (*changed, "private"))
    connection.execute(f"UPDATE sessions SET {columns} WHERE handle = ?", (*changed.values(), private, handle))


def _is_live(row: Stored, now: float, standing: Standing) -> bool:
    return isinstance(row.item, Record) and standing.holds(row) and is_live(row.item, now, standing.not_before)


def destroy(transaction: Transaction, handles: Sequence[str], ending: Ending) -> list[str]:
    """End the live and damaged sessions among these handles; return the handles of those ended."""
    found = {row.item.handle: row for row in rows.stored(transaction.connection, handles)}
    return _destroy(transaction, [found[handle] for handle in dict.fromkeys(handles) if handle in found], ending)


def destroy_user(
    transaction: Transaction, user: str, ending: Ending, except_handle: str | None, at_most: int | None
) -> list[str]:
    """End at most ``at_most`` of a user's sessions, except ``except_handle``; return the handles of those ended."""
    found = rows.rows_of_user(transaction.connection, user, transaction.standing.era)
    return _destroy(transaction, [row for row in found if row.item.handle != except_handle], ending, at_most)


def _destroy(transaction: Transaction, found: list[Stored], ending: Ending, at_most: int | None = None) -> list[str]:
    standing = transaction.standing
    ended = [
        row
        for row in found
        if _is_live(row, ending.at, standing) or (isinstance(row.item, Damaged) and standing.holds(row))
    ][:at_most]
    dead = [(row, bury(row.item, ending)) for row in ended]
    _bury(transaction, dead, EventKind.DESTROYED, leave_rows=_may_be_left(transaction, len(dead)))
    return [row.item.handle for row in ended if row.item.handle]


def _may_be_left(transaction: Transaction, many: int) -> bool:
    if many <= _FEW:
        return False
    left = transaction.connection.execute("SELECT count(*) FROM leftovers").fetchone()[0]
    return bool(left + many <= _MOST_LEFT)


def take(transaction: Transaction, handle: str, ending: Ending) -> Record | None:
    """End a live session without an event, and return its last state; ``None`` if it is not live or is damaged."""
    standing = transaction.standing
    for row in rows.stored(transaction.connection, [handle]):
        if isinstance(row.item, Record) and _is_live(row, ending.at, standing):
            _bury(transaction, [(row, bury(row.item, ending))], None)
            return row.item
    return None


def end_all(transaction: Transaction, not_before: float | None, ending: Ending, *, quietly: bool) -> float:
    """End all sessions created before a time; return the ``not_before`` in force, in UTC seconds.

    Args:
        transaction: of the writer.
        not_before: in UTC seconds; ``None`` for a time after that of every session.
        ending: who ends them and why.
        quietly: whether to publish no event.
    """
    latest = _end_far_ahead(transaction, ending) if not_before is None else LATEST
    moved = eras.start(transaction.connection, not_before, ending, latest)
    if moved is None:
        return transaction.standing.not_before
    transaction.is_traced = False
    if not quietly:
        _publish(
            transaction.connection,
            [Event(kind=EventKind.ENDED_ALL, handle="", at=moved, cause=ending.cause, by=ending.by)],
        )
    return moved


def _end_far_ahead(transaction: Transaction, ending: Ending) -> float:
    """End the sessions created at an untrusted time, more than ``FAR_AHEAD`` ahead; return the latest trusted time.

    If there are ``FAR_AT_ONCE`` of them, the clock of ``ending.at`` is wrong instead, and every time is trusted.
    """
    latest = min(ending.at + FAR_AHEAD, LATEST)
    far = rows.created_after(transaction.connection, transaction.standing.era, latest, FAR_AT_ONCE)
    _destroy(transaction, far, ending)
    return latest if len(far) < FAR_AT_ONCE else LATEST


def expire(transaction: Transaction, now: float, kept_for: float, limit: int) -> Expired:
    """Remove old tombstones, cells and events; turn expired sessions, then those ``end_all`` ended, into tombstones.

    At most ``limit`` rows of each are removed, because other writes wait for this one.
    """
    connection, standing = transaction.connection, transaction.standing
    rest = [
        connection.execute(f"DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM {where} LIMIT ?)", (*bound, limit))
        for table, key, where, bound in (
            ("tombstones", "id", "tombstones WHERE keep_until <= ?", (now,)),
            ("cells", "name", "cells WHERE keep_until <= ?", (now,)),
            # Rows that were left are not counted: their sessions have already ended.
            ("sessions", "id", "leftovers", ()),
            ("agents", "id", "agents WHERE uses <= 0", ()),
        )
    ]
    rest.append(_forget_events(connection, now, _EVENTS_EXAMINED * limit))
    late = rows.expired_rows(connection, standing.era, now, limit)
    _bury(transaction, [(row, _expired(row.item, now, now + kept_for)) for row in late], EventKind.EXPIRED)
    removed = len(late) + _sweep(transaction, standing, now, kept_for, limit - len(late))
    return Expired(removed, is_more=max(removed, *(done.rowcount for done in rest)) >= limit)


def _forget_events(connection: sqlite3.Connection, now: float, limit: int) -> sqlite3.Cursor:
    """Delete old events among the first ones; those with a damaged time too, which would otherwise stay forever."""
    first = "SELECT seq FROM events ORDER BY seq LIMIT ?"
    old = "(at >= ? AND at < ?) IS NOT TRUE"
    return connection.execute(
        f"DELETE FROM events WHERE seq IN ({first}) AND {old}", (limit, now - _EVENTS_KEPT, LATEST)
    )


def _expired(item: Record | Damaged, now: float, keep_until: float) -> Tombstone:
    if isinstance(item, Record):
        return expired(item, now, keep_until)
    return bury(item, Ending(at=item.expires_at or now, cause=Cause.IDLE, keep_until=keep_until))


def _sweep(transaction: Transaction, standing: Standing, now: float, kept_for: float, limit: int) -> int:
    """Turn sessions that ``end_all`` ended into tombstones, without events: ``end_all`` published one for all."""
    dead: list[tuple[Stored, Tombstone]] = []
    late: list[tuple[Stored, Tombstone]] = []
    strays: list[int] = []
    ending = eras.ending(transaction.connection, now + kept_for)
    for row in rows.rows_outside(transaction.connection, standing.era, limit):
        # not_before decides first: a row outside the current era is live if only its era is damaged.
        if standing.is_certain and row.item.created_at >= standing.not_before:
            strays.append(row.id)
        elif isinstance(row.item, Record) and row.item.expires_at <= now:
            late.append((row, expired(row.item, now, now + kept_for)))
        else:
            dead.append((row, bury(row.item, ending)))
    # Live sessions with a damaged era return to their lists.
    transaction.connection.executemany(
        "UPDATE sessions SET era = ? WHERE id = ?", [(standing.era, id_) for id_ in strays]
    )
    _bury(transaction, late, EventKind.EXPIRED)
    _bury(transaction, dead, None)
    return len(late) + len(dead)


def _bury(
    transaction: Transaction,
    dead: list[tuple[Stored, Tombstone]],
    kind: EventKind | None,
    *,
    leave_rows: bool = False,
) -> None:
    """Replace sessions by tombstones, and publish an event of this kind for each; ``None`` for no events."""
    remove = "INSERT INTO leftovers VALUES (?)" if leave_rows else "DELETE FROM sessions WHERE id = ?"
    transaction.connection.executemany(remove, [(row.id,) for row, _ in dead])
    # Without a handle, a tombstone could never be looked up.
    buried = [item for _, item in dead if item.handle]
    _replace_tombstones(transaction.connection, buried)
    transaction.changed.update((row.item.handle, None) for row, _ in dead)
    if kind is not None:
        _publish(transaction.connection, [_event(kind, item) for item in buried])


def _replace_tombstones(connection: sqlite3.Connection, buried: list[Tombstone]) -> None:
    again = rows.known_handles(connection, [item.handle for item in buried])
    connection.executemany("DELETE FROM tombstones WHERE handle = ?", [(handle,) for handle in again])
    connection.executemany(ADD_AGENT, [(agent,) for agent in {item.user_agent for item in buried}])
    connection.executemany(_BURY, list(map(rows.tombstone_values, buried)))


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
