"""Pages of ``Sessions.find``: both directions, back to the beginning, and what a wrong direction says."""

from __future__ import annotations

import pytest
from support.clock import Clock

from tornado_sessions import QueryError, Sessions
from tornado_sessions.testing.maker import create


async def fill(sessions: Sessions, clock: Clock, *numbers: int) -> None:
    now = clock()
    times = {"created_at": now - 100, "expires_at": now + 600, "absolute_at": now + 600}
    await sessions.store.save([create(f"h{number}", last_seen_at=now - number, **times) for number in numbers])


async def handles(sessions: Sessions, **asked: object) -> list[str]:
    return [item.handle for item in (await sessions.find(**asked)).items]  # type: ignore[arg-type]


@pytest.mark.gen_test
async def test_a_list_is_sorted_in_the_direction_that_is_asked_for(sessions: Sessions, clock: Clock) -> None:
    await sessions.open()
    await fill(sessions, clock, 1, 2, 3)
    assert await handles(sessions) == await handles(sessions, direction="desc") == ["h1", "h2", "h3"]
    assert await handles(sessions, direction="asc") == ["h3", "h2", "h1"]
    for direction in ("up", "", "ASC", 1):
        with pytest.raises(QueryError, match="direction is one of asc, desc"):
            await sessions.find(direction=direction)  # type: ignore[arg-type]


@pytest.mark.gen_test
async def test_going_back_to_the_beginning_shows_the_whole_first_page(sessions: Sessions, clock: Clock) -> None:
    await sessions.open()
    await fill(sessions, clock, 1, 2, 3, 4, 5)
    first = await sessions.find(limit=2)
    second = await sessions.find(limit=2, cursor=first.next_cursor)
    assert first.previous_cursor is None
    assert await handles(sessions, limit=2, cursor=second.previous_cursor) == ["h1", "h2"]
    # One of the first page has ended, so that a part of the second moves up.
    await sessions.destroy("h2")
    back = await sessions.find(limit=2, cursor=second.previous_cursor)
    assert [item.handle for item in back.items] == ["h1", "h3"]
    assert (back.start, back.previous_cursor) == (1, None)
    assert await handles(sessions, limit=2, cursor=back.next_cursor) == ["h4", "h5"]


@pytest.mark.gen_test
async def test_a_page_back_over_more_than_a_page_is_whole(sessions: Sessions, clock: Clock) -> None:
    await sessions.open()
    await fill(sessions, clock, 3, 4, 5)
    second = await sessions.find(limit=2, cursor=(await sessions.find(limit=2)).next_cursor)
    await fill(sessions, clock, 1, 2)
    back = await sessions.find(limit=2, cursor=second.previous_cursor)
    assert [item.handle for item in back.items] == ["h3", "h4"]
    assert await handles(sessions, limit=2, cursor=back.previous_cursor) == ["h1", "h2"]
