"""One damaged record on Redis costs one record; a damaged time of everybody's end lets nobody in; no answer is trusted."""

from __future__ import annotations

import asyncio
import math
import random
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from support.amount import amount, only_long
from support.redis_servers import Valkey
from support.redis_stores import Open, ask, fresh, keys_of, opened, store

from tornado_sessions.errors import StoreError, StoreMismatch
from tornado_sessions.query import Query, Sort, State
from tornado_sessions.record import Change, Create, Damaged, Outcome, Record, Tombstone
from tornado_sessions.stores.redis import RedisStore
from tornado_sessions.stores.redis.endings import pack_ending
from tornado_sessions.stores.redis.keys import order
from tornado_sessions.stores.redis.records import write_record
from tornado_sessions.testing.maker import NOW, change, create, end, make_record

__all__ = ["opened", "store"]

GOOD = write_record(make_record("bad", previous_hash=bytes(32), data={"a": b"1", "b": b"2"}))
#: Where the fixed fields end, and with them the previous hash.
HEAD, PREVIOUS = 106, 138


def with_time(place: int, value: float) -> bytes:
    """The record with another of its nine times."""
    return GOOD[: 2 + 8 * place] + struct.pack("<d", value) + GOOD[10 + 8 * place :]


STRINGS: dict[str, bytes] = {
    "empty": b"",
    **{f"cut at {size}": GOOD[:size] for size in (1, 2, 9, 41, HEAD - 1, HEAD, PREVIOUS - 5, PREVIOUS, PREVIOUS + 1)},
    "cut in the user": GOOD[: PREVIOUS + 4],
    "cut in the values": GOOD[:-1],
    "cut before a value": GOOD[:-5],
    "trailing garbage": GOOD + b"!",
    "longer garbage": GOOD + b"\xff" * 100,
    "another version": b"\1" + GOOD[1:],
    "unknown flags": GOOD[:1] + b"\xff" + GOOD[2:],
    "random": random.Random(1).randbytes(300),
    "random behind the version": b"\2" + random.Random(2).randbytes(300),
    "json": b'{"user":"ada"}',
    **{f"time {place} is NaN": with_time(place, math.nan) for place in range(9)},
    **{f"time {place} is infinite": with_time(place, math.inf) for place in range(9)},
    "seen beyond all digits": with_time(1, 1e300),
    "seen before 1970": with_time(1, -5.0),
    "user is not UTF-8": GOOD.replace(b"ada", b"a\xffa"),
    "user is half a character": GOOD.replace(b"ada", "a值".encode()[:3]),
    "user is a surrogate": GOOD.replace(b"ada", b"\xed\xa0\x80"),
    "address is not UTF-8": GOOD.replace(b"192.0.2.1", b"192.0.2.\xff"),
    "name of a value is not UTF-8": GOOD.replace(b"\1\0\0\0b", b"\1\0\0\0\xff"),
    "user claims more": GOOD[:PREVIOUS] + b"\xff\xff" + GOOD[PREVIOUS + 2 :],
}
Damage = Callable[[RedisStore, str], Awaitable[None]]


def written(stored: bytes) -> Damage:
    """Damage by other bytes."""

    async def damage(store: RedisStore, key: str) -> None:
        await ask(store, "SET", key, stored)

    return damage


def of_type(*command: object) -> Damage:
    """Damage by a value of another type; ``command`` without the key."""

    async def damage(store: RedisStore, key: str) -> None:
        await ask(store, "DEL", key)
        await ask(store, command[0], key, *command[1:])

    return damage


DAMAGES: dict[str, Damage] = {
    **{name: written(stored) for name, stored in STRINGS.items()},
    "a list": of_type("RPUSH", "x"),
    "a hash": of_type("HSET", "x", "y"),
    "a sorted set": of_type("ZADD", 0, "x"),
}


@pytest.fixture(params=DAMAGES)
def damage(request: pytest.FixtureRequest) -> Damage:
    return DAMAGES[request.param]


GOOD_ONES = [f"h{number}" for number in range(9)]


async def one_among_ten(store: RedisStore, damage: Damage) -> None:
    """Nine sessions of ada, and a damaged one."""
    await store.save([create(handle) for handle in GOOD_ONES])
    await store.save([create("bad")])
    await damage(store, store.keys.session("bad"))


