"""Counts for the charts."""

from __future__ import annotations

import pytest
from support.clock import Clock
from support.waiting import until

from tornado_sessions.server.operations.activity import DAY, QUARTER
from tornado_sessions.server.parts import Parts


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_counts_of_all_processes_are_added_up(parts: Parts, twin: Parts, clock: Clock) -> None:
    clock.ahead -= 180
    twin.activity.count("ended", 5)
    clock.ahead += 180
    twin.activity.count("failures", 2)
    await twin.activity.flush()
    parts.activity.count("failures")
    await parts.activity.flush()
    parts.activity.count("failures")
    series = (await parts.activity.snapshot()).series
    assert series["failures"][-1] == 4
    assert series["ended"][-4] == 5
    assert len(series["ended"]) == 60


@pytest.mark.long_on("mongo")
@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_history_is_kept_for_fifteen_days_in_bounded_space(parts: Parts, twin: Parts, clock: Clock) -> None:
    """What is older goes by itself; what is kept is added up over all processes."""
    start, days = clock.now, 17
    for hours in range(0, days * 24, 3):
        clock.now = start + hours * 3600
        (parts if hours % 2 else twin).activity.count("failures", 2)
        await parts.activity.flush()
        await twin.activity.flush()
    clock.now = start + days * DAY
    found = await parts.activity.snapshot()
    quarters = sorted(slot for slot, name in found.quarters if name == "failures")
    assert quarters[0] * QUARTER >= clock.now - 15 * DAY - QUARTER
    assert quarters[0] * QUARTER <= clock.now - 15 * DAY + 3 * 3600
    assert {found.quarters[slot, "failures"] for slot in quarters} == {2}
    stored = await parts.documents.all("quarter")
    assert len(stored) <= 15 * 4 + 2
    assert len(await parts.documents.all("tally")) <= 4


@pytest.mark.gen_test
async def test_damaged_history_is_a_gap(parts: Parts, clock: Clock) -> None:
    parts.activity.count("failures", 3)
    await parts.activity.flush()
    (stored,) = await parts.documents.all("quarter")
    await parts.documents.put("quarter", stored._replace(revision=2, body=b"[1"))
    found = (await parts.activity.snapshot()).quarters
    assert not [name for _, name in found if name == "failures"]
    parts.activity.count("failures", 4)
    await parts.activity.flush()
    clock.ahead += 3
    found = (await parts.activity.snapshot()).quarters
    assert sum(times for (_, name), times in found.items() if name == "failures") == 4


@pytest.mark.gen_test(timeout=30)
async def test_latency_is_that_of_half_and_of_nearly_all_answers(parts: Parts) -> None:
    await parts.start()

    async def is_measured() -> bool:
        await parts.activity.flush()
        return (await parts.activity.snapshot()).latency is not None

    await until(is_measured, "a measured answer of the store")
    latency = (await parts.activity.snapshot()).latency
    assert latency is not None
    assert 0 <= latency.half <= latency.most < 5_000
