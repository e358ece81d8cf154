"""The connection that all loads and saves share: each caller gets their own answer, and whoever gives up costs nobody else."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Iterator

import pytest
import redis
from support.amount import amount
from support.redis_servers import Valkey
from support.redis_stores import Open, opened
from support.waiting import until

from tornado_sessions.drivers.redis import Client, WritesRefused, client_options
from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.record import Outcome
from tornado_sessions.testing.maker import change, create

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
