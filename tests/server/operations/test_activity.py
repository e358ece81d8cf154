"""Counts for the charts."""

from __future__ import annotations

import pytest
from support.clock import Clock

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
