"""Read stored bytes that may be damaged: one damaged record costs one record, and never a whole answer.

It must not know connections. ``records`` says what is unreadable; here it becomes a ``Damaged``, completed by what the index says.
"""

from __future__ import annotations

import math
import struct

from msgspec.structs import replace

from tornado_sessions.errors import StoreMismatch
from tornado_sessions.record import Damaged, Record, SessionSummary, Tombstone
from tornado_sessions.stores.redis import records
from tornado_sessions.stores.redis.records import Unreadable

__all__ = ["DAMAGED_END", "NO_STRING", "complete", "load_facts", "load_record", "load_tombstone", "read_not_before"]

#: Stands for the value of a key that holds no string. No record is empty, so it is damaged like one.
NO_STRING = b""
# The first second of the year 10000, as in ``common.lua``.
_NO_DATE = 253_402_300_800.0
DAMAGED_END = (
    "the stored time of the end of everybody's sessions is damaged; end everybody's sessions again to replace it"
)


def load_record(handle: str, stored: bytes) -> Record | Damaged:
    """A session, or what is left of it."""
    try:
        return records.read_record(handle, stored)
    except Unreadable as error:
        return records.salvage(handle, stored, error.why)


def load_facts(handle: str, stored: bytes, now: float, not_before: float) -> SessionSummary | Damaged | None:
    """What a list shows of a session; ``None`` if it is known not to be live."""
    try:
        return records.read_facts(handle, stored, now, not_before)
    except Unreadable as error:
        return records.salvage(handle, stored, error.why)


def load_tombstone(handle: str, stored: bytes) -> Tombstone | Damaged:
    """The tombstone of a session, or what is left of it."""
    try:
        return records.read_tombstone(handle, stored)
    except Unreadable as error:
        why = f"tombstone: {error.why}"
    try:
        _, at = records.read_ending(stored)
    except Unreadable:
        return Damaged(handle=handle, why=why)
    return records.salvage(handle, stored[at:], why)


def complete(item: Damaged, entry: bytes, at: float) -> Damaged:
    """Fill in what the index entry of a damaged session says, so that it passes the filter that found it.

    Args:
        item: what is left of the session.
        entry: its index entry, from the letter of the list on; empty for the index by expiry.
        at: the time of the entry, in UTC seconds.
    """
    kind, name = entry[:1], entry[1:].rpartition(b"\0")[0]
    if kind == b"d":
        return item
    if kind == b"":
        return replace(item, expires_at=at)
    # An entry is cut to microseconds, so a time that was read is better if it is the same one.
    if kind == b"s":
        return item if abs((item.signed_in_at or 0.0) - at) < 2e-6 else replace(item, signed_in_at=at)
    found: dict[str, str | float] = {} if abs(item.last_seen_at - at) < 2e-6 else {"last_seen_at": at}
    if kind in (b"u", b"i"):
        text = name.replace(b"\1\1", b"\0").replace(b"\1\2", b"\1").decode("utf-8", "replace")
        found["user" if kind == b"u" else "ip"] = text
    return replace(item, **found)


def read_not_before(stored: bytes | None) -> float:
    """When everybody's sessions were last ended; 0.0 for never.

    Raises:
        StoreMismatch: the value is damaged. Taking it for "never" would let everybody in again who was signed out.
    """
    if stored is None:
        return 0.0
    at = float(struct.unpack_from("<d", stored)[0]) if len(stored) >= 8 else math.nan
    if not 0 <= at < _NO_DATE:
        raise StoreMismatch("redis", DAMAGED_END)
    return at
