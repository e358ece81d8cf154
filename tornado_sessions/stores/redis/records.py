"""Convert records, changes and endings to and from the bytes that the Lua scripts read (``common.lua``, ``save.lua``).

It must not know connections or keys. Little-endian, fixed fields first; each text or value follows its length.
"""

from __future__ import annotations

import json
import math
import struct
from typing import Any

from tornado_sessions.record import Cause, Change, Create, Damaged, Ending, Event, EventKind, Facts, Record, Tombstone

__all__ = [
    "Unreadable",
    "pack_change",
    "pack_ending",
    "read_ending",
    "read_event",
    "read_facts",
    "read_record",
    "read_tombstone",
    "salvage",
    "time",
    "write_record",
]

_VERSION = 1
_PERSISTENT, _USER, _SIGNED, _PREVIOUS, _CONFIRMED = 1, 2, 4, 8, 16
_RECORD = struct.Struct("<BBddddddddd32s")
_LENGTH = struct.Struct("<H")
_VALUE = struct.Struct("<I")
_ENDING = struct.Struct("<ddB")
_TIME = struct.Struct("<d")
_CHANGE = struct.Struct("<HIIIdddddddddd32s32s32s32s")
_NO_HASH = bytes(32)

#: Flags of a change, as in ``save.lua``.
_CLEAR, _SEEN, _EXPIRES, _LIFETIME, _LASTING, _IP, _AGENT = 2, 4, 8, 16, 32, 64, 128
_LOGIN, _ROTATES, _KEEPS_OLD, _ROTATION_SEEN, _CONFIRMS = 256, 512, 1024, 2048, 4096
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
    texts = b"".join(map(_text, (record.user or "", record.ip, record.user_agent)))
    return head + texts + b"".join(_value(key.encode()) + _value(value) for key, value in record.data.items())


def read_record(handle: str, stored: bytes) -> Record:
    """Undo ``write_record``.

    Raises:
        Unreadable: the bytes are damaged, or of another version.
    """
    _, flags, created, seen, expires, absolute, idle, rotated, confirmed, signed, grace, secret = _read_head(stored)
    at = _RECORD.size
    previous, at = (stored[at : at + 32], at + 32) if flags & _PREVIOUS else (None, at)
    user, at = _read_text(stored, at, "user")
    ip, at = _read_text(stored, at, "ip")
    user_agent, at = _read_text(stored, at, "user_agent")
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


def _read_data(stored: bytes, at: int) -> dict[str, bytes]:
    data, end = {}, len(stored)
    while at < end:
        name, at = _read_key(stored, at)
        data[name], at = _read_value(stored, at)
    return data


def read_facts(handle: str, stored: bytes, now: float, not_before: float) -> Facts | None:
    """What a list shows of a session; ``None`` if it is not live.

    Raises:
        Unreadable: as ``read_record`` does, for sessions that are not known to have ended.
    """
    _, flags, created, seen, expires, _, _, _, _, signed, _, _ = _read_head(stored)
    if expires <= now or created < not_before:
        return None
    user, at = _read_text(stored, _RECORD.size + (32 if flags & _PREVIOUS else 0), "user")
    ip, at = _read_text(stored, at, "ip")
    user_agent, at = _read_text(stored, at, "user_agent")
    _check_data(stored, at)
    return Facts(
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


def pack_change(item: Create | Change) -> bytes:
    """The bytes that ``save.lua`` reads for one item."""
    if isinstance(item, Create):
        return b"\1" + _TIME.pack(item.record.last_seen_at) + _value(write_record(item.record))
    # A key that is both removed and set is set.
    deletes = item.delete - item.set.keys()
    parts = [b"\0", _change_head(item, len(deletes))]
    parts += map(_text, (item.user or "", item.ip or "", item.user_agent or ""))
    for key, value in item.set.items():
        parts += _value(key.encode()), _value(value)
    parts += (_value(key.encode()) for key in deletes)
    for key, expected in item.expect.items():
        parts += _value(key.encode()), _value(b"-" if expected is None else b"=" + expected)
    return b"".join(parts)


def _change_head(item: Change, deletes: int) -> bytes:
    new = item.rotation
    absolute, idle, lasting = item.lifetime or (0.0, 0.0, False)
    return _CHANGE.pack(
        _change_flags(item, lasting=lasting),
        len(item.set),
        deletes,
        len(item.expect),
        item.now,
        item.last_seen_at or 0.0,
        item.expires_at or 0.0,
        absolute,
        idle,
        item.signed_in_at or 0.0,
        new.rotated_at if new else 0.0,
        (new.confirmed_at if new else None) or 0.0,
        new.grace if new else 0.0,
        item.confirmed_at or 0.0,
        new.expected_hash if new else _NO_HASH,
        new.secret_hash if new else _NO_HASH,
        (new.previous_hash if new else None) or _NO_HASH,
        item.confirms or _NO_HASH,
    )


def _change_flags(item: Change, *, lasting: bool) -> int:
    new = item.rotation
    return (
        _CLEAR * item.clear
        + _SEEN * (item.last_seen_at is not None)
        + _EXPIRES * (item.expires_at is not None)
        + _LIFETIME * (item.lifetime is not None)
        + _LASTING * lasting
        + _IP * (item.ip is not None)
        + _AGENT * (item.user_agent is not None)
        + _LOGIN * (item.user is not None)
        + _ROTATES * (new is not None)
        + _KEEPS_OLD * (new is not None and new.previous_hash is not None)
        + _ROTATION_SEEN * (new is not None and new.confirmed_at is not None)
        + _CONFIRMS * (item.confirmed_at is not None and item.confirms is not None)
    )


def pack_ending(ending: Ending) -> bytes:
    """The stored bytes of an ending; a tombstone is an ending followed by the facts of the session."""
    head = _ENDING.pack(ending.at, ending.keep_until, ending.by is not None)
    return head + b"".join(map(_text, (ending.cause.value, ending.by or "", ending.reason)))


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
    cause, at = _read_text(stored, _ENDING.size, "cause of its ending")
    by, at = _read_text(stored, at, "author of its ending")
    reason, at = _read_text(stored, at, "reason of its ending")
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
    return Tombstone(ending=ending, **{name: getattr(record, name) for name in Facts.__struct_fields__})


def time(seconds: float) -> bytes:
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


def _text(text: str) -> bytes:
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


def _read_text(stored: bytes, at: int, name: str) -> tuple[str, int]:
    text, at = _read_bytes(stored, at)
    try:
        return text.decode(), at
    except UnicodeDecodeError:
        raise Unreadable(f"{name} is not UTF-8") from None


def _value(value: bytes) -> bytes:
    return _VALUE.pack(len(value)) + value


def _read_value(stored: bytes, at: int) -> tuple[bytes, int]:
    start = at + _VALUE.size
    if start > len(stored):
        raise Unreadable("its values are cut, or other bytes follow them")
    end = start + _VALUE.unpack_from(stored, at)[0]
    if end > len(stored):
        raise Unreadable("its values are cut, or other bytes follow them")
    return stored[start:end], end


def _read_key(stored: bytes, at: int) -> tuple[str, int]:
    key, at = _read_value(stored, at)
    try:
        return key.decode(), at
    except UnicodeDecodeError:
        raise Unreadable("the name of a value is not UTF-8") from None


def _check_data(stored: bytes, at: int) -> None:
    while at < len(stored):
        _, at = _read_key(stored, at)
        _, at = _read_value(stored, at)
