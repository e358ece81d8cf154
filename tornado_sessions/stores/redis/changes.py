"""Convert changes to the bytes that ``save.lua`` reads.

It must not know connections or keys. Little-endian, fixed fields first; each text or value follows its length.
"""

from __future__ import annotations

import struct

from tornado_sessions.record import Change, Create
from tornado_sessions.stores.redis.records import pack_text, pack_time, pack_value, write_record

__all__ = ["pack_change"]

_CHANGE = struct.Struct("<HIIIdddddddddd32s32s32s32s")
_NO_HASH = bytes(32)
#: Flags of a change, as in ``save.lua``.
_CLEAR, _SEEN, _EXPIRES, _LIFETIME, _LASTING, _IP, _AGENT = 2, 4, 8, 16, 32, 64, 128
_LOGIN, _ROTATES, _KEEPS_OLD, _ROTATION_SEEN, _CONFIRMS = 256, 512, 1024, 2048, 4096


def pack_change(item: Create | Change) -> bytes:
    """The bytes that ``save.lua`` reads for one item."""
    if isinstance(item, Create):
        return b"\1" + pack_time(item.record.last_seen_at) + pack_value(write_record(item.record))
    # A key that is both removed and set is set.
    deletes = item.delete - item.set.keys()
    parts = [b"\0", _change_head(item, len(deletes))]
    parts += map(pack_text, (item.user or "", item.ip or "", item.user_agent or ""))
    for key, value in item.set.items():
        parts += pack_value(key.encode()), pack_value(value)
    parts += (pack_value(key.encode()) for key in deletes)
    for key, expected in item.expect.items():
        parts += pack_value(key.encode()), pack_value(b"-" if expected is None else b"=" + expected)
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
