"""``Activity``: events per minute, summed over all processes, and the store's latency.

Each process counts in memory and adds its counts to the store every five seconds; they are deleted after a day. It must not know
pages.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from tornado_sessions.background import BackgroundLoop
from tornado_sessions.errors import SessionError
from tornado_sessions.manager import Sessions
from tornado_sessions.query import Count
from tornado_sessions.server.documents import Counters, DocumentStore, Tallies

__all__ = ["Activity", "Series", "Snapshot"]

#: Seconds between two writes to the store.
FLUSH_INTERVAL = 5.0
#: Minutes shown in a snapshot and minutes kept in the store.
SHOWN, KEPT = 60, 1440
_QUARTER = 15
#: How long a snapshot is reused, in seconds.
_FRESH = 2.0

#: By name, one value per interval; ``None`` for an interval without data.
Series = dict[str, list[float | None]]


class Snapshot(NamedTuple):
    """The state of the server at one time.

    Attributes:
        at: UTC seconds.
        active, users, visitors: the number of live sessions: all, signed in, and anonymous.
        series: one value for each of the last sixty minutes, oldest first. ``active`` and ``latency`` (milliseconds) are means,
            the others are numbers of events.
    """

    at: float
    active: Count
    users: Count
    visitors: Count
    series: Series


class Activity:
    """Counts events and takes snapshots.

    Args:
        sessions: the sessions to count.
        documents: stores the counts.
        clock: the time in UTC seconds.
        counted: called with each event and its number; used for metrics.
    """

    def __init__(
        self,
        sessions: Sessions,
        documents: DocumentStore,
        clock: Callable[[], float],
        counted: Callable[[str, int], object] = lambda _name, _times: None,
    ) -> None:
        self._sessions = sessions
        self._counters = Counters(documents)
        self._clock = clock
        self._flushing = BackgroundLoop(self._sample_and_flush, FLUSH_INTERVAL, "activity is not counted")
        self._snapshot: Snapshot | None = None
        self._looking = asyncio.Lock()
        self._counted = counted

    def count(self, name: str, times: int = 1) -> None:
        """Count an event."""
        self._counters.add(self._minute, name, times)
        self._counted(name, times)

    async def open(self) -> None:
        """Start writing counts to the store."""
        self._flushing.start()

    async def close(self) -> None:
        """Stop, and write the remaining counts."""
        if self._flushing.is_started:
            await self._flushing.stop()
            with suppress(SessionError):
                await self.flush()

    async def _sample_and_flush(self) -> None:
        await self._sample()
        await self.flush()

    async def _sample(self) -> None:
        """Count the live sessions and measure the store's latency."""
        start = time.perf_counter()
        await self._sessions.ping()
        self._counters.add(self._minute, "ping_us", int(1e6 * (time.perf_counter() - start)))
        self._counters.add(self._minute, "pings")
        self._counters.add(self._minute, "active", (await self._sessions.count()).total)
        self._counters.add(self._minute, "counts")

    @property
    def _minute(self) -> int:
        return int(self._clock() // 60)

    async def flush(self) -> None:
        """Write the counts to the store. On ``StoreUnavailable`` they are kept for the next attempt."""
        await self._counters.flush(self._minute - KEPT)

    async def snapshot(self) -> Snapshot:
        """Return a snapshot that is at most two seconds old. Concurrent callers share one query."""
        # The lock makes concurrent callers wait for one query instead of starting their own.
        async with self._looking:
            known = self._snapshot
            # A negative age means that the clock was set back.
            if known is None or not 0 <= self._clock() - known.at < _FRESH:
                known = self._snapshot = await self._look()
            return known

    async def day(self) -> Series:
        """Return the series of the last day: the mean per minute for each quarter of an hour, oldest first."""
        minutes = await self._minutes(KEPT)
        return {
            name: [_mean(values[start : start + _QUARTER]) for start in range(0, KEPT, _QUARTER)]
            for name, values in minutes.items()
        }

    async def _minutes(self, many: int) -> Series:
        minutes = range(self._minute - many + 1, self._minute + 1)
        return _series(await self._counters.tallies(minutes), minutes)

    async def _look(self) -> Snapshot:
        now = self._clock()
        active, visitors = await self._sessions.count(), await self._sessions.count(signed_in=False)
        # The difference saves a query, but a difference of two lower bounds would be meaningless.
        users = Count(max(0, active.total - visitors.total), exact=True)
        if not (active.exact and visitors.exact):
            users = await self._sessions.count(signed_in=True)
        return Snapshot(now, active, users, visitors, await self._minutes(SHOWN))


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _series(tallies: Tallies, minutes: range) -> Series:
    def each(name: str) -> list[float | None]:
        return [tallies[minute, name] for minute in minutes]

    def mean(total: str, times: str, unit: float = 1.0) -> list[float | None]:
        pairs = [(tallies[minute, total], tallies[minute, times]) for minute in minutes]
        return [summed / counted / unit if counted else None for summed, counted in pairs]

    return {
        "active": mean("active", "counts"),
        **{name: each(name) for name in ("sign-ins", "failures", "ended")},
        "latency": mean("ping_us", "pings", 1000.0),
    }
