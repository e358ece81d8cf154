"""The end of everybody on MongoDB: at once, for exactly those who were there, and never in the way of who comes after."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from pymongo.monitoring import CommandListener, CommandStartedEvent
from stores.mongo.test_mongo_damage import Probe, opened, walked
from support.amount import amount
from support.mongo_servers import Mongo

from tornado_sessions.query import Query, Sort
from tornado_sessions.record import Cause, Outcome, Record, Tombstone
from tornado_sessions.stores.mongo import MongoStore, documents, updates
from tornado_sessions.testing.maker import NOW, change, create, end, make_record

DEAD = amount(500, 2_000)
FILTERS: list[dict[str, Any]] = [
    {},
    {"user": "zoe"},
    {"user_prefix": "zo"},
    {"users": ("zoe", "yan")},
    {"ip": "192.0.2.1"},
    {"network": "192.0.2.0/24"},
    {"handle": "living"},
    {"text": "zo"},
    {"device": "no browser"},
    {"signed_in": True},
    {"signed_in_since": NOW},
    {"idle_since": NOW + 999},
    {"created_until": NOW + 999},
]


def put(probe: Probe, records: list[Record], live: int = True) -> None:
    """Store records past the store, many at a time."""
    probe.raw.insert_many([updates.to_document(record, live) for record in records])


def crowd(number: int, **fields: Any) -> list[Record]:
    """Sessions that come before ``living`` in each order."""
    return [
        make_record(
            f"d{n:05}",
            **{"user": f"a{n:05}", "last_seen_at": NOW + 5, "signed_in_at": NOW + 5, "expires_at": NOW + 99, **fields},
        )
        for n in range(number)
    ]


@pytest.mark.gen_test(timeout=120)
async def test_one_living_among_thousands_of_dead_is_on_the_first_page(mongo: Mongo) -> None:
    async with opened(mongo) as probe:
        put(probe, crowd(DEAD))
        not_before = await probe.store.end_all(None, end(NOW + 6))
        assert not_before == NOW + 6
        living = create("living", user="zoe", created_at=not_before, last_seen_at=not_before, signed_in_at=not_before)
        assert await probe.store.save([living]) == [Outcome.SAVED]
        for sort in Sort:
            page = await probe.store.find(Query(now=NOW + 7, sort=sort, limit=1))
            assert ([row.handle for row in page.items], page.next_cursor) == (["living"], None), sort
        for asked in FILTERS:
            page = await probe.store.find(Query(now=NOW + 7, limit=1, **asked))
            assert ([row.handle for row in page.items], page.next_cursor) == (["living"], None), asked
            assert await probe.store.count(Query(now=NOW + 7, **asked)) == (1, True), asked
        assert await probe.store.destroy_user("a00001", end(NOW + 7)) == []


@pytest.mark.gen_test(timeout=120)
async def test_a_list_of_the_living_looks_at_no_dead_session(mongo: Mongo) -> None:
    """The plan of each list and count examines what lives, however many are dead."""
    async with opened(mongo) as probe:
        put(probe, crowd(500))
        await probe.store.end_all(None, end(NOW + 6))
        await probe.store.save([create("living", created_at=NOW + 6, last_seen_at=NOW + 6)])
        everybody = documents.read_everybody(probe.raw.find_one({"_id": documents.EVERYBODY}))
        alive = documents.live(NOW + 7, everybody)
        # The era is what each index begins with, so nothing of another era is examined.
        assert alive["live"] == everybody.live == 1
        for name in ("by_last_seen", "by_user", "by_ip", "by_expiry", "by_sign_in", "by_creation"):
            assert probe.raw.index_information()[f"{name}_2"]["key"][0] == ("live", 1), name
        assert probe.raw.count_documents({"live": everybody.era}) == 1


@pytest.mark.gen_test(timeout=60)
async def test_who_was_created_later_lives_on_and_is_listed(mongo: Mongo) -> None:
    async with opened(mongo) as probe:
        await probe.store.save([create(f"h{n}", created_at=NOW + n, last_seen_at=NOW + 20) for n in range(10)])
        assert await probe.store.end_all(NOW + 5, end(NOW + 5)) == NOW + 5
        living = [f"h{n}" for n in range(5, 10)]
        for sort in Sort:
            assert sorted(row.handle for row in await walked(probe.store, sort=sort)) == living
        assert await probe.store.count(Query(now=NOW + 6)) == (5, True)
        answers = await probe.store.save([change(f"h{n}", now=NOW + 6, set={"a": b"2"}) for n in range(10)])
        assert answers == [Outcome.GONE] * 5 + [Outcome.SAVED] * 5
        assert await probe.store.expire(NOW + 6, 60) == 5
        found = (await probe.store.load([f"h{n}" for n in range(10)], NOW + 6)).records
        assert [type(item) for item in found] == [Tombstone] * 5 + [Record] * 5
        assert [item.ending for item in found[:5]] == [end(NOW + 5)] * 5  # type: ignore[union-attr]


@pytest.mark.parametrize("later", ["created_at", "last_seen_at"])
@pytest.mark.gen_test(timeout=60)
async def test_everybody_is_everybody_whatever_the_clock_of_the_one_who_asks(mongo: Mongo, later: str) -> None:
    async with opened(mongo) as probe:
        times = {"last_seen_at": NOW + 300.25, later: NOW + 300.25}
        await probe.store.save([create("h1"), create("ahead", **times)])
        not_before = await probe.store.end_all(None, end(NOW + 1))
        assert NOW + 300.25 < not_before < NOW + 300.26
        assert await walked(probe.store) == []
        assert await probe.store.end_all(None, end(NOW + 2)) == not_before
        assert await probe.store.expire(NOW + 3, 60) == 2
        new = create("new", created_at=not_before, last_seen_at=not_before)
        assert await probe.store.save([new, create("old", created_at=NOW + 300)]) == [Outcome.SAVED, Outcome.GONE]


@pytest.mark.gen_test(timeout=60)
async def test_the_end_only_moves_forward(mongo: Mongo) -> None:
    async with opened(mongo) as probe:
        assert await probe.store.end_all(NOW + 5, end(NOW + 5)) == NOW + 5
        await probe.store.save([create("h1", created_at=NOW + 5, last_seen_at=NOW + 5)])
        for earlier in (NOW + 1, NOW + 5):
            assert await probe.store.end_all(earlier, end(NOW + 9)) == NOW + 5
        assert [row.handle for row in await walked(probe.store)] == ["h1"]
        assert await probe.store.end_all(None, end(NOW + 1)) > NOW + 5
        assert await walked(probe.store) == []


@pytest.mark.gen_test(timeout=60)
async def test_a_second_end_before_the_first_is_swept_ends_all_of_both(mongo: Mongo) -> None:
    async with opened(mongo) as probe:
        put(probe, crowd(20))
        for at in (NOW + 6, NOW + 7, NOW + 8):
            await probe.store.save([create(f"n{at}", created_at=at - 1, last_seen_at=at - 1)])
            await probe.store.end_all(None, end(at))
        await probe.store.save([create("living", created_at=NOW + 8, last_seen_at=NOW + 8)])
        assert [row.handle for row in await walked(probe.store)] == ["living"]
        # Whenever they were last seen, in steps, each once.
        assert [await probe.store.expire(NOW + 9, 60, limit=10) for _ in range(4)] == [10, 10, 3, 0]
        assert {item["_id"] for item in probe.raw.find({"live": {"$exists": True}})} == {"living"}


@pytest.mark.gen_test(timeout=60)
async def test_what_had_expired_before_the_sweep_says_so(mongo: Mongo) -> None:
    async with opened(mongo) as probe:
        await probe.store.save([create("h1"), create("late", expires_at=NOW + 1)])
        await probe.store.end_all(None, end(NOW + 2))
        assert await probe.store.expire(NOW + 3, 60) == 2
        causes = [
            item.ending.cause
            for item in (await probe.store.load(["h1", "late"], NOW + 3)).records
            if isinstance(item, Tombstone)
        ]
        assert causes == [Cause.OPERATOR, Cause.IDLE]


@pytest.mark.gen_test(timeout=60)
async def test_an_end_that_failed_half_way_is_completed_by_the_sweep(mongo: Mongo) -> None:
    async with opened(mongo) as probe:
        await probe.store.save([create("old"), create("later", created_at=NOW + 6, last_seen_at=NOW + 6)])
        # As where its process is killed after the first write.
        probe.raw.insert_one({"_id": documents.EVERYBODY, "not_before": NOW + 5, "era": 1, "ending": None})
        found = await probe.store.load(["later"], NOW + 7)
        assert isinstance(found.records[0], Record)
        assert await probe.store.save([change("later", now=NOW + 7, set={"a": b"2"})]) == [Outcome.SAVED]
        assert await probe.store.expire(NOW + 7, 60) == 1
        assert [row.handle for row in await walked(probe.store)] == ["later"]


class EndsAfter(CommandListener):
    """Ends everybody past the store, right before a command of this name is sent."""

    def __init__(self, name: str, probe: Probe, not_before: float) -> None:
        self.name, self.probe, self.not_before = name, probe, not_before
        self.is_done = False

    def started(self, event: CommandStartedEvent) -> None:
        if event.command_name == self.name and not self.is_done:
            self.is_done = True
            where, update = updates.new_era(self.not_before, end(self.not_before), even_if_equal=True)
            self.probe.raw.update_one(where, update, upsert=True)

    def succeeded(self, event: object) -> None:
        """Of no interest."""

    def failed(self, event: object) -> None:
        """Of no interest."""


@pytest.mark.parametrize("driver", ["motor", "pymongo"])
@pytest.mark.gen_test(timeout=60)
async def test_a_session_created_while_everybody_ends_is_listed_or_gone(mongo: Mongo, driver: str) -> None:
    """The end comes when everybody's end was read, and before the session is inserted."""
    for created_at, answer, listed in ((NOW + 9, Outcome.SAVED, ["h1"]), (NOW, Outcome.GONE, [])):
        url = f"{mongo.url}/e{uuid4().hex}?driver={driver}"
        probe, store = Probe(url), MongoStore.from_url(url)
        ends = EndsAfter("insert", probe, NOW + 5)
        store.client.listeners = [ends]
        await store.open()
        assert await store.save([create("h1", created_at=created_at, last_seen_at=NOW + 9)]) == [answer]
        assert ends.is_done
        assert [row.handle for row in await walked(store, now=NOW + 10)] == listed
        assert await store.destroy_user("ada", end(NOW + 10)) == listed
        await store.close()
        probe.client.close()


