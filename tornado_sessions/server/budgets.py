"""``Budgets``: counts of attempts in the store, shared by all processes and kept across restarts.

It must not know what is counted. Keys are stored as an HMAC only: people type passwords into the field of the username, and
addresses are personal data.

The ``limits`` library was tried: its storages open their own clients from a URL, without our TLS, Sentinel and timeout options or
our connections; a call counts a single key, where an attempt has up to eight; and it has no storage for SQLite.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import NamedTuple

from tornado_sessions.errors import StoreError
from tornado_sessions.server.documents import Count, DocumentStore, Total

__all__ = ["Budget", "Budgets"]

#: Maximum number of counts that a process remembers, and how often it logs that it counts alone, in seconds.
_MAX_KNOWN, _LOG_EVERY = 20_000, 60.0

logger = logging.getLogger("tornado_sessions.security")


class Budget(NamedTuple):
    """At most ``limit`` attempts of a kind in ``seconds``, which run from the first one.

    Attributes:
        limit: the maximum number of attempts.
        seconds: the time after which the count starts again.
        of: what is counted and for whom.
    """

    limit: float
    seconds: float
    of: tuple[str, ...]


class Budgets:
    """Counts attempts. While the store is unreachable or full, each process continues from the counts that it knows, on its own.

    Args:
        documents: stores the counts.
        key: keys the HMAC.
        clock: the time in UTC seconds.
    """

    def __init__(self, documents: DocumentStore, key: bytes, clock: Callable[[], float]) -> None:
        self._documents = documents
        self._key = key
        self._clock = clock
        #: By key: the total, and how much of it the store has not counted yet.
        self._known: dict[str, tuple[Total, int]] = {}
        self._logged_at = float("-inf")

    async def add(self, budgets: Sequence[Budget], amounts: Sequence[int]) -> list[Total]:
        """Add to counts and return their totals. The amount 0 only reads."""
        now = self._clock()
        counts = [
            Count(self._key_of(budget.of), amount, budget.seconds)
            for budget, amount in zip(budgets, amounts, strict=True)
        ]
        # Take out what is not in the store before the first await, so that a concurrent call does not add it again.
        unsent = [self._take_unsent(count.key, now) for count in counts]
        try:
            totals = await self._documents.count(
                [count._replace(amount=count.amount + more) for count, more in zip(counts, unsent, strict=True)], now
            )
        except StoreError as error:
            self._log(error, now)
            return [self._add_here(count, more, now) for count, more in zip(counts, unsent, strict=True)]
        for count, total in zip(counts, totals, strict=True):
            self._remember(count.key, total, self._known.get(count.key, (total, 0))[1])
        return totals

    async def read(self, budgets: Sequence[Budget]) -> list[Total]:
        """Return the totals of counts."""
        return await self.add(budgets, [0] * len(budgets))

    def seconds_left(self, total: Total) -> float:
        """Return the time until a count starts again at zero."""
        return max(0.0, total.ends_at - self._clock())

    def _key_of(self, of: tuple[str, ...]) -> str:
        return hmac.new(self._key, "\0".join(of).encode("utf-8", "replace"), sha256).hexdigest()[:40]

    def _take_unsent(self, key: str, now: float) -> int:
        total, unsent = self._known.get(key, (Total(0, 0.0), 0))
        if not unsent:
            return 0
        self._known[key] = total, 0
        return unsent if total.ends_at > now else 0

    def _add_here(self, count: Count, unsent: int, now: float) -> Total:
        total, more = self._known.get(count.key, (Total(0, 0.0), 0))
        if total.ends_at <= now:
            total, more = Total(0, now + count.seconds), 0
        total = total._replace(amount=max(0, total.amount + count.amount))
        self._remember(count.key, total, more + unsent + count.amount)
        return total

    def _remember(self, key: str, total: Total, unsent: int) -> None:
        # Insert it at the end of the dict, so that it is forgotten last.
        self._known.pop(key, None)
        if total.amount or unsent:
            self._known[key] = total, unsent
        while len(self._known) > _MAX_KNOWN:
            del self._known[next(iter(self._known))]

    def _log(self, error: StoreError, now: float) -> None:
        if now - self._logged_at >= _LOG_EVERY:
            self._logged_at = now
            logger.warning("limits on sign-ins count in this process only: %s", error)
