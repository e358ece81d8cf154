"""A store belongs to whoever opened it, also when requests are still running while it is closed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from support.urls import BACKENDS, url_of

from tornado_sessions import Sessions
from tornado_sessions.errors import UsageError

SECRET = "s" * 40


@pytest.fixture(params=BACKENDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return url_of(request.param, request, tmp_path)


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8])
def test_a_use_during_close_leaves_it_closed_or_owned(url: str, turns: int) -> None:
    sessions = Sessions(url, secret=SECRET)

    async def use_while_it_closes() -> bool:
        await sessions.open()
        closing = asyncio.ensure_future(sessions.close())
        for _ in range(turns):
            await asyncio.sleep(0)
        use = asyncio.ensure_future(sessions.inspect("nobody"))
        await closing
        await asyncio.gather(use, return_exceptions=True)
        return sessions.is_open

    async def use_elsewhere(*, is_owned: bool) -> None:
        if is_owned:
            with pytest.raises(UsageError, match="another event loop"):
                await sessions.inspect("nobody")
        else:
            assert await sessions.inspect("nobody") is None
            await sessions.close()

    with asyncio.Runner() as first, asyncio.Runner() as second:
        is_open = first.run(use_while_it_closes())
        second.run(use_elsewhere(is_owned=is_open))
        if is_open:
            first.run(sessions.close())
            second.run(use_elsewhere(is_owned=False))


def test_a_cancelled_close_still_closes(url: str) -> None:
    sessions = Sessions(url, secret=SECRET)

    async def cancel_the_close() -> None:
        await sessions.open()
        closing = asyncio.ensure_future(sessions.close())
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.gather(closing, return_exceptions=True)
        await sessions.close()
        assert not sessions.is_open

    asyncio.run(cancel_the_close())


def test_closing_twice_at_once_closes_once(url: str) -> None:
    sessions = Sessions(url, secret=SECRET)

    async def close_twice() -> None:
        await sessions.open()
        await asyncio.gather(sessions.close(), sessions.close())
        assert not sessions.is_open

    asyncio.run(close_twice())


class Connection:
    def close_for_session(self) -> None:
        pass


def test_a_connection_that_opens_during_close_does_not_open_the_store_again(url: str) -> None:
    sessions = Sessions(url, secret=SECRET)

    async def watch_while_it_closes() -> None:
        await sessions.open()
        connection = Connection()
        closing = asyncio.ensure_future(sessions.close())
        for turn in range(4):
            sessions.live.add(f"handle{turn}", connection, sessions.clock() + 60)
            await asyncio.sleep(0)
        await closing
        # Listening would have begun in the next turns.
        for _ in range(20):
            await asyncio.sleep(0)
        assert not sessions.is_open

    asyncio.run(watch_while_it_closes())
