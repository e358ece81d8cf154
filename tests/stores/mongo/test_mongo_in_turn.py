"""At most one save is under way; what comes meanwhile goes together in the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from tornado_sessions.record import Change, Create, Outcome
from tornado_sessions.stores.mongo.in_turn import Answer, InTurn
from tornado_sessions.testing.maker import change


class Server:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.may_answer = asyncio.Event()

    async def save(self, changes: Sequence[Create | Change]) -> list[Answer]:
        handles = [item.handle for item in changes]
        self.batches.append(handles)
        await self.may_answer.wait()
        if "bad" in handles:
            raise ValueError("bad")
        return [Outcome.GONE if handle == "gone" else Outcome.SAVED for handle in handles]


async def begun(turns: InTurn, *batches: list[str]) -> list[asyncio.Task[list[Answer]]]:
    tasks = [asyncio.create_task(turns.save([change(handle) for handle in handles])) for handles in batches]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


@pytest.mark.gen_test
async def test_what_comes_meanwhile_goes_together_and_each_gets_its_own_answers() -> None:
    server = Server()
    turns = InTurn(server.save)
    [first] = await begun(turns, ["a"])
    rest = await begun(turns, ["b", "gone"], ["c"], ["gone"])
    assert server.batches == [["a"]]
    server.may_answer.set()
    assert await first == [Outcome.SAVED]
    assert await asyncio.gather(*rest) == [[Outcome.SAVED, Outcome.GONE], [Outcome.SAVED], [Outcome.GONE]]
    assert server.batches == [["a"], ["b", "gone", "c", "gone"]]
    await turns.drain()


@pytest.mark.gen_test
async def test_an_error_goes_to_all_that_went_together_and_to_nobody_else() -> None:
    server = Server()
    turns = InTurn(server.save)
    [first] = await begun(turns, ["a"])
    rest = await begun(turns, ["bad"], ["c"])
    server.may_answer.set()
    assert await first == [Outcome.SAVED]
    for task in rest:
        with pytest.raises(ValueError, match="bad"):
            await task
    assert await turns.save([change("d")]) == [Outcome.SAVED]


@pytest.mark.gen_test
async def test_a_save_that_nobody_waits_for_keeps_nobody_waiting() -> None:
    server = Server()
    turns = InTurn(server.save)
    [first] = await begun(turns, ["a"])
    second, third = await begun(turns, ["b"], ["c"])
    second.cancel()
    first.cancel()
    await asyncio.wait([first, second])
    server.may_answer.set()
    assert await third == [Outcome.SAVED]
    assert server.batches == [["a"], ["c"]]
    await turns.drain()