@pytest.mark.gen_test(timeout=60)
async def test_creations_and_ends_at_once_leave_nobody_unlisted(mongo: Mongo) -> None:
    async with opened(mongo) as one, opened(mongo) as _:
        other = MongoStore.from_url(f"{mongo.url}/{one.raw.database.name}?driver=pymongo")
        await other.open()
        saved: list[str] = []

        async def enter(number: int) -> None:
            at = (await other.load([], NOW)).not_before or NOW
            (answer,) = await other.save([create(f"h{number}", created_at=at, last_seen_at=at)])
            if answer is Outcome.SAVED:
                saved.append(f"h{number}")

        async def end_often() -> None:
            for number in range(8):
                await one.store.end_all(None, end(NOW + number))

        await asyncio.gather(end_often(), *(enter(number) for number in range(60)))
        loaded = await one.store.load(saved, NOW + 50)
        living = {
            item.handle for item in loaded.records if isinstance(item, Record) and item.created_at >= loaded.not_before
        }
        assert {row.handle for row in await walked(one.store, now=NOW + 50)} == living
        await other.close()


@pytest.mark.gen_test(timeout=60)
async def test_an_end_that_an_older_version_stored_still_holds(mongo: Mongo) -> None:
    async with opened(mongo) as probe:
        put(probe, [make_record("old"), make_record("new", created_at=NOW + 5)])
        probe.raw.insert_one({"_id": documents.EVERYBODY, "not_before": NOW + 5, "ending": None})
        probe.raw.database["schema"].delete_many({})
        await probe.store.close()
        await probe.store.open()
        assert [row.handle for row in await walked(probe.store)] == ["new"]
        assert await probe.store.expire(NOW + 6, 60) == 1
        await probe.store.end_all(None, end(NOW + 7))
        assert await walked(probe.store) == []
        # A process of the older version still writes this.
        put(probe, [make_record("late", created_at=NOW + 8)])
        assert await probe.store.expire(NOW + 8, 60) == 1
        assert [row.handle for row in await walked(probe.store)] == ["late"]


@pytest.mark.gen_test(timeout=60)
async def test_creations_cost_no_more_commands_than_before(mongo: Mongo) -> None:
    sent: list[str] = []

    class Names(EndsAfter):
        def started(self, event: CommandStartedEvent) -> None:
            sent.append(event.command_name)

    async with opened(mongo) as probe:
        store = MongoStore.from_url(f"{mongo.url}/{probe.raw.database.name}?driver=pymongo")
        store.client.listeners = [Names("", probe, 0.0)]
        await store.open()
        await store.load(["h1"], NOW)
        sent.clear()
        await store.save([create("h1"), create("h2")])
        assert sent == ["insert", "find"]
        sent.clear()
        await store.save([change("h1", set={"a": b"2"}), change("h2", set={"a": b"2"})])
        assert sent == ["find", "update"]
        await store.close()
