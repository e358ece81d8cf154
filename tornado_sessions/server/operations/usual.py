"""``usual``: the band in which the rate of an event usually is, learned from earlier days.

Pure functions. They must not know what is counted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import median
from typing import NamedTuple

__all__ = ["Band", "usual"]

#: From the median absolute deviation of a normal distribution to its standard deviation.
_TO_DEVIATION = 1.4826
#: How many standard deviations are usual, and the share of the median that always is.
_DEVIATIONS, _SLACK = 3.0, 0.1
#: Fewer events than this are never above usual: one wrong password at night is no attack.
_MIN_EVENTS = 5


class Band(NamedTuple):
    """The usual number of events a minute."""

    low: float
    high: float

    def is_above(self, events: float, minutes: float) -> bool:
        """Return whether this many events in this time are more than usual."""
        return events >= _MIN_EVENTS and events / minutes > self.high


def usual(earlier: Iterable[float | None], minutes: float) -> Band | None:
    """Return the usual band; ``None`` if nothing is known.

    Args:
        earlier: the rates per minute at the same time of earlier days; ``None`` for a day without data.
        minutes: the time over which the rate to be judged is measured. Over a short time, events of the same mean rate vary more.
    """
    known = [rate for rate in earlier if rate is not None]
    if not known:
        return None
    # The median ignores a day with an attack or an outage.
    middle = median(known)
    between_days = _TO_DEVIATION * median(abs(rate - middle) for rate in known)
    # The number of independent events in some time varies by its square root (Poisson).
    by_chance = math.sqrt(max(middle * minutes, 1.0)) / minutes
    width = _DEVIATIONS * math.hypot(between_days, by_chance) + _SLACK * middle
    return Band(max(0.0, middle - width), middle + width)
