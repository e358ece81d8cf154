"""Records, changes and endings ⇄ the bytes that the Lua scripts read (``common.lua``, ``save.lua``).

It must not know connections or keys. Little-endian, fixed fields first; a text or value stands behind its length.
"""

from __future__ import annotations

import json
import struct

from tornado_sessions.errors import StoreMismatch
from tornado_sessions.record import Cause, Change, Create, Ending, Event, EventKind, Facts, Record, Tombstone

__all__ = [
    "EVERYBODY",
    "pack_change",
    "pack_ending",
    "read_ending",
    "read_event",
    "read_facts",
    "read_not_before",
    "read_record",
    "read_tombstone",
    "write_event",
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

#: The name in an event of who is no single session.
EVERYBODY = ""


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
    """Undo ``write_record``. Raises ``StoreMismatch`` for bytes of another layout."""
    try:
        return _read_record(handle, stored)
    except (struct.error, UnicodeDecodeError, IndexError):
        raise StoreMismatch("redis", f"session {handle} is damaged, or was written by something else") from None


def _read_record(handle: str, stored: bytes) -> Record:
    (
        version, flags, created, seen, expires, absolute, idle, rotated, confirmed, signed, grace, secret,
    ) = _RECORD.unpack_from(stored)  # fmt: skip
    if version != _VERSION:
        raise StoreMismatch("redis", f"session {handle} was written by another version of this package")
    at = _RECORD.size
    previous = stored[at : (at := at + 32)] if flags & _PREVIOUS else None
    user, at = _read_text(stored, at)
    ip, at = _read_text(stored, at)
    user_agent, at = _read_text(stored, at)
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


def _read_data(stored: bytes, at: int) -> dict[str, bytes]:
    data, end = {}, len(stored)
    while at < end:
        key, at = _read_value(stored, at)
        data[key.decode()], at = _read_value(stored, at)
    return data


def read_facts(handle: str, stored: bytes, now: float, not_before: float) -> Facts | None:
    """What a list shows of a session; ``None`` where it is not live. Raises ``StoreMismatch`` as ``read_record`` does."""
    try:
        version, flags, created, seen, expires, _, _, _, _, signed, _, _ = _RECORD.unpack_from(stored)
        if version != _VERSION:
            raise StoreMismatch("redis", f"session {handle} was written by another version of this package")
        if expires <= now or created < not_before:
            return None
        user, at = _read_text(stored, _RECORD.size + (32 if flags & _PREVIOUS else 0))
        ip, at = _read_text(stored, at)
        user_agent, at = _read_text(stored, at)
    except struct.error:
        raise StoreMismatch("redis", f"session {handle} is damaged, or was written by something else") from None
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


def pack_change(item: Create | Change) -> bytes:
    """What ``save.lua`` reads for one item."""
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
    """The stored bytes of an ending; a tombstone is one, with the session's facts behind it."""
    head = _ENDING.pack(ending.at, ending.keep_until, ending.by is not None)
    return head + b"".join(map(_text, (ending.cause.value, ending.by or "", ending.reason)))


def read_ending(stored: bytes, at: int = 0) -> tuple[Ending, int]:
    """Undo ``pack_ending``; also where it ends."""
    when, keep_until, has_by = _ENDING.unpack_from(stored, at)
    cause, at = _read_text(stored, at + _ENDING.size)
    by, at = _read_text(stored, at)
    reason, at = _read_text(stored, at)
    ending = Ending(at=when, cause=Cause(cause), by=by if has_by else None, reason=reason, keep_until=keep_until)
    return ending, at


def read_tombstone(handle: str, stored: bytes) -> Tombstone:
    """A tombstone. Raises ``StoreMismatch`` for bytes of another layout."""
    try:
        ending, at = read_ending(stored)
        record = _read_record(handle, stored[at:])
    except (struct.error, UnicodeDecodeError, ValueError):
        raise StoreMismatch("redis", f"the tombstone of {handle} is damaged") from None
    return Tombstone(ending=ending, **{name: getattr(record, name) for name in Facts.__struct_fields__})


def read_not_before(stored: bytes | None) -> float:
    """When everybody's sessions were ended last; 0.0 for never."""
    return float(_TIME.unpack_from(stored)[0]) if stored else 0.0


def time(seconds: float) -> bytes:
    """A time as the scripts take it."""
    return _TIME.pack(seconds)


def write_event(event: Event) -> bytes:
    """An event as it is published."""
    cause = event.cause.value if event.cause is not None else None
    return json.dumps([event.kind.value, event.handle, repr(event.at), event.user, cause, event.by]).encode()


def read_event(told: bytes) -> Event | None:
    """An event as it was published; ``None`` for what somebody else said on our channel."""
    try:
        kind, handle, at, user, cause, by = json.loads(told)
        return Event(
            kind=EventKind(kind),
            handle=str(handle),
            at=float(at),
            user=user or None,
            cause=Cause(cause) if cause else None,
            by=by or None,
        )
    except (ValueError, TypeError):
        return None


def _text(text: str) -> bytes:
    encoded = text.encode("utf-8", "replace")[:65535]
    return _LENGTH.pack(len(encoded)) + encoded


def _read_text(stored: bytes, at: int) -> tuple[str, int]:
    (length,) = _LENGTH.unpack_from(stored, at)
    start = at + _LENGTH.size
    return stored[start : start + length].decode("utf-8", "replace"), start + length


def _value(value: bytes) -> bytes:
    return _VALUE.pack(len(value)) + value


def _read_value(stored: bytes, at: int) -> tuple[bytes, int]:
    (length,) = _VALUE.unpack_from(stored, at)
    start = at + _VALUE.size
    return stored[start : start + length], start + length
