"""Validate the types of Redis replies, so that a malformed reply raises one clear error instead of a late ``TypeError``.

Each function returns the validated reply or raises ``StoreMismatch``. It must not know what the replies mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tornado_sessions.errors import StoreMismatch

__all__ = ["names", "number", "score", "several", "text", "texts", "values"]

#: Compared without a step of Python for each item, because every load runs it.
_STRINGS = frozenset((bytes, type(None)))


def _checked(answer: Any, *, is_right: bool, expected: str) -> Any:
    if not is_right:
        why = f"the server's answer is not {expected}; is this a Redis server, and does no proxy change its answers?"
        raise StoreMismatch("redis", why)
    return answer


def several(answer: Any, count: int) -> Sequence[Any]:
    """Return a list of exactly ``count`` items."""
    is_right = isinstance(answer, list) and len(answer) == count
    return _checked(answer, is_right=is_right, expected=f"a list of {count}")  # type: ignore[no-any-return]


def values(answer: Any, count: int) -> list[bytes | None]:
    """Return a list of exactly ``count`` items, each a string or ``None``."""
    found = several(answer, count)
    return list(_checked(found, is_right=_STRINGS.issuperset(map(type, found)), expected="a list of strings"))


def texts(answer: Any) -> list[bytes]:
    """Return a list of strings of any length."""
    is_right = isinstance(answer, list) and all(isinstance(item, bytes) for item in answer)
    return _checked(answer, is_right=is_right, expected="a list of strings")  # type: ignore[no-any-return]


def names(answer: Any) -> list[str]:
    """Return a list of strings, decoded."""
    return [name.decode("utf-8", "replace") for name in texts(answer)]


def text(answer: Any) -> bytes:
    """Return a string."""
    return _checked(answer, is_right=isinstance(answer, bytes), expected="a string")  # type: ignore[no-any-return]


def number(answer: Any) -> int:
    """Return an integer."""
    return _checked(answer, is_right=isinstance(answer, int), expected="a number")  # type: ignore[no-any-return]


def score(answer: Any) -> float:
    """Return a number that the server sent as a string; it may be infinite, but not NaN."""
    try:
        found = float(answer)
    except (TypeError, ValueError):
        found = math.nan
    return _checked(found, is_right=not math.isnan(found), expected="a score")  # type: ignore[no-any-return]
