"""Sentences that are written once, in English, and translated where they are shown."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Message"]


class Message(NamedTuple):
    """A sentence; as a ``str`` it is English.

    Attributes:
        text: the sentence, as translations know it, with a ``%s`` for each value.
        values: what fills its places.
    """

    text: str
    values: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.text % self.values
