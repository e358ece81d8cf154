"""Compare texts without regard to case, so that an index in which case matters can still be used.

Only letters with exactly one other case are compared so: each has two spellings, and an index is searched for those that occur.
Pure functions; they must not know queries or stores.
"""

from __future__ import annotations

__all__ = ["fold", "spellings", "starts_with"]


def fold(text: str) -> str:
    """Return a text in lower case, letter by letter: its length stays the same."""
    return text.lower() if text.isascii() else "".join(map(_lower, text))


def spellings(letter: str) -> list[str]:
    """Return all letters that ``fold`` makes equal to this one."""
    small = _lower(letter)
    large = small.upper()
    return [small, large] if large != small and len(large) == 1 and _lower(large) == small else [small]


def starts_with(text: str, folded: str) -> bool:
    """Return whether a text starts with another one, which is folded."""
    return fold(text[: len(folded)]) == folded


def _lower(letter: str) -> str:
    # Some letters share a lower case with another letter, or become two: İ, ẞ, the Kelvin sign. They are equal to themselves only.
    small = letter.lower()
    return small if len(small) == 1 and small.upper() == letter else letter
