"""Convert records, tombstones and events to and from the bytes that ``common.lua`` reads and writes.

It must not know connections or keys. Little-endian, fixed fields first; each text or value follows its length.
"""

from __future__ import annotations

import json
import math
import struct
from typing import Any

from tornado_sessions.record import Cause, Damaged, Ending, Event, EventKind, Record, SessionSummary, Tombstone

__all__ = [
    "Unreadable",
    "pack_ending",
    "pack_text",
    "pack_time",
    "pack_value",
    "read_ending",
    "read_event",
    "read_facts",
    "read_record",
    "read_tombstone",
    "salvage",
    "write_record",
]

_VERSION = 1
_PERSISTENT, _USER, _SIGNED, _PREVIOUS, _CONFIRMED = 1, 2, 4, 8, 16
_RECORD = struct.Struct("<BBddddddddd32s")
_LENGTH = struct.Struct("<H")
_VALUE = struct.Struct("<I")
_ENDING = struct.Struct("<ddB")
_TIME = struct.Struct("<d")
_FLAGS = 31
#: The latest time, in seconds, that an index entry has digits for; and the first second of the year 10000, which no date can show.
_MOST, _NO_DATE = 9e9, 253_402_300_800.0


class Unreadable(Exception):
    """Stored bytes are not what this version writes.

    Args:
        why: a short phrase without values, for ``Damaged.why``.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


def write_record(record: Record) -> bytes:
    """The stored bytes of a session."""
    flags = (
        _PERSISTENT * record.persistent
        + _USER * (record.user is not None)
        + _SIGNED * (record.signed_in_at is not None)
        + _PREVIOUS * (record.previous_hash is not None)
        + _CONFIRMED * (record.confirmed_at is not None)
    )
    head = _RECORD.pack(
        _VERSION,
        flags,
        record.created_at,
        record.last_seen_at,
        record.expires_at,
        record.absolute_at,
        record.idle_timeout,
        record.rotated_at,
        record.confirmed_at or 0.0,
        record.signed_in_at or 0.0,
        record.grace,
        record.secret_hash,
    )
    head += record.previous_hash or b""
    texts = b"".join(map(pack_text, (record.user or "", record.ip, record.user_agent)))
    return head + texts + b"".join(pack_value(key.encode()) + pack_value(value) for key, value in record.data.items())


def read_record(handle: str, stored: bytes) -> Record:
    """Undo ``write_record``.

    Raises:
        Unreadable: the bytes are damaged, or of another version.
    """
    _, flags, created, seen, expires, absolute, idle, rotated, confirmed, signed, grace, secret = _read_head(stored)
    at = _RECORD.size
    previous, at = (stored[at : at + 32], at + 32) if flags & _PREVIOUS else (None, at)
    user, ip, user_agent, at = _read_texts(stored, at)
    return Record(
        handle=handle,
        user=user if flags & _USER else None,
        ip=ip,
        user_agent=user_agent,
        created_at=created,
        signed_in_at=signed if flags & _SIGNED else None,
        last_seen_at=seen,
        expires_at=expires,
        secret_hash=secret,
        previous_hash=previous,
        rotated_at=rotated,
        confirmed_at=confirmed if flags & _CONFIRMED else None,
        grace=grace,
        absolute_at=absolute,
        idle_timeout=idle,
        persistent=bool(flags & _PERSISTENT),
        data=_read_data(stored, at),
    )


def _read_head(stored: bytes) -> tuple[Any, ...]:
    """The fixed fields; ``read_record`` of ``common.lua`` accepts and refuses the same."""
    if len(stored) < _RECORD.size:
        raise Unreadable("it ends too early" if stored else "it is empty or no string")
    head = _RECORD.unpack_from(stored)
    if head[0] != _VERSION:
        raise Unreadable("it is of another version")
    times = head[2:11]
    # A sum is finite only if each part is; NaN compares with nothing.
    if not math.isfinite(sum(times)):
        raise Unreadable("a time is no finite number")
    if min(times) < 0 or max(times) >= _NO_DATE or head[3] > _MOST or head[9] > _MOST:
        raise Unreadable("a time is out of range")
    if head[1] > _FLAGS:
        raise Unreadable("its flags are unknown")
    return head


def _read_texts(stored: bytes, at: int) -> tuple[str, str, str, int]:
    """User, address and user agent, and where they end."""
    length, size = _LENGTH.unpack_from, _LENGTH.size
    try:
        start = at + size
        behind = start + length(stored, at)[0]
        user = stored[start:behind].decode()
        start = behind + size
        at = start + length(stored, behind)[0]
        ip = stored[start:at].decode()
        start = at + size
        behind = start + length(stored, at)[0]
        user_agent = stored[start:behind].decode()
    except struct.error:
        raise Unreadable("it ends too early") from None
    except UnicodeDecodeError:
        raise Unreadable("a text is not UTF-8") from None
    # A slice is silently shorter than asked for; if an earlier one was, a length behind it was missing.
    if behind > len(stored):
        raise Unreadable("it ends too early")
    return user, ip, user_agent, behind


def _read_data(stored: bytes, at: int) -> dict[str, bytes]:
    data, end = {}, len(stored)
    length, size = _VALUE.unpack_from, _VALUE.size
    try:
        while at < end:
            start = at + size
            behind = start + length(stored, at)[0]
            name = stored[start:behind].decode()
            start = behind + size
            at = start + length(stored, behind)[0]
            data[name] = stored[start:at]
    except struct.error:
        raise Unreadable("its values are cut, or other bytes follow them") from None
    except UnicodeDecodeError:
        raise Unreadable("the name of a value is not UTF-8") from None
    if at != end:
        raise Unreadable("its values are cut, or other bytes follow them")
    return data


def read_facts(handle: str, stored: bytes, now: float, not_before: float) -> SessionSummary | None:
    """What a list shows of a session; ``None`` if it is not live.

    Raises:
        Unreadable: as ``read_record`` does, for sessions that are not known to have ended.
    """
    _, flags, created, seen, expires, _, _, _, _, signed, _, _ = _read_head(stored)
    if expires <= now or created < not_before:
        return None
    user, ip, user_agent, at = _read_texts(stored, _RECORD.size + (32 if flags & _PREVIOUS else 0))
    _read_data(stored, at)
    return SessionSummary(
        handle=handle,
        user=user if flags & _USER else None,
        ip=ip,
        user_agent=user_agent,
        created_at=created,
        signed_in_at=signed if flags & _SIGNED else None,
        last_seen_at=seen,
        expires_at=expires,
    )


def salvage(handle: str, stored: bytes, why: str) -> Damaged:
    """What can still be read of a session that ``read_record`` refuses."""
    if len(stored) < _RECORD.size or stored[0] != _VERSION:
        return Damaged(handle=handle, why=why)
    _, flags, created, seen, expires, _, _, _, _, signed, _, _ = _RECORD.unpack_from(stored)
    texts = {"user": "", "ip": "", "user_agent": ""}
    at = _RECORD.size + (32 if flags & _PREVIOUS else 0)
    for name in texts:
        try:
            text, at = _read_bytes(stored, at)
        except Unreadable:
            break
        texts[name] = _decoded(text)
    return Damaged(
        handle=handle,
        user=texts["user"] or None if flags & _USER else None,
        ip=texts["ip"],
        user_agent=texts["user_agent"],
        created_at=_time_or_blank(created),
        signed_in_at=_time_or_blank(signed) or None if flags & _SIGNED else None,
        last_seen_at=_time_or_blank(seen),
        expires_at=_time_or_blank(expires),
        why=why,
    )


def _decoded(text: bytes) -> str:
    """The text, or an empty one if it is not UTF-8."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return ""


