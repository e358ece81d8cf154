"""Counts for the charts."""

from __future__ import annotations

import pytest
from support.clock import Clock

from tornado_sessions.server.parts import Parts


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_counts_of_all_processes_are_added_up(parts: Parts, clock: Clock) -> None:
    minute = int(clock() // 60)
    await parts.documents.add({(minute, "failures"): 2, (minute - 3, "ended"): 5}, minute - 1440)
    await parts.documents.add({(minute, "failures"): 1}, minute - 1440)
    parts.activity.count("failures")
    series = (await parts.activity.snapshot()).series
    assert series["failures"][-1] == 4
    assert series["ended"][-4] == 5
    assert len(series["ended"]) == 60
