"""Loops in the background: they outlive failures, log each outage once, and stop when told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextvars import ContextVar

import pytest
from support.waiting import one_turn

from tornado_sessions.background import BackgroundLoop, OutageLog
from tornado_sessions.errors import StoreUnavailable

BOUND = 5.0
DOWN = StoreUnavailable("memory", "it is down")


class Scripted:
    """Work whose runs raise, one after the other, what a script says; ``None`` succeeds. After the last it waits."""

    def __init__(self, *script: Exception | None) -> None:
        self.script = list(script)
        self.played = asyncio.Event()
        self.runs = 0

    async def __call__(self) -> None:
        self.runs += 1
        if not self.script:
            self.played.set()
            await asyncio.Event().wait()
        error = self.script.pop(0)
        if error is not None:
            raise error


async def play(work: Scripted) -> None:
    loop = BackgroundLoop(work, 0.0, "nothing is done")
    loop.start()
    await asyncio.wait_for(work.played.wait(), BOUND)
    await loop.stop()


@pytest.mark.gen_test
async def test_each_outage_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "tornado_sessions")
    await play(Scripted(DOWN, DOWN, DOWN, None, None, DOWN))
    levels = [record.levelname for record in caplog.records if record.name == "tornado_sessions"]
    assert levels == ["WARNING", "DEBUG", "DEBUG", "WARNING"]
    assert caplog.messages[0] == "nothing is done: memory: it is down"


def test_only_an_error_of_a_strange_kind_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    OutageLog("nothing is done").failed(DOWN)
    OutageLog("nothing is done").failed(LookupError("strange"))
    assert [bool(record.exc_info) for record in caplog.records] == [False, True]


@pytest.mark.gen_test
async def test_runs_do_not_see_the_context_variables_of_the_request_that_started_the_loop() -> None:
    request: ContextVar[str] = ContextVar("request", default="none")
    seen: list[str] = []
    work = Scripted(None, None)

    async def run() -> None:
        seen.append(request.get())
        await work()

    loop = BackgroundLoop(run, 0.0, "nothing is done")

    async def handle() -> None:
        request.set("the first one")
        loop.start()

    await asyncio.create_task(handle())
    await asyncio.wait_for(work.played.wait(), BOUND)
    await loop.stop()
    assert seen == ["none"] * 3


@pytest.mark.gen_test
async def test_a_loop_starts_once_and_again_after_a_stop() -> None:
    work = Scripted()
    loop = BackgroundLoop(work, 0.0, "nothing is done")
    for _ in range(2):
        loop.start()
        loop.start()
        await asyncio.wait_for(work.played.wait(), BOUND)
        await loop.stop()
        await loop.stop()
        work.played.clear()
    assert work.runs == 2


@pytest.mark.gen_test
async def test_a_loop_that_waits_for_its_first_run_stops_without_one() -> None:
    work = Scripted()
    loop = BackgroundLoop(work, 0.0, "nothing is done")
    loop.start(after=3600)
    await loop.stop()
    assert work.runs == 0


@pytest.mark.gen_test
async def test_a_run_that_swallows_its_cancellation_is_stopped_nevertheless() -> None:
    started = asyncio.Event()

    async def stubborn() -> None:
        started.set()
        for wait in (asyncio.Event().wait, asyncio.Event().wait):
            await swallowed(wait)

    async def swallowed(wait: Callable[[], Awaitable[object]]) -> None:
        try:
            await wait()
        except asyncio.CancelledError:
            return

    loop = BackgroundLoop(stubborn, 0.0, "nothing is done")
    loop.start()
    await asyncio.wait_for(started.wait(), BOUND)
    await asyncio.wait_for(loop.stop(), BOUND)
    started.clear()
    await one_turn()
    assert not loop.is_started
    assert not started.is_set()
