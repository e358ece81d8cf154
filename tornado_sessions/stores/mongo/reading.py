"""What MongoDB returns → records and endings, or the reason why they cannot be read.

It must not know filters, updates or connections. Anything may be stored: a field can be missing, null or of another BSON type. A
healthy document is checked as a whole; fields are looked at one by one only where that fails.
"""

from __future__ import annotations

from operator import itemgetter
from typing import Any, TypeVar
from urllib.parse import unquote

import msgspec
from bson.int64 import Int64

from tornado_sessions.record import LATEST, Cause, Damaged, Ending, Record, SessionSummary

__all__ = [
    "RECORD_FIELDS",
    "SUMMARY_FIELDS",
    "number_or",
    "read_ending",
    "read_record",
    "read_summary",
    "read_values",
    "salvage",
]

T = TypeVar("T")

#: All of a record but its handle and its values.
RECORD_FIELDS = tuple(name for name in Record.__struct_fields__ if name not in ("handle", "data"))
#: What lists and tombstones show, but the handle.
SUMMARY_FIELDS = SessionSummary.__struct_fields__[1:]

_HASH_SIZE = 32
_require_record, _require_summary = itemgetter(*RECORD_FIELDS), itemgetter(*SUMMARY_FIELDS)
# Without it a text would be taken for bytes in base64.
_BYTES = (bytes,)
_USERS = (str, type(None))
_NO_VALUES: dict[str, bytes] = {}

_NULLABLE = frozenset({"user", "signed_in_at", "previous_hash", "confirmed_at"})
_TEXTS = frozenset({"user", "ip", "user_agent"})
_HASHES = frozenset({"secret_hash", "previous_hash"})


def number_or(value: object, default: T) -> float | T:
    """A number up to the year 9999, or the default."""
    # NaN and the infinities are no times: a session that expires at NaN would never expire.
    is_number = type(value) in (float, int, Int64) and -LATEST < value < LATEST  # type: ignore[operator]
    return value if is_number else default  # type: ignore[return-value]


def read_record(document: dict[str, Any], data: dict[str, Any] = _NO_VALUES) -> Record | str:
    """The record in a document, with values that were read already, or what is wrong with it."""
    try:
        _require_record(document)
        found = msgspec.convert({**document, "handle": document["_id"], "data": data}, Record, builtin_types=_BYTES)
        if _is_sound(document, found) and _has_hashes(document) and _has_own_times(found):
            return found
    except (KeyError, msgspec.ValidationError):
        pass
    return _fault_of(document, RECORD_FIELDS) or "data is no values by key"


def read_values(stored: object) -> dict[str, Any] | None:
    """Values by key, of whatever type they are; ``None`` where there is no such document."""
    if type(stored) is not dict:
        return None
    return {name[1:] if "%" not in name else unquote(name[1:]): value for name, value in stored.items()}


def read_summary(document: dict[str, Any]) -> SessionSummary | str:
    """What may be shown of a document, or what is wrong with it."""
    try:
        _require_summary(document)
        found = msgspec.convert({**document, "handle": document["_id"]}, SessionSummary)
        if _is_sound(document, found):
            return found
    except (KeyError, msgspec.ValidationError):
        pass
    return _fault_of(document, SUMMARY_FIELDS) or "_id is no text"


def _is_sound(document: dict[str, Any], found: SessionSummary) -> bool:
    """What types alone do not say of a summary."""
    # JavaScript code arrives as a subclass of str.
    if (
        type(document["ip"]) is not str
        or type(document["user_agent"]) is not str
        or type(document["user"]) not in _USERS
    ):
        return False
    return _are_times(found.created_at, found.last_seen_at, found.expires_at, found.signed_in_at or 0.0)


def _has_own_times(found: Record) -> bool:
    return _are_times(found.rotated_at, found.absolute_at, found.idle_timeout, found.grace, found.confirmed_at or 0.0)


def _are_times(*values: float) -> bool:
    # One comparison for nearly every session: NaN, an infinity or a huge time shows in the sum as well.
    return -LATEST < sum(values) < LATEST or all(-LATEST < value < LATEST for value in values)


def _has_hashes(document: dict[str, Any]) -> bool:
    return _is_hash(document["secret_hash"]) and (
        document["previous_hash"] is None or _is_hash(document["previous_hash"])
    )


def _is_hash(value: object) -> bool:
    # Binaries of other subtypes arrive as a subclass of bytes, and never equal ours in a filter.
    return type(value) is bytes and len(value) == _HASH_SIZE


def _fault_of(document: dict[str, Any], names: tuple[str, ...]) -> str | None:
    """What is wrong with the first field that cannot be read; never a value."""
    for name in names:
        if name not in document:
            return f"{name} is missing"
        if not _is_readable(name, document[name]):
            kind = "text" if name in _TEXTS else "hash" if name in _HASHES else "number"
            return f"{name} is neither true nor false" if name == "persistent" else f"{name} is no {kind}"
    return None


def _is_readable(name: str, value: object) -> bool:
    if value is None:
        return name in _NULLABLE
    if name in _TEXTS:
        return type(value) is str
    if name in _HASHES:
        return _is_hash(value)
    return type(value) is bool if name == "persistent" else number_or(value, None) is not None


def salvage(document: dict[str, Any], why: str) -> Damaged:
    """What can still be read of a document."""
    blanks: dict[str, Any] = {"user": None, "signed_in_at": None, "ip": "", "user_agent": ""}
    kept = {
        name: document[name] if _is_readable(name, document.get(name)) and name in document else blanks.get(name, 0.0)
        for name in SUMMARY_FIELDS
    }
    return Damaged(handle=str(document.get("_id")), why=why, **kept)


def read_ending(stored: object) -> Ending | str:
    """An ending as it is stored, or what is wrong with it."""
    if not isinstance(stored, dict):
        return "ending is missing"
    at, until = number_or(stored.get("at"), None), number_or(stored.get("keep_until"), None)
    by, reason = stored.get("by"), stored.get("reason")
    if at is None or until is None:
        return "a time of the ending is no number"
    if not (by is None or type(by) is str) or type(reason) is not str:
        return "a text of the ending is no text"
    try:
        cause = Cause(stored.get("cause", ""))
    except ValueError:
        return "the cause of the ending is unknown"
    return Ending(at=at, cause=cause, by=by, reason=reason, keep_until=until)
