"""Damaged documents in MongoDB: each costs one session, whatever is damaged in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from math import inf, nan
from typing import Any
from uuid import uuid4

import pytest
from bson import Binary, Code, Decimal128, ObjectId, decode, encode
from bson.datetime_ms import DatetimeMS
from pymongo import MongoClient
from support.amount import amount, only_long
from support.mongo_servers import Mongo

from tornado_sessions.errors import StoreMismatch
from tornado_sessions.query import Query, Sort, State
from tornado_sessions.record import Damaged, Event, EventKind, Outcome, Record, Tombstone
from tornado_sessions.stores.cursor import Edge, SortKey, encode_edge, sort_key
from tornado_sessions.stores.mongo import MongoStore, documents, updates
from tornado_sessions.testing.maker import NOW, change, create, end, make_record

MISSING = object()
TIMES = ("created_at", "last_seen_at", "expires_at", "absolute_at", "rotated_at", "idle_timeout", "grace")
#: What is never a time, a text or a hash, as far as the field alone says.
ODD: list[Any] = [
    {"a": 1},
    ["x", 5.0],
    [],
    [[NOW]],
    True,
    datetime(2026, 1, 1, tzinfo=UTC),
    ObjectId(b"123456789012"),
    Code("x"),
    Decimal128("1800000000"),
]
NO_TIMES = [*ODD, "1800000000", b"1", nan, inf, -inf, [NOW + 5, NOW + 900]]
NO_TEXTS = [*ODD, 5, 5.0, nan, b"ada", Binary(b"ada", 5), ["ada"], ["ada", "eve"]]
NO_HASHES = [*ODD, "a" * 32, b"", b"short", b"x" * 33, Binary(b"x" * 32, 5), 5]
EVERY_DAMAGE: list[tuple[str, Any]] = [
    *((name, value) for name in TIMES for value in (MISSING, None, *NO_TIMES)),
    *((name, value) for name in ("signed_in_at", "confirmed_at") for value in (MISSING, *NO_TIMES)),
    *((name, value) for name in ("ip", "user_agent") for value in (MISSING, None, *NO_TEXTS)),
    *(("user", value) for value in (MISSING, *NO_TEXTS)),
    *(("secret_hash", value) for value in (MISSING, None, *NO_HASHES)),
    *(("previous_hash", value) for value in (MISSING, *NO_HASHES)),
    *(("persistent", value) for value in (MISSING, None, 1, "true", [True])),
    *(("data", value) for value in (MISSING, None, 5, "text", [], [{"ka": b"1"}], b"1")),
]
#: Every field with some of the values; `make test-long` takes each with all of them.
DAMAGE = amount(EVERY_DAMAGE[::4], EVERY_DAMAGE)
#: Seen only where values are read.
DAMAGED_VALUES: list[tuple[str, Any]] = [("data", {"ka": value}) for value in (None, 5, "MQ==", [b"1"], {"b": b"1"})]
DAMAGED_LIVE: list[tuple[str, Any]] = [
    ("live", value) for value in (MISSING, None, "true", [True], {"a": 1}, 0, -1, 1.5)
]
HEALTHY = [f"ok{n}" for n in range(10)]


class Probe:
    """A store, and a way round it to its documents."""

    def __init__(self, url: str) -> None:
        self.store = MongoStore.from_url(url)
        client: MongoClient[dict[str, Any]] = MongoClient(url.partition("?")[0])
        self.client, self.raw = client, client.get_default_database()["sessions"]

    def damage(self, handle: str, name: str, value: Any) -> None:
        """Replace a field of a document, or remove it."""
        change = {"$unset": {name: ""}} if value is MISSING else {"$set": {name: value}}
        assert self.raw.update_one({"_id": handle}, change).matched_count == 1


@asynccontextmanager
async def opened(server: Mongo, driver: str = "motor") -> AsyncIterator[Probe]:
    probe = Probe(f"{server.url}/d{uuid4().hex}?driver={driver}")
    await probe.store.open()
    try:
        yield probe
    finally:
        await probe.store.close()
        probe.client.close()


async def store_damaged(probe: Probe, damage: list[tuple[str, Any]]) -> dict[str, tuple[str, Any]]:
    """Ten healthy sessions, and a damaged one for each damage in between. Returns the damage by handle."""
    named = {f"d{number:03}": one for number, one in enumerate(damage)}
    users = {handle: "ada" if number % 3 else None for number, handle in enumerate([*HEALTHY, *named])}
    await probe.store.save(
        [
            create(handle, user=user, signed_in_at=NOW if user else None, last_seen_at=NOW + number % 7)
            for number, (handle, user) in enumerate(users.items())
        ]
    )
    for handle, (name, value) in named.items():
        probe.damage(handle, name, value)
    return named


async def walked(store: MongoStore, **asked: Any) -> list[Any]:
    """The rows of all pages."""
    rows: list[Any] = []
    query = Query(**{"now": NOW + 9, "limit": 7, **asked})
    for _ in range(1000):
        page = await store.find(query)
        rows += page.items
        if page.next_cursor is None:
            return rows
        query = Query(**{"now": NOW + 9, "limit": 7, **asked, "cursor": page.next_cursor})
    raise AssertionError(f"the list never ends: {asked}")


@pytest.mark.parametrize("driver", ["motor", pytest.param("pymongo", marks=only_long)])
@pytest.mark.gen_test(timeout=60)
async def test_a_damaged_session_is_loaded_as_such_and_costs_no_other(mongo: Mongo, driver: str) -> None:
    async with opened(mongo, driver) as probe:
        named = await store_damaged(probe, DAMAGE + DAMAGED_VALUES + DAMAGED_LIVE)
        loaded = await probe.store.load([*named, *HEALTHY, "none"], NOW + 9)
        found = dict(zip([*named, *HEALTHY], loaded.records, strict=False))
        for handle, (name, value) in named.items():
            item = found[handle]
            assert isinstance(item, Damaged), (name, value, item)
            assert item.handle == handle
            assert name in item.why
            assert name == "user_agent" or item.user_agent == "Firefox"
        assert all(isinstance(found[handle], Record) for handle in HEALTHY)


@pytest.mark.gen_test(timeout=60)
async def test_what_can_still_be_read_is_shown(mongo: Mongo) -> None:
    async with opened(mongo) as probe:
        await probe.store.save([create("h1"), create("h2")])
        probe.damage("h1", "created_at", "text")
        probe.damage("h2", "user", 5)
        one, two = (await probe.store.load(["h1", "h2"], NOW)).records
        assert isinstance(one, Damaged)
        assert (one.user, one.ip, one.created_at, one.last_seen_at) == ("ada", "192.0.2.1", 0.0, NOW)
        assert one.why == "created_at is not a number"
        assert isinstance(two, Damaged)
        assert (two.user, two.created_at, two.why) == (None, NOW, "user is not text")


@pytest.mark.parametrize("driver", ["motor", pytest.param("pymongo", marks=only_long)])
@pytest.mark.gen_test(timeout=60)
async def test_a_change_of_a_damaged_session_is_gone_and_the_others_are_saved(mongo: Mongo, driver: str) -> None:
    async with opened(mongo, driver) as probe:
        named = await store_damaged(probe, DAMAGE + DAMAGED_LIVE)
        before = {document["_id"]: repr(document) for document in probe.raw.find()}
        handles = [handle for pair in zip(named, HEALTHY * 100, strict=False) for handle in pair]
        answers = await probe.store.save([change(handle, set={"b": b"2"}) for handle in handles])
        wrong = [
            handle
            for handle, answer in zip(handles, answers, strict=True)
            if (answer is Outcome.SAVED) is (handle in named)
        ]
        assert wrong == []
        assert await probe.store.save([create(handle) for handle in named]) == [Outcome.GONE] * len(named)
        after = {document["_id"]: repr(document) for document in probe.raw.find({"_id": {"$nin": HEALTHY}})}
        assert after == {handle: text for handle, text in before.items() if handle not in HEALTHY}


@pytest.mark.gen_test(timeout=60)
async def test_a_guarded_change_of_damaged_values_is_gone(mongo: Mongo) -> None:
    async with opened(mongo) as probe:
        # A list that holds the expected value meets the guard, and is replaced.
        named = await store_damaged(probe, [pair for pair in DAMAGED_VALUES if pair[1] != {"ka": [b"1"]}])
        probe.damage("ok0", "marks", 5)
        answers = await probe.store.save(
            [change(name, set={"a": b"2"}, expect={"a": b"1"}) for name in [*named, "ok0", "ok1"]]
        )
        assert answers == [Outcome.GONE] * len(named) + [Outcome.GONE, Outcome.SAVED]


#: What each order goes by.
_KEYS = {
    Sort.LAST_SEEN: ["last_seen_at"],
    Sort.EXPIRES: ["expires_at"],
    Sort.SIGNED_IN: ["signed_in_at", "user"],
    Sort.USER: ["user", "last_seen_at"],
}


@pytest.mark.parametrize("sort", list(Sort))
@pytest.mark.parametrize("limit", [1, 7, 500])
@pytest.mark.gen_test(timeout=120)
async def test_each_order_shows_every_damaged_session_once(mongo_standalone: Mongo, sort: Sort, limit: int) -> None:
    async with opened(mongo_standalone) as probe:
        keys = _KEYS[sort] if limit == 1 else [name for name, _ in DAMAGE]
        damage = [(name, value) for name, value in DAMAGE if name in keys]
        named = await store_damaged(probe, damage)
        # Sessions whose damaged time is over by any reading are left to the clean-up.
        over = {document["_id"] for document in probe.raw.find({"expires_at": {"$lte": NOW + 9}})}
        assert len(over) < 6
        named = {handle: one for handle, one in named.items() if handle not in over}
        rows = await walked(probe.store, sort=sort, limit=limit)
        shown = [row.handle for row in rows]
        missing = [(name, value) for handle, (name, value) in named.items() if handle not in shown]
        assert missing == []
        assert sorted(shown) == sorted([*named, *HEALTHY])
        assert all(isinstance(row, Damaged) for row in rows if row.handle in named)
        healthy = [sort_key(row, sort) for row in rows if row.handle in HEALTHY]
        assert healthy == sorted(healthy)
        assert (await probe.store.count(Query(now=NOW + 9))).total == len(shown)


@pytest.mark.gen_test(timeout=60)
async def test_filters_find_damaged_sessions_by_what_can_be_read(mongo: Mongo) -> None:
    async with opened(mongo) as probe:
        for number, (name, value) in enumerate(
            [("expires_at", "x"), ("created_at", None), ("secret_hash", 5), ("grace", nan)]
        ):
            await probe.store.save([create(f"d{number}", user="ada"), create(f"e{number}", user="eve", ip="10.0.0.1")])
            probe.damage(f"d{number}", name, value)
        damaged = ["d0", "d1", "d2", "d3"]
        for asked in (
            {"user": "ada"},
            {"user_prefix": "ad"},
            {"users": ("ada", "bob")},
            {"ip": "192.0.2.1"},
            {"network": "192.0.2.0/24"},
            {"text": "192."},
            {"user": "ada", "sort": Sort.EXPIRES},
            {"device": "no browser", "user": "ada"},
        ):
            rows = await walked(probe.store, **asked)
            assert sorted(row.handle for row in rows) == damaged, asked
            assert all(isinstance(row, Damaged) for row in rows), asked
            assert (await probe.store.count(Query(now=NOW + 9, **asked))).total == 4, asked
        for handle in damaged:
            (row,) = await walked(probe.store, handle=handle)
            assert isinstance(row, Damaged)


@pytest.mark.parametrize("driver", ["motor", pytest.param("pymongo", marks=only_long)])
@pytest.mark.gen_test(timeout=60)
async def test_damaged_sessions_are_ended_by_handle(mongo: Mongo, driver: str) -> None:
    async with opened(mongo, driver) as probe:
        named = await store_damaged(probe, DAMAGE + DAMAGED_VALUES + DAMAGED_LIVE)
        assert await probe.store.destroy([*named, "ok0"], end()) == [*named, "ok0"]
        loaded = await probe.store.load([*named, "ok0"], NOW + 9)
        assert [item.ending for item in loaded.records if isinstance(item, Tombstone)] == [end()] * (len(named) + 1)
        assert await probe.store.destroy([*named], end()) == []
        rows = await walked(probe.store, state=State.ENDED)
        assert sorted(row.handle for row in rows) == sorted([*named, "ok0"])


@pytest.mark.gen_test
async def test_the_end_of_a_damaged_session_is_heard(mongo: Mongo, mongo_standalone: Mongo) -> None:
    for server in (mongo, mongo_standalone):
        async with opened(server) as probe:
            await probe.store.save([create("h1")])
            probe.damage("h1", "last_seen_at", "x")
            events = probe.store.events()
            heard: asyncio.Future[Event] | None = None
            for number in range(100):
                await probe.store.save([create(f"w{number}")])
                probe.damage(f"w{number}", "ip", 5)
                await probe.store.destroy([f"w{number}"], end())
                heard = heard or asyncio.ensure_future(anext(events))
                done, _ = await asyncio.wait([heard], timeout=0.1)
                if done:
                    break
            assert heard is not None
            event = await heard
            assert (event.kind, event.user) == (EventKind.DESTROYED, "ada")
            await events.aclose()


@pytest.mark.gen_test
async def test_all_of_a_user_end_also_the_damaged_ones(mongo: Mongo) -> None:
    async with opened(mongo) as probe:
        damage: list[tuple[str, Any]] = [
            ("expires_at", "x"),
            ("created_at", None),
            ("data", 5),
            ("secret_hash", MISSING),
        ]
        await probe.store.save([create(f"d{number}", user="ada") for number in range(4)] + [create("e", user="eve")])
        for number, (name, value) in enumerate(damage):
            probe.damage(f"d{number}", name, value)
        assert sorted(await probe.store.destroy_user("ada", end())) == ["d0", "d1", "d2", "d3"]


@pytest.mark.gen_test(timeout=60)
async def test_a_damaged_session_cannot_be_taken_and_stays(mongo: Mongo) -> None:
    async with opened(mongo) as probe:
        named = await store_damaged(
            probe, [("created_at", "x"), ("data", {"ka": 5}), ("secret_hash", b"x"), ("expires_at", None)]
        )
        assert [await probe.store.take(handle, end()) for handle in named] == [None] * 4
        assert all(isinstance(item, Damaged) for item in (await probe.store.load([*named], NOW)).records)


@pytest.mark.gen_test(timeout=60)
async def test_expiry_passes_damaged_sessions_and_removes_those_whose_time_is_over(mongo: Mongo) -> None:
    async with opened(mongo) as probe:
        named = await store_damaged(probe, DAMAGE)
        await probe.store.save([create("late", expires_at=NOW + 10)])
        removed = 0
        while step := await probe.store.expire(NOW + 2000, 60, limit=20):
            removed += step
        left = {document["_id"] for document in probe.raw.find({"live": True})}
        # Those of which nobody can read when they expire.
        assert left <= {handle for handle, (name, _) in named.items() if name == "expires_at"}
        assert removed == len(named) + len(HEALTHY) + 1 - len(left)
        records = (await probe.store.load([handle for handle in named if handle not in left], NOW + 2001)).records
        assert all(isinstance(item, Tombstone) for item in records)


TOMBSTONE_DAMAGE: list[tuple[str, Any]] = [
    *(("ending", value) for value in (MISSING, None, 5, "x", [], {}, {"at": NOW})),
    *((f"ending.{name}", value) for name in ("at", "keep_until") for value in (MISSING, None, "x", nan, [1.0])),
    *(("ending.cause", value) for value in (MISSING, None, "none", 5, ["logout"], {})),
    *((f"ending.{name}", value) for name in ("by", "reason") for value in (5, b"x", ["x"])),
    *((name, value) for name in ("created_at", "last_seen_at", "expires_at") for value in (MISSING, None, "x", [NOW])),
    *((name, value) for name in ("user", "ip", "user_agent") for value in (MISSING, 5, ["x"])),
]


@pytest.mark.gen_test(timeout=60)
async def test_damaged_tombstones_are_listed_and_removed_in_time(mongo: Mongo) -> None:
    async with opened(mongo) as probe:
        named = {f"t{number:03}": one for number, one in enumerate(TOMBSTONE_DAMAGE)}
        await probe.store.save([create(handle) for handle in [*named, "ok"]])
        await probe.store.destroy([*named, "ok"], end(keep_until=NOW + 50))
        for handle, (name, value) in named.items():
            probe.damage(handle, name, value)
        loaded = await probe.store.load([*named, "ok"], NOW + 9)
        assert [type(item) for item in loaded.records] == [Damaged] * len(named) + [Tombstone]
        rows = await walked(probe.store, state=State.ENDED)
        assert {row.handle: type(row) for row in rows} == {**dict.fromkeys(named, Damaged), "ok": Tombstone}
        assert (await probe.store.count(Query(now=NOW + 9, state=State.ENDED))).total == len(rows)
        assert await walked(probe.store) == []
        assert await probe.store.destroy([*named], end()) == []
        await probe.store.expire(NOW + 51, 60)
        assert probe.raw.count_documents({}) == 0


@pytest.mark.gen_test(timeout=60)
async def test_tombstones_without_a_place_are_listed_once(mongo: Mongo) -> None:
    async with opened(mongo) as probe:
        values: list[Any] = ["x", None, nan, inf, [NOW], [NOW, "x"], [], {"a": 1}]
        handles = [f"t{number:03}" for number in range(len(values) + 5)]
        await probe.store.save([create(handle) for handle in handles])
        await probe.store.destroy(handles, end())
        for handle, value in zip(handles, values, strict=False):
            probe.damage(handle, "ended_at", value)
        for limit in (1, 3, 50):
            rows = await walked(probe.store, state=State.ENDED, limit=limit)
            assert sorted(row.handle for row in rows) == handles


@pytest.mark.gen_test(timeout=60)
async def test_what_cannot_be_decoded_costs_no_other(mongo: Mongo) -> None:
    async with opened(mongo) as probe:
        # A date far beyond the year 9999, and a text that is no UTF-8; the server of the tests stores neither.
        stored = encode({"at": DatetimeMS(2**60), "text": "abc"}).replace(b"abc", b"a\xff\xfe")
        found = decode(stored, probe.store.sessions.codec_options)
        assert found == {"at": DatetimeMS(2**60), "text": "a\ufffd\ufffd"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("not_before", "x"),
        ("not_before", None),
        ("not_before", nan),
        ("not_before", 1e300),
        ("not_before", -5.0),
        ("era", "x"),
        ("era", -1),
    ],
)
@pytest.mark.gen_test
async def test_a_damaged_end_of_everybody_is_said(mongo: Mongo, name: str, value: Any) -> None:
    async with opened(mongo) as probe:
        await probe.store.end_all(NOW, end(NOW))
        probe.damage("everybody:", name, value)
        for call in (
            lambda: probe.store.load(["h1"], NOW),
            lambda: probe.store.find(Query(now=NOW)),
            lambda: probe.store.save([change("h1")]),
            lambda: probe.store.end_all(None, end(NOW + 5)),
        ):
            with pytest.raises(StoreMismatch, match=name):
                await call()


@pytest.mark.gen_test
async def test_a_damaged_ending_of_everybodys_end_stops_no_sweep(mongo: Mongo) -> None:
    async with opened(mongo) as probe:
        await probe.store.save([create("h1")])
        await probe.store.end_all(None, end(NOW + 1))
        probe.damage("everybody:", "ending", 5)
        assert await probe.store.expire(NOW + 2, 60) == 1
        assert isinstance((await probe.store.load(["h1"], NOW + 2)).records[0], Tombstone)


@pytest.mark.gen_test(timeout=60)
async def test_damaged_sessions_end_with_everybodys(mongo: Mongo) -> None:
    async with opened(mongo) as probe:
        named = await store_damaged(probe, DAMAGE)
        await probe.store.end_all(None, end(NOW + 100))
        assert await walked(probe.store, now=NOW + 101) == []
        assert (await probe.store.count(Query(now=NOW + 101))).total == 0
        assert await probe.store.expire(NOW + 101, 60) == len(named) + len(HEALTHY)
        assert all(isinstance(item, Tombstone) for item in (await probe.store.load([*named], NOW + 101)).records)


def test_a_healthy_document_is_read_as_it_was_written() -> None:
    record = make_record(data={"a.$%\x00é": b"1", "": b"2"}, previous_hash=b"x" * 32)
    assert documents.read(updates.to_document(record, 3)) == record


@pytest.mark.gen_test(timeout=60)
async def test_damaged_reports_of_ends_silence_no_listener(mongo: Mongo, mongo_standalone: Mongo) -> None:
    for server in (mongo, mongo_standalone):
        async with opened(server) as probe:
            values: list[Any] = ["x", None, 5, [datetime(2030, 1, 1, tzinfo=UTC)], {"a": 1}]
            handles = [f"t{number}" for number in range(len(values) + 2)]
            await probe.store.save([create(handle) for handle in [*handles, "h1"]])
            await probe.store.destroy(handles, end())
            for handle, value in zip(handles, values, strict=False):
                probe.damage(handle, "told_at", value)
            probe.damage("t5", "told", 5)
            probe.damage("t6", "ending", 5)
            heard = asyncio.ensure_future(anext(events := probe.store.events()))
            for number in range(100):
                await probe.store.save([create(f"w{number}")])
                await probe.store.destroy([f"w{number}"], end())
                if (await asyncio.wait([heard], timeout=0.1))[0]:
                    break
            assert (await heard).kind is EventKind.DESTROYED
            await events.aclose()


@pytest.mark.parametrize("part", [-1, 0, 1, 2, 2**63 - 1])
@pytest.mark.parametrize("at", [-1e300, -1.0, 1e300])
@pytest.mark.gen_test
async def test_a_made_up_cursor_is_only_a_place_in_the_list(mongo: Mongo, part: int, at: float) -> None:
    async with opened(mongo) as probe:
        await probe.store.save([create("h1"), create("h2")])
        cursor = encode_edge(Edge(SortKey(part, "", at, ":handle"), is_after=True), Query(now=NOW))
        page = await probe.store.find(Query(now=NOW, cursor=cursor))
        assert page.next_cursor is None
        expected = ["h1", "h2"] if part < 0 or (part == 0 and at < -NOW) else []
        assert [item.handle for item in page.items] == expected


@pytest.mark.gen_test
async def test_a_damaged_session_is_ended_by_handle_also_when_its_time_is_over(mongo: Mongo) -> None:
    async with opened(mongo) as probe:
        await probe.store.save([create("h1", expires_at=NOW + 1), create("late", expires_at=NOW + 1)])
        probe.damage("h1", "secret_hash", 5)
        assert await probe.store.destroy(["h1", "late"], end(NOW + 5)) == ["h1"]
        assert isinstance((await probe.store.load(["h1"], NOW + 5)).records[0], Tombstone)
