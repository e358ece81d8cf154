"""``Message``: a text for people, written once in English and translated where it is shown.

It must not know languages or catalogues.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple, Self

__all__ = ["N_", "Message", "Value"]

#: What fills a placeholder. Numbers and times are written as the reader's language writes them.
Value = str | int | datetime


def N_(text: str) -> str:  # noqa: N802 - gettext's own name for it
    """Mark a text for the catalogues without translating it."""
    return text


class Message(NamedTuple):
    """A text with its values; ``str()`` gives it in English.

    Attributes:
        text: the English text, as the catalogues know it, with a ``%s`` for each value.
        values: fill its placeholders.
        many: the text for every number but one, where the first value is a number.
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
