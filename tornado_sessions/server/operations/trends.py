"""``Trends``: what a snapshot of the activity says: rates and levels over a span, the usual band, and the change since yesterday.

Pure functions. They must not know pages or languages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import NamedTuple

from tornado_sessions.server.documents import Tallies
from tornado_sessions.server.operations.activity import DAY, MINUTE, QUARTER, Snapshot, mean_of
from tornado_sessions.server.operations.quarters import Quarters
from tornado_sessions.server.operations.usual import Band

__all__ = ["Bar", "BulkEnd", "Level", "Point", "Rate", "Span", "Trend", "Trends"]

#: The time over which the current rate is measured, in seconds.
_NOW = 5 * MINUTE
#: Sessions that a bulk action has ended are removed within this time, in seconds.
_REMOVAL = 3600
#: A level stays on the chart for this time without a new count, in seconds: with a million sessions, a count takes minutes.
_HELD = 1200


class Span(Enum):
    """The time that charts show: the seconds of one bar and the number of bars."""

    HOUR = (MINUTE, 60)
    DAY = (2 * QUARTER, 48)
    WEEK = (12 * QUARTER, 56)

    def __init__(self, step: int, bars: int) -> None:
        #: The seconds of one bar, and of all bars.
        self.step, self.seconds = step, step * bars


class BulkEnd(NamedTuple):
    """A bulk action of an operator that ended sessions.

    Attributes:
        at: its start, in UTC seconds.
        ended: the number of ended sessions; ``None`` while it runs.
        actor: the operator.
        entry: the number of its audit entry.
        job: the id of its job; empty if it had none.
    """

    at: float
    ended: int | None
    actor: str
    entry: int
    job: str = ""


class Bar(NamedTuple):
    """The events of one interval.

    Attributes:
        at: its start, in UTC seconds.
        rate: events per minute; ``None`` without data.
        deliberate: the part of it that bulk actions of operators caused.
        band: the usual rate; ``None`` if unknown.
        is_above: whether the rest of the rate is above the band.
    """

    at: float
    rate: float | None
    deliberate: float
    band: Band | None
    is_above: bool


@dataclass(frozen=True, kw_only=True)
class Rate:
    """The present rate of an event, in events per minute.

    Attributes:
        now: the rate of the last minutes, without bulk actions of operators.
        yesterday: the rate at the same time yesterday; ``None`` if unknown.
        band: the usual rate at this time; ``None`` if unknown.
        since: when the rate rose above the band, in UTC seconds; ``None`` if it is not above.
        is_low: whether it is below the band.
    """

    now: float
    yesterday: float | None
    band: Band | None
    since: float | None
    is_low: bool


@dataclass(frozen=True, kw_only=True)
class Trend(Rate):
    """A rate over a span.

    Attributes:
        bars: one for each interval of the span, oldest first.
    """

    bars: list[Bar]


class Point(NamedTuple):
    """A level at one time: UTC seconds, its value, and its value one day or one week before; ``None`` if unknown."""

    at: float
    value: float | None
    earlier: float | None


class Level(NamedTuple):
    """A number of sessions over the span, now, and at the same time yesterday (``None`` if unknown)."""

    points: list[Point]
    now: int
    yesterday: float | None


class Trends:
    """Trends of one snapshot.

    Args:
        snapshot: the counts.
        bulk_ends: operators' bulk actions, which are not judged.
    """

    def __init__(self, snapshot: Snapshot, bulk_ends: Sequence[BulkEnd] = ()) -> None:
        self._snapshot = snapshot
        self._now = snapshot.at
        self._bulk_ends = bulk_ends
        self._counted = {slot for slot, _ in snapshot.quarters}
        self._rates: dict[str, Rate] = {}
        self._past: dict[str, Quarters] = {}

    @cached_property
    def _deliberate(self) -> dict[int, Counter[int]]:
        """By length of a slot, the number of sessions in each slot that bulk actions have ended."""
        tallies = {MINUTE: self._snapshot.minutes, QUARTER: self._snapshot.quarters}
        return {length: _deliberate(found, length, self._bulk_ends) for length, found in tallies.items()}

    def rate(self, name: str) -> Rate:
        """Return the present rate of an event, one of ``EVENTS``. Computed once: health, numbers and charts ask for it."""
        if name not in self._rates:
            self._rates[name] = self._judged(name)
        return self._rates[name]

    def trend(self, name: str, span: Span) -> Trend:
        """Return the rate of an event over a span. Use ``rate`` where no bars are drawn."""
        last = int(self._now // span.step)
        bars = [self._bar(name, slot, span) for slot in range(last - span.seconds // span.step + 1, last + 1)]
        return Trend(**vars(self.rate(name)), bars=bars)

    def _judged(self, name: str) -> Rate:
        minutes, now = self._minutes_of_now(), self._rate_now(name)
        band = self._quarters(name).usual(self._now - _NOW, _NOW / MINUTE)
        is_above = band is not None and band.is_above(now * minutes, minutes)
        return Rate(
            now=now,
            yesterday=self._rate_near(name, self._now - DAY),
            band=band,
            since=self._since(name) if is_above else None,
            is_low=band is not None and now < band.low,
        )

    def level(self, name: str, span: Span) -> Level:
        """Return the level of a kind of sessions: ``active``, ``users`` or ``visitors``."""
        now = {"active": self._snapshot.active, "users": self._snapshot.users, "visitors": self._snapshot.visitors}
        before = 7 * DAY if span is Span.WEEK else DAY
        last = int(self._now // span.step)
        points: list[Point] = []
        for slot in range(last - span.seconds // span.step, last):
            at = float((slot + 1) * span.step)
            if at < self._now:
                points.append(Point(at, self._level_at(name, slot, span), self._level_near(name, at - before)))
        points = _held(points)
        # The chart ends with the number that the page shows.
        points.append(Point(self._now, float(now[name].total), self._level_near(name, self._now - before)))
        return Level(points, now[name].total, self.yesterday(name))

    def yesterday(self, name: str) -> float | None:
        """Return the level of a kind of sessions at the same time yesterday; ``None`` if unknown."""
        return self._level_near(name, self._now - DAY)

    def _bar(self, name: str, slot: int, span: Span) -> Bar:
        start = slot * span.step
        length = MINUTE if span is Span.HOUR else QUARTER
        tallies = self._snapshot.minutes if span is Span.HOUR else self._snapshot.quarters
        slots = range(start // length, (start + span.step) // length)
        minutes, half = (min(start + span.step, self._now) - start) / MINUTE, 0.5 * span.step / MINUTE
        events = sum(tallies[part, name] for part in slots)
        deliberate = sum(self._deliberate[length][part] for part in slots) if name == "ended" else 0
        if minutes < half and not events:
            # The interval has just started.
            return Bar(start, None, 0.0, None, is_above=False)
        # One event in the first second of an interval is no peak.
        minutes = max(minutes, half)
        band = self._quarters(name).usual(start, minutes)
        is_above = band is not None and band.is_above(events - deliberate, minutes)
        return Bar(start, events / minutes, deliberate / minutes, band, is_above)

    def _minutes_of_now(self) -> float:
        return (_NOW - MINUTE + self._now % MINUTE) / MINUTE

    def _rate_now(self, name: str) -> float:
        last = int(self._now // MINUTE)
        slots = range(last - _NOW // MINUTE + 1, last + 1)
        events = sum(self._snapshot.minutes[slot, name] for slot in slots)
        events -= sum(self._deliberate[MINUTE][slot] for slot in slots) if name == "ended" else 0
        return max(0.0, events / self._minutes_of_now())

    def _rate_near(self, name: str, at: float) -> float | None:
        return self._quarters(name).rate(int(at // QUARTER) - 1, int(at // QUARTER) + 1)

    def _quarters(self, name: str) -> Quarters:
        """Return the rates of an event in all quarters, without bulk actions of operators. Computed once."""
        if name not in self._past:
            bulk = self._deliberate[QUARTER] if name == "ended" else {}
            events = {slot: self._snapshot.quarters[slot, name] - bulk.get(slot, 0) for slot in self._counted}
            self._past[name] = Quarters(events, int(self._now // QUARTER))
        return self._past[name]

    def _since(self, name: str) -> float:
        """Return since when the level has been above the usual one."""
        quarters, slot, minutes = self._quarters(name), int(self._now // QUARTER) - 1, QUARTER / MINUTE
        while slot > self._now // QUARTER - DAY // QUARTER:
            band, rate = quarters.usual(slot * QUARTER, minutes), quarters.rate(slot, slot)
            if band is None or rate is None or not band.is_above(rate * minutes, minutes):
                break
            slot -= 1
        return float(max((slot + 1) * QUARTER, 0)) if slot < self._now // QUARTER - 1 else self._first_above(name)

    def _first_above(self, name: str) -> float:
        last = int(self._now // MINUTE)
        events = [slot for slot in range(last - _NOW // MINUTE + 1, last + 1) if self._snapshot.minutes[slot, name]]
        return float(events[0] * MINUTE) if events else self._now

    def _level_at(self, name: str, slot: int, span: Span) -> float | None:
        if span is Span.HOUR:
            return mean_of(self._snapshot.minutes, [slot], name, "counts")
        quarters = range(slot * span.step // QUARTER, (slot + 1) * span.step // QUARTER)
        return mean_of(self._snapshot.quarters, quarters, name, "counts")

    def _level_near(self, name: str, at: float) -> float | None:
        slot = int(at // QUARTER)
        found = mean_of(self._snapshot.quarters, [slot], name, "counts")
        return found if found is not None else mean_of(self._snapshot.quarters, [slot - 1, slot + 1], name, "counts")


def _held(points: Sequence[Point]) -> list[Point]:
    """Fill short gaps with the value before them."""
    found: list[Point] = []
    value, since = None, 0.0
    for point in points:
        if point.value is not None:
            value, since = point.value, point.at
        is_held = point.value is None and value is not None and point.at - since <= _HELD
        found.append(point._replace(value=value) if is_held else point)
    return found


def _deliberate(tallies: Tallies, length: int, bulk_ends: Sequence[BulkEnd]) -> Counter[int]:
    """Assign the sessions that bulk actions have ended to the slots in which they were counted."""
    found: Counter[int] = Counter()
    for bulk in bulk_ends:
        left = float("inf") if bulk.ended is None else bulk.ended
        for slot in range(int(bulk.at // length), int((bulk.at + _REMOVAL) // length) + 1):
            part = min(left, tallies[slot, "ended"] - found[slot])
            if part > 0:
                found[slot] += int(part)
                left -= part
    return found
