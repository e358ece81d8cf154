"""Check the arguments of public methods: one rule per kind of argument, the same on every store.

Pure functions. They return the argument in the form that stores expect, or raise before anything is read or written: a
``UsageError`` for misuse by a program, a ``QueryError`` for a value that a person may have entered. They must not know stores.
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
    "MAX_ACTION",
    "MAX_REASON",
    "MAX_TIME",
    "MAX_USERS",
    "MAX_USER_ID",
    "check_action",
    "check_at_most",
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

#: Maximum length of a user id in bytes of UTF-8. It is part of several index entries on every store, and of log lines.
MAX_USER_ID = 512
#: Maximum number of user ids in one filter. Each is a range of an index, and stores limit the ranges of a query.
MAX_USERS = 500
#: Maximum length of a reason in characters; a longer one is cut.
MAX_REASON = 500
#: Maximum length of the id of an action in characters.
MAX_ACTION = 64
#: Latest time in a filter, in UTC seconds: the year 2255.
MAX_TIME = 9e9


def shown(value: object) -> str:
    """Return a short ``repr`` of any value, for messages."""
    try:
        return ascii(value)[:60]
    except Exception:  # noqa: BLE001 - repr fails for an int of 5,000 digits, and __repr__ may raise anything
        return f"a {type(value).__name__}"


def _fault_of(value: object, longest: int) -> str | None:
    """Return why a value is not text that every store keeps unchanged; ``None`` if it is."""
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
    """Return an exact ``str``. Drivers encode subclasses such as ``StrEnum`` differently, or not at all."""
    return str.__str__(text)


def check_user_id(value: object, name: str = "user_id") -> str:
    """Check the id of a user and return it.

    Args:
        value: a ``str`` of 1 to 512 bytes of UTF-8. A subclass of ``str`` is converted to a plain one.
        name: of the argument, for the message.

    Raises:
        UsageError: the value is anything else.
    """
    fault = _fault_of(value, MAX_USER_ID)
    if fault is None:
        return _plain(value)  # type: ignore[arg-type]
    if isinstance(value, bytes | bytearray):
        remedy = "pass user_id.decode()"
    elif value is None or isinstance(value, str | bool):
        remedy = "pass a value that identifies the user permanently, such as str(user.id)"
    else:
        remedy = "pass str(user.id)"
    raise UsageError(f"{name} must be a non-empty str of at most {MAX_USER_ID} bytes, but {fault}: {remedy}")


def check_reason(value: object) -> str:
    """Check a reason and return it. Raises ``UsageError`` if it is not a ``str`` or has a lone surrogate.

    A long reason is cut to 500 characters instead of refused, so that it does not prevent ending a session.
    """
    return _words("reason", value)


def check_by(value: object) -> str | None:
    """Check the id of the user who ends a session, like a reason; ``None`` means that no user did."""
    return None if value is None else _words("by", value)


def check_action(value: object) -> str:
    """Check the id of the action that ends a session: printable text of at most 64 characters. Raises ``UsageError``."""
    if not isinstance(value, str) or len(value) > MAX_ACTION or not value.isprintable():
        raise UsageError(f"action must be a printable str of at most {MAX_ACTION} characters, not {shown(value)}")
    return _plain(value)


def _words(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise UsageError(f"{name} must be a str, not {shown(value)}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{name} has a lone surrogate, which is not Unicode") from None
    return _plain(value) if len(value) <= MAX_REASON else _plain(value)[: MAX_REASON - 1] + "…"


def check_cause(value: object) -> Cause:
    """Check a ``Cause`` or its value. Raises ``UsageError``."""
    if isinstance(value, str):
        try:
            return Cause(value)
        except ValueError:
            pass
    raise UsageError(f"cause must be one of {', '.join(Cause)}, not {shown(value)}")


def check_handle(value: object, name: str = "handle") -> str | None:
    """Check a handle and return it, or ``None`` for text that cannot be a handle. Raises ``UsageError`` unless it is a ``str``."""
    if not isinstance(value, str):
        raise UsageError(f"{name} must be a str, such as session.handle, not {shown(value)}")
    return _plain(value) if _fault_of(value, MAX_USER_ID) is None else None


def check_handles(values: object) -> list[str]:
    """Check several handles; texts that cannot be handles are left out.

    Raises:
        UsageError: the value is not an iterable of ``str``, or is a single ``str``.
    """
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise UsageError(f"handles must be a list of str, not {shown(values)}")
    return [handle for handle in map(check_handle, values) if handle is not None]


def check_duration(name: str, value: object, longest: float) -> float:
    """Check a duration and return it in seconds.

    Args:
        name: of the argument, for the message.
        value: a number of seconds, or a ``timedelta``; more than 0.
        longest: the limit in seconds.

    Raises:
        UsageError: the value is anything else, such as NaN or infinity.
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
    """Check a function that is passed to ``taker``. Raises ``UsageError`` unless it is a callable and not a coroutine function."""
    if not callable(value) or iscoroutinefunction(value):
        raise UsageError(f"{taker} takes a plain function, not {shown(value)}")


def check_at_most(value: object) -> int | None:
    """Check the number of sessions that may end; ``None`` is any. Raises ``UsageError`` unless it is an ``int`` of 0 or more."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value
    raise UsageError(f"at_most must be None or an int of 0 or more, not {shown(value)}")


def check_flag(name: str, value: object) -> bool:
    """Check a switch. Raises ``UsageError`` unless it is True or False."""
    if not isinstance(value, bool):
        raise UsageError(f"{name} must be True or False, not {shown(value)}")
    return value


# --- lists ----------------------------------------------------------------------------------------------------------


def check_where(where: object, filters: Mapping[str, object]) -> Where:
    """Check the filters of a list and combine them.

    Args:
        where: a ``Where``, or ``None``.
        filters: more filters by name; a value of ``None`` is ignored.

    Raises:
        QueryError: a filter does not exist, or its value has a wrong type or is out of range.
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
    """Check the number of rows of a page. Raises ``QueryError`` unless it is an ``int`` from 1 to ``most``."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise QueryError("limit must be a number from 1 to %s, not %s", str(most), shown(value))
    return int(value)


def check_cursor(value: object) -> str | None:
    """Check that a cursor is a ``str`` or ``None``; the store checks the rest. Raises ``QueryError``."""
    if value is not None and not isinstance(value, str):
        raise QueryError("invalid cursor; start from the first page")
    return value if value is None else _plain(value)


def check_member(kind: type[E], value: object) -> E:
    """Return the member of an enumeration with this value. Raises ``QueryError`` if there is none."""
    if isinstance(value, str):
        try:
            return kind(value)
        except ValueError:
            pass
    raise QueryError("%s is one of %s", kind.__name__.lower(), ", ".join(member.value for member in kind))


def _text(name: str, value: object) -> str:
    # Empty text is refused, because it could mean "none" or "any": a bulk end must not guess.
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
    # NaN, infinity and times in milliseconds fail the comparison.
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
    "ended_by": _text,
    "ended_action": _text,
    "ended_since": _time,
    "ended_until": _time,
}
