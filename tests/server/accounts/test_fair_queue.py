"""Who goes first when more passwords wait than the cores can hash."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from support.waiting import one_turn

from tornado_sessions.server.accounts.client import Client
from tornado_sessions.server.accounts.errors import HasherBusy
from tornado_sessions.server.accounts.fair_queue import FairQueue

pytestmark = pytest.mark.gen_test


class Queue:
    """A queue whose turns are all taken, until they are given back; it remembers the order of those after."""

    def __init__(self) -> None:
        self.queue = FairQueue("test", 1)
        self.gate = asyncio.Event()
        self.served: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []

    @classmethod
    @asynccontextmanager
    async def full(cls) -> AsyncIterator[Queue]:
        made = cls()
        for number in range(2):
            await made.add(f"2001:db8:{number}::1", "")
        try:
            yield made
        finally:
            made.gate.set()
            await asyncio.gather(*made.tasks, return_exceptions=True)
            made.queue.close()

    async def add(self, client: Client | str, name: str, *, first: bool = False) -> asyncio.Task[None]:
        self.tasks.append(asyncio.create_task(self._call(Client.of(client), name, first=first)))
        await one_turn(2)
        return self.tasks[-1]

    async def _call(self, client: Client, name: str, *, first: bool) -> None:
        async with self.queue.turn(client, first=first):
            await self.gate.wait()
            if name:
                self.served.append(name)

    async def finish(self) -> list[str]:
        self.gate.set()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        return self.served


async def test_networks_take_turns_and_known_devices_go_first() -> None:
    async with Queue.full() as queue:
        for name in ("a1", "a2", "a3"):
            await queue.add("192.0.2.1", name)
        await queue.add("198.51.100.1", "b1")
        await queue.add("203.0.113.1", "known", first=True)
        assert await queue.finish() == ["known", "b1", "a1", "a2", "a3"]


@pytest.mark.parametrize("template", ["192.0.2.1", "2001:db8:7:%x::1", "2001:db8:7:%x00::1"])
async def test_a_flood_of_one_network_drops_its_own_attempts(template: str) -> None:
    """However many addresses it has: a newcomer is served before most of them, and is never the one that is refused."""
    async with Queue.full() as queue:
        flood = [await queue.add(template % one if "%" in template else template, "flood") for one in range(1, 256)]
        flood.append(await queue.add(template.replace("%x", "f"), "flood"))
        assert len(queue.queue) == 256
        await queue.add("198.51.100.1", "owner")
        await one_turn(3)
        refused = [task for task in flood if task.done()]
        assert len(refused) == 1
        with pytest.raises(HasherBusy):
            await refused[0]
        assert (await queue.finish())[0] == "owner"


async def test_a_flood_from_two_hundred_networks_waits_behind_a_newcomer() -> None:
    async with Queue.full() as queue:
        addresses = [f"10.0.{number}.1" for number in range(200)]
        for _ in range(3):
            for ip in addresses:
                await queue.add(ip, "flood")
        await queue.add("198.51.100.1", "owner")
        await queue.add("10.0.7.1", "known", first=True)
        served = await queue.finish()
        assert served[0] == "known"
        assert served[1] == "owner"
        assert served.count("flood") == 254


async def test_an_address_that_has_hashed_much_waits_behind_one_that_has_not() -> None:
    async with Queue.full() as queue:
        queue.gate.set()
        for _ in range(5):
            await queue.add("192.0.2.1", "")
        await asyncio.gather(*queue.tasks)
        queue.gate.clear()
        for number in range(2):
            await queue.add(f"2001:db8:1{number}::1", "")
        await queue.add("192.0.2.1", "busy")
        await queue.add("198.51.100.1", "idle")
        assert await queue.finish() == ["idle", "busy"]


async def test_a_client_that_leaves_and_a_cancelled_call_free_their_places() -> None:
    async with Queue.full() as queue:
        client = Client("192.0.2.1")
        left, cancelled = await queue.add(client, "left"), await queue.add("192.0.2.2", "cancelled")
        await queue.add("192.0.2.3", "stays")
        client.leave()
        cancelled.cancel()
        await one_turn(2)
        assert len(queue.queue) == 1
        with pytest.raises(HasherBusy):
            await left
        assert await queue.finish() == ["stays"]


async def test_a_turn_that_comes_with_a_cancellation_is_passed_on() -> None:
    async with Queue.full() as queue:
        first = await queue.add("192.0.2.1", "first")
        await queue.add("192.0.2.2", "second")
        queue.gate.set()
        await one_turn(1)
        first.cancel()
        assert "second" in await queue.finish()
        async with queue.queue.turn(Client("192.0.2.3")), queue.queue.turn(Client("192.0.2.4")):
            assert len(queue.queue) == 0


async def test_closing_refuses_those_that_wait() -> None:
    async with Queue.full() as queue:
        waiting = await queue.add("192.0.2.1", "waiting")
        queue.gate.set()
        queue.queue.close()
        with pytest.raises(HasherBusy):
            await waiting
