"""Ended sessions are found by who ended them and when, on every store, page by page in every direction."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest
from support.urls import BACKENDS, url_of

from tornado_sessions.config import SessionConfig
from tornado_sessions.manager import Sessions
from tornado_sessions.record import Tombstone
from tornado_sessions.request import RequestInfo

START = 1_700_000_000.0


@pytest.mark.long_on("mongo")
@pytest.mark.parametrize("kind", BACKENDS)
@pytest.mark.gen_test(timeout=60)
async def test_ended_sessions_are_found_by_who_and_when(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    now = START
    config = SessionConfig(secret="x" * 32, keep_ended_for=10_000, absolute_timeout=10_000, idle_timeout=9_000)
    sessions = Sessions(url_of(kind, request, tmp_path), config=config, clock=lambda: now)
    await sessions.open()
    expected: list[tuple[str, str, float, str]] = []
    for number in range(14):
        address = f"192.0.2.{number % 2 + 1}"
        made = sessions.new_request_session(RequestInfo(now, address))
        await sessions.log_in(made, "ada")
        await sessions.commit(made)
        assert made.session.handle is not None
        now += 1.25
        actor = ("oscar", "vera")[number % 3 == 0]
        await sessions.destroy(made.session.handle, by=actor, action=f"act{number % 4}")
        expected.insert(0, (made.session.handle, actor, now, address))
    times = (None, expected[9][2], expected[4][2] + 0.5)
    for by, since, until, ip, direction in product(
        (None, "oscar", "nobody"), times, times, (None, "192.0.2.1"), (None, "asc")
    ):
        where: dict[str, Any] = {"ended_by": by, "ended_since": since, "ended_until": until, "ip": ip}
        rows = [
            handle
            for handle, one, at, used in expected
            if by in (None, one) and ip in (None, used) and (since or 0) <= at <= (until or at)
        ]
        rows = rows[::-1] if direction else rows
        found, cursors = list[str](), list[str | None]()
        arguments: dict[str, Any] = {"state": "ended", "limit": 3, "direction": direction, **where}
        page = await sessions.find(**arguments)
        while True:
            found += [item.handle for item in page.items]
            cursors.append(page.previous_cursor)
            if page.next_cursor is None:
                break
            page = await sessions.find(**arguments, cursor=page.next_cursor)
        assert found == rows, (where, direction)
        if len(cursors) > 1:
            before = await sessions.find(**arguments, cursor=cursors[-1])
            end = 3 * (len(cursors) - 1)
            assert [item.handle for item in before.items] == rows[end - 3 : end], (where, direction)
        count = await sessions.count(state="ended", **where)
        assert (count.total, count.exact) == (len(rows), True), where
    for number in range(4):
        named = await sessions.find(state="ended", ended_action=f"act{number}")
        ones = expected[::-1][number::4]
        assert [(item.handle, item.ending.action) for item in named.items if isinstance(item, Tombstone)] == [
            (handle, f"act{number}") for handle, *_ in ones[::-1]
        ]
    assert not (await sessions.find(ended_by="oscar")).items, "no live session has ended"
    await sessions.close()
