"""What public methods accept: one rule for each kind of argument, the same on every store.

Pure functions: they return the argument in the form that stores get, or raise before anything is read or written.
Misuse by a program is ``UsageError``; what a person may have typed into a list is ``QueryError``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from enum import StrEnum
from inspect import iscoroutinefunction
from typing import Any, TypeVar

from tornado_sessions.errors import QueryError, UsageError
from tornado_sessions.query import Where
from tornado_sessions.record import Cause

__all__ = [
    "MAX_REASON",
    "MAX_TIME",
    "MAX_USERS",
    "MAX_USER_ID",
    "check_by",
    "check_cause",
    "check_cursor",
    "check_duration",
    "check_flag",
    "check_function",
    "check_handle",
    "check_handles",
    "check_limit",
    "check_member",
    "check_reason",
    "check_user_id",
    "check_where",
    "shown",
]

E = TypeVar("E", bound=StrEnum)

#: Bytes of UTF-8 that a user id may take. It is part of several index entries on every store, and of log lines.
MAX_USER_ID = 512
#: User ids that one filter may name; each is a range of an index, and stores bound how many one query has.
MAX_USERS = 500
#: Characters of a reason that are kept.
MAX_REASON = 500
#: The latest time that a filter may name, in UTC seconds; the year 2255.
MAX_TIME = 9e9


def shown(value: object) -> str:
    """A short ``repr`` for messages, of anything."""
    try:
        return ascii(value)[:60]
    except Exception:  # noqa: BLE001 - an int of 5,000 digits has none, nor has an object whose __repr__ fails
        return f"a {type(value).__name__}"


def _fault_of(value: object, longest: int) -> str | None:
    """Why a value is no text that every store keeps unchanged and finds again; ``None`` when it is."""
    if not isinstance(value, str):
        return f"it is {'None' if value is None else f'of type {type(value).__name__}'}"
    if not value:
        return "it is empty"
    if len(value) > longest:
        return f"it takes more than {longest} bytes"
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        return "it has a lone surrogate, which is not Unicode"
    if size > longest:
        return f"it takes more than {longest} bytes"
    return None


def _plain(text: str) -> str:
    """A ``str`` of the exact type: drivers encode subclasses such as ``StrEnum`` each in its own way, or not at all."""
    return str.__str__(text)


def check_user_id(value: object, name: str = "user_id") -> str:
    """Check the id of a user.

    Args:
        value: a ``str`` that takes 1 to 512 bytes of UTF-8; a subclass of ``str`` becomes a plain one.
        name: what the caller calls it, for the message.

    Raises:
        UsageError: it is anything else.
    """
    fault = _fault_of(value, MAX_USER_ID)
    if fault is None:
        return _plain(value)  # type: ignore[arg-type]
    if isinstance(value, bytes | bytearray):
        remedy = "pass user_id.decode()"
    elif value is None or isinstance(value, str | bool):
        remedy = "pass what identifies the user for good, such as str(user.id)"
    else:
        remedy = "pass str(user.id)"
    raise UsageError(f"{name} must be a non-empty str of at most {MAX_USER_ID} bytes, but {fault}: {remedy}")


def check_reason(value: object) -> str:
    """Check the words that a tombstone keeps. Raises ``UsageError`` when it is no ``str`` or has a lone surrogate.

    More than 500 characters are cut, and end with "…": a long reason must not keep anybody from ending a session.
    """
    return _words("reason", value)


def check_by(value: object) -> str | None:
    """Check who ends a session: as ``check_reason``, and ``None`` when nobody does."""
    return None if value is None else _words("by", value)


def _words(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise UsageError(f"{name} must be a str, not {shown(value)}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{name} has a lone surrogate, which is not Unicode") from None
    return _plain(value) if len(value) <= MAX_REASON else _plain(value)[: MAX_REASON - 1] + "…"


def check_cause(value: object) -> Cause:
    """Check why a session ends: a ``Cause``, or its value as text. Raises ``UsageError``."""
    if isinstance(value, str):
        try:
            return Cause(value)
        except ValueError:
            pass
    raise UsageError(f"cause must be one of {', '.join(Cause)}, not {shown(value)}")


def check_handle(value: object, name: str = "handle") -> str | None:
    """Check the handle of a session; ``None`` for a text that no session can have, so that it is simply not found.

    Raises:
        UsageError: it is no ``str``.
    """
    if not isinstance(value, str):
        raise UsageError(f"{name} must be a str, such as session.handle, not {shown(value)}")
    return _plain(value) if _fault_of(value, MAX_USER_ID) is None else None


def check_handles(values: object) -> list[str]:
    """Check several handles; texts that no session can have are left out.

    Raises:
        UsageError: it is no iterable of ``str``, or a single ``str``.
    """
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise UsageError(f"handles must be a list of str, not {shown(values)}")
    return [handle for handle in map(check_handle, values) if handle is not None]


def check_duration(name: str, value: object, longest: float) -> float:
    """Check a duration. Returns seconds.

    Args:
        name: of the argument, for the message.
        value: a number of seconds, or a ``timedelta``; more than 0.
        longest: seconds that it may be at most.

    Raises:
        UsageError: it is anything else, also NaN and infinity.
    """
    if isinstance(value, timedelta):
        value = value.total_seconds()
    # Both comparisons are false for NaN.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= longest:
        raise UsageError(
            f"{name} must be a number of seconds, more than 0 and at most {longest / 86400:g} days, not {shown(value)}"
        )
    return float(value)


def check_function(taker: str, value: object) -> None:
    """Check a function that is passed to ``taker``. Raises ``UsageError`` when it cannot be called, or is a coroutine function."""
    if not callable(value) or iscoroutinefunction(value):
        raise UsageError(f"{taker} takes a plain function, not {shown(value)}")


def check_flag(name: str, value: object) -> bool:
    """Check a switch. Raises ``UsageError`` for anything but True and False."""
    if not isinstance(value, bool):
        raise UsageError(f"{name} must be True or False, not {shown(value)}")
    return value


# --- questions about lists -------------------------------------------------------------------------------------------


def check_where(where: object, filters: Mapping[str, object]) -> Where:
    """Check the filters of a list.

    Args:
        where: a ``Where``, or ``None``.
        filters: more filters by name; those that are ``None`` are ignored.

    Raises:
        QueryError: a filter does not exist, or its value has a wrong type or makes no sense.
    """
    if where is not None and not isinstance(where, Where):
        raise QueryError("where must be a Where, not %s", shown(where))
    given = {**(where.given if where is not None else {}), **{k: v for k, v in filters.items() if v is not None}}
    unknown = given.keys() - _FILTERS.keys()
    if unknown:
        raise QueryError("there is no filter %s", shown(min(unknown)))
    checked: dict[str, Any] = {name: _FILTERS[name](name, value) for name, value in given.items()}
    return Where(**checked)


def check_limit(value: object, most: int) -> int:
    """Check the number of rows of a page. Raises ``QueryError`` for anything but an ``int`` from 1 to ``most``."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise QueryError("limit must be a number from 1 to %s, not %s", str(most), shown(value))
    return int(value)


