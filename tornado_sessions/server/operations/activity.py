"""``Activity``: events per minute and per quarter of an hour, summed over all processes, and the store's latency.

Each process counts in memory and adds its counts to the store every five seconds. Minutes are kept for two hours, quarters for
fifteen days: about 300 KB. It must not know pages.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from tornado_sessions.background import BackgroundLoop
from tornado_sessions.errors import SessionError
from tornado_sessions.manager import Sessions
from tornado_sessions.query import Count
from tornado_sessions.server.documents import Counters, DocumentStore, Tallies
from tornado_sessions.server.operations.census import Census, Figures
from tornado_sessions.server.operations.tops import Tops

__all__ = ["DAY", "EVENTS", "KEPT_DAYS", "MINUTE", "QUARTER", "Activity", "Latency", "Series", "Snapshot", "mean_of"]

#: Lengths in seconds.
MINUTE, QUARTER, DAY = 60, 900, 86400
#: The events that charts show.
EVENTS = ("sign-ins", "failures", "ended")
#: Seconds between two writes to the store.
FLUSH_INTERVAL = 5.0
#: Minutes of a series, minutes kept, and days whose quarters are kept.
SHOWN, _KEPT, KEPT_DAYS = 60, 120, 15
#: Quarters in one document: six hours.
_IN_DOCUMENT = 24
#: How long a snapshot is reused, and the quarters before the current one, in seconds.
_FRESH, _PAST_FRESH = 2.0, 60.0
#: Response times are counted in buckets whose bounds grow by this factor, and evaluated over this many minutes.
_CLASS, _LATENCY_MINUTES = 1.15, 15

#: By name, one value per interval; ``None`` for an interval without data.
Series = dict[str, list[float | None]]


class Latency(NamedTuple):
    """How fast the store answers, in milliseconds: half of its answers, and 95 % of them."""

    half: float
    most: float


class Snapshot(NamedTuple):
    """The state of the server at one time.

    Attributes:
        at: UTC seconds.
        figures: the latest census; ``None`` before the first.
        active, users, visitors: the number of live sessions: all, signed in, and anonymous. They are those of the census.
        minutes: the counts of the last two hours.
        quarters: the counts of the last fifteen days.
        tops_before: who had the most sessions a day before; ``None`` if unknown.
    """

    at: float
    figures: Figures | None
    active: Count
    users: Count
    visitors: Count
    minutes: Tallies
    quarters: Tallies
    tops_before: Tops | None = None

    @property
    def series(self) -> Series:
        """One value for each of the last sixty minutes, oldest first.

        ``active`` and ``latency`` (milliseconds) are means, the others are numbers of events.
        """
        last = int(self.at // MINUTE)
        slots = range(last - SHOWN + 1, last + 1)

        def mean(total: str, times: str, unit: float = 1.0) -> list[float | None]:
            return [mean_of(self.minutes, [slot], total, times, unit) for slot in slots]

        return {
            "active": mean("active", "counts"),
            **{name: [self.minutes[slot, name] for slot in slots] for name in EVENTS},
            "latency": mean("ping_us", "pings", 1000.0),
        }

    @property
    def latency(self) -> Latency | None:
        """The latency of the last fifteen minutes; ``None`` without data."""
        first = int(self.at // MINUTE) - _LATENCY_MINUTES
        classes: dict[int, int] = {}
        for (slot, name), times in self.minutes.items():
            mark, _, number = name.partition("ping ")
            if slot > first and not mark and number.isdigit():
                classes[int(number)] = classes.get(int(number), 0) + times
        return Latency(_quantile(classes, 0.5), _quantile(classes, 0.95)) if classes else None


def mean_of(tallies: Tallies, slots: list[int] | range, total: str, times: str, unit: float = 1.0) -> float | None:
    """Return the mean over some slots of a value that was added up in ``total`` as often as ``times`` says; ``None`` for never."""
    counted = sum(tallies[slot, times] for slot in slots)
    return sum(tallies[slot, total] for slot in slots) / counted / unit if counted else None


def _quantile(classes: dict[int, int], share: float) -> float:
    left = share * sum(classes.values())
    for number in sorted(classes):
        left -= classes[number]
        if left <= 0:
            return float(_CLASS**number / 1000)
    return 0.0


class Activity:
    """Counts events and takes snapshots.

    Args:
        sessions: the sessions to count.
        documents: stores the counts.
        census: counts the live sessions.
        clock: the time in UTC seconds.
        counted: called with each event and its number; used for metrics.
    """

    def __init__(
        self,
        sessions: Sessions,
        documents: DocumentStore,
        census: Census,
        clock: Callable[[], float],
        counted: Callable[[str, int], object] = lambda _name, _times: None,
    ) -> None:
        self._sessions = sessions
        self._census = census
        census.on_counted = self.count_sessions
        self._minutes = Counters(documents)
        self._quarters = Counters(documents, "quarter", _IN_DOCUMENT)
        self._clock = clock
        self._flushing = BackgroundLoop(self._measure_and_flush, FLUSH_INTERVAL, "activity is not counted")
        self._snapshot: Snapshot | None = None
        self._past: tuple[float, int, Tallies] | None = None
        self._tops_before: Tops | None = None
        self._looking = asyncio.Lock()
        self._counted = counted

    def count(self, name: str, times: int = 1) -> None:
        """Count an event."""
        self._add({name: times})
        self._counted(name, times)

    def cleaned_up(self) -> None:
        """Note that expired sessions were removed, or that there were none."""
        self._minutes.add(self._slot(MINUTE), "cleanups")

    def count_sessions(self, figures: Figures) -> None:
        """Note the result of a census."""
        numbers = {"active": figures.active, "users": figures.signed_in, "visitors": figures.visitors}
        self._add({**numbers, "people": figures.people, "counts": 1})

    def _add(self, counts: dict[str, int]) -> None:
        for name, times in counts.items():
            self._minutes.add(self._slot(MINUTE), name, times)
            self._quarters.add(self._slot(QUARTER), name, times)

    def _slot(self, length: int) -> int:
        return int(self._clock() // length)

    async def open(self) -> None:
        """Start writing counts to the store."""
        self._flushing.start()

    async def close(self) -> None:
        """Stop, and write the remaining counts."""
        if self._flushing.is_started:
            await self._flushing.stop()
            with suppress(SessionError):
                await self.flush()

    async def _measure_and_flush(self) -> None:
        start = time.perf_counter()
        await self._sessions.ping()
        microseconds = int(1e6 * (time.perf_counter() - start))
        self._add({"ping_us": microseconds, "pings": 1})
        number = max(0, math.ceil(math.log(max(microseconds, 1), _CLASS)))
        self._minutes.add(self._slot(MINUTE), f"ping {number}")
        await self.flush()

    async def flush(self) -> None:
        """Write the counts to the store. On ``StoreUnavailable`` they are kept for the next attempt."""
        await self._minutes.flush(self._slot(MINUTE) - _KEPT)
        await self._quarters.flush(self._slot(QUARTER) - KEPT_DAYS * DAY // QUARTER)

    async def snapshot(self) -> Snapshot:
        """Return a snapshot that is at most two seconds old. Concurrent callers share one query.

        Raises:
            StoreUnavailable: the session store or the document store does not answer.
        """
        # The lock makes concurrent callers wait for one query instead of starting their own.
        async with self._looking:
            known = self._snapshot
            # A negative age means that the clock was set back.
            if known is None or not 0 <= self._clock() - known.at < _FRESH:
                known = self._snapshot = await self._look()
            return known

    async def _look(self) -> Snapshot:
        # The figures may be in another store. Old ones must not look like news while that of the sessions is down.
        await self._sessions.find(limit=1)
        figures, now = await self._census.figures(), self._clock()
        active, users, visitors = await self._counts(figures)
        last = self._slot(MINUTE)
        minutes = await self._minutes.tallies(range(last - _KEPT, last + 1))
        quarters = await self._read_quarters()
        return Snapshot(now, figures, active, users, visitors, minutes, quarters, self._tops_before)

    async def _read_quarters(self) -> Tallies:
        """Return all quarters. What is before the current one is read again every minute only: it is much and seldom changes."""
        last, now = self._slot(QUARTER), self._clock()
        if self._past is None or self._past[1] != last or not 0 <= now - self._past[0] < _PAST_FRESH:
            first = last - KEPT_DAYS * DAY // QUARTER
            self._past = (now, last, await self._quarters.tallies(range(first, last)))
            self._tops_before = await self._census.history.day_before(now)
        current = await self._quarters.tallies(range(last, last + 1))
        return self._past[2] + current

    async def _counts(self, figures: Figures | None) -> tuple[Count, Count, Count]:
        if figures is not None:
            exact = (figures.active, figures.signed_in, figures.visitors)
            return tuple(Count(number, exact=True) for number in exact)  # type: ignore[return-value]
        # The first census of a large store takes a while.
        active, visitors = await self._sessions.count(), await self._sessions.count(signed_in=False)
        # The difference saves a query, but a difference of two lower bounds would be meaningless.
        users = Count(max(0, active.total - visitors.total), exact=True)
        if not (active.exact and visitors.exact):
            users = await self._sessions.count(signed_in=True)
        return active, users, visitors
