"""Rows ⇄ records, and reading them by handle or by index.

SQLite does not enforce column types, and storage fails, so any column may hold anything. A row that cannot be read becomes
``Damaged`` with the fields that are still good. It must not know threads, paging or what a change means.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from tornado_sessions.record import LATEST, Cause, Damaged, Ending, Event, EventKind, Record, SessionSummary, Tombstone
from tornado_sessions.stores.sqlite.columns import (
    CAUSES,
    FACTS,
    RECORD,
    TOMBSTONE,
    decode,
    fault,
    is_storable,
    is_text,
    is_time,
    salvage,
)

__all__ = [
    "Stored",
    "created_after",
    "events_after",
    "expired_rows",
    "known_handles",
    "pack",
    "rows_of_user",
    "rows_outside",
    "stored",
    "stored_tombstones",
    "to_facts",
    "to_record",
    "to_tombstone",
    "tombstone_values",
    "values_of",
]

_encoder = msgspec.msgpack.Encoder()

# SQLite takes thousands of parameters; a bound keeps statements few and cached.
_CHUNK = 400
_SELECT = f"SELECT {', '.join(RECORD)}, era, rowid FROM sessions "
_SELECT_TOMBSTONES = f"SELECT {', '.join(TOMBSTONE)} FROM tombstones "
_SELECT_HANDLES = "SELECT handle FROM tombstones "
_KINDS = frozenset(EventKind)


class Stored(NamedTuple):
    """A row of ``sessions``.

    Attributes:
        rowid: what it is deleted by, since its handle may be damaged.
        era: the era it belongs to; the session has ended unless it is the current one.
        item: what it holds.
    """

    rowid: int
    era: int
    item: Record | Damaged


def stored(connection: sqlite3.Connection, handles: Sequence[str]) -> Iterator[Stored]:
    """The rows of these handles, live or not, in any order."""
    return map(_to_stored, _by_handle(connection, _SELECT, handles))


def stored_tombstones(connection: sqlite3.Connection, handles: Sequence[str]) -> Iterator[Tombstone | Damaged]:
    """The tombstones of these handles, in any order."""
    return map(to_tombstone, _by_handle(connection, _SELECT_TOMBSTONES, handles))


def known_handles(connection: sqlite3.Connection, handles: Sequence[str]) -> set[str]:
    """Which of these handles have a tombstone, readable or not."""
    return {handle for (handle,) in _by_handle(connection, _SELECT_HANDLES, handles)}


def _by_handle(connection: sqlite3.Connection, select: str, handles: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    for start in range(0, len(handles), _CHUNK):
        some = handles[start : start + _CHUNK]
        try:
            found = connection.execute(f"{select} WHERE handle IN ({', '.join('?' * len(some))})", some)
        except UnicodeEncodeError:
            # A lone surrogate cannot be stored, so a handle that has one has no row; the others do.
            some = [handle for handle in some if is_storable(handle)]
            found = connection.execute(f"{select} WHERE handle IN ({', '.join('?' * len(some))})", some)
        yield from found


def rows_of_user(connection: sqlite3.Connection, user: str, era: int) -> list[Stored]:
    """The rows of a user, by index, including rows with a damaged era, which may be alive."""
    found = [
        row
        for comparison in ("=", ">")
        for row in connection.execute(f"{_SELECT} WHERE era {comparison} ? AND user = ?", (era, user))
    ]
    return [_to_stored(row) for row in found]


def expired_rows(connection: sqlite3.Connection, era: int, now: float, limit: int) -> list[Stored]:
    """The first ``limit`` rows whose time is over, by index."""
    sql = f"{_SELECT} WHERE era = ? AND expires_at <= ? ORDER BY expires_at LIMIT ?"
    return [_to_stored(row) for row in connection.execute(sql, (era, now, limit))]


def created_after(connection: sqlite3.Connection, era: int, after: float, limit: int) -> list[Stored]:
    """The rows created last, after this time, by index; a time that is damaged is not one."""
    sql = f"{_SELECT} WHERE era = ? AND created_at > ? AND created_at < ? ORDER BY created_at DESC LIMIT ?"
    return [_to_stored(row) for row in connection.execute(sql, (era, after, LATEST, limit))]


def rows_outside(connection: sqlite3.Connection, era: int, limit: int) -> list[Stored]:
    """At most ``limit`` rows of any other era, by index; text and blobs compare greater than every number."""
    found: list[Stored] = []
    for comparison in ("<", ">"):
        sql = f"{_SELECT} INDEXED BY sessions_by_last_seen WHERE era {comparison} ? ORDER BY era LIMIT ?"
        found += [_to_stored(row) for row in connection.execute(sql, (era, limit - len(found)))]
    return found


def events_after(connection: sqlite3.Connection, seq: int) -> list[tuple[int, Event | None]]:
    """The events since then, in order; ``None`` for one that cannot be read."""
    found = connection.execute(
        "SELECT seq, kind, handle, at, user, cause, ended_by FROM events WHERE seq > ? ORDER BY seq", (seq,)
    )
    return [(row[0], _to_event(*row[1:])) for row in found]


def _to_event(kind: Any, handle: Any, at: Any, user: Any, cause: Any, by: Any) -> Event | None:
    if not is_text(kind) or kind not in _KINDS or not is_text(handle) or not is_time(at):
        return None
    return Event(
        kind=EventKind(kind),
        handle=handle,
        at=at,
        user=user if is_text(user) else None,
        cause=Cause(cause) if is_text(cause) and cause in CAUSES else None,
        by=by if is_text(by) else None,
    )


def _to_stored(row: Sequence[Any]) -> Stored:
    return Stored(row[18], row[17], to_record(row))


def to_record(row: Sequence[Any]) -> Record | Damaged:
    """A row of ``RECORD``, its era and its row id."""
    # Spelt out, with one sum for all times: every request that has a session pays for it.
    # fmt: off
    (handle, user, ip, agent, created, signed_in, seen, expires, secret, previous,
     rotated, confirmed, grace, absolute, idle, persistent, data, era, _rowid) = row
    # fmt: on
    if (
        type(handle) is str
        and (user is None or type(user) is str)
        and type(ip) is str
        and type(agent) is str
        and type(created) is float
        and (signed_in is None or type(signed_in) is float)
        and type(seen) is float
        and type(expires) is float
        and type(secret) is bytes
        and len(secret) == 32
        and (previous is None or (type(previous) is bytes and len(previous) == 32))
        and type(rotated) is float
        and (confirmed is None or type(confirmed) is float)
        and type(grace) is float
        and type(absolute) is float
        and type(idle) is float
        and type(persistent) is int
        and type(data) is bytes
        and type(era) is int
        and -LATEST < created + (signed_in or 0.0) + seen + expires < LATEST
        and -LATEST < rotated + (confirmed or 0.0) + grace + absolute + idle < LATEST
    ):
        try:
            values = decode(data)
        except msgspec.DecodeError:
            return salvage(row, "data is no map of values")
        return Record(
            handle=handle,
            user=user,
            ip=ip,
            user_agent=agent,
            created_at=created,
            signed_in_at=signed_in,
            last_seen_at=seen,
            expires_at=expires,
            secret_hash=secret,
            previous_hash=previous,
            rotated_at=rotated,
            confirmed_at=confirmed,
            grace=grace,
            absolute_at=absolute,
            idle_timeout=idle,
            persistent=persistent != 0,
            data=values,
        )
    return _slow_record(row)


def _slow_record(row: Sequence[Any]) -> Record | Damaged:
    """A damaged row, or one whose limits lie after the year 9999."""
    names = (*RECORD, "era")
    why = fault(names, row)
    if why is not None:
        return salvage(row, why)
    fields = dict(zip(RECORD, row, strict=False))
    return Record(**{**fields, "persistent": row[15] != 0, "data": decode(row[16])})


def to_facts(row: Sequence[Any]) -> SessionSummary:
    """A row that begins with ``FACTS``."""
    handle, user, ip, agent, created, signed_in, seen, expires = row[:8]
    if (
        type(handle) is str
        and (user is None or type(user) is str)
        and type(ip) is str
        and type(agent) is str
        and is_time(created)
        and (signed_in is None or is_time(signed_in))
        and is_time(seen)
        and is_time(expires)
    ):
        return SessionSummary(
            handle=handle,
            user=user,
            ip=ip,
            user_agent=agent,
            created_at=created,
            signed_in_at=signed_in,
            last_seen_at=seen,
            expires_at=expires,
        )
    return salvage(row, fault(FACTS, row) or "")


def to_tombstone(row: Sequence[Any]) -> Tombstone | Damaged:
    """A row of ``TOMBSTONE``."""
    why = fault(TOMBSTONE, row)
    if why is not None:
        return salvage(row, why)
    at, cause, by, reason, keep_until = row[8:13]
    ending = Ending(at=at, cause=Cause(cause), by=by, reason=reason, keep_until=keep_until)
    return Tombstone(**dict(zip(FACTS, row, strict=False)), ending=ending)


def values_of(record: Record) -> tuple[Any, ...]:
    """The row of a record, without its era."""
    return (*(getattr(record, name) for name in RECORD[:-1]), pack(record.data))


def tombstone_values(item: Tombstone) -> tuple[object, ...]:
    """The row of a tombstone."""
    end = item.ending
    facts = (getattr(item, name) for name in FACTS)
    return (*facts, end.at, end.cause.value, end.by, end.reason, end.keep_until)


def pack(data: dict[str, bytes]) -> bytes:
    """Join the encoded values of a session into one string of bytes (MessagePack: a map of binaries)."""
    return _encoder.encode(data)
