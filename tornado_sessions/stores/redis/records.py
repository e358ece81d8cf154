"""Encode and decode records in the format of ``common.lua``.

It must not know connections or keys. Numbers are little-endian and fixed fields come first; each text or value is
preceded by its length. Scripts change records on the server, so ``read_record`` here and in ``common.lua`` must accept
and reject the same bytes.

One damaged record costs one record: where ``read_…`` raises ``Unreadable``, ``load_…`` returns ``Damaged``.
"""

from __future__ import annotations

import struct
from typing import Any

from msgspec.structs import replace

from tornado_sessions.damage import Unreadable
from tornado_sessions.record import LATEST, Damaged, Record, SessionSummary
from tornado_sessions.stores.redis.agents import expand, shorten
from tornado_sessions.stores.stored_fields import salvage

__all__ = [
    "NO_STRING",
    "complete",
    "cut_text",
    "load_facts",
    "load_record",
    "pack_text",
    "read_data",
    "read_head",
    "read_record",
    "read_texts",
    "salvaged",
    "write_record",
]

#: Replaces the value of a key that is not a string. No valid record is empty, so it is read as damaged.
NO_STRING = b""

_VERSION = 2
_PERSISTENT, _USER, _SIGNED, _PREVIOUS, _CONFIRMED = 1, 2, 4, 8, 16
_FLAGS = 31
_RECORD = struct.Struct("<BBddddddddd32s")
_LENGTH = struct.Struct("<H")
_VALUE = struct.Struct("<I")
_LONGEST = 65535
#: The latest time, in UTC seconds, that the 17 digits of an index entry can represent.
_MOST = 9e9


def write_record(record: Record) -> bytes:
    """Return the stored bytes of a session."""
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
    parts = [head, record.previous_hash or b""]
    parts += map(pack_text, (record.user or "", record.ip, shorten(record.user_agent)))
    for key, value in record.data.items():
        name = key.encode()
        parts += _VALUE.pack(len(name)), name, _VALUE.pack(len(value)), value
    return b"".join(parts)


def cut_text(text: str) -> bytes:
    """Return a text as UTF-8, cut to the maximum of its length field."""
    encoded = text.encode("utf-8", "replace")
    # Cut between characters: half a character would make the record unreadable.
    return encoded if len(encoded) <= _LONGEST else encoded[:_LONGEST].decode("utf-8", "ignore").encode()


def pack_text(text: str) -> bytes:
    """Return a text preceded by its length."""
    encoded = cut_text(text)
    return _LENGTH.pack(len(encoded)) + encoded


def read_record(handle: str, stored: bytes) -> Record:
    """Return the session that ``write_record`` encoded.

    Raises:
        Unreadable: the bytes are damaged, or their format has an unknown version.
    """
    facts, at = read_head(handle, stored)
    return replace(facts, data=read_data(stored, at))


def read_head(handle: str, stored: bytes) -> tuple[Record, int]:
    """Return a session without its values, and the position where they begin. Raises ``Unreadable`` as ``read_record`` does."""
    _, flags, created, seen, expires, absolute, idle, rotated, confirmed, signed, grace, secret = _read_head(stored)
    at = _RECORD.size
    previous, at = (stored[at : at + 32], at + 32) if flags & _PREVIOUS else (None, at)
    user, ip, user_agent, at = read_texts(stored, at)
    record = Record(
        handle=handle,
        user=user if flags & _USER else None,
        ip=ip,
        user_agent=expand(user_agent),
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
    )
    return record, at


def _read_head(stored: bytes) -> tuple[Any, ...]:
    try:
        head = _RECORD.unpack_from(stored)
    except struct.error:
        raise Unreadable("it is truncated" if stored else "it is empty or not a string") from None
    version, flags, created, seen, expires, absolute, idle, rotated, confirmed, signed, grace, _ = head
    if version != _VERSION:
        raise Unreadable("its format has an unknown version")
    # Unrolled, because every load runs it. NaN fails every comparison.
    if not (
        0 <= created < LATEST
        and 0 <= seen <= _MOST
        and 0 <= expires < LATEST
        and 0 <= absolute < LATEST
        and 0 <= idle < LATEST
        and 0 <= rotated < LATEST
        and 0 <= confirmed < LATEST
        and 0 <= signed <= _MOST
        and 0 <= grace < LATEST
    ):
        raise Unreadable("a time is not a number, or out of range")
    if flags > _FLAGS:
        raise Unreadable("its flags are unknown")
    return head


