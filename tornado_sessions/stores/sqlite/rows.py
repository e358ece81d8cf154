"""Decode rows into records and tombstones, and read them by handle or by index.

It must not know threads, paging or what a change means. SQLite does not enforce column types, so a column may have any
value; ``stored_fields`` checks what was read.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import suppress
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import asdict, astuple

from tornado_sessions.record import LATEST, Cause, Damaged, Event, EventKind, Record, SessionSummary, Tombstone, bury
from tornado_sessions.stores.sqlite.columns import ENDING, FACTS, RECORD, TOMBSTONE, selected
from tornado_sessions.stores.stored_fields import (
    HASH_SIZE,
    RECORD_FIELDS,
    are_times,
    fault_of,
    number_or,
    read_ending,
    read_summary,
    salvage,
)

__all__ = [
    "Stored",
    "created_after",
    "damaged",
    "events_after",
    "expired_rows",
    "facts_of",
    "known_handles",
    "private_of",
    "rows_of_user",
    "rows_outside",
    "stored",
    "stored_tombstones",
    "to_facts",
    "to_tombstone",
    "tombstone_values",
]

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(
    tuple[bytes, bytes | None, float, float | None, float, float, float, bool, dict[str, bytes]]
).decode
#: The values of the columns ``FACTS`` of a session.
facts_of = attrgetter(*FACTS)
_ending_of = attrgetter(*ENDING)

# Maximum number of handles in one statement. SQLite accepts thousands, but caches few different statements.
_CHUNK = 400
_SELECT = f"SELECT {selected(RECORD)}, era, id FROM sessions WHERE id NOT IN leftovers AND "
_PRIVATE = len(FACTS)


class _Facts(msgspec.Struct, array_like=True, gc=False):
    """The columns ``FACTS``, with their types. ``convert`` ignores the columns behind them.

    A structure, because msgspec compiles its types once, and those of a tuple for each row, which takes 5 microseconds.
    """

    handle: str
    user: str | None
    ip: str
    user_agent: str
    created_at: float
    signed_in_at: float | None
    last_seen_at: float
    expires_at: float


class Stored(NamedTuple):
    """A row of ``sessions``.

    Attributes:
        id: identifies the row even if its handle is damaged.
        era: the era of the session, which has ended unless this is the current one; any value if damaged.
        item: the session.
    """

    id: int
    era: int
    item: Record | Damaged


def stored(connection: sqlite3.Connection, handles: Sequence[str]) -> Iterator[Stored]:
    """Yield the sessions with these handles, live or not, in any order."""
    return map(_to_stored, _by_handle(connection, _SELECT, handles))


def stored_tombstones(connection: sqlite3.Connection, handles: Sequence[str]) -> Iterator[Tombstone | Damaged]:
    """Yield the tombstones with these handles, in any order."""
    return map(to_tombstone, _by_handle(connection, f"SELECT {selected(TOMBSTONE)} FROM tombstones WHERE ", handles))


def known_handles(connection: sqlite3.Connection, handles: Sequence[str]) -> set[str]:
    """Return the handles that have a tombstone, readable or not."""
    return {handle for (handle,) in _by_handle(connection, "SELECT handle FROM tombstones WHERE ", handles)}


def _by_handle(connection: sqlite3.Connection, select: str, handles: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    for start in range(0, len(handles), _CHUNK):
        some = handles[start : start + _CHUNK]
        try:
            found = connection.execute(f"{select} handle IN ({', '.join('?' * len(some))})", some)
        except UnicodeEncodeError:
            # A handle with a lone surrogate cannot be stored, so it has no row: look up the others.
            some = [handle for handle in some if handle == handle.encode("utf-8", "ignore").decode()]
            found = connection.execute(f"{select} handle IN ({', '.join('?' * len(some))})", some)
        yield from found


def rows_of_user(connection: sqlite3.Connection, user: str, era: int) -> list[Stored]:
    """Return a user's sessions in this era, and those with a damaged era, which may be live."""
    # Two statements: with "era >= ?", SQLite could not search the index by user, and would read all sessions of this era.
    return _select(connection, "era = ? AND user = ?", era, user) + _select(
        connection, "era > ? AND user = ?", era, user
    )


def expired_rows(connection: sqlite3.Connection, era: int, now: float, limit: int) -> list[Stored]:
    """Return the sessions of this era that expired first, at most ``limit``."""
    return _select(connection, "era = ? AND expires_at <= ? ORDER BY expires_at LIMIT ?", era, now, limit)


def created_after(connection: sqlite3.Connection, era: int, after: float, limit: int) -> list[Stored]:
    """Return the sessions of this era created after a time, latest first; those with a damaged time are skipped."""
    # Two statements, one for each index: nearly all sessions were used at their creation or later, so also after this time.
    created = "created_at > ? AND created_at < ? ORDER BY created_at DESC LIMIT ?"
    used = f"era = ? AND last_seen_at > ? AND created_at <= last_seen_at AND {created}"
    unused = f"era = ? AND created_at > last_seen_at AND {created}"
    found = _select(connection, used, era, after, after, LATEST, limit)
    found += _select(connection, unused, era, after, LATEST, limit)
    return sorted(found, key=lambda row: -row.item.created_at)[:limit]


