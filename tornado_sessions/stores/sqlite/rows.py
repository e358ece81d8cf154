"""Rows ⇄ records, and reading them by handle or by index.

It must not know threads, paging or what a change means.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from tornado_sessions.record import Cause, Ending, Event, EventKind, Facts, Record, Tombstone

__all__ = [
    "FACTS",
    "RECORD",
    "TOMBSTONE",
    "events_after",
    "expired_records",
    "not_before",
    "pack",
    "records",
    "records_before",
    "to_facts",
    "to_tombstone",
    "tombstone_values",
    "tombstones",
]

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(dict[str, bytes])

FACTS = ("handle", "user", "ip", "user_agent", "created_at", "signed_in_at", "last_seen_at", "expires_at")
RECORD = (
    *FACTS,
    "secret_hash",
    "previous_hash",
    "rotated_at",
    "confirmed_at",
    "grace",
    "absolute_at",
    "idle_timeout",
    "persistent",
    "data",
)
TOMBSTONE = (*FACTS, "ended_at", "cause", "ended_by", "reason", "keep_until")

# SQLite takes thousands of parameters; a bound keeps statements few and cached.
_CHUNK = 400
_SELECT = f"SELECT {', '.join(RECORD)} FROM sessions "
_SELECT_TOMBSTONES = f"SELECT {', '.join(TOMBSTONE)} FROM tombstones "


def records(connection: sqlite3.Connection, handles: Sequence[str]) -> Iterator[Record]:
    """The stored records of these handles, live or not, in any order."""
    for row in _by_handle(connection, _SELECT, handles):
        yield to_record(row)


def tombstones(connection: sqlite3.Connection, handles: Sequence[str]) -> Iterator[Tombstone]:
    """The tombstones of these handles, in any order."""
    for row in _by_handle(connection, _SELECT_TOMBSTONES, handles):
        yield to_tombstone(row)


def _by_handle(connection: sqlite3.Connection, select: str, handles: Sequence[str]) -> Iterator[tuple[object, ...]]:
    for start in range(0, len(handles), _CHUNK):
        some = handles[start : start + _CHUNK]
        yield from connection.execute(f"{select} WHERE handle IN ({', '.join('?' * len(some))})", some)


def expired_records(connection: sqlite3.Connection, now: float, limit: int) -> list[Record]:
    """The first ``limit`` records whose time is over, by index."""
    found = connection.execute(_SELECT + "WHERE expires_at <= ? ORDER BY expires_at LIMIT ?", (now, limit))
    return [to_record(row) for row in found]


def records_before(connection: sqlite3.Connection, created_before: float, limit: int) -> list[Record]:
    """The first ``limit`` records made before a time, by index."""
    found = connection.execute(_SELECT + "WHERE created_at < ? ORDER BY created_at LIMIT ?", (created_before, limit))
    return [to_record(row) for row in found]


def not_before(connection: sqlite3.Connection) -> float:
    """When everybody's sessions were ended last; 0.0 for never."""
    row = connection.execute("SELECT not_before FROM ended_all").fetchone()
    return row[0] if row is not None else 0.0


def events_after(connection: sqlite3.Connection, seq: int) -> list[tuple[int, Event]]:
    """What was told since, in order."""
    found = connection.execute(
        "SELECT seq, kind, handle, at, user, cause, ended_by FROM events WHERE seq > ? ORDER BY seq", (seq,)
    )
    return [
        (
            number,
            Event(
                kind=EventKind(kind),
                handle=handle,
                at=at,
                user=user,
                cause=Cause(cause) if cause is not None else None,
                by=by,
            ),
        )
        for number, kind, handle, at, user, cause, by in found
    ]


def to_record(row: Sequence[Any]) -> Record:
    """A row of ``RECORD``. A value that was damaged shows when it is read, as ``DecodeError``."""
    try:
        data = unpack(row[16])
    except (msgspec.DecodeError, TypeError):
        data = {"damaged": b"damaged"}
    # Spelt out: twice as fast as names and values zipped, and every read of a session pays for it.
    return Record(
        handle=row[0],
        user=row[1],
        ip=row[2],
        user_agent=row[3],
        created_at=row[4],
        signed_in_at=row[5],
        last_seen_at=row[6],
        expires_at=row[7],
        secret_hash=row[8],
        previous_hash=row[9],
        rotated_at=row[10],
        confirmed_at=row[11],
        grace=row[12],
        absolute_at=row[13],
        idle_timeout=row[14],
        persistent=bool(row[15]),
        data=data,
    )


def to_facts(row: Sequence[Any]) -> Facts:
    """A row of ``FACTS``."""
    return Facts(
        handle=row[0],
        user=row[1],
        ip=row[2],
        user_agent=row[3],
        created_at=row[4],
        signed_in_at=row[5],
        last_seen_at=row[6],
        expires_at=row[7],
    )


def to_tombstone(row: Sequence[object]) -> Tombstone:
    """A row of ``TOMBSTONE``."""
    at, cause, by, reason, keep_until = row[len(FACTS) :]
    ending = Ending(at=at, cause=Cause(cause), by=by, reason=reason, keep_until=keep_until)  # type: ignore[arg-type]
    return Tombstone(**dict(zip(FACTS, row, strict=False)), ending=ending)  # type: ignore[arg-type]


def tombstone_values(item: Tombstone) -> tuple[object, ...]:
    """The row of a tombstone."""
    end = item.ending
    facts = (getattr(item, name) for name in FACTS)
    return (*facts, end.at, end.cause.value, end.by, end.reason, end.keep_until)


def pack(data: dict[str, bytes]) -> bytes:
    """Join the encoded values of a session into one string of bytes (MessagePack: a map of binaries)."""
    return _encoder.encode(data)


def unpack(packed: bytes) -> dict[str, bytes]:
    """Undo ``pack``.

    Raises:
        msgspec.DecodeError: the bytes are not what ``pack`` made.
    """
    return _decoder.decode(packed)
