"""``Quarters``: how often an event has happened in each quarter of an hour, its rates, and the band in which they usually are.

Pure. It must not know which event it is, or what is drawn.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from functools import cached_property
from itertools import accumulate

from tornado_sessions.server.operations.activity import DAY, KEPT_DAYS, MINUTE, QUARTER
from tornado_sessions.server.operations.usual import Band, usual

__all__ = ["Quarters"]

_IN_DAY = DAY // QUARTER
#: Quarters left out as too recent, and the fewest to compare with, if the usual rate has to come from the last day.
_RECENT_QUARTERS, _MIN_QUARTERS = 4, 4


class Quarters:
    """The rates of one event, in events per minute. A chart asks for thousands of them.

    Args:
        events: the number of events in each quarter in which the server counted.
        now: the present quarter.
    """

    def __init__(self, events: Mapping[int, int], now: int) -> None:
        self._now = now
        self._known = sorted(events)
        #: How many events there were before each of the known quarters, and in all of them.
        self._before = [0, *accumulate(events[slot] for slot in self._known)]
        self._bands: dict[tuple[int, int, float], Band | None] = {}

    def rate(self, first: int, last: int) -> float | None:
        """Return the rate over some quarters; ``None`` if the server counted in none of them."""
        start, stop = bisect_left(self._known, first), bisect_left(self._known, last + 1)
        if start == stop:
            return None
        return (self._before[stop] - self._before[start]) / (stop - start) / (QUARTER / MINUTE)

    def usual(self, at: float, minutes: float) -> Band | None:
        """Return the usual band for some minutes from a time on."""
        first, last = int(at // QUARTER), int((at + max(0.0, minutes * MINUTE - 1)) // QUARTER)
        # Daily peaks come a little earlier or later, so the time of day is that of the quarters before and after, too.
        found = (self._of_earlier_days(first + shift, last + shift, minutes) for shift in (-1, 0, 1))
        bands = [band for band in found if band is not None]
        if bands:
            return Band(min(band.low for band in bands), max(band.high for band in bands))
        return usual(self._last_day, minutes) if len(self._last_day) >= _MIN_QUARTERS else None

    def _of_earlier_days(self, first: int, last: int, minutes: float) -> Band | None:
        # Neighbouring bars of a chart compare with the same quarters.
        key = (first, last, minutes)
        if key not in self._bands:
            shifts = range(_IN_DAY, KEPT_DAYS * _IN_DAY, _IN_DAY)
            self._bands[key] = usual([self.rate(first - shift, last - shift) for shift in shifts], minutes)
        return self._bands[key]

    @cached_property
    def _last_day(self) -> list[float]:
        rates = [self.rate(slot, slot) for slot in range(self._now - _IN_DAY, self._now - _RECENT_QUARTERS)]
        return [rate for rate in rates if rate is not None]
