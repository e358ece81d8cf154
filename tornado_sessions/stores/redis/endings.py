"""Encode and decode endings, tombstones and events in the format of the scripts.

A tombstone is an ending, followed by the record without its data. It must not know connections or keys.
"""

from __future__ import annotations

import json
import math
import struct
from typing import Any

from tornado_sessions.damage import Unreadable
from tornado_sessions.errors import StoreMismatch
from tornado_sessions.record import LATEST, Cause, Damaged, Ending, Event, EventKind, Tombstone, bury
from tornado_sessions.stores.redis.records import pack_text, read_record, read_texts, salvaged

__all__ = ["DAMAGED_END", "load_tombstone", "pack_ending", "pack_time", "read_events", "read_not_before"]

DAMAGED_END = "the stored time at which all sessions were ended is damaged; end all sessions again to replace it"
_ENDING = struct.Struct("<ddB")
_TIME = struct.Struct("<d")
#: Before the id of an action, which never contains it: the scripts know three texts and copy the third as it is.
_SEPARATOR = "\x1f"


def pack_time(seconds: float) -> bytes:
    """Return a time, in UTC seconds, in the format of the scripts."""
    return _TIME.pack(seconds)


def pack_ending(ending: Ending) -> bytes:
    """Return the stored bytes of an ending. The id of its action, if any, follows the reason in the same text."""
    head = _ENDING.pack(ending.at, ending.keep_until, ending.by is not None)
    reason = ending.reason
    if ending.action or _SEPARATOR in reason:
        reason += _SEPARATOR + ending.action
    return head + b"".join(map(pack_text, (ending.cause.value, ending.by or "", reason)))


def _read_ending(stored: bytes) -> tuple[Ending, int]:
    """Return the ending at the start of ``stored``, and the position after it."""
    if len(stored) < _ENDING.size:
        raise Unreadable("its ending is truncated")
    when, keep_until, has_by = _ENDING.unpack_from(stored)
    if not math.isfinite(when + keep_until):
        raise Unreadable("the time of its ending is not a finite number")
    cause, by, reason, at = read_texts(stored, _ENDING.size)
    try:
        known = Cause(cause)
    except ValueError:
        raise Unreadable("the cause of its ending is unknown") from None
    action = ""
    if _SEPARATOR in reason:
        reason, _, action = reason.rpartition(_SEPARATOR)
    by = by if has_by else None  # type: ignore[assignment]
    return Ending(at=when, cause=known, by=by, reason=reason, action=action, keep_until=keep_until), at


def load_tombstone(handle: str, stored: bytes) -> Tombstone | Damaged:
    """Decode a tombstone; return ``Damaged`` with the fields that are readable if it is damaged."""
    at = len(stored)
    try:
        ending, at = _read_ending(stored)
        return bury(read_record(handle, stored[at:]), ending)
    except Unreadable as error:
        return salvaged(handle, stored[at:], f"tombstone: {error.why}")


def read_not_before(stored: bytes | None) -> float:
    """Return the stored ``not_before``, in UTC seconds; 0.0 if all sessions have never been ended.

    Raises:
        StoreMismatch: the value is damaged. Reading it as "never" would revive every session that it ended.
    """
    if stored is None:
        return 0.0
    at = float(_TIME.unpack_from(stored)[0]) if len(stored) >= _TIME.size else math.nan
    if not 0 <= at < LATEST:
        raise StoreMismatch("redis", DAMAGED_END)
    return at


def read_events(message: object) -> list[Event]:
    """Decode the events that a script published in one message; anything else on the channel is left out."""
    text = message.decode("utf-8", "replace") if isinstance(message, bytes) else message
    try:
        listed = json.loads(text)  # type: ignore[arg-type]
    except (ValueError, TypeError, RecursionError):
        return []
    found = map(_read_event, listed if isinstance(listed, list) else [])
    return [event for event in found if event is not None]


def _read_event(fields: Any) -> Event | None:
    try:
        kind, handle, at, user, cause, by = fields
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