@pytest.fixture
def single(redis: Valkey, opened: Open, io_loop: Any) -> RedisStore:
    """An open and empty store on one server: what a script reads is the same on all kinds."""
    found: RedisStore = io_loop.run_sync(lambda: opened(fresh(redis.url)))
    return found


@pytest.mark.gen_test
async def test_it_is_loaded_as_damaged_and_changed_by_nobody(single: RedisStore, damage: Damage) -> None:
    await one_among_ten(single, damage)
    found = (await single.load([*GOOD_ONES, "bad", "none"], NOW + 2)).records
    assert [type(item) for item in found] == [Record] * 9 + [Damaged, type(None)]
    bad = found[9]
    assert isinstance(bad, Damaged)
    assert bad.why
    assert all(map(math.isfinite, (bad.created_at, bad.last_seen_at, bad.expires_at)))
    before = await ask(single, "DUMP", single.keys.session("bad"))
    changes: list[Create | Change] = [
        change("bad", set={"a": b"2"}),
        change("h0", set={"a": b"2"}),
        change("bad", last_seen_at=NOW + 5, expires_at=NOW + 1805),
        create("bad"),
        change("bad", set={"a": b"2"}, expect={"a": b"1"}),
    ]
    outcomes = await single.save(changes)
    assert outcomes == [Outcome.GONE, Outcome.SAVED, Outcome.GONE, Outcome.GONE, Outcome.GONE]
    assert await single.take("bad", end()) is None
    assert await ask(single, "DUMP", single.keys.session("bad")) == before


@pytest.mark.parametrize("damage", amount(list(DAMAGES)[::3], list(DAMAGES)), indirect=True)
@pytest.mark.gen_test
async def test_lists_show_it_and_counts_go_on(single: RedisStore, damage: Damage) -> None:
    await one_among_ten(single, damage)
    for sort in Sort:
        for fields in ({}, {"user": "ada"}, {"ip": "192.0.2.1"}, {"users": ("ada", "eve")}, {"user_prefix": "ad"}):
            items: list[Any] = []
            cursor: str | None = None
            while True:
                page = await single.find(Query(now=NOW + 2, sort=sort, limit=4, cursor=cursor, **fields))
                items += page.items
                cursor = page.next_cursor
                if cursor is None:
                    break
            shown = [item.handle for item in items if not isinstance(item, Damaged)]
            assert sorted(shown) == GOOD_ONES
            assert all(item.handle == "bad" for item in items if isinstance(item, Damaged))
            if sort in (Sort.LAST_SEEN, Sort.USER):
                assert len(items) == 10
    assert [item.handle for item in (await single.find(Query(now=NOW + 2, handle="bad"))).items] == ["bad"]
    assert (await single.count(Query(now=NOW + 2))).total == 10
    assert (await single.count(Query(now=NOW + 2, user="ada"))).total == 10
    assert (await single.count(Query(now=NOW + 2, text="h"))).total == 9


