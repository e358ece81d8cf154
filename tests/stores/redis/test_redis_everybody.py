"""The end of everybody on Redis: one write in any emergency, and the dead hide nobody until they are swept."""

from __future__ import annotations

import asyncio
import math
import struct
from contextlib import aclosing

import pytest
from support.redis_servers import Valkey, ValkeyCluster
from support.redis_stores import Open, ask, fresh, keys_of, opened, store

from tornado_sessions.query import Query, Sort, State
from tornado_sessions.record import Cause, Event, EventKind, Outcome, Record, Tombstone
from tornado_sessions.stores.redis import RedisStore
from tornado_sessions.stores.redis.endings import pack_ending
from tornado_sessions.testing.maker import NOW, create, end, hash_of

__all__ = ["opened", "store"]


async def handles(store: RedisStore, **fields: object) -> list[str]:
    """The handles of the first page."""
    return [item.handle for item in (await store.find(Query(**{"now": NOW + 2, **fields}))).items]  # type: ignore[arg-type]


async def total(store: RedisStore, **fields: object) -> int:
    """The exact number of living sessions."""
    counted = await store.count(Query(**{"now": NOW + 2, **fields}))  # type: ignore[arg-type]
    assert counted.exact
    return counted.total


async def fill(store: RedisStore, count: int, **fields: object) -> None:
    """Create sessions h0, h1, … of ada."""
    for start in range(0, count, 500):
        some = range(start, min(start + 500, count))
        assert set(await store.save([create(f"h{number}", **fields) for number in some])) == {Outcome.SAVED}


@pytest.mark.gen_test
async def test_everybody_ends_whatever_the_clocks_of_their_hosts_say(store: RedisStore) -> None:
    fast = NOW + 300.123456
    await store.save([create("slow"), create("fast", created_at=fast, last_seen_at=fast, expires_at=fast + 1800)])
    held = await store.end_all(None, end(NOW + 1))
    assert fast < held < fast + 0.001
    assert await handles(store) == []
    assert await total(store) == 0
    assert (await store.load(["slow"], NOW + 2)).not_before == held
    late = create("late", created_at=math.nextafter(held, 0), last_seen_at=held)
    assert await store.save([late, create("new", created_at=held, last_seen_at=held)]) == [Outcome.GONE, Outcome.SAVED]


@pytest.mark.gen_test
async def test_everybodys_end_is_that_of_its_ending_where_no_clock_is_ahead(store: RedisStore) -> None:
    await store.save([create("h1")])
    assert await store.end_all(None, end(NOW + 1)) == NOW + 1
    # Nobody was created since, so there is nothing to move for; an earlier time moves nothing back.
    assert await store.end_all(NOW - 5, end(NOW + 3)) == NOW + 1
    assert (await store.load(["h1"], NOW + 4)).not_before == NOW + 1


@pytest.mark.gen_test
async def test_a_number_ends_exactly_those_created_before_it(store: RedisStore) -> None:
    await fill(store, 20)
    later = {"created_at": NOW + 10, "last_seen_at": NOW + 10}
    await store.save([create("v", user=None, **later), create("a", **later), create("touched", last_seen_at=NOW + 50)])
    assert await store.end_all(NOW + 10, end(NOW + 60)) == NOW + 10
    for sort in Sort:
        assert sorted(await handles(store, sort=sort, now=NOW + 60)) == ["a", "v"]
    assert await total(store, now=NOW + 60) == 2
    assert await handles(store, user="ada", now=NOW + 60) == ["a"]
    assert await store.destroy_user("ada", end(NOW + 61)) == ["a"]
    assert await store.expire(NOW + 62, 60) == 21
    assert await handles(store, now=NOW + 62) == ["v"]
    assert await total(store, now=NOW + 62) == 1


@pytest.mark.gen_test
async def test_the_sweep_removes_all_of_them_in_steps_with_their_own_ending(store: RedisStore) -> None:
    """Whenever they were last seen, and also when everybody was ended a second time before the first sweep."""
    await fill(store, 6)
    await store.save([create("seen", last_seen_at=NOW + 90)])
    await store.end_all(NOW + 5, end(NOW + 5, by="first"))
    await store.save([create(f"n{number}", created_at=NOW + 6, last_seen_at=NOW + 6) for number in range(4)])
    await store.end_all(None, end(NOW + 100, by="second"))
    await store.save([create("alive", created_at=NOW + 100, last_seen_at=NOW + 100)])
    steps = [await store.expire(NOW + 101, 60, limit=3) for _ in range(5)]
    assert steps == [3, 3, 3, 2, 0]
    found = (await store.load(["h0", "h5", "seen", "n0", "n3", "alive"], NOW + 101)).records
    by = [item.ending.by if isinstance(item, Tombstone) else type(item) for item in found]
    assert by == ["first", "first", "first", "second", "second", Record]
    assert await total(store, now=NOW + 101) == 1
    assert len((await store.find(Query(now=NOW + 101, state=State.ENDED))).items) == 11


