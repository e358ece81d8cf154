"""``Message``: a text for users, written in English and translated when it is shown.

It must not know languages or catalogues.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple, Self

__all__ = ["N_", "Message", "Value"]

#: The value of a placeholder. Numbers and times are formatted for the reader's language.
Value = str | int | datetime


def N_(text: str) -> str:  # noqa: N802 - gettext's own name for it
    """Mark a text for the catalogues and return it unchanged."""
    return text


class Message(NamedTuple):
    """A text with its values; ``str()`` returns it in English.

    Attributes:
        text: the English text, which is its key in the catalogues, with a ``%s`` for each value.
        values: fill the placeholders.
        many: the plural text, used unless the first value is 1; empty if there is no plural.
    """

    text: str
    values: tuple[Value, ...] = ()
    many: str = ""

    @classmethod
    def plural(cls, one: str, many: str, number: int, *values: Value) -> Self:
        """Return a message whose text depends on a number, which is also its first value."""
        return cls(one, (number, *values), many)

    def __str__(self) -> str:
        text = self.many if self.many and self.values[0] != 1 else self.text
        return text % tuple(map(_english, self.values)) if self.values else text


def _english(value: Value) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M} UTC"
    return f"{value:,}" if isinstance(value, int) else value
