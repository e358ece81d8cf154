"""Each query of the store is served by the index that it names, and no index has a document that its lists do not want."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from math import inf
from typing import Any
from uuid import uuid4

import pytest
from pymongo import MongoClient
from support.amount import amount
from support.mongo_planner import Commands, conditions_of, faults_of, implies, queries_of
from support.mongo_servers import Mongo

from tornado_sessions.query import Query, Sort, State
from tornado_sessions.record import Tombstone
from tornado_sessions.stores.mongo import MongoStore
from tornado_sessions.stores.mongo.schema import INDEXES
from tornado_sessions.stores.paging import MAX_CANDIDATES
from tornado_sessions.testing.maker import NOW, change, create, end

SPECIFIED = {model.document["name"]: model.document for model in INDEXES}
ALL: dict[str, Any] = {
    **{name: {**spec, "key": list(spec["key"].items())} for name, spec in SPECIFIED.items()},
    "_id_": {"key": [("_id", 1)]},
}
FILTERS: list[dict[str, Any]] = [
    {},
    {"user": "ada"},
    {"users": ("ada", "bob")},
    {"user_prefix": "a"},
    {"ip": "192.0.2.1"},
    {"network": "192.0.2.0/24"},
    {"handle": "h01"},
    {"text": "a"},
    {"text": "h0"},
    {"device": "Firefox"},
    {"signed_in": True},
    {"signed_in": False},
    {"idle_since": NOW},
]


class Watched:
    """An open store whose commands on the sessions are recorded, and its collection."""

    def __init__(self, url: str) -> None:
        self.store = MongoStore.from_url(url)
        self.commands = Commands("sessions")
        self.store.client.listeners = [self.commands]
        client: MongoClient[dict[str, Any]] = MongoClient(url)
        self.client, self.raw = client, client.get_default_database()["sessions"]

    async def sent_by(self, call: Callable[[], Awaitable[object]]) -> list[dict[str, Any]]:
        """The commands of one call."""
        self.commands.sent.clear()
        await call()
        return list(self.commands.sent)


@asynccontextmanager
async def watched(server: Mongo) -> AsyncIterator[Watched]:
    found = Watched(f"{server.url}/i{uuid4().hex}")
    await found.store.open()
    try:
        yield found
    finally:
        await found.store.close()
        found.client.close()


def lists() -> list[Query]:
    """A query of each order, state and filter."""
    live = [Query(now=NOW, sort=sort, limit=3, **asked) for sort in Sort for asked in FILTERS]
    return live + [Query(now=NOW, state=State.ENDED, limit=3, **asked) for asked in FILTERS]


async def fill(store: MongoStore) -> None:
    """Live sessions of users and visitors, expired ones, tombstones, and dead ones of two earlier eras."""
    for era in range(2):
        await store.save([create(f"d{era}{n}", created_at=NOW - 90, last_seen_at=NOW - 90) for n in range(3)])
        await store.end_all(None, end(NOW - 50 + era))
    users = ["ada", "bob", None]
    some = [
        create(f"h{n:02}", user=users[n % 3], signed_in_at=NOW - n if n % 3 < 2 else None, last_seen_at=NOW - n / 9)
        for n in range(12)
    ]
    await store.save([*some, create("late", expires_at=NOW - 1)])
    await store.save([create(f"t{n}") for n in range(4)])
    await store.destroy([f"t{n}" for n in range(4)], end(NOW))


@pytest.mark.gen_test(timeout=100)
async def test_every_query_implies_the_filter_of_its_index_and_is_in_its_order(mongo: Mongo) -> None:
    async with watched(mongo) as found:
        store = found.store
        await fill(store)
        found.commands.sent.clear()
        for query in lists():
            page = await store.find(query)
            if page.next_cursor is not None:
                asked = {name: getattr(query, name) for name in query.__struct_fields__}
                await store.find(Query(**{**asked, "cursor": page.next_cursor}))
            await store.count(query)
        listed = list(found.commands.sent)
        await store.destroy_user("bob", end(NOW))
        await store.take("h00", end(NOW))
        await store.save([change("h03", set={"a": b"2"}), create("new")])
        for limit in (1, 500):
            await store.expire(NOW + 10, 60, limit)
        await store.expire(NOW + 99_999, 60)
        await store.end_all(None, end(NOW + 100_000))
        faults = [
            (next(iter(command)), fault)
            for command in found.commands.sent
            for where, sort, hint in queries_of(command)
            for fault in faults_of(where, sort, hint, ALL)
        ]
        assert faults == []
        # The check has seen each index in use.
        used = {hint for command in found.commands.sent for _, _, hint in queries_of(command)}
        assert used >= {*ALL} - {"by_purge_at", "by_told_at_2"}
        # And a time limit on the server for each list and count.
        assert [command for command in listed if queries_by_index(command) and "maxTimeMS" not in command] == []


def queries_by_index(command: dict[str, Any]) -> bool:
    return any(hint for _, _, hint in queries_of(command))


@pytest.mark.gen_test(timeout=30)
async def test_polls_of_a_single_server_are_served_by_their_index(mongo_standalone: Mongo) -> None:
    async with watched(mongo_standalone) as found:
        await found.store.save([create("h1"), create("h2")])
        await found.store.destroy(["h1"], end())
        found.commands.sent.clear()
        async with aclosing(found.store.events()) as events:
            heard = asyncio.ensure_future(anext(events))
            while not any("told_at" in str(command) for command in found.commands.sent):
                await asyncio.wait([heard], timeout=0.02)
            await found.store.destroy(["h2"], end())
            assert (await heard).handle == "h2"
        polls = [query for command in found.commands.sent for query in queries_of(command) if query[2]]
        assert {hint for _, _, hint in polls} == {"by_told_at_2"}
        assert [fault for query in polls for fault in faults_of(*query, ALL)] == []


def test_the_planner_check_finds_each_fault() -> None:
    live = {"live": 1, "expires_at": {"$not": {"$lte": NOW}}}
    good = {"$and": [live, {"last_seen_at": {"$gte": -inf}}]}
    order = {"last_seen_at": -1, "_id": 1}
    assert faults_of(good, order, "by_last_seen_2", ALL) == []
    assert faults_of(good, {"last_seen_at": 1, "_id": -1}, "by_last_seen_2", ALL) == []
    wrong: list[tuple[dict[str, Any], dict[str, int], str]] = [
        ({"user": "ada"}, {}, ""),
        (good, order, "by_last_seen"),
        ({"user": "ada", "live": None}, {}, "by_user_2"),
        ({"user": "ada", "live": {"$not": {"$gt": 5}}}, {}, "by_user_2"),
        ({"keep_until": {"$gt": 5}}, {"ended_at": -1, "_id": 1}, "by_end_2"),
        (live, {"signed_in_at": -1, "_id": 1}, "by_sign_in_2"),
        (good, {"last_seen_at": -1, "_id": -1}, "by_last_seen_2"),
        (good, {"expires_at": 1}, "by_last_seen_2"),
        (live, order, "by_user_2"),
        ({"live": {"$lt": 3}}, order, "by_last_seen_2"),
    ]
    assert [query for query in wrong if not faults_of(*query, ALL)] == []
    assert conditions_of({"$and": [{"a": 1}, {"$and": [{"b": 2}]}], "c": 3}) == [("a", 1), ("b", 2), ("c", 3)]
    assert not implies({"$or": [{"live": 1}]}, {"live": {"$exists": True}})


def entries_of(document: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
    """The entry of a document in each index that has it."""
    found = {}
    for name, spec in SPECIFIED.items():
        only = spec.get("partialFilterExpression", {})
        types = [value["$type"] for value in only.values() if "$type" in value]
        if all(field in document for field in only) and not (types and document.get("user") is None):
            found[name.removesuffix("_2")] = tuple(document.get(field) for field in spec["key"])
    return found


@pytest.mark.gen_test(timeout=30)
async def test_each_change_moves_only_the_entries_that_its_lists_need(mongo: Mongo) -> None:
    """The table of docs/reference/stores.md."""
    async with watched(mongo) as found:
        store = found.store

        def entries() -> dict[str, tuple[Any, ...]]:
            document = found.raw.find_one({"_id": "h1"})
            assert document is not None
            return entries_of(document)

        await store.save([create("h1", expires_at=NOW + 1800)])
        created = entries()
        lists = {"by_last_seen", "by_user", "by_ip", "by_expiry", "by_sign_in", "by_creation"}
        assert created.keys() == lists | {"by_purge_at"}
        await store.save([change("h1", set={"a": b"2"})])
        assert entries() == created
        moved: list[str] = []
        touches = amount(20, 60)
        for touch in range(1, touches + 1):
            before = entries()
            at = NOW + 60 * touch
            await store.save([change("h1", now=NOW + touch / 100, last_seen_at=at, expires_at=at + 1800)])
            after = entries()
            moved += [name for name in after if after[name] != before[name]]
        assert {name for name in moved if moved.count(name) == touches} == {
            "by_last_seen",
            "by_user",
            "by_ip",
            "by_expiry",
        }
        # An hour of touches moves the entry in the TTL index once or twice.
        assert moved.count("by_purge_at") <= 2
        assert len(moved) <= 4 * touches + 2
        await store.destroy(["h1"], end(NOW))
        assert entries().keys() == {"by_end", "by_keep_until", "by_told_at", "by_purge_at"}


@pytest.mark.gen_test(timeout=60)
async def test_a_search_by_the_start_of_a_handle_reads_a_bounded_number_of_tombstones(mongo: Mongo) -> None:
    async with watched(mongo) as found:
        many = amount(1_010, 6_000)
        found.raw.insert_many(
            [{"_id": f"abc{n:05}", "ended_at": NOW, "keep_until": NOW + 999, "ending": {}} for n in range(many)]
        )
        await found.store.save([create("abcz", user="zoe"), create("other", user="zoe")])
        for asked in ({"text": "abc"}, {"text": "ab", "sort": Sort.EXPIRES}):
            query = Query(now=NOW, **asked)  # type: ignore[arg-type]
            sent = await found.sent_by(lambda query=query: found.store.find(query))  # type: ignore[misc]
            reads = [command for command in sent if command.get("hint") == "_id_"]
            limits = [
                stage["$limit"] for command in reads for stage in command.get("pipeline", []) if "$limit" in stage
            ]
            limits += [command["limit"] for command in reads if "find" in command]
            assert len(limits) == len(reads)
            assert set(limits) == {MAX_CANDIDATES + 1}
            assert [item.handle for item in (await found.store.find(query)).items] == ["abcz"]
        few = await found.store.find(Query(now=NOW, text="abcz"))
        assert [item.handle for item in few.items] == ["abcz"]
        assert (await found.store.count(Query(now=NOW, text="abc0000"))) == (0, True)


@pytest.mark.gen_test(timeout=60)
async def test_after_the_end_of_everybody_no_query_of_a_list_matches_a_dead_session(mongo: Mongo) -> None:
    """Every list and count starts at the current era: it matches as many documents without its conditions on time."""
    async with watched(mongo) as found:
        await found.store.save([create(f"d{n}", user="ada") for n in range(50)])
        await found.store.end_all(None, end(NOW + 1))
        for query in lists():
            if query.state is State.ENDED or query.handle is not None:
                continue
            sent = [
                *await found.sent_by(lambda query=query: found.store.find(query)),  # type: ignore[misc]
                *await found.sent_by(lambda query=query: found.store.count(query)),  # type: ignore[misc]
            ]
            for where, _, hint in (each for command in sent for each in queries_of(command)):
                if hint not in ("", "_id_"):
                    assert dict(conditions_of(where))["live"] == 1, query
                    assert not any(name == "created_at" for name, _ in conditions_of(where)), query
        assert await found.store.expire(NOW + 2, 60) == 50
        records = (await found.store.load([f"d{n}" for n in range(50)], NOW + 2)).records
        assert all(isinstance(item, Tombstone) for item in records)