@pytest.mark.gen_test
async def test_nothing_is_left_behind_when_all_are_swept(redis: Valkey, opened: Open) -> None:
    store = await opened(fresh(redis.url))
    await fill(store, 30)
    await store.end_all(None, end(NOW + 1))
    assert await keys_of(store, "o*") != []
    while await store.expire(NOW + 2, 60, limit=7):
        pass
    assert await keys_of(store, "o*") == await keys_of(store, "s:*") == await keys_of(store, "e") == []
    await store.expire(NOW + 99, 60)
    await store.expire(NOW + 2 * 86400, 60)
    assert await keys_of(store, "t:*") == await keys_of(store, "d") == []


@pytest.mark.gen_test(timeout=120)
async def test_no_command_walks_the_dead(redis: Valkey, opened: Open) -> None:
    """The same number of commands at one and at five thousand dead, and the living one is shown at once."""
    counts = []
    for size in (1_000, 5_000):
        store = await opened(fresh(redis.url))
        await fill(store, size, user="bob")
        await store.save([create("alive", created_at=NOW + 9, last_seen_at=NOW + 9, user_agent="Firefox/1")])
        # The server learns each script at its first use.
        await store.destroy_user("nobody", end(NOW))
        await store.end_all(0.0, end(NOW))
        await total(store, now=NOW, text="a")
        redis.ask("CONFIG", "RESETSTAT")
        await store.end_all(NOW + 5, end(NOW + 10))
        for sort in Sort:
            assert await handles(store, sort=sort, now=NOW + 10, limit=1) == ["alive"]
        for fields in ({"user": "ada"}, {"ip": "192.0.2.1"}, {"text": "a"}, {"device": "Firefox"}, {"signed_in": True}):
            assert await handles(store, now=NOW + 10, **fields) == ["alive"]
            assert await total(store, now=NOW + 10, **fields) == 1
        assert await total(store, now=NOW + 10) == 1
        assert await store.destroy_user("bob", end(NOW + 10)) == []
        stats = redis.ask("INFO", "COMMANDSTATS")
        counts.append({name: of["calls"] for name, of in stats.items() if "config" not in name})
    assert counts[0] == counts[1]


@pytest.mark.gen_test
async def test_listeners_hear_of_it_once(store: RedisStore) -> None:
    await fill(store, 3)
    heard: list[Event] = []
    async with aclosing(store.events()) as events:
        # The iterator subscribes when it is first asked, so the first event is asked for before anything ends.
        first = asyncio.ensure_future(anext(events))
        while not first.done():
            await store.save([create("w")])
            await store.destroy(["w"], end())
            await asyncio.wait([first], timeout=0.05)
            await ask(store, "DEL", store.keys.item("t", "w"))
        held = await store.end_all(None, end(NOW + 7, by="eve"))
        await store.save([create("mark", created_at=held, last_seen_at=held)])
        await store.destroy(["mark"], end(NOW + 8))
        async for event in events:
            heard.append(event)
            if event.handle == "mark":
                break
    ended = [event for event in heard if event.kind is EventKind.ENDED_ALL]
    assert [(event.at, event.handle, event.cause, event.by) for event in ended] == [(held, "", Cause.OPERATOR, "eve")]


