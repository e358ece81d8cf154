"""Who had the most sessions a day before, for the change since yesterday."""

from __future__ import annotations

import pytest
from support.clock import Clock
from support.crowds import put, record

from tornado_sessions.server.documents import Document
from tornado_sessions.server.operations.tops import MAX_TOPS, Tops, TopsHistory
from tornado_sessions.server.parts import Parts

HOUR, DAY = 3600, 86400


@pytest.mark.gen_test(timeout=30)
async def test_each_walk_keeps_the_tops_of_its_hour_for_a_day(parts: Parts, twin: Parts, clock: Clock) -> None:
    await put(parts.sessions, (record(n, clock(), "mallory") for n in range(3)))
    begun = clock()
    figures = await parts.census.figures(wait=10)
    assert figures is not None
    assert await twin.census.history.day_before(begun) is None
    assert (
        await twin.census.history.day_before(begun + DAY)
        == figures.tops
        == Tops(users=[("mallory", 3)], networks=figures.tops.networks, devices=figures.tops.devices)
    )
    assert await twin.census.history.day_before(begun + DAY + 2 * HOUR) is None


@pytest.mark.gen_test
async def test_the_first_tops_of_an_hour_stay_and_days_take_no_more_documents(parts: Parts) -> None:
    history, noon = TopsHistory(parts.documents), 20_000.0 * HOUR
    for hour in range(60):
        for minute in (1, 30):
            await history.keep(noon + hour * HOUR + minute * 60, Tops(users=[("ada", 60 * hour + minute)]))
    for hour in range(60 - 24, 60):
        found = await TopsHistory(parts.documents).day_before(noon + hour * HOUR + 1800 + DAY)
        assert found is not None
        assert found.users == [("ada", 60 * hour + 1)]
    assert len(await parts.documents.all("tops")) == 26


@pytest.mark.gen_test
async def test_damaged_tops_are_unknown_and_replaced(parts: Parts) -> None:
    history, noon = TopsHistory(parts.documents), 20_800.0 * HOUR
    await history.keep(noon, Tops(users=[("ada", 1)]))
    (kept,) = await parts.documents.all("tops")
    for body in (b"{", b'{"id": "x", "at": 1, "tops": {}}'):
        (kept,) = await parts.documents.all("tops")
        await parts.documents.put("tops", Document(kept.key, kept.revision + 1, body))
        assert await TopsHistory(parts.documents).day_before(noon + DAY) is None
    await TopsHistory(parts.documents).keep(noon, Tops(users=[("ada", 2)]))
    assert (await history.day_before(noon + DAY) or Tops()).users == [("ada", 2)]


@pytest.mark.gen_test(timeout=30)
async def test_more_are_kept_than_are_shown(parts: Parts, clock: Clock) -> None:
    await put(parts.sessions, (record(n, clock(), f"user{n % 150}") for n in range(310)))
    figures = await parts.census.figures(wait=10)
    assert figures is not None
    assert len(figures.tops.users) == MAX_TOPS
    assert figures.tops.users[:10] == [(f"user{n}", 3) for n in range(10)]
