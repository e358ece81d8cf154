"""Check the shape of what a server answers, so that a wrong one is one clear error and not a ``TypeError`` somewhere later.

It must not know what the answers mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tornado_sessions.errors import StoreMismatch

__all__ = ["floating", "number", "score", "several", "text", "texts", "values"]


def several(answer: Any, count: int) -> Sequence[Any]:
    """A list of this many items. Raises ``StoreMismatch`` for anything else."""
    if not isinstance(answer, list) or len(answer) != count:
        raise _wrong(f"a list of {count}")
    return answer


def values(answer: Any, count: int) -> list[bytes | None]:
    """A list of this many strings or gaps. Raises ``StoreMismatch`` for anything else."""
    found = several(answer, count)
    if not all(item is None or isinstance(item, bytes) for item in found):
        raise _wrong("a list of strings")
    return list(found)


def texts(answer: Any) -> list[bytes]:
    """A list of strings. Raises ``StoreMismatch`` for anything else."""
    if not isinstance(answer, list) or not all(isinstance(item, bytes) for item in answer):
        raise _wrong("a list of strings")
    return answer


def text(answer: Any) -> bytes:
    """A string. Raises ``StoreMismatch`` for anything else."""
    if not isinstance(answer, bytes):
        raise _wrong("a string")
    return answer


def number(answer: Any) -> int:
    """A whole number. Raises ``StoreMismatch`` for anything else."""
    if not isinstance(answer, int):
        raise _wrong("a number")
    return answer


def score(answer: Any) -> float:
    """A number written as a string, finite or not. Raises ``StoreMismatch`` for anything else."""
    try:
        found = float(answer)
    except (TypeError, ValueError):
        found = math.nan
    if math.isnan(found):
        raise _wrong("a score")
    return found


def floating(answer: Any) -> float:
    """A finite number written as a string. Raises ``StoreMismatch`` for anything else."""
    found = score(answer)
    if math.isinf(found):
        raise _wrong("a time")
    return found


def _wrong(expected: str) -> StoreMismatch:
    return StoreMismatch(
        "redis", f"the server's answer is not {expected}; is this a Redis server, without a proxy that rewrites?"
    )
