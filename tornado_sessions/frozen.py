"""Lists and dicts that refuse to change: what a handler reads from a session whose changes would be lost.

They equal plain ones and are encoded as such; a copy of one is plain. It must not know sessions.
"""

from __future__ import annotations

from typing import Any, NoReturn

from tornado_sessions.errors import UsageError

__all__ = ["FrozenDict", "FrozenList", "frozen"]


def frozen(value: Any, why: str) -> Any:
    """Return a copy of a JSON value in which every list and dict, however deep, refuses to change.

    Args:
        value: made of dict, list, str, numbers, bool and None.
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
    """Refuses to change."""

    #: What a change is told.
    why = ""

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise UsageError(self.why)


class FrozenList(_Frozen, list[Any]):
    """A list that refuses to change."""

    append = extend = insert = pop = remove = clear = sort = reverse = _Frozen._refuse
    __setitem__ = __delitem__ = __iadd__ = __imul__ = _Frozen._refuse

    def __reduce__(self) -> tuple[type[list[Any]], tuple[list[Any]]]:
        """``copy`` and ``pickle`` make a plain list."""
        return list, (list(self),)


class FrozenDict(_Frozen, dict[str, Any]):
    """A dict that refuses to change."""

    pop = popitem = setdefault = update = clear = _Frozen._refuse
    __setitem__ = __delitem__ = __ior__ = _Frozen._refuse

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        """``copy`` and ``pickle`` make a plain dict."""
        return dict, (dict(self),)