@pytest.mark.gen_test
async def test_it_works_while_a_slot_moves(redis_cluster: ValkeyCluster, opened: Open) -> None:
    """What cannot be set aside then is not let in and not shown, and is swept afterwards; a single session ends as ever."""
    store = await opened(fresh(redis_cluster.url))
    await fill(store, 100)
    source, target = redis_cluster.nodes[:2]
    names = [node.ask("CLUSTER", "MYID").decode() for node in (source, target)]
    slots = [int(source.ask("CLUSTER", "KEYSLOT", key)) for key in store.keys.listings]
    moving = [slot for slot in slots if slot <= 16384 // 3 - 1]
    assert moving
    for slot in moving:
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", names[0])
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", names[1])
    try:
        assert len(await store.destroy([f"h{number}" for number in range(20)], end())) == 20
        assert sorted(await handles(store, limit=100)) == sorted(f"h{number}" for number in range(20, 100))
        assert await store.end_all(None, end(NOW + 1)) == NOW + 1
        assert await handles(store) == []
    finally:
        for slot in moving:
            target.ask("CLUSTER", "SETSLOT", slot, "STABLE")
            source.ask("CLUSTER", "SETSLOT", slot, "STABLE")
    assert await store.expire(NOW + 2, 60) == 80
    assert await total(store) == 0


@pytest.mark.gen_test
async def test_what_was_ended_before_lists_were_set_aside_is_swept(redis: Valkey, opened: Open) -> None:
    """The value of an earlier version: the time and the ending, and nothing behind them."""
    store = await opened(fresh(redis.url))
    await fill(store, 10)
    await store.save([create("alive", created_at=NOW + 5, last_seen_at=NOW + 5)])
    for key in store.keys.not_before:
        await ask(store, "SET", key, struct.pack("<d", NOW + 5) + pack_ending(end(NOW + 5, by="earlier")))
    assert await store.expire(NOW + 6, 60) == 10
    found = (await store.load(["h3"], NOW + 6)).records[0]
    assert isinstance(found, Tombstone)
    assert found.ending.by == "earlier"
    assert await handles(store, now=NOW + 6) == ["alive"]
    assert await total(store, now=NOW + 6) == 1


@pytest.mark.gen_test
async def test_a_full_server_ends_sessions_and_refuses_new_ones_one_by_one(opened: Open) -> None:
    server = Valkey("--maxmemory-policy", "noeviction")
    try:
        store = await opened(fresh(server.url))
        await fill(store, 20)
        await store.save([create("bobs", user="bob"), create("mine", created_at=NOW + 5, last_seen_at=NOW + 5)])
        server.ask("CONFIG", "SET", "maxmemory", "1mb")
        refused = await store.save([create("x"), create("y")])
        assert [str(answer)[:10] for answer in refused] == ["redis: OOM"] * 2
        assert await store.destroy(["h0"], end()) == ["h0"]
        assert await store.destroy_user("bob", end()) == ["bobs"]
        assert await store.take("h1", end()) is not None
        assert await store.end_all(NOW + 5, end(NOW + 6)) == NOW + 5
        assert await handles(store, now=NOW + 7) == ["mine"]
        assert await store.expire(NOW + 7, 60) == 18
        assert await store.end_all(None, end(NOW + 8)) == NOW + 8
        found = (await store.load(["h0", "h1", "h2", "bobs"], NOW + 9)).records
        assert all(isinstance(item, Tombstone) for item in found)
    finally:
        server.stop()


@pytest.mark.gen_test
async def test_a_value_is_swapped_once_and_is_no_session(store: RedisStore) -> None:
    keep = NOW + 60
    assert await store.swap("sessions of ada", None, b"1", keep) == (True, b"1")
    assert await store.swap("sessions of ada", None, b"2", keep) == (False, b"1")
    assert await store.swap("sessions of ada", b"0", b"2", keep) == (False, b"1")
    assert await store.swap("sessions of ada", b"1", b"", keep) == (True, b"")
    assert await store.swap("sessions of ada", None, b"3", keep) == (False, b"")
    assert await store.swap("sessions of \0 键 \ud800", b"1", b"2", keep) == (False, None)
    assert await store.swap("sessions of ada", b"", None, keep) == (True, None)
    assert await store.swap("sessions of ada", b"", b"4", keep) == (False, None)
    assert await handles(store) == []
    assert await total(store) == 0


@pytest.mark.gen_test
async def test_a_swapped_value_expires_by_itself_but_not_because_a_clock_is_behind(store: RedisStore) -> None:
    for keep_until in (0.0, NOW + 60):
        await store.swap(f"n{keep_until}", None, b"1", keep_until)
        assert await ask(store, "PTTL", store.keys.item("c", f"n{keep_until}")) > 3_000_000


@pytest.mark.gen_test
async def test_one_of_many_swaps_at_once_wins(store: RedisStore) -> None:
    done = await asyncio.gather(*(store.swap("n", None, hash_of(str(n)), NOW + 60) for n in range(20)))
    assert sum(answer.done for answer in done) == 1
    assert {answer.value for answer in done} == {next(answer.value for answer in done if answer.done)}
