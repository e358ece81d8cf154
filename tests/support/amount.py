"""How much a run does: `make test` a representative part, `make test-long` (LONG=1) everything."""

from __future__ import annotations

import os
from typing import TypeVar

import pytest

_Amount = TypeVar("_Amount")

#: Whether this run does everything.
LONG = bool(os.environ.get("LONG"))
#: Marks a test or a parameter that only `make test-long` runs.
only_long = pytest.mark.long


def amount(usual: _Amount, long: _Amount) -> _Amount:
    """Return how many rounds, rows or checks this run does."""
    return long if LONG else usual
