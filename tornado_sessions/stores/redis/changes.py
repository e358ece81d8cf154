"""Encode changes for ``save.lua``: a MessagePack list with one map per change, which omits unset fields.

It must not know connections or keys. Redis' ``cmsgpack`` predates MessagePack's binary type, so bytes are sent as text.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import msgspec

from tornado_sessions.record import Change, Create
from tornado_sessions.stores.redis.agents import shorten
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
    # Most changes set one value, or move the times as well: the rest is looked at only if there is any.
    fields: dict[str, Any] = {"now": item.now}
    if item.set:
        fields["set"] = {key: _as_text(value) for key, value in item.set.items()}
    if item.last_seen_at is not None:
        fields["seen"] = item.last_seen_at
    if item.expires_at is not None:
        fields["expires"] = item.expires_at
    if item.expect:
        # "-": the key must be missing; "=": it must have the value that follows.
        wanted = {key: b"-" if value is None else b"=" + value for key, value in item.expect.items()}
        fields["expect"] = {key: _as_text(value) for key, value in wanted.items()}
    if item.clear or item.delete:
        # The script deletes before it sets; a key in both needs no deletion.
        fields |= {"clear": item.clear, "delete": list(item.delete - item.set.keys())}
    if not item.is_of_values_only:
        fields |= _of_session(item)
    return fields


def _of_session(item: Change) -> dict[str, Any]:
    """Return the fields of a change that are neither values nor times of use."""
    new = item.rotation
    texts = {"ip": item.ip, "agent": None if item.user_agent is None else shorten(item.user_agent), "user": item.user}
    hashes = {"confirms": item.confirms}
    fields: dict[str, Any] = {
        "lifetime": item.lifetime,
        "signed": item.signed_in_at,
        "confirmed": item.confirmed_at,
    }
    if new is not None:
        hashes |= {"expected": new.expected_hash, "hash": new.secret_hash, "previous": new.previous_hash}
        fields |= {"rotated": new.rotated_at, "arrived": new.confirmed_at, "grace": new.grace}
    fields |= {name: _as_text(cut_text(text)) for name, text in texts.items() if text is not None}
    fields |= {name: _as_text(value) for name, value in hashes.items() if value is not None}
    return {name: value for name, value in fields.items() if value is not None}
