"""Read-only lists and dicts: values read from a finished session, whose changes would be lost.

They compare equal to plain ones and are encoded like them; a copy is plain. It must not know sessions.
"""

from __future__ import annotations

from typing import Any, NoReturn

from tornado_sessions.errors import UsageError

__all__ = ["FrozenDict", "FrozenList", "frozen"]


def frozen(value: Any, why: str) -> Any:
    """Return a copy of a JSON value in which every list and dict, at any depth, is read-only.

    Args:
        value: a JSON value.
        why: the message of the ``UsageError`` that a change raises.
    """
    made: FrozenList | FrozenDict
    if isinstance(value, list):
        made = FrozenList(frozen(item, why) for item in value)
    elif isinstance(value, dict):
        made = FrozenDict((key, frozen(item, why)) for key, item in value.items())
    else:
        return value
    made.why = why
    return made


class _Frozen:
    #: The message of the error.
    why = ""

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise UsageError(self.why)


class FrozenList(_Frozen, list[Any]):
    """A read-only list."""

    append = extend = insert = pop = remove = clear = sort = reverse = _Frozen._refuse
    __setitem__ = __delitem__ = __iadd__ = __imul__ = _Frozen._refuse

    def __reduce__(self) -> tuple[type[list[Any]], tuple[list[Any]]]:
        """Let ``copy`` and ``pickle`` create a plain list."""
        return list, (list(self),)


class FrozenDict(_Frozen, dict[str, Any]):
    """A read-only dict."""

    pop = popitem = setdefault = update = clear = _Frozen._refuse
    __setitem__ = __delitem__ = __ior__ = _Frozen._refuse

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        """Let ``copy`` and ``pickle`` create a plain dict."""
        return dict, (dict(self),)