@pytest.mark.parametrize("sort", Sort)
@pytest.mark.parametrize("stored", [b"", GOOD[:-1], STRINGS["user is not UTF-8"], STRINGS["time 1 is NaN"]], ids=len)
@pytest.mark.gen_test
async def test_a_page_may_end_at_it(single: RedisStore, sort: Sort, stored: bytes) -> None:
    await one_among_ten(single, written(stored))
    shown: list[str] = []
    cursor: str | None = None
    while True:
        page = await single.find(Query(now=NOW + 2, sort=sort, limit=1, cursor=cursor))
        shown += [item.handle for item in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert shown == ["bad", *GOOD_ONES]


@pytest.mark.gen_test
async def test_it_ends_by_its_handle_and_leaves_a_tombstone(single: RedisStore, damage: Damage) -> None:
    await one_among_ten(single, damage)
    assert await single.destroy(["h0", "bad", "none"], end()) == ["h0", "bad"]
    assert await single.destroy(["bad"], end()) == []
    found = (await single.load(["bad"], NOW + 2)).records[0]
    assert isinstance(found, Tombstone)
    assert found.ending == end()
    assert await single.save([create("bad")]) == [Outcome.GONE]
    assert sorted(item.handle for item in (await single.find(Query(now=NOW + 2))).items) == GOOD_ONES[1:]
    ended = (await single.find(Query(now=NOW + 2, state=State.ENDED))).items
    assert sorted(item.handle for item in ended) == ["bad", "h0"]
    assert (await single.count(Query(now=NOW + 2))).total == 8


@pytest.mark.gen_test
async def test_it_ends_with_its_users(single: RedisStore, damage: Damage) -> None:
    await one_among_ten(single, damage)
    await single.save([create("eves", user="eve")])
    assert sorted(await single.destroy_user("ada", end(), "h0")) == sorted(["bad", *GOOD_ONES[1:]])
    found = (await single.load(["bad"], NOW + 2)).records[0]
    assert isinstance(found, Tombstone)
    assert found.user == "ada"
    assert sorted(item.handle for item in (await single.find(Query(now=NOW + 2))).items) == ["eves", "h0"]


@pytest.mark.gen_test
async def test_it_ends_by_time(single: RedisStore, damage: Damage) -> None:
    await one_among_ten(single, damage)
    assert await single.expire(NOW + 2000, 60) == 10
    assert isinstance((await single.load(["bad"], NOW + 2001)).records[0], Tombstone)
    assert await keys_of(single, "s:*") == []


@pytest.mark.gen_test
async def test_it_ends_with_everybody(single: RedisStore, damage: Damage) -> None:
    await one_among_ten(single, damage)
    await single.end_all(None, end(NOW + 1))
    assert (await single.find(Query(now=NOW + 2))).items == []
    assert await single.expire(NOW + 2, 60) == 10
    found = (await single.load(["bad"], NOW + 2)).records[0]
    assert isinstance(found, Tombstone)
    assert found.ending.by == "root"


@pytest.mark.gen_test
async def test_a_damaged_tombstone_is_a_row_and_is_forgotten_in_time(single: RedisStore, damage: Damage) -> None:
    await single.save([create(handle) for handle in ("bad", "h1", "h2")])
    await single.destroy(["bad", "h1"], end())
    key = single.keys.item("t", "bad")
    await damage(single, key)
    found = (await single.load(["h1", "bad", "h2"], NOW + 2)).records
    assert [type(item) for item in found] == [Tombstone, Damaged, Record]
    assert await single.save([create("bad")]) == [Outcome.GONE]
    ended = (await single.find(Query(now=NOW + 2, state=State.ENDED))).items
    assert {item.handle: type(item) for item in ended} == {"bad": Damaged, "h1": Tombstone}
    assert (await single.count(Query(now=NOW + 2, state=State.ENDED))).total == 2
    assert await single.destroy(["bad"], end()) == []
    await single.expire(NOW + 3 * 86400, 60)
    left = await ask(single, "PTTL", key)
    # Gone, where it still said until when it is kept; else it has got a limit.
    assert left == -2 or 0 < left <= 60_000
    assert (await single.load(["h1"], NOW + 2)).records[0] is None


@pytest.mark.gen_test
async def test_a_tombstone_without_its_end_still_says_who_it_was(single: RedisStore) -> None:
    await single.save([create("bad")])
    await single.destroy(["bad"], end())
    await ask(single, "SETRANGE", single.keys.item("t", "bad"), 0, struct.pack("<d", math.nan))
    found = (await single.load(["bad"], NOW + 2)).records[0]
    assert isinstance(found, Damaged)
    cut = pack_ending(end()) + write_record(make_record("bad"))[:-1]
    await ask(single, "SET", single.keys.item("t", "bad"), cut)
    found = (await single.load(["bad"], NOW + 2)).records[0]
    assert isinstance(found, Damaged)
    assert (found.user, found.ip, found.created_at) == ("ada", "192.0.2.1", NOW)


@pytest.mark.gen_test
async def test_what_can_be_read_is_shown(single: RedisStore) -> None:
    await single.save([create("bad")])
    await ask(single, "SET", single.keys.session("bad"), write_record(make_record("bad")) + b"!")
    found = (await single.load(["bad"], NOW + 2)).records[0]
    assert isinstance(found, Damaged)
    facts = make_record("bad")
    for name in ("user", "ip", "user_agent", "created_at", "signed_in_at", "last_seen_at", "expires_at"):
        assert getattr(found, name) == getattr(facts, name)


@pytest.mark.gen_test
async def test_scripts_and_python_agree_about_what_is_damaged(single: RedisStore) -> None:
    """Every record that Python reads can be changed, and none that it refuses: bytes are altered, cut, doubled and added."""
    chance = random.Random(12)
    names = [f"f{number}" for number in range(1_500)]
    for start in range(0, len(names), 500):
        await single.save([create(name) for name in names[start : start + 500]])
    for name in names:
        stored = bytearray(
            write_record(make_record(name, user="ad值", previous_hash=bytes(32), data={"a": b"1", "é": b"2"}))
        )
        for _ in range(chance.randint(1, 3)):
            place = chance.randrange(len(stored) - 1)
            stored[place : place + chance.randint(0, 2)] = chance.randbytes(chance.randint(0, 2))
        await ask(single, "SET", single.keys.session(name), bytes(stored))
    loaded = (await single.load(names, NOW + 1)).records
    answers = await single.save([change(name, set={"a": b"3"}) for name in names])
    kinds = {type(item) for item in loaded}
    assert kinds >= {Record, Damaged}
    for item, answer in zip(loaded, answers, strict=True):
        # Who was created before 1970 was so before the end of everybody, which is 0.0 where there was none.
        is_live = isinstance(item, Record) and item.created_at >= 0.0
        assert answer is (Outcome.SAVED if is_live else Outcome.GONE), item


#: Where a session that was used at ``NOW`` is in a list.
AT = order(NOW)
#: None is a block of a fence and entries, or none of the entries is one.
ENTRIES = [
    b"l", b"l123", b"l" + AT, b"l\xff\xfe", b"lnoblockatallhereBAD", b"l" + AT + b"\xff\0", b"l" + AT + b"\0",
    b"l" + AT + b"none\0",
    b"uada\0", b"uada\0" + AT, b"uada\0garbage", b"u\xff\0" + AT + b"\xff\0", b"u", b"uada",
    b"i192.0.2.1\0", b"i192.0.2.1\0x", b"v", b"v1", b"s", b"sx", b"", b"\xff", b"z",
    b"l" + AT + b"a\0garbage", b"l" + AT + b"a\0" + b"l" + AT + b"\xff\0", b"uada\0" + AT + b"a\0uada\0" + AT + b"none\0",
]  # fmt: skip


@pytest.mark.parametrize("entry", ENTRIES, ids=repr)
@pytest.mark.gen_test
async def test_a_damaged_entry_of_a_list_is_left_out(single: RedisStore, entry: bytes) -> None:
    await single.save([create(handle) for handle in GOOD_ONES])
    for key in single.keys.listings:
        await ask(single, "ZADD", key, 0, entry)
    for sort in Sort:
        page = await single.find(Query(now=NOW + 2, sort=sort))
        assert sorted(item.handle for item in page.items) == GOOD_ONES
    for fields in ({"user": "ada"}, {"ip": "192.0.2.1"}, {"signed_in": True}, {"text": "a"}, {"user_prefix": "a"}):
        found = (await single.find(Query(now=NOW + 2, **fields))).items
        assert sorted(item.handle for item in found) == GOOD_ONES
        assert (await single.count(Query(now=NOW + 2, **fields))).total == 9
    for key in single.keys.listings:
        await ask(single, "ZADD", key, 0, entry)
    assert sorted(await single.destroy_user("ada", end(), "h0")) == GOOD_ONES[1:]
    for key in single.keys.listings:
        await ask(single, "ZADD", key, 0, entry)
    await single.end_all(None, end(NOW + 2))
    assert await single.expire(NOW + 3, 60) == 1
    assert await keys_of(single, "o*") == []


@pytest.mark.parametrize(
    "entry", [b"d", b"d1", b"d\xff", b"d" + AT + b"\xff\0", b"dnoentryatallhereBAD", b"qnone", b"q"], ids=repr
)
@pytest.mark.gen_test
async def test_a_damaged_entry_of_the_ended_is_left_out(single: RedisStore, entry: bytes) -> None:
    await single.save([create("h1")])
    await single.destroy(["h1"], end())
    for key in single.keys.endings:
        await ask(single, "ZADD", key, 0, entry)
    found = (await single.find(Query(now=NOW + 2, state=State.ENDED))).items
    assert [item.handle for item in found] == ["h1"]
    for key in single.keys.endings:
        await ask(single, "ZADD", key, 0, entry)
    await single.expire(NOW + 3 * 86400, 60)
    assert await keys_of(single, "d") == []


@pytest.mark.parametrize("score", ["-inf", "0", repr(NOW + 99), "+inf"])
@pytest.mark.parametrize("handle", [b"", b"\xff", b"none"], ids=repr)
@pytest.mark.gen_test
async def test_a_damaged_entry_by_expiry_is_left_out(single: RedisStore, handle: bytes, score: str) -> None:
    await single.save([create(name) for name in GOOD_ONES])
    for key in single.keys.expiries:
        await ask(single, "ZADD", key, score, handle)
    items, cursor = [], None
    while True:
        page = await single.find(Query(now=NOW + 2, sort=Sort.EXPIRES, limit=4, cursor=cursor))
        items += page.items
        cursor = page.next_cursor
        if cursor is None:
            break
    assert [item.handle for item in items] == GOOD_ONES
    assert await single.expire(NOW + 2000, 60) == 9


@pytest.mark.gen_test
async def test_an_entry_that_names_another_users_session_ends_nothing(single: RedisStore) -> None:
    await single.save([create("h1", user="bob")])
    for key in single.keys.listings:
        await ask(single, "ZADD", key, 0, (b"uada\0" + AT + b"h1\0") * 2)
    assert await single.destroy_user("ada", end()) == []


ENDS: dict[str, Damage] = {
    "empty": written(b""),
    "cut": written(b"\0" * 7),
    "NaN": written(struct.pack("<d", math.nan)),
    "infinite": written(struct.pack("<d", -math.inf)),
    "far ahead": written(struct.pack("<d", 1e300)),
    "negative": written(struct.pack("<d", -5.0)),
    "a list": of_type("RPUSH", "x"),
    "a hash": of_type("HSET", "x", "y"),
}


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.gen_test
async def test_a_damaged_time_of_everybodys_end_lets_nobody_in(store: RedisStore, name: str) -> None:
    await store.save([create("h1"), create("h2")])
    await store.end_all(NOW + 1, end(NOW + 1))
    for key in store.keys.not_before:
        await ENDS[name](store, key)
    for call in (lambda: store.load(["h1"], NOW + 2), lambda: store.find(Query(now=NOW + 2, handle="h1")), store.ping):
        with pytest.raises(StoreMismatch, match="all sessions"):
            await call()
    answers = await store.save([change("h1", now=NOW + 2, set={"a": b"2"}), create("h3", created_at=NOW + 2)])
    assert [type(answer) for answer in answers] == [StoreMismatch] * 2
    with pytest.raises(StoreMismatch):
        await store.destroy(["h1"], end(NOW + 2))
    await store.expire(NOW + 2, 60)
    # Ending everybody once more replaces it.
    assert await store.end_all(None, end(NOW + 3)) == NOW + 3
    assert (await store.load(["h1"], NOW + 4)).not_before == NOW + 3
    assert await store.save([create("h3", created_at=NOW + 4, last_seen_at=NOW + 4)]) == [Outcome.SAVED]
    assert [item.handle for item in (await store.find(Query(now=NOW + 4))).items] == ["h3"]


@pytest.mark.parametrize("kept", [8, 9, 20, 40])
@pytest.mark.gen_test
async def test_an_end_of_everybody_without_its_words_still_holds(single: RedisStore, kept: int) -> None:
    await single.save([create("h1")])
    await single.end_all(NOW + 1, end(NOW + 1))
    for key in single.keys.not_before:
        await ask(single, "SET", key, (await ask(single, "GET", key))[:kept])
    assert (await single.load(["h1"], NOW + 2)).not_before == NOW + 1
    assert await single.save([change("h1", now=NOW + 2, set={"a": b"2"})]) == [Outcome.GONE]
    assert await single.expire(NOW + 2, 60) == 1
    assert await single.end_all(None, end(NOW + 3)) == NOW + 3


@asynccontextmanager
async def impostor(answer: bytes) -> AsyncIterator[int]:
    """A server that greets as Redis does, and then gives every command the same answer. Yields its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                words = [
                    (await reader.readexactly(int((await reader.readline())[1:]) + 2))[:-2]
                    for _ in range(int(line[1:]))
                ]
                writer.write(b"+OK\r\n" if words[0].upper() in (b"CLIENT", b"SELECT", b"HELLO") else answer)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


ANSWERS = [
    b":7\r\n", b"+OK\r\n", b"$-1\r\n", b"$0\r\n\r\n", b"$3\r\nabc\r\n", b"*0\r\n", b"*-1\r\n", b"*1\r\n:7\r\n", b"*1\r\n$-1\r\n",
    b"*2\r\n:1\r\n:2\r\n", b"*2\r\n$1\r\na\r\n:2\r\n", b"*2\r\n*0\r\n*0\r\n", b"*2\r\n$-1\r\n*1\r\n:1\r\n",
    b"-ERR what\r\n", b"?\r\n",
    b"*3\r\n$8\r\n\0\0\0\0\0\0\0\0\r\n$1\r\n\xff\r\n$1\r\n1\r\n", b"*2\r\n$1\r\n\xff\r\n$3\r\nnan\r\n",
]  # fmt: skip


@pytest.mark.parametrize(
    "scheme", ["redis", *(pytest.param(each, marks=only_long) for each in ("redis+cluster", "redis+sentinel"))]
)
@pytest.mark.parametrize("answer", ANSWERS, ids=repr)
@pytest.mark.gen_test
async def test_an_answer_of_a_wrong_shape_is_one_clear_error(answer: bytes, scheme: str) -> None:
    async with impostor(answer) as port:
        service = "/mymaster" if scheme == "redis+sentinel" else ""
        store = RedisStore.from_url(f"{scheme}://127.0.0.1:{port}{service}?timeout=2")
        results: list[object] = list(await asyncio.gather(store.open(), return_exceptions=True))
        calls: list[Awaitable[object]] = [
            store.ping(),
            store.diagnose(),
            store.load(["h1", "h2"], NOW),
            store.save([create("h1"), change("h1")]),
            store.destroy(["h1"], end()),
            store.destroy_user("ada", end()),
            store.take("h1", end()),
            store.end_all(None, end()),
            store.expire(NOW, 60),
            store.swap("n", None, b"1", NOW),
            store.find(Query(now=NOW, user="ada", sort=Sort.EXPIRES)),
            *(store.find(Query(now=NOW, sort=sort)) for sort in Sort),
            store.count(Query(now=NOW)),
            *(store.count(Query(now=NOW, text="a", state=state)) for state in State),
        ]
        results += await asyncio.gather(*calls, return_exceptions=True)
        saved = results[4]
        results += saved if isinstance(saved, list) else []
        assert [item for item in results if isinstance(item, Exception) and not isinstance(item, StoreError)] == []
        await store.close()


@pytest.mark.gen_test
async def test_words_of_others_on_the_channel_are_passed_over(single: RedisStore) -> None:
    events = single.events()
    first = asyncio.ensure_future(anext(events))
    while not first.done():
        for words in (
            b"",
            b"\xff",
            b"7",
            b"[]",
            b"{}",
            b"[" * 100_000,
            b'["destroyed","h","1",0,0,0]',
            b'[["destroyed","h",NaN,1,2,3]]',
            b'[7,null,[],["x","h","1",0,0,0]]',
        ):
            await ask(single, "PUBLISH", single.keys.channel, words)
        await single.save([create("h1")])
        await single.destroy(["h1"], end())
        await ask(single, "DEL", single.keys.item("t", "h1"))
        await asyncio.wait([first], timeout=0.05)
    assert first.result().handle == "h1"
    await events.aclose()


@pytest.mark.gen_test
async def test_a_handle_that_no_store_can_hold_is_unknown(store: RedisStore) -> None:
    odd = ["\ud800", "", "\0", "键", "a" * 5000, "{00}:s:h1"]
    assert (await store.load(odd, NOW)).records == [None] * len(odd)
    assert await store.destroy(odd, end()) == []
    assert await store.take("\ud800", end()) is None
    assert await store.destroy_user("\ud800", end(), "\ud800") == []
    assert await store.save([change(handle, set={"a": b"1"}) for handle in odd]) == [Outcome.GONE] * len(odd)