def check_cursor(value: object) -> str | None:
    """Check that a cursor is text, or ``None``; whether a page gave it is for the store to say. Raises ``QueryError``."""
    if value is not None and not isinstance(value, str):
        raise QueryError("the cursor is not one that a page gave; start from the first page")
    return value if value is None else _plain(value)


def check_member(kind: type[E], value: object) -> E:
    """The member of an enumeration that a value names. Raises ``QueryError``."""
    if isinstance(value, str):
        try:
            return kind(value)
        except ValueError:
            pass
    raise QueryError("%s is one of %s", kind.__name__.lower(), ", ".join(member.value for member in kind))


def _text(name: str, value: object) -> str:
    # Empty text is refused because it reads as "none" to one and as "any" to another: a bulk end must not guess.
    if _fault_of(value, MAX_USER_ID) is not None:
        raise QueryError("%s must be text of 1 to %s bytes, not %s", name, str(MAX_USER_ID), shown(value))
    return _plain(value)  # type: ignore[arg-type]


def _users(name: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple | set | frozenset) or len(value) > MAX_USERS:
        raise QueryError("%s must be a list of at most %s user ids, not %s", name, str(MAX_USERS), shown(value))
    return tuple(_text(name, user) for user in value)


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise QueryError("%s must be True or False, not %s", name, shown(value))
    return value


def _time(name: str, value: object) -> float:
    # NaN and infinity fail the comparison; a time in milliseconds does as well.
    if isinstance(value, bool) or not isinstance(value, int | float) or not -MAX_TIME <= value <= MAX_TIME:
        raise QueryError("%s must be a time in UTC seconds, not %s", name, shown(value))
    return max(float(value), 0.0)


_FILTERS = {
    "user": _text,
    "user_prefix": _text,
    "users": _users,
    "ip": _text,
    "network": _text,
    "handle": _text,
    "text": _text,
    "device": _text,
    "signed_in": _flag,
    "signed_in_since": _time,
    "idle_since": _time,
    "created_until": _time,
}
