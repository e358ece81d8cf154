"""How much a run does: `make test` a representative part, `make test-long` (LONG=1) everything."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

import pytest

_Amount = TypeVar("_Amount")

#: Whether this run does everything.
LONG = bool(os.environ.get("LONG"))
#: Marks a test or a parameter that only `make test-long` runs.
only_long = pytest.mark.long
#: Marks tests of code that knows no store: memory stands for all of them, and `make test` runs them on no other.
knows_no_store = pytest.mark.long_on("sqlite")


def amount(usual: _Amount, long: _Amount) -> _Amount:
    """Return how many rounds, rows or checks this run does."""
    return long if LONG else usual


def in_turn(values: Sequence[_Amount], number: int, count: int = 1) -> Sequence[_Amount]:
    """Return some of the values, and all of them in a long run.

    For a test of two dimensions that do not depend on each other. If the cases of the one are numbered, and there are no fewer of
    them than values, then together they meet every value.

    Args:
        values: of the other dimension.
        number: which of them is the first; it goes round.
        count: how many there are.
    """
    return values if LONG else [values[(number + each) % len(values)] for each in range(min(count, len(values)))]
