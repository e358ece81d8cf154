"""``Outage``: what an error page may say about a store that does not answer: its kind and the class of the error, never a message.

Messages may contain host names. It must not know pages.
"""

from __future__ import annotations

from typing import NamedTuple

from tornado_sessions.errors import StoreError

__all__ = ["Outage", "outage_of"]

_NAMES = {"memory": "memory", "sqlite": "SQLite", "redis": "Redis", "mongodb": "MongoDB"}
#: Maximum number of errors behind an error that are followed.
_DEPTH = 5


class Outage(NamedTuple):
    """A store that does not answer.

    Attributes:
        backend: the name of its kind, such as ``Redis``.
        kind: the class of the error, and of the one that caused it.
    """

    backend: str
    kind: str


def outage_of(error: BaseException | None) -> Outage | None:
    """Return the outage behind an error, or ``None`` if it has another reason."""
    if not isinstance(error, StoreError):
        return None
    cause: BaseException = error
    for _ in range(_DEPTH):
        # Drivers hide their errors (``from None``), which only keeps them out of tracebacks.
        behind = cause.__cause__ or cause.__context__
        if not isinstance(behind, Exception):
            break
        cause = behind
    names = dict.fromkeys((type(error).__name__, type(cause).__name__))
    return Outage(_NAMES.get(error.backend, error.backend[:40]), " – ".join(names))
