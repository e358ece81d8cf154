"""The connection that all loads and saves share: each caller gets their own answer, and whoever gives up costs nobody else."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import redis
from support.amount import amount
from support.redis_servers import Valkey
from support.redis_stores import Open, opened
from support.waiting import until

from tornado_sessions.drivers.redis import Client, WritesRefused, client_options
from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.record import Outcome, Record
from tornado_sessions.testing.maker import NOW, change, create

__all__ = ["opened"]


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    """A server of its own, which a test may pause, stop or demote."""
    server = Valkey()
    yield server
    server.stop()


async def connected(url: str) -> Client:
    client = Client(client_options(url))
    await client.open()
    return client


def connections(server: Valkey) -> set[str]:
    """The ids of the connections that have asked for a key or run a script."""
    with redis.Redis(port=server.port) as client:
        return {each["id"] for each in client.client_list() if each["cmd"] in ("get", "mget", "evalsha")}


def stop_answering(server: Valkey) -> None:
    assert server.process is not None
    server.process.send_signal(signal.SIGSTOP)


def go_on(server: Valkey) -> None:
    assert server.process is not None
    server.process.send_signal(signal.SIGCONT)


@pytest.mark.gen_test
async def test_each_caller_gets_their_own_answer_whoever_stops_waiting(valkey: Valkey) -> None:
    client, chance = await connected(valkey.url), random.Random(1)
    names = [f"wire:{number}" for number in range(50)]
    await client.write(*(("SET", name, name) for name in names))
    wrong = 0

    async def ask(name: str) -> None:
        nonlocal wrong
        (answer,) = await client.read([("GET", name)])
        wrong += answer != name.encode()

    for _ in range(amount(20, 500)):
        tasks = [asyncio.ensure_future(ask(name)) for name in names]
        await asyncio.sleep(0)
        for task in chance.sample(tasks, 20):
            if chance.random() < 0.5:
                await asyncio.sleep(0)
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert sum(not task.cancelled() for task in tasks) >= 30
    assert not wrong
    await client.close()


@pytest.mark.gen_test
async def test_a_server_that_does_not_answer_in_time_is_unavailable_until_it_does(valkey: Valkey) -> None:
    client = await connected(f"{valkey.url}?timeout=0.3")
    await client.write(("SET", "a", "1"))
    stop_answering(valkey)
    asked = [client.write(("GET", "a")) for _ in range(5)]
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(each) for each in found} == {StoreUnavailable}
    assert "Timeout reading from the server" in str(found[0])
    go_on(valkey)
    assert await client.read([("GET", "a")]) == [b"1"]
    await client.close()


@pytest.mark.gen_test
async def test_commands_without_an_answer_have_a_bound(valkey: Valkey) -> None:
    client = await connected(valkey.url)
    await client.read([("GET", "a")])
    stop_answering(valkey)
    tasks = [asyncio.ensure_future(client.write(("GET", "a"))) for _ in range(10_001)]
    done, waiting = await asyncio.wait(tasks, timeout=1, return_when=asyncio.FIRST_COMPLETED)
    assert len(waiting) == 10_000
    assert "10000 commands have no answer yet" in str(done.pop().exception())
    go_on(valkey)
    assert await asyncio.gather(*waiting) == [[None]] * 10_000
    await client.close()


@pytest.mark.gen_test
async def test_a_killed_server_fails_who_waits_and_serves_who_comes_after_its_restart(valkey: Valkey) -> None:
    client = await connected(valkey.url)
    await client.read([("GET", "a")])
    stop_answering(valkey)
    waiting = asyncio.ensure_future(client.write(("GET", "a")))
    await asyncio.sleep(0)
    valkey.kill()
    with pytest.raises(StoreUnavailable):
        await waiting
    with pytest.raises(StoreUnavailable):
        await client.write(("GET", "a"))
    valkey.start()
    assert await client.read([("GET", "a")]) == [None]
    await client.close()


@pytest.mark.gen_test
async def test_a_script_that_the_server_has_lost_is_sent_again(valkey: Valkey, opened: Open) -> None:
    store = await opened(valkey.url)
    await store.save([create("h1")])
    valkey.ask("SCRIPT", "FLUSH")
    assert await store.save([change("h1", set={"a": b"1"})]) == [Outcome.SAVED]


@pytest.mark.gen_test
async def test_a_server_that_became_a_replica_is_left_for_a_new_connection(valkey: Valkey, opened: Open) -> None:
    store = await opened(valkey.url)
    await store.save([create("h1")])
    before = connections(valkey)
    valkey.ask("REPLICAOF", "127.0.0.1", "1")
    assert isinstance((await store.save([change("h1", set={"a": b"1"})]))[0], WritesRefused)
    valkey.ask("REPLICAOF", "NO", "ONE")
    assert await store.save([change("h1", set={"a": b"1"})]) == [Outcome.SAVED]
    await until(lambda: not before & connections(valkey), "the end of the old connection")


@pytest.mark.gen_test
async def test_a_client_that_is_closed_while_it_connects_leaves_no_connection() -> None:
    """The server accepts connections and never answers."""
    opens, closes = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opens.set()
        while await reader.read(1000):
            pass
        writer.close()
        await writer.wait_closed()
        closes.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    client = await connected(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    waiting = [asyncio.ensure_future(client.write(("GET", "a"))) for _ in range(3)]
    given_up = asyncio.ensure_future(client.write(("GET", "a")))
    await asyncio.wait_for(opens.wait(), 5)
    given_up.cancel()
    await client.close()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(each) for each in found} == {StoreUnavailable}
    await asyncio.wait_for(closes.wait(), 5)
    server.close()
    await server.wait_closed()
    with pytest.raises(StoreUnavailable, match="the store is closed"):
        await client.read([("GET", "a")])


@pytest.mark.gen_test
async def test_an_answer_that_nobody_asked_for_ends_the_connection_and_not_the_next_one() -> None:
    greetings, closes = 0, asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal greetings
        greetings += 1
        while asked := await reader.read(1000):
            # The first connection gets one answer too many.
            many = b"+OK\r\n" * asked.count(b"CLIENT") or b"$1\r\n1\r\n" * (2 if greetings == 1 else 1)
            writer.write(many)
        writer.close()
        await writer.wait_closed()
        closes.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    client = await connected(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    assert await client.read([("GET", "a")]) == [b"1"]
    assert await client.read([("GET", "a")]) == [b"1"]
    assert greetings == 2
    closes.clear()
    await client.close()
    await asyncio.wait_for(closes.wait(), 5)
    server.close()
    await server.wait_closed()


class Odd:
    """A server whose first connection answers commands with given bytes; every later one answers them with "1"."""

    def __init__(self, first: bytes) -> None:
        self.first = first
        self.connections = 0
        self.sent = 0
        self.serving: set[asyncio.Task[None]] = set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.serving.add(asyncio.ensure_future(self.serve(reader, writer)))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        is_odd = self.connections == 1
        try:
            while asked := await reader.read(1000):
                # redis-py introduces itself first.
                writer.write(b"+OK\r\n" * asked.count(b"CLIENT") or (self.first if is_odd else b"$1\r\n1\r\n"))
                await writer.drain()
                while is_odd and b"CLIENT" not in asked and self.first.startswith(b"$9"):
                    writer.write(bytes(1 << 20))
                    self.sent += 1 << 20
                    await writer.drain()
            writer.close()
            await writer.wait_closed()
        except ConnectionError:
            pass


@asynccontextmanager
async def odd_server(first: bytes, options: str = "") -> AsyncIterator[tuple[Odd, Client]]:
    odd = Odd(first)
    server = await asyncio.start_server(odd.accept, "127.0.0.1", 0)
    client = await connected(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}{options}")
    yield odd, client
    await client.close()
    await asyncio.wait(odd.serving, timeout=5)
    server.close()
    await server.wait_closed()


ODD_ANSWERS = {
    "half a string": b"$10\r\nhalf",
    "half a list": b"*3\r\n$1\r\n1\r\n",
    "half a length": b"$1",
    "no protocol": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "an unknown length": b"$many\r\n",
    "lists in lists": b"*1\r\n" * 100,
    "a list too long for the memory": b"*4294967295\r\n",
}


@pytest.mark.parametrize("answer", ODD_ANSWERS.values(), ids=ODD_ANSWERS.keys())
@pytest.mark.gen_test
async def test_an_odd_answer_fails_who_waits_and_nobody_after(answer: bytes) -> None:
    async with odd_server(answer, "?timeout=0.3") as (odd, client):
        found = await asyncio.gather(*(client.write(("GET", "a")) for _ in range(3)), return_exceptions=True)
        assert {type(each) for each in found} == {StoreUnavailable}
        assert await client.write(("GET", "a")) == [b"1"]
        assert odd.connections == 2


@pytest.mark.gen_test
async def test_an_answer_has_a_bound() -> None:
    """Well before the timeout, so that no server can fill the memory."""
    async with odd_server(b"$999999999999\r\n", "?timeout=60") as (odd, client):
        with pytest.raises(StoreUnavailable, match="an answer has more than 268435456 bytes"):
            await client.write(("GET", "a"))
        assert await client.write(("GET", "a")) == [b"1"]
        # What lies in the buffers of both sockets is not in this process.
        assert odd.sent < 300 << 20


@pytest.mark.gen_test
async def test_bytes_that_a_server_does_not_take_have_a_bound(valkey: Valkey) -> None:
    client = await connected(valkey.url)
    await client.read([("GET", "a")])
    stop_answering(valkey)
    value = bytes(1 << 20)
    waiting = [asyncio.ensure_future(client.write(("SET", "a", value))) for _ in range(100)]
    await asyncio.wait(waiting, timeout=1, return_when=asyncio.FIRST_COMPLETED)
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(each) for each in found} == {StoreUnavailable}
    assert "Timeout writing to socket" in str(found[0])
    go_on(valkey)
    assert await client.read([("GET", "b")]) == [None]
    await client.close()


@pytest.mark.gen_test(timeout=60)
async def test_what_was_saved_before_a_crash_is_there_after_it(valkey: Valkey, opened: Open) -> None:
    """The server is killed amid batches; each save has one outcome, and no saved session is lost."""
    store = await opened(valkey.url)
    for round_ in range(amount(2, 20)):
        handles = [f"r{round_}x{number}" for number in range(400)]
        saving = [asyncio.ensure_future(store.save([create(handle)])) for handle in handles]
        await asyncio.wait(saving[: 20 * round_ + 1])
        valkey.kill()
        outcomes = [answer[0] for answer in await asyncio.gather(*saving)]
        assert {Outcome.SAVED, StoreUnavailable} >= {
            each if isinstance(each, Outcome) else type(each) for each in outcomes
        }
        valkey.start()
        records = (await store.load(handles, NOW)).records
        saved = [place for place, outcome in enumerate(outcomes) if outcome is Outcome.SAVED]
        assert saved
        assert all(isinstance(records[place], Record) for place in saved)
