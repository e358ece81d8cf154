"""A Redis server that refuses writes still serves readers, and a process can start on it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from support.redis_servers import Valkey, ValkeyCluster, ValkeySentinel
from support.redis_stores import Open, ask, fresh, opened, store
from support.waiting import wait_until

from tornado_sessions.drivers.redis import WritesRefused
from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.query import Query, Sort, State
from tornado_sessions.record import Outcome, Record, Tombstone
from tornado_sessions.stores.redis import RedisStore
from tornado_sessions.testing.maker import NOW, change, create, end

__all__ = ["opened", "store"]


@pytest.fixture(params=["full", "cannot save", "too few replicas", "replica"])
def refusing(request: pytest.FixtureRequest, io_loop: Any, opened: Open) -> Iterator[str]:
    """The URL of a server that has a session of ada, an ended one and an entry of none, and then refuses all writes."""
    servers = [Valkey()]
    try:
        url = fresh(servers[0].url)
        first: RedisStore = io_loop.run_sync(lambda: opened(url))

        async def fill() -> None:
            await first.save([create("h1"), create("h2"), create("h3")])
            await first.destroy(["h2"], end())
            # A list that names who is gone: whoever reads it would tidy it up.
            await ask(first, "DEL", first.keys.session("h3"))

        io_loop.run_sync(fill)
        if request.param == "full":
            servers[0].ask("CONFIG", "SET", "maxmemory", "1mb")
        elif request.param == "cannot save":
            make_saving_fail(servers[0])
        elif request.param == "too few replicas":
            servers[0].ask("CONFIG", "SET", "min-replicas-to-write", "1")
        else:
            servers.append(Valkey("--replicaof", f"127.0.0.1 {servers[0].port}"))
            wait_until(lambda: servers[1].ask("DBSIZE") == servers[0].ask("DBSIZE") > 0, "the replica")
            url = url.replace(str(servers[0].port), str(servers[1].port), 1)
        yield url
    finally:
        for server in servers:
            server.stop()


def make_saving_fail(server: Valkey) -> None:
    """The folder of the snapshots is gone, and a snapshot is due: MISCONF."""
    server.ask("CONFIG", "SET", "save", "3600 100000")
    (server.folder / "dump.rdb").mkdir()
    server.ask("BGSAVE")
    wait_until(lambda: server.ask("INFO", "PERSISTENCE")["rdb_last_bgsave_status"] == "err", "a failed snapshot")


@pytest.mark.gen_test
async def test_a_process_starts_and_reads(refusing: str, opened: Open, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "tornado_sessions"):
        store = await opened(refusing)
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(told) == 1
    assert "sessions can be read but not written" in told[0]
    found = (await store.load(["h1", "h2", "none"], NOW + 2)).records
    assert [type(item) for item in found] == [Record, Tombstone, type(None)]
    for sort in Sort:
        assert [item.handle for item in (await store.find(Query(now=NOW + 2, sort=sort))).items] == ["h1"]
    assert [item.handle for item in (await store.find(Query(now=NOW + 2, user="ada"))).items] == ["h1"]
    assert [item.handle for item in (await store.find(Query(now=NOW + 2, state=State.ENDED))).items] == ["h2"]
    assert (await store.count(Query(now=NOW + 2, user="ada"))).total == 1
    await store.ping()


@pytest.mark.gen_test
async def test_every_write_is_refused_on_its_own(refusing: str, opened: Open) -> None:
    store = await opened(refusing)
    answers = await store.save([create("x"), change("none", set={"a": b"1"}), change("h1", set={"a": b"1"})])
    assert [type(answer) for answer in answers] == [WritesRefused, Outcome, WritesRefused]
    assert answers[1] is Outcome.GONE
    with pytest.raises(StoreUnavailable):
        await store.swap("n", None, b"1", NOW)
    with pytest.raises(StoreUnavailable):
        await store.client.write(("SET", "x", "1"))


@pytest.mark.gen_test
async def test_a_server_that_was_never_written_to_is_empty(opened: Open) -> None:
    """There is no key that says when everybody was ended: nobody was."""
    server = Valkey("--min-replicas-to-write", "1")
    try:
        store = await opened(fresh(server.url))
        assert (await store.load(["h1"], NOW)) == ([None], 0.0)
        assert (await store.find(Query(now=NOW))).items == []
        assert (await store.count(Query(now=NOW))) == (0, True)
        server.ask("CONFIG", "SET", "min-replicas-to-write", "0")
        assert await store.save([create("h1")]) == [Outcome.SAVED]
        assert await store.end_all(None, end(NOW + 1)) == NOW + 1
    finally:
        server.stop()


@pytest.mark.gen_test(timeout=60)
async def test_a_master_that_sentinels_name_but_refuses_writes_is_opened_and_read(opened: Open) -> None:
    """redis-py reports READONLY as a lost connection there."""
    watched = ValkeySentinel()
    try:
        url = fresh(watched.url)
        await (await opened(url)).save([create("h1")])
        for sentinel in watched.sentinels:
            sentinel.ask("SENTINEL", "SET", "mymaster", "down-after-milliseconds", "60000")
        watched.master.ask("REPLICAOF", "127.0.0.1", "1")
        store = await opened(url)
        assert isinstance((await store.load(["h1"], NOW)).records[0], Record)
        assert [type(answer) for answer in await store.save([create("h2")])] == [WritesRefused]
    finally:
        watched.stop()


@pytest.mark.gen_test
async def test_a_server_that_is_not_there_is_no_refusal() -> None:
    server = Valkey()
    server.stop()
    store = RedisStore.from_url(server.url)
    with pytest.raises(StoreUnavailable) as caught:
        await store.open()
    assert not isinstance(caught.value, WritesRefused)
    await store.close()


@pytest.mark.gen_test
async def test_a_load_is_one_command_and_a_save_is_one(redis: Valkey, opened: Open) -> None:
    """On the way of a request; only who is unknown costs more."""
    store = await opened(fresh(redis.url))
    await store.save([create("h1")])
    await store.load(["h1"], NOW)

    def counted() -> dict[str, int]:
        return {name: told["calls"] for name, told in redis.ask("INFO", "commandstats").items()}

    before = counted()
    await store.load(["h1"], NOW)
    await store.save([change("h1", set={"a": b"2"})])
    after = counted()
    sent = {name: calls - before.get(name, 0) for name, calls in after.items() if calls != before.get(name, 0)}
    # The commands inside a script are counted as well, and those of the connection that asks for the counts.
    inside = {"get", "set", "zadd", "zrem", "pttl", "info", "hello", "client|setinfo"}
    assert {name for name in sent if name.removeprefix("cmdstat_") not in inside} == {"cmdstat_mget", "cmdstat_evalsha"}
    assert sent["cmdstat_mget"] == sent["cmdstat_evalsha"] == 1


@pytest.mark.gen_test
async def test_a_full_cluster_is_opened_read_and_ended(redis_cluster: ValkeyCluster, opened: Open) -> None:
    url = fresh(redis_cluster.url)
    first = await opened(url)
    await first.save([create(f"h{number}") for number in range(50)])
    for node in redis_cluster.nodes:
        node.ask("CONFIG", "SET", "maxmemory", "1mb")
    try:
        store = await opened(url)
        assert len((await store.find(Query(now=NOW + 2, limit=100))).items) == 50
        assert {type(answer) for answer in await store.save([create(f"x{n}") for n in range(50)])} == {WritesRefused}
        assert await store.destroy(["h0"], end()) == ["h0"]
        assert await store.end_all(None, end(NOW + 1)) == NOW + 1
        assert await store.expire(NOW + 2, 60) == 49
        assert (await store.count(Query(now=NOW + 2))) == (0, True)
    finally:
        for node in redis_cluster.nodes:
            node.ask("CONFIG", "SET", "maxmemory", "0")
