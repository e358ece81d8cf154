"""Encode changes for ``save.lua``: a MessagePack list with one map per change, which omits unset fields.

It must not know connections or keys. Redis' ``cmsgpack`` predates MessagePack's binary type, so bytes are sent as text.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import msgspec

from tornado_sessions.record import Change, Create
from tornado_sessions.stores.redis.records import cut_text, write_record

__all__ = ["pack_changes"]

_encode = msgspec.msgpack.Encoder().encode
#: Header of MessagePack's "str 32" type: 0xDB, then the length.
_TEXT = struct.Struct(">BI")


def pack_changes(items: Sequence[Create | Change]) -> bytes:
    """Return the argument of ``save.lua`` for a batch."""
    return _encode([_created(item) if isinstance(item, Create) else _changed(item) for item in items])


def _as_text(value: bytes) -> msgspec.Raw:
    return msgspec.Raw(_TEXT.pack(0xDB, len(value)) + value)


def _created(item: Create) -> dict[str, Any]:
    return {"now": item.record.last_seen_at, "record": _as_text(write_record(item.record))}


def _changed(item: Change) -> dict[str, Any]:
    new = item.rotation
    fields: dict[str, Any] = {
        "now": item.now,
        "clear": item.clear or None,
        "set": {key: _as_text(value) for key, value in item.set.items()} or None,
        # The script deletes before it sets; a key in both needs no deletion.
        "delete": list(item.delete - item.set.keys()) or None,
        # "-": the key must be missing; "=": it must have the value that follows.
        "expect": {key: _as_text(b"-" if value is None else b"=" + value) for key, value in item.expect.items()}
        or None,
        "seen": item.last_seen_at,
        "expires": item.expires_at,
        "lifetime": item.lifetime,
        "ip": _as_text(cut_text(item.ip)) if item.ip is not None else None,
        "agent": _as_text(cut_text(item.user_agent)) if item.user_agent is not None else None,
        "user": _as_text(cut_text(item.user)) if item.user is not None else None,
        "signed": item.signed_in_at,
        "confirmed": item.confirmed_at,
        "confirms": _as_text(item.confirms) if item.confirms is not None else None,
    }
    if new is not None:
        fields |= {
            "expected": _as_text(new.expected_hash),
            "hash": _as_text(new.secret_hash),
            "previous": _as_text(new.previous_hash) if new.previous_hash is not None else None,
            "rotated": new.rotated_at,
            "arrived": new.confirmed_at,
            "grace": new.grace,
        }
    return {name: value for name, value in fields.items() if value is not None}