def rows_outside(connection: sqlite3.Connection, era: int, limit: int) -> list[Stored]:
    """Return sessions of other eras. Text and blobs sort after all numbers, so ">" finds damaged eras."""
    where = "era {} ? ORDER BY era LIMIT ?"
    found = _select(connection, where.format("<"), era, limit)
    return found + _select(connection, where.format(">"), era, limit - len(found))


def _select(connection: sqlite3.Connection, where: str, *values: object) -> list[Stored]:
    return [_to_stored(row) for row in connection.execute(_SELECT + where, values)]


def events_after(connection: sqlite3.Connection, seq: int) -> tuple[int, list[Event]]:
    """Return the number of the latest event, and the events after ``seq`` in order, without damaged ones."""
    sql = "SELECT seq, kind, handle, at, user, cause, ended_by FROM events WHERE seq > ? ORDER BY seq"
    found = connection.execute(sql, (seq,)).fetchall()
    events = [event for row in found if (event := _to_event(*row[1:])) is not None]
    return (found[-1][0] if found else seq), events


def _to_event(kind: Any, handle: Any, at: Any, user: Any, cause: Any, by: Any) -> Event | None:
    if kind not in tuple(EventKind) or type(handle) is not str or number_or(at, None) is None:
        return None
    return Event(
        kind=EventKind(kind),
        handle=handle,
        at=at,
        user=user if type(user) is str else None,
        cause=Cause(cause) if cause in tuple(Cause) else None,
        by=by if type(by) is str else None,
    )


def _to_stored(row: Sequence[Any]) -> Stored:
    fields = _fields_of(row)
    item = fields if isinstance(fields, Damaged) else Record(**dict(zip(RECORD_FIELDS, fields, strict=True)))
    return Stored(row[_PRIVATE + 2], row[_PRIVATE + 1], item)


def damaged(connection: sqlite3.Connection, ids: Sequence[int]) -> Iterator[Damaged]:
    """Yield those of the sessions with these ids that cannot be read whole although their ``FACTS`` can, in any order."""
    for start in range(0, len(ids), _CHUNK):
        some = ids[start : start + _CHUNK]
        where = f"id IN ({', '.join('?' * len(some))})"
        found = connection.execute(f"SELECT id, era, private FROM sessions WHERE {where}", some)
        for id_ in [id_ for id_, era, private in found if type(era) is not int or _private(private) is None]:
            row = connection.execute(f"{_SELECT} id = ?", (id_,)).fetchone()
            if row is not None and isinstance(fields := _fields_of(row), Damaged):
                yield fields


def _private(stored: Any) -> tuple[Any, ...] | None:
    """Decode the column ``private``; ``None`` if it is damaged."""
    try:
        found = _unpack(stored)
    except (msgspec.MsgspecError, TypeError):
        return None
    return found if _is_sound(*found) else None


def _fields_of(row: Sequence[Any]) -> tuple[Any, ...] | Damaged:
    """Return the values of ``RECORD_FIELDS``."""
    has_era, private = type(row[_PRIVATE + 1]) is int, _private(row[_PRIVATE])
    if has_era and private is not None:
        with suppress(msgspec.ValidationError):
            facts = msgspec.convert(row, _Facts)
            if _are_times(facts):
                return astuple(facts) + private
    fields = dict(zip(FACTS, row, strict=False))
    return salvage(fields, fault_of(fields, FACTS) or ("private is not readable" if has_era else "era is not a number"))


def _is_sound(secret: bytes, previous: bytes | None, rotated_at: float, confirmed_at: float | None, *rest: Any) -> bool:
    grace, absolute_at, idle_timeout, _, _ = rest
    return (
        len(secret) == HASH_SIZE
        and (previous is None or len(previous) == HASH_SIZE)
        and are_times(rotated_at, confirmed_at or 0.0, grace, absolute_at, idle_timeout)
    )


def _are_times(facts: _Facts) -> bool:
    return are_times(facts.created_at, facts.signed_in_at or 0.0, facts.last_seen_at, facts.expires_at)


def to_facts(row: Sequence[Any]) -> SessionSummary:
    """Decode a row that starts with the columns ``FACTS``."""
    try:
        facts = msgspec.convert(row, _Facts)
        if _are_times(facts):
            return SessionSummary(**asdict(facts))
    except msgspec.ValidationError:
        pass
    return read_summary(dict(zip(FACTS, row, strict=False)))


def to_tombstone(row: Sequence[Any]) -> Tombstone | Damaged:
    """Decode a row that starts with the columns ``TOMBSTONE``."""
    fields = dict(zip(TOMBSTONE, row, strict=False))
    facts, ending = read_summary(fields), read_ending({name: fields[column] for name, column in ENDING.items()})
    if isinstance(facts, Damaged):
        return facts
    return salvage(fields, ending) if isinstance(ending, str) else bury(facts, ending)


def private_of(record: Record) -> bytes:
    """Return the column ``private``: the fields of a record from ``secret_hash`` on. Whole numbers take few bytes, not nine."""
    numbers = record.rotated_at, record.confirmed_at, record.grace, record.absolute_at, record.idle_timeout
    shortest = [
        int(value) if value is not None and value % 1 == 0 and -LATEST < value < LATEST else value for value in numbers
    ]
    return _pack((record.secret_hash, record.previous_hash, *shortest, record.persistent, record.data))


def tombstone_values(item: Tombstone) -> tuple[object, ...]:
    """Return the values of a tombstone's row."""
    return (*facts_of(item), *_ending_of(item.ending))