def _time_or_blank(seconds: float) -> float:
    return seconds if 0 <= seconds <= _MOST else 0.0


def pack_ending(ending: Ending) -> bytes:
    """The stored bytes of an ending; a tombstone is an ending followed by the facts of the session."""
    head = _ENDING.pack(ending.at, ending.keep_until, ending.by is not None)
    return head + b"".join(map(pack_text, (ending.cause.value, ending.by or "", ending.reason)))


def read_ending(stored: bytes) -> tuple[Ending, int]:
    """Undo ``pack_ending``; also returns where it ends.

    Raises:
        Unreadable: the bytes are damaged.
    """
    if len(stored) < _ENDING.size:
        raise Unreadable("its ending is cut")
    when, keep_until, has_by = _ENDING.unpack_from(stored)
    if not math.isfinite(when + keep_until):
        raise Unreadable("the time of its ending is no finite number")
    cause, at = _readpack_text(stored, _ENDING.size, "cause of its ending")
    by, at = _readpack_text(stored, at, "author of its ending")
    reason, at = _readpack_text(stored, at, "reason of its ending")
    try:
        known = Cause(cause)
    except ValueError:
        raise Unreadable("the cause of its ending is unknown") from None
    return Ending(at=when, cause=known, by=by if has_by else None, reason=reason, keep_until=keep_until), at


def read_tombstone(handle: str, stored: bytes) -> Tombstone:
    """What is kept of an ended session.

    Raises:
        Unreadable: the bytes are damaged, or of another version.
    """
    ending, at = read_ending(stored)
    record = read_record(handle, stored[at:])
    return Tombstone(ending=ending, **{name: getattr(record, name) for name in SessionSummary.__struct_fields__})


def pack_time(seconds: float) -> bytes:
    """A time as the scripts read it."""
    return _TIME.pack(seconds)


def read_event(message: object) -> Event | None:
    """An event as the scripts publish it; ``None`` for whatever else somebody publishes on the same channel."""
    try:
        kind, handle, at, user, cause, by = json.loads(message)  # type: ignore[arg-type]
        return Event(
            kind=EventKind(kind),
            handle=str(handle),
            at=float(at),
            user=user or None,
            cause=Cause(cause) if cause else None,
            by=by or None,
        )
    except (ValueError, TypeError, RecursionError):
        return None


def pack_text(text: str) -> bytes:
    """A text behind its length, cut to 65,535 bytes."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) > 65535:
        # Cut between characters: half of one would make the record unreadable.
        encoded = encoded[:65535].decode("utf-8", "ignore").encode()
    return _LENGTH.pack(len(encoded)) + encoded


def _read_bytes(stored: bytes, at: int) -> tuple[bytes, int]:
    start = at + _LENGTH.size
    if start > len(stored):
        raise Unreadable("it ends too early")
    end = start + _LENGTH.unpack_from(stored, at)[0]
    if end > len(stored):
        raise Unreadable("it ends too early")
    return stored[start:end], end


def _readpack_text(stored: bytes, at: int, name: str) -> tuple[str, int]:
    text, at = _read_bytes(stored, at)
    try:
        return text.decode(), at
    except UnicodeDecodeError:
        raise Unreadable(f"{name} is not UTF-8") from None


def pack_value(value: bytes) -> bytes:
    """Bytes behind their length."""
    return _VALUE.pack(len(value)) + value
