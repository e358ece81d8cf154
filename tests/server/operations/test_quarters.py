"""The fast rates and usual bands of ``Quarters`` are those of their plain definition."""

from __future__ import annotations

import random

import pytest

from tornado_sessions.server.operations.activity import DAY, MINUTE, QUARTER
from tornado_sessions.server.operations.quarters import Quarters
from tornado_sessions.server.operations.usual import Band, usual

NOW = 1_800_000_000 // QUARTER


def plain_rate(events: dict[int, int], slots: range) -> float | None:
    known = [events[slot] for slot in slots if slot in events]
    return sum(known) / len(known) / 15 if known else None


def plain_usual(events: dict[int, int], at: float, minutes: float) -> Band | None:
    """The widest of the bands of three times of day; without any, that of the last day but for its last hour."""
    length = max(0.0, minutes * MINUTE - 1)
    bands = []
    for shift in (-QUARTER, 0, QUARTER):
        starts = [at + shift - day * DAY for day in range(1, 15)]
        slots = [range(int(start // QUARTER), int((start + length) // QUARTER) + 1) for start in starts]
        bands.append(usual([plain_rate(events, each) for each in slots], minutes))
    known = [band for band in bands if band]
    if known:
        return Band(min(band.low for band in known), max(band.high for band in known))
    rates = [plain_rate(events, range(slot, slot + 1)) for slot in range(NOW - 96, NOW - 4)]
    return usual(rates, minutes) if len([rate for rate in rates if rate is not None]) >= 4 else None


@pytest.mark.parametrize("days", [0, 0.08, 0.9, 3, 15])
@pytest.mark.parametrize("share", [1, 0.3])
def test_rates_and_bands_are_those_of_the_plain_definition(days: float, share: float) -> None:
    """Also with outages, and where the server has counted for too short a time."""
    chance = random.Random(f"{days} {share}")
    slots = [slot for slot in range(NOW - int(days * 96), NOW + 1) if chance.random() < share]
    events = {slot: chance.choice([0, 1, 5, chance.randrange(1000)]) for slot in slots}
    quarters = Quarters(events, NOW)
    for _ in range(200):
        first, minutes = NOW - chance.randrange(8 * 96), chance.choice([1, 0.75, 5, 15, 30, 180, 12.34])
        last = first + chance.randrange(13)
        assert quarters.rate(first, last) == plain_rate(events, range(first, last + 1))
        at = first * QUARTER + chance.choice([0, 1, 300, 899.9])
        assert quarters.usual(at, minutes) == plain_usual(events, at, minutes)
