"""``LogBudget``: how many log records requests can cause, so that no client fills the disk, by whatever path.

Each second has a limit for records of one kind from one address, and one for all. Further records are counted, and their numbers
reported. It must not know how records are written.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable

__all__ = ["LogBudget"]

_OF_ONE_KIND, _IN_ALL = 10, 100
# Kinds named in a report; the others are added up.
_NAMED = 5
_OURS = "tornado_sessions"
# Has its own budget: one line for each request is no flood.
_ACCESS = "tornado_sessions.access"


class LogBudget:
    """Counts the records of the current second. The caller ensures that only one thread at a time uses it.

    Args:
        clock: returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._second = int(clock())
        self._number = 0
        self._by_kind: Counter[tuple[str, int, str, str]] = Counter()
        self._left_out: Counter[str] = Counter()

    def admits(self, record: logging.LogRecord, address: str, *, is_in_request: bool) -> bool:
        """Count a record. Return whether it may be written.

        Args:
            record: always admitted if our own code logs it outside a request: commands and start-up log a bounded number.
            address: the client's, if known. It has a limit of its own, so one client cannot hide the records of another.
            is_in_request: whether a request, or what it has started, causes the record. Libraries often log for a request
                without its context, such as asyncio about an exception that nobody has caught.
        """
        is_ours = record.name.partition(".")[0] == _OURS
        if record.name == _ACCESS or (is_ours and not is_in_request):
            return True
        if int(self._clock()) != self._second:
            self._second, self._number = int(self._clock()), 0
            self._by_kind.clear()
        kind = (record.name, record.levelno, str(record.msg)[:200], address)
        self._by_kind[kind] += 1
        if self._by_kind[kind] <= _OF_ONE_KIND and self._number < _IN_ALL:
            self._number += 1
            return True
        self._left_out[f"{record.levelname} {record.name}"] += 1
        return False

    def news(self) -> str:
        """Return one line about the records left out before the current second; empty if there were none."""
        if not self._left_out or int(self._clock()) == self._second:
            return ""
        named = self._left_out.most_common(_NAMED)
        rest = self._left_out.total() - sum(number for _, number in named)
        parts = [f"{number} {kind}" for kind, number in named] + ([f"{rest} others"] if rest else [])
        self._left_out.clear()
        return "log records left out, because there were too many of their kind: " + ", ".join(parts)
