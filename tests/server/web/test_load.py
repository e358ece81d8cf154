"""What the process is working on: draining waits for it."""

from __future__ import annotations

import asyncio

from tornado_sessions.server.web.load import Load


async def _drain() -> tuple[bool, bool, bool]:
    load = Load()
    at_rest = await load.wait_until_idle(0)
    load.begin()
    load.begin()
    load.end()
    at_work = await load.wait_until_idle(0)
    asyncio.get_running_loop().call_soon(load.end)
    return at_rest, at_work, await load.wait_until_idle(10)


def test_waiting_ends_with_the_last_request_or_with_the_time() -> None:
    assert asyncio.run(_drain()) == (True, False, True)
