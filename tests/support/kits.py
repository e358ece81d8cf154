"""Runs of a kit: every check on every kind of store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from support.amount import only_long
from support.urls import KINDS

#: These take the same steps as `redis` and `mongo_motor`. In `make test` each runs its own third of a kit.
REPEATED = ["mongo_pymongo", "mongo_standalone", "redis_sentinel"]


def runs_of(
    checks: Sequence[Callable[..., Any]],
    kinds: Sequence[str] = KINDS,
    is_slow: Callable[[str, Callable[..., Any]], bool] = lambda _kind, _check: False,
) -> list[Any]:
    """Return the parameters ``kind`` and ``check`` of each run; `make test` leaves some to `make test-long`.

    Args:
        checks: of the kit.
        kinds: of stores.
        is_slow: whether a check takes long on a kind of store, which is left to `make test-long` as well.
    """
    runs = []
    for kind in kinds:
        for number, check in enumerate(checks):
            is_left = kind in REPEATED and number % len(REPEATED) != REPEATED.index(kind)
            marks = [only_long] if is_left or is_slow(kind, check) else []
            runs.append(pytest.param(kind, check, id=f"{kind}-{check.__name__}", marks=marks))
    return runs
