"""The columns of sessions and tombstones, what each must hold, and what can be salvaged from a damaged row.

Pure; it must not know connections or statements.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from tornado_sessions.record import LATEST, Cause, Damaged

__all__ = [
    "CAUSES",
    "FACTS",
    "RECORD",
    "TOMBSTONE",
    "decode",
    "fault",
    "is_number",
    "is_storable",
    "is_text",
    "is_time",
    "salvage",
]

FACTS = ("handle", "user", "ip", "user_agent", "created_at", "signed_in_at", "last_seen_at", "expires_at")
RECORD = (
    *FACTS,
    "secret_hash",
    "previous_hash",
    "rotated_at",
    "confirmed_at",
    "grace",
    "absolute_at",
    "idle_timeout",
    "persistent",
    "data",
)
TOMBSTONE = (*FACTS, "ended_at", "cause", "ended_by", "reason", "keep_until")

CAUSES = frozenset(Cause)

#: Undoes ``rows.pack``. Raises ``msgspec.DecodeError``.
decode = msgspec.msgpack.Decoder(dict[str, bytes]).decode


def salvage(row: Sequence[Any], why: str) -> Damaged:
    """What can still be read of a row that begins with ``FACTS``; ``why`` is what ``fault`` says."""
    left = {name: value for name, value in zip(FACTS, row, strict=False) if _CHECKS[name](value)}
    return Damaged(**{"handle": "", **left}, why=why)


def fault(names: Sequence[str], row: Sequence[Any]) -> str | None:
    """What is wrong with the first column that is not what it should be."""
    for name, value in zip(names, row, strict=False):
        if not _CHECKS[name](value):
            return f"{name} is not {_NOUNS[_CHECKS[name]]}"
    return None


def is_text(value: object) -> bool:
    """Whether this is text; SQLite's other types come as other types of Python."""
    return type(value) is str


def _is_text_or_null(value: object) -> bool:
    return value is None or type(value) is str


def is_storable(text: str) -> bool:
    """Whether this can be encoded as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_time(value: object) -> bool:
    """Whether this is a time up to the year 9999."""
    return type(value) is float and -LATEST < value < LATEST


def _is_time_or_null(value: object) -> bool:
    return value is None or is_time(value)


def is_number(value: object) -> bool:
    """Whether this is a finite number, as a column of type ``REAL`` gives it."""
    return type(value) is float and math.isfinite(value)


def _is_number_or_null(value: object) -> bool:
    return value is None or is_number(value)


def _is_integer(value: object) -> bool:
    return type(value) is int


def _is_hash(value: object) -> bool:
    return type(value) is bytes and len(value) == 32


def _is_hash_or_null(value: object) -> bool:
    return value is None or _is_hash(value)


def _is_cause(value: object) -> bool:
    return type(value) is str and value in CAUSES


def _is_map(value: object) -> bool:
    try:
        return type(value) is bytes and decode(value) is not None
    except msgspec.DecodeError:
        return False


_CHECKS: Mapping[str, Callable[[object], bool]] = {
    "handle": is_text,
    "user": _is_text_or_null,
    "ip": is_text,
    "user_agent": is_text,
    "created_at": is_time,
    "signed_in_at": _is_time_or_null,
    "last_seen_at": is_time,
    "expires_at": is_time,
    "secret_hash": _is_hash,
    "previous_hash": _is_hash_or_null,
    "rotated_at": is_number,
    "confirmed_at": _is_number_or_null,
    "grace": is_number,
    "absolute_at": is_number,
    "idle_timeout": is_number,
    "persistent": _is_integer,
    "data": _is_map,
    "era": _is_integer,
    "ended_at": is_time,
    "cause": _is_cause,
    "ended_by": _is_text_or_null,
    "reason": is_text,
    "keep_until": is_number,
}
_NOUNS: Mapping[Callable[[object], bool], str] = {
    is_text: "text",
    _is_text_or_null: "text",
    is_time: "a time",
    _is_time_or_null: "a time",
    is_number: "a number",
    _is_number_or_null: "a number",
    _is_integer: "an integer",
    _is_hash: "a hash",
    _is_hash_or_null: "a hash",
    _is_cause: "a known cause",
    _is_map: "a map of values",
}
