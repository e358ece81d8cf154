"""``Batcher`` with a limit: what comes while a call is under way goes together in the next one."""

from __future__ import annotations

import asyncio

import pytest

from tornado_sessions.batching import Batcher
from tornado_sessions.errors import StoreUnavailable


class Server:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.may_answer = asyncio.Event()

    async def call(self, items: list[str]) -> list[str | Exception]:
        self.batches.append(items)
        await self.may_answer.wait()
        if "bad" in items:
            raise ValueError("bad")
        return [item.upper() for item in items]


async def asked(batcher: Batcher[str, str], *items: str) -> list[asyncio.Future[str]]:
    futures = [batcher.ask(item) for item in items]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return futures


@pytest.mark.gen_test
async def test_what_comes_meanwhile_goes_together_and_each_gets_its_own_answer() -> None:
    server = Server()
    batcher = Batcher(server.call, "test", 5, at_once=1)
    first = await asked(batcher, "a", "b")
    rest = await asked(batcher, "c") + await asked(batcher, "d", "e")
    assert server.batches == [["a", "b"]]
    server.may_answer.set()
    assert await asyncio.gather(*first, *rest) == ["A", "B", "C", "D", "E"]
    assert server.batches == [["a", "b"], ["c", "d", "e"]]
    await batcher.drain()


@pytest.mark.gen_test
@pytest.mark.parametrize(("at_once", "expected"), [(2, [["a"], ["b"]]), (None, [["a"], ["b"], ["c"]])])
async def test_no_more_calls_than_the_limit_are_under_way(at_once: int | None, expected: list[list[str]]) -> None:
    server = Server()
    batcher = Batcher(server.call, "test", 5, at_once=at_once)
    futures = [future for item in "abc" for future in await asked(batcher, item)]
    assert server.batches == expected
    server.may_answer.set()
    assert await asyncio.gather(*futures) == ["A", "B", "C"]


@pytest.mark.gen_test
async def test_an_error_goes_to_all_that_went_together_and_to_nobody_else() -> None:
    server = Server()
    batcher = Batcher(server.call, "test", 5, at_once=1)
    [first] = await asked(batcher, "a")
    rest = await asked(batcher, "bad", "c")
    server.may_answer.set()
    assert await first == "A"
    for future in rest:
        with pytest.raises(ValueError, match="bad"):
            await future
    assert await batcher.ask("d") == "D"


@pytest.mark.gen_test
async def test_a_call_that_is_late_keeps_nobody_waiting_for_long() -> None:
    server = Server()
    batcher = Batcher(server.call, "test", 0.05, at_once=1)
    [first] = await asked(batcher, "a")
    [second] = await asked(batcher, "b")
    for future in (first, second):
        with pytest.raises(StoreUnavailable, match=r"0\.05 s"):
            await future
    server.may_answer.set()
    assert await batcher.ask("c") == "C"
    await batcher.drain()


@pytest.mark.gen_test
async def test_draining_waits_for_what_has_not_had_its_turn() -> None:
    server = Server()
    batcher = Batcher(server.call, "test", 5, at_once=1)
    futures = await asked(batcher, "a") + await asked(batcher, "b")
    server.may_answer.set()
    await batcher.drain()
    assert [future.result() for future in futures] == ["A", "B"]


@pytest.mark.gen_test
async def test_a_call_that_is_cancelled_before_it_begins_leaves_nobody_waiting() -> None:
    server = Server()
    server.may_answer.set()
    batcher = Batcher(server.call, "test", 5)
    before = asyncio.all_tasks()
    future = batcher.ask("a")
    for task in asyncio.all_tasks() - before:
        task.cancel()
    with pytest.raises(StoreUnavailable, match="cancelled"):
        await future
    await asyncio.wait_for(batcher.drain(), 5)
    assert await batcher.ask("b") == "B"
    assert server.batches == [["b"]]


@pytest.mark.gen_test
@pytest.mark.parametrize("seconds", [0.0, 0.05])
async def test_those_who_come_back_at_once_join_those_who_wait(seconds: float) -> None:
    batches: list[list[str]] = []

    async def call(items: list[str]) -> list[str]:
        batches.append(items)
        await asyncio.sleep(seconds)
        return items

    batcher = Batcher(call, "test", 5, at_once=1)

    async def repeat(item: str) -> None:
        for _ in range(4):
            await batcher.ask(item)
            # What a request does before and after it.
            await asyncio.sleep(0)

    first = asyncio.create_task(repeat("a"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await asyncio.gather(first, repeat("b"), repeat("c"))
    assert batches[0] == ["a"]
    assert [sorted(batch) for batch in batches[1:4]] == [["a", "b", "c"]] * 3


@pytest.mark.gen_test
async def test_one_who_waits_for_nobody_is_served_at_once() -> None:
    server = Server()
    server.may_answer.set()
    batcher = Batcher(server.call, "test", 5, at_once=1)
    for _ in range(3):
        await (await asked(batcher, "a"))[0]
        before = len(server.batches)
        await asked(batcher, "a")
        assert len(server.batches) == before + 1
    await batcher.drain()
