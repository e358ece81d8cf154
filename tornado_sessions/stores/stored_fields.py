"""Validate the stored fields of a session, and salvage the readable fields of a damaged one.

Stores that keep a session field by field (SQLite, MongoDB) read it here. Operators edit data and disks fail, so a field can be
missing, null or of another type. A session is first checked as a whole, because every request pays for the check; only if that
fails, fields are checked one by one. It must not know how a store names or encodes fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import itemgetter
from typing import Any, TypeVar

import msgspec

from tornado_sessions.record import LATEST, Cause, Damaged, Ending, Record, SessionSummary

__all__ = [
    "HASH_SIZE",
    "RECORD_FIELDS",
    "SUMMARY_FIELDS",
    "are_times",
    "fault_of",
    "number_or",
    "read_ending",
    "read_record",
    "read_summary",
    "salvage",
]

T = TypeVar("T")

RECORD_FIELDS = Record.__struct_fields__
SUMMARY_FIELDS = SessionSummary.__struct_fields__

#: Bytes of a SHA-256.
HASH_SIZE = 32
_TEXTS = frozenset({"handle", "user", "ip", "user_agent"})
_HASHES = frozenset({"secret_hash", "previous_hash"})
_NULLABLE = frozenset({"user", "signed_in_at", "previous_hash", "confirmed_at"})
_NOUNS = {
    **dict.fromkeys(_TEXTS, "text"),
    **dict.fromkeys(_HASHES, "a hash"),
    "persistent": "true or false",
    "data": "a map of values",
}
_BLANKS: dict[str, Any] = {"handle": "", "user": None, "ip": "", "user_agent": "", "signed_in_at": None}
_require_record, _require_summary = itemgetter(*RECORD_FIELDS), itemgetter(*SUMMARY_FIELDS)
# Without this, msgspec would decode text as base64 bytes.
_BYTES = (bytes,)


def read_record(fields: Mapping[str, Any]) -> Record | Damaged:
    """Read a session.

    Args:
        fields: all of ``RECORD_FIELDS``, with ``data`` as a dict; others are ignored.
    """
    try:
        _require_record(fields)
        found = msgspec.convert(fields, Record, builtin_types=_BYTES)
    except (KeyError, msgspec.ValidationError):
        return salvage(fields, fault_of(fields, RECORD_FIELDS) or "data is not a map of values")
    own = (found.rotated_at, found.absolute_at, found.idle_timeout, found.grace, found.confirmed_at or 0.0)
    previous = fields["previous_hash"]
    if (
        _is_sound(fields, found)
        and are_times(*own)
        and _is_hash(fields["secret_hash"])
        and (previous is None or _is_hash(previous))
    ):
        return found
    return salvage(fields, fault_of(fields, RECORD_FIELDS) or "data is not a map of values")


def read_summary(fields: Mapping[str, Any]) -> SessionSummary:
    """Read the summary of a session; return ``Damaged`` if it cannot be read.

    Args:
        fields: all of ``SUMMARY_FIELDS``; others are ignored.
    """
    try:
        _require_summary(fields)
        found = msgspec.convert(fields, SessionSummary)
        if _is_sound(fields, found):
            return found
    except (KeyError, msgspec.ValidationError):
        pass
    return salvage(fields, fault_of(fields, SUMMARY_FIELDS) or "handle is not text")


def _is_sound(fields: Mapping[str, Any], found: SessionSummary) -> bool:
    """Check what msgspec does not: exact types (MongoDB returns JavaScript code as a subclass of ``str``) and plausible times."""
    if type(fields["ip"]) is not str or type(fields["user_agent"]) is not str:
        return False
    if found.user is not None and type(fields["user"]) is not str:
        return False
    return are_times(found.created_at, found.last_seen_at, found.expires_at, found.signed_in_at or 0.0)


def are_times(*values: float) -> bool:
    """Return whether all numbers are times that a calendar can show."""
    # One comparison is enough for nearly every session: NaN, infinity or a huge time would show in the sum.
    return -LATEST < sum(values) < LATEST or all(-LATEST < value < LATEST for value in values)


def _is_hash(value: object) -> bool:
    # MongoDB returns binaries of other subtypes as a subclass of bytes; in a filter they never equal ours.
    return type(value) is bytes and len(value) == HASH_SIZE


def number_or(value: object, default: T) -> float | T:
    """Return a number up to the year 9999, or the default.

    NaN and infinity are refused: a session that expires at NaN would never expire.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and -LATEST < value < LATEST
    return value if is_number else default  # type: ignore[return-value]


def fault_of(fields: Mapping[str, Any], names: Iterable[str]) -> str | None:
    """Return a description of the first field that cannot be read, without its value; ``None`` if all are readable."""
    for name in names:
        if name not in fields:
            return f"{name} is missing"
        if not _is_readable(name, fields[name]):
            return f"{name} is not {_NOUNS.get(name, 'a number')}"
    return None


def _is_readable(name: str, value: object) -> bool:
    if value is None:
        return name in _NULLABLE
    if name in _TEXTS:
        return type(value) is str
    if name in _HASHES:
        return _is_hash(value)
    if name == "data":
        return isinstance(value, dict)
    return isinstance(value, bool) if name == "persistent" else number_or(value, None) is not None


def salvage(fields: Mapping[str, Any], why: str) -> Damaged:
    """Return a damaged session with its readable fields; the others are blank."""
    kept = {
        name: fields[name] if name in fields and _is_readable(name, fields[name]) else _BLANKS.get(name, 0.0)
        for name in SUMMARY_FIELDS
    }
    return Damaged(why=why, **kept)


def read_ending(stored: object) -> Ending | str:
    """Read an ending from a dict of its fields, or return a description of its fault.

    Earlier versions stored no ``action``.
    """
    if not isinstance(stored, dict):
        return "ending is missing"
    at, until = number_or(stored.get("at"), None), number_or(stored.get("keep_until"), None)
    by, reason, action = stored.get("by"), stored.get("reason"), stored.get("action", "")
    if at is None or until is None:
        return "a time of the ending is not a number"
    if not (by is None or type(by) is str) or type(reason) is not str or type(action) is not str:
        return "a text of the ending is not text"
    try:
        cause = Cause(stored.get("cause", ""))
    except ValueError:
        return "the cause of the ending is unknown"
    return Ending(at=at, cause=cause, by=by, reason=reason, action=action, keep_until=until)
