"""The usual level, what is above it, and the change since yesterday."""

from __future__ import annotations

from collections import Counter

import pytest

from tornado_sessions.query import Count
from tornado_sessions.server.operations.activity import MINUTE, QUARTER, Snapshot
from tornado_sessions.server.operations.trends import BulkEnd, Span, Trends
from tornado_sessions.server.operations.usual import usual

#: The last second of a quarter of an hour.
NOW = 1_800_000_000.0 // QUARTER * QUARTER - 1


def snapshot(
    now: float = NOW, *, days: int = 8, rate: float = 10, active: int = 500, **changed: dict[int, int]
) -> Snapshot:
    """The counts of a server with ``rate`` events a minute for ``days``, except in ``changed`` (by minutes before now)."""
    minutes: Counter[tuple[int, str]] = Counter()
    quarters: Counter[tuple[int, str]] = Counter()
    last = int(now // MINUTE)
    for ago in range(days * 1440):
        for name in ("sign-ins", "failures", "ended"):
            times = round(changed.get(name.replace("-", "_"), {}).get(ago, rate))
            quarters[(last - ago) * MINUTE // QUARTER, name] += times
            if ago < 120:
                minutes[last - ago, name] += times
        quarters[(last - ago) * MINUTE // QUARTER, "active"] += active
        quarters[(last - ago) * MINUTE // QUARTER, "counts"] += 1
    exact = Count(active, exact=True)
    return Snapshot(now, None, exact, exact, Count(0, exact=True), minutes, quarters)


@pytest.mark.parametrize("span", Span)
@pytest.mark.parametrize("name", ["sign-ins", "failures", "ended"])
def test_an_even_rate_is_usual(span: Span, name: str) -> None:
    found = Trends(snapshot()).trend(name, span)
    assert len(found.bars) * span.step == span.seconds
    assert not any(bar.is_above for bar in found.bars)
    assert found.since is None
    assert not found.is_low
    assert found.band is not None
    assert found.band.low < 10 < found.band.high < 20
    assert found.yesterday == 10


@pytest.mark.parametrize("span", Span)
def test_a_burst_is_above_the_usual_level_and_has_a_beginning(span: Span) -> None:
    """Eighty minutes of guessing: their bars are above, the ones before are not, and the beginning is told to the quarter."""
    found = Trends(snapshot(failures=dict.fromkeys(range(80), 38))).trend("failures", span)
    above = [bar.at for bar in found.bars if bar.is_above]
    assert above
    assert min(above) >= NOW - 80 * MINUTE - span.step
    assert max(above) + span.step >= NOW
    assert round(found.now) == 38
    assert found.since is not None
    assert abs(found.since - (NOW - 80 * MINUTE)) <= QUARTER


def test_a_burst_that_has_just_begun_is_above_already() -> None:
    found = Trends(snapshot(failures=dict.fromkeys(range(4), 60))).trend("failures", Span.DAY)
    assert found.since is not None
    assert NOW - found.since <= 5 * MINUTE


def test_a_burst_that_is_over_is_not_told_as_news() -> None:
    found = Trends(snapshot(failures=dict.fromkeys(range(20, 40), 60))).trend("failures", Span.HOUR)
    assert any(bar.is_above for bar in found.bars)
    assert found.since is None


def test_the_same_burst_each_day_is_usual() -> None:
    """Everybody signs in at nine: the level is that of the time of day."""
    daily = {day * 1440 + ago: 100 for day in range(9) for ago in range(60)}
    found = Trends(snapshot(sign_ins=daily)).trend("sign-ins", Span.DAY)
    assert not any(bar.is_above for bar in found.bars)
    without = dict.fromkeys(range(60), 100)
    assert Trends(snapshot(sign_ins=without)).trend("sign-ins", Span.DAY).since is not None


def test_one_day_with_an_attack_does_not_become_usual() -> None:
    attack = {1440 + ago: 500 for ago in range(-60, 60)} | dict.fromkeys(range(30), 60)
    assert Trends(snapshot(failures=attack)).trend("failures", Span.DAY).since is not None


@pytest.mark.parametrize("span", Span)
@pytest.mark.parametrize("ended", [500, None])
def test_a_bulk_end_is_not_above_the_usual_level(span: Span, ended: int | None) -> None:
    counts = snapshot(ended={30: 510})
    bulk = BulkEnd(NOW - 30 * MINUTE, ended, "ada", 7)
    assert any(bar.is_above for bar in Trends(counts).trend("ended", span).bars)
    found = Trends(counts, [bulk]).trend("ended", span)
    assert not any(bar.is_above for bar in found.bars)
    assert max(bar.deliberate for bar in found.bars) > 0
    assert all(bar.deliberate <= (bar.rate or 0) for bar in found.bars)


def test_sessions_that_end_by_themselves_are_judged_beside_a_bulk_end() -> None:
    counts = snapshot(ended={30: 410, 20: 300})
    found = Trends(counts, [BulkEnd(NOW - 30 * MINUTE, 400, "ada", 7)]).trend("ended", Span.HOUR)
    assert [round(NOW - bar.at) // MINUTE for bar in found.bars if bar.is_above] == [20]


def test_a_few_events_are_no_attack_and_none_are_not_judged() -> None:
    few = Trends(snapshot(rate=0, failures={1: 2, 2: 2})).trend("failures", Span.HOUR)
    assert few.since is None
    assert not any(bar.is_above for bar in few.bars)
    assert Trends(snapshot(days=0)).trend("failures", Span.DAY).band is None


def test_missing_sign_ins_are_low() -> None:
    assert Trends(snapshot(sign_ins=dict.fromkeys(range(10), 0))).trend("sign-ins", Span.DAY).is_low
    assert not Trends(snapshot(rate=0)).trend("sign-ins", Span.DAY).is_low


def test_on_its_first_day_a_server_is_compared_with_the_hours_before() -> None:
    counts = snapshot(failures=dict.fromkeys(range(10), 100))
    first_day = {place: times for place, times in counts.quarters.items() if place[0] * QUARTER > NOW - 6 * 3600}
    found = Trends(counts._replace(quarters=Counter(first_day))).trend("failures", Span.DAY)
    assert found.band is not None
    assert found.since is not None


@pytest.mark.parametrize("span", Span)
def test_the_chart_of_sessions_ends_with_the_number_beside_it(span: Span) -> None:
    counts = snapshot()
    counts = counts._replace(active=Count(777, exact=True))
    found = Trends(counts).level("active", span)
    assert (found.points[-1].at, found.points[-1].value) == (NOW, 777)
    assert found.now == 777
    assert found.yesterday == 500
    assert all(first.at < second.at for first, second in zip(found.points, found.points[1:], strict=False))
    assert {point.value for point in found.points[:-1]} == ({500} if span is not Span.HOUR else {None})


def test_a_slow_count_is_held_and_an_outage_is_a_gap() -> None:
    counts = snapshot()
    last = int(NOW // MINUTE)
    known: Counter[tuple[int, str]] = Counter()
    for ago in (50, 42, 10):
        known[last - ago, "active"], known[last - ago, "counts"] = 500, 1
    points = Trends(counts._replace(minutes=known)).level("active", Span.HOUR).points
    values = {round((NOW - point.at) / MINUTE): point.value for point in points}
    assert values[46] == 500
    assert values[15] is None


def test_the_usual_band_is_wider_over_a_shorter_time() -> None:
    short, long = usual([10.0] * 7, 1), usual([10.0] * 7, 30)
    assert usual([None, None], 5) is None
    assert short
    assert long
    assert short.low < long.low < 10 < long.high < short.high


@pytest.mark.parametrize("seconds", [0.0, 0.5, 5.0])
@pytest.mark.parametrize("span", Span)
def test_an_event_at_the_beginning_of_a_bar_is_no_peak(span: Span, seconds: float) -> None:
    begun = NOW // span.step * span.step + span.step
    counted = snapshot(begun)
    for counts, length in ((counted.minutes, MINUTE), (counted.quarters, QUARTER)):
        counts[int(begun // length), "sign-ins"] = 3
    bar = Trends(counted._replace(at=begun + seconds)).trend("sign-ins", span).bars[-1]
    assert bar.at == begun
    assert bar.rate is not None
    assert bar.rate <= 10
    assert not bar.is_above