def read_texts(stored: bytes, at: int) -> tuple[str, str, str, int]:
    """Return user, address, user agent, and the position after them. Unrolled, because every load runs it."""
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
        raise Unreadable("it is truncated") from None
    except UnicodeDecodeError:
        raise Unreadable("a text is not UTF-8") from None
    # A slice past the end is silently shorter. Only the last needs a check: after any other, a length would be missing.
    if behind > len(stored):
        raise Unreadable("it is truncated")
    return user, ip, user_agent, behind


def read_data(stored: bytes, at: int) -> dict[str, bytes]:
    """Return the values of a session. Raises ``Unreadable`` as ``read_record`` does."""
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
        raise Unreadable("its values are truncated, or other bytes follow them") from None
    except UnicodeDecodeError:
        raise Unreadable("the name of a value is not UTF-8") from None
    if at != end:
        raise Unreadable("its values are truncated, or other bytes follow them")
    return data


def load_record(handle: str, stored: bytes) -> Record | Damaged:
    """Decode a session; return ``Damaged`` with the fields that are readable if it is damaged."""
    try:
        return read_record(handle, stored)
    except Unreadable as error:
        return salvaged(handle, stored, error.why)


def load_facts(handle: str, stored: bytes, now: float, not_before: float) -> SessionSummary | Damaged | None:
    """Decode the fields that lists show.

    Returns:
        The summary; ``None`` if the session has ended; ``Damaged`` if any part of the record is unreadable.
    """
    try:
        _, flags, created, seen, expires, _, _, _, _, signed, _, _ = _read_head(stored)
        if expires <= now or created < not_before:
            return None
        user, ip, user_agent, at = read_texts(stored, _RECORD.size + (32 if flags & _PREVIOUS else 0))
        read_data(stored, at)
    except Unreadable as error:
        return salvaged(handle, stored, error.why)
    return SessionSummary(
        handle=handle,
        user=user if flags & _USER else None,
        ip=ip,
        user_agent=expand(user_agent),
        created_at=created,
        signed_in_at=signed if flags & _SIGNED else None,
        last_seen_at=seen,
        expires_at=expires,
    )


def salvaged(handle: str, stored: bytes, why: str) -> Damaged:
    """Return the readable fields of a damaged record; ``salvage`` in ``common.lua`` does the same for the indexes."""
    fields: dict[str, Any] = {"handle": handle}
    if len(stored) >= _RECORD.size and stored[0] == _VERSION:
        _, flags, created, seen, expires, _, _, _, _, signed, _, _ = _RECORD.unpack_from(stored)
        times = {"created_at": created, "last_seen_at": seen, "expires_at": expires}
        fields |= {name: at for name, at in times.items() if 0 <= at <= _MOST}
        if flags & _SIGNED and 0 < signed <= _MOST:
            fields["signed_in_at"] = signed
        at = _RECORD.size + (32 if flags & _PREVIOUS else 0)
        for name in ("user", "ip", "user_agent"):
            start = at + _LENGTH.size
            at = start + (_LENGTH.unpack_from(stored, at)[0] if start <= len(stored) else len(stored))
            if at > len(stored):
                break
            if name != "user" or (flags & _USER and at > start):
                fields[name] = _decoded(stored[start:at])
        if fields.get("user_agent"):
            fields["user_agent"] = expand(fields["user_agent"])
    return salvage(fields, why)


def _decoded(text: bytes) -> str | None:
    try:
        return text.decode()
    except UnicodeDecodeError:
        return None


def complete(item: Damaged, entry: bytes, at: float) -> Damaged:
    """Fill in a damaged session from its index entry, so that it passes the filter that found it.

    Args:
        item: the readable fields of the session.
        entry: its index entry with the prefix of the list; empty for the index of expiries.
        at: the time of the entry, in UTC seconds.
    """
    kind, name = entry[:1], entry[1:].partition(b"\0")[0]
    if kind == b"d":
        return item
    if kind == b"":
        return replace(item, expires_at=at)
    # Entries are truncated to microseconds: if both times agree to that precision, keep the record's.
    if kind == b"s":
        return item if abs((item.signed_in_at or 0.0) - at) < 2e-6 else replace(item, signed_in_at=at)
    found: dict[str, str | float] = {} if abs(item.last_seen_at - at) < 2e-6 else {"last_seen_at": at}
    if kind in (b"u", b"i"):
        text = name.replace(b"\1\1", b"\0").replace(b"\1\2", b"\1").decode("utf-8", "replace")
        found["user" if kind == b"u" else "ip"] = text
    return replace(item, **found)
