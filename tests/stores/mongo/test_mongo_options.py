"""What MongoDB's options may be, what they cost, and what holds when the server is killed; small values beside the sessions."""

from __future__ import annotations

import asyncio
from math import inf
from typing import Any
from uuid import uuid4

import pytest
from pymongo import MongoClient
from pymongo.monitoring import CommandListener, CommandStartedEvent
from support.mongo_servers import Mongo
from support.tried import Tried

from tornado_sessions.drivers.mongo import client_options
from tornado_sessions.errors import ConfigError
from tornado_sessions.query import Query
from tornado_sessions.record import EventKind, Outcome, Swapped, Tombstone
from tornado_sessions.server.documents import open_documents
from tornado_sessions.stores import open_store
from tornado_sessions.stores.mongo import MongoStore
from tornado_sessions.testing.maker import NOW, change, create, end

REFUSED = [
    ("w=0", "w=0"),
    ("W=0", "w=0"),
    ("w=00", "w=0"),
    ("w=-1", "w"),
    ("readPreference=secondary", "readPreference"),
    ("readpreference=secondaryPreferred", "readPreference"),
    ("READPREFERENCE=nearest", "readPreference"),
    ("readPreference=primaryPreferred", "readPreference"),
    ("readPreferenceTags=dc:a", "readpreferencetags"),
    ("maxStalenessSeconds=120", "maxstalenessseconds"),
    ("readConcernLevel=available", "readConcernLevel"),
    ("readConcernLevel=snapshot", "readConcernLevel"),
    ("readConcernLevel=linearizable", "readConcernLevel"),
    ("w=1&readConcernLevel=majority", "readConcernLevel=majority needs w=majority"),
    ("w=majority&w=1", "2 times"),
    ("w=majority&W=0", "2 times"),
    ("journal=true&j=false", "2 times"),
    ("driver=motor&driver=pymongo", "2 times"),
    ("w=majority;journal=false", "&"),
    ("fsync=true&journal=false", "fsync"),
    ("Driver=other", "driver"),
    ("journal=perhaps", "journal"),
]


@pytest.mark.parametrize(("query", "fault"), REFUSED)
@pytest.mark.parametrize("make", [open_store, open_documents])
def test_what_breaks_the_guarantees_is_refused_for_every_kind_of_data(make: Any, query: str, fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make(f"mongodb://ada:hunter2@h/db?{query}")
    assert fault in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        client_options("mongodb://h/db?w=0&readPreference=nearest&driver=x")
    assert all(name in str(caught.value) for name in ("w=0", "readPreference", "driver"))


@pytest.mark.parametrize(
    ("query", "holds", "not_there"),
    [
        ("", ["w=majority", "journal=true"], []),
        ("journal=false", ["w=majority", "journal=false"], ["journal=true"]),
        ("Journal=false", ["journal=false"], ["journal=true"]),
        ("j=false", ["journal=false"], ["journal=true", "&j="]),
        ("w=2&JOURNAL=true", ["w=2", "journal=true"], ["w=majority"]),
        ("fsync=true", ["fsync=true"], ["journal"]),
        ("fsync=false", ["journal=true"], []),
        ("ServerSelectionTimeoutMS=9", ["serverselectiontimeoutms=9"], ["3000"]),
        (
            "readPreference=primary&readConcernLevel=majority",
            ["readpreference=primary", "readconcernlevel=majority"],
            [],
        ),
    ],
)
def test_defaults_hold_unless_the_url_says_otherwise(query: str, holds: list[str], not_there: list[str]) -> None:
    url = client_options(f"mongodb://h/db?{query}").url
    assert [part for part in holds if part not in url] == []
    assert [part for part in not_there if part in url] == []
    assert url.count("journal") <= 1


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("", []),
        ("w=majority&journal=true&retryWrites=true", []),
        ("w=1", ["acknowledged writes can be lost when the primary fails"]),
        ("w=2", ["w=2"]),
        ("w=tagged", ["w=tagged"]),
        ("journal=false", ["a crash of the server loses acknowledged writes"]),
        ("J=false", ["a crash of the server loses acknowledged writes"]),
        ("retryWrites=false", ["failover"]),
        ("directConnection=true", ["a secondary still shows ended sessions"]),
        ("w=1&journal=false", ["w=1", "journal=false"]),
    ],
)
@pytest.mark.gen_test
async def test_what_a_choice_can_cost_is_reported(mongo: Mongo, query: str, said: list[str]) -> None:
    store = MongoStore.from_url(f"{mongo.url}/o{uuid4().hex}?{query}")
    await store.client.open()
    faults, warnings, _ = await store.diagnose()
    assert faults == []
    assert [text in str(warning) for text, warning in zip(said, warnings, strict=True)] == [True] * len(said)
    await store.close()


@pytest.mark.parametrize("driver", ["motor", "pymongo"])
@pytest.mark.parametrize("query", ["", "&readConcernLevel=local", "&readConcernLevel=majority", "&w=1&journal=false"])
@pytest.mark.gen_test(timeout=30)
async def test_allowed_options_work_from_creation_to_event(mongo: Mongo, driver: str, query: str) -> None:
    store = MongoStore.from_url(f"{mongo.url}/o{uuid4().hex}?driver={driver}{query}")
    await store.open()
    concern = store.sessions.write_concern.document
    assert concern == ({"w": 1, "j": False} if "w=1" in query else {"w": "majority", "j": True})
    # Cleaning up may be repeated, so it waits for nobody's journal.
    assert store.client.unacknowledged_by_majority("sessions").write_concern.document == {"w": 1}
    events = store.events()
    heard = asyncio.ensure_future(anext(events))
    for number in range(100):
        assert await store.save([create(f"h{number}"), create(f"h{number}")]) == [Outcome.SAVED, Outcome.GONE]
        await store.destroy([f"h{number}"], end())
        if (await asyncio.wait([heard], timeout=0.1))[0]:
            break
    assert (await heard).kind is EventKind.DESTROYED
    await events.aclose()
    await store.close()


@pytest.mark.gen_test(timeout=90)
async def test_what_is_acknowledged_survives_a_killed_server_with_the_default_url(tried: Tried) -> None:
    """Each round ends sessions, changes others, and kills the server right after the answers."""
    server = Mongo()
    try:
        ended: list[str] = []
        for number in range(4):
            store = MongoStore.from_url(f"{server.url}/killed?driver=pymongo&serverSelectionTimeoutMS=20000")
            await store.open()
            names = [f"r{number}h{n}" for n in range(20)]
            assert await store.save([create(name) for name in names]) == [Outcome.SAVED] * 20
            assert await store.save([change(name, set={"n": b"2"}) for name in names[10:]]) == [Outcome.SAVED] * 10
            ended += await store.destroy(names[:10], end())
            server.kill()
            await store.close()
            await asyncio.to_thread(server.start)
            store = MongoStore.from_url(f"{server.url}/killed?driver=pymongo")
            await store.open()
            assert len(ended) == 10 * (number + 1)
            found = (await store.load([*ended, *names[10:]], NOW + 2)).records
            revived = sum(not isinstance(item, Tombstone) for item in found[: len(ended)])
            tried("kill -9 of MongoDB after answers: ended sessions that live", times=1, lost=revived)
            assert revived == 0
            assert [item.data["n"] for item in found[len(ended) :]] == [b"2"] * 10  # type: ignore[union-attr]
            await store.close()
    finally:
        server.stop()


@pytest.mark.parametrize("driver", ["motor", "pymongo"])
@pytest.mark.gen_test(timeout=60)
async def test_a_value_is_replaced_only_where_it_is_the_expected_one(mongo: Mongo, driver: str) -> None:
    store = MongoStore.from_url(f"{mongo.url}/s{uuid4().hex}?driver={driver}")
    await store.open()
    keep = NOW + 999
    for name in ("limit:ada", "", "a" * 5000, "$a.b\x00é", "\ud800"):
        assert await store.swap(name, None, None, keep) == Swapped(True, None)
        assert await store.swap(name, b"x", b"1", keep) == Swapped(False, None)
        assert await store.swap(name, None, b"1", keep) == Swapped(True, b"1")
        assert await store.swap(name, None, b"2", keep) == Swapped(False, b"1")
        assert await store.swap(name, None, None, keep) == Swapped(False, b"1")
        assert await store.swap(name, b"1", b"", keep) == Swapped(True, b"")
        assert await store.swap(name, b"", b"\x00" * 3000, keep) == Swapped(True, b"\x00" * 3000)
        assert await store.swap(name, b"2", None, keep) == Swapped(False, b"\x00" * 3000)
        assert await store.swap(name, b"\x00" * 3000, None, keep) == Swapped(True, None)
    assert await store.swap("far", None, b"1", inf) == Swapped(True, b"1")
    assert (await store.load([], NOW)).not_before == 0.0
    assert await store.sessions.count_documents({}) == 0
    await store.close()


@pytest.mark.gen_test(timeout=60)
async def test_one_of_twenty_wins_each_round(mongo: Mongo) -> None:
    url = f"{mongo.url}/s{uuid4().hex}"
    stores = [MongoStore.from_url(f"{url}?driver={driver}") for driver in ("motor", "pymongo") * 2]
    for store in stores:
        await store.open()
    expected: bytes | None = None
    for round_ in range(6):
        # The third round and the last remove the value, so the next ones are first writers again.
        values = [None if round_ % 3 == 2 else b"%d:%d" % (round_, n) for n in range(20)]
        answers = await asyncio.gather(
            *(stores[n % 4].swap("cell", expected, value, NOW + 99) for n, value in enumerate(values))
        )
        won = [answer.value for answer in answers if answer.done]
        assert len(won) == 1 or set(won) == {None}
        assert len(won) == 1
        assert {answer.value for answer in answers if not answer.done} == {won[0]}
        expected = won[0]
    for store in stores:
        await store.close()


@pytest.mark.gen_test
async def test_a_damaged_value_counts_as_none_and_is_replaced(mongo: Mongo) -> None:
    database = f"s{uuid4().hex}"
    store = MongoStore.from_url(f"{mongo.url}/{database}")
    await store.open()
    await store.swap("cell", None, b"1", NOW + 99)
    client: MongoClient[dict[str, Any]] = MongoClient(mongo.url)
    for damage in (
        {"$set": {"value": "text"}},
        {"$set": {"value": None}},
        {"$unset": {"value": ""}},
        {"$set": {"value": [5]}},
    ):
        client[database]["cells"].update_one({}, damage)
        assert await store.swap("cell", b"1", b"2", NOW + 99) == Swapped(False, None)
        assert await store.swap("cell", None, b"2", NOW + 99) == Swapped(True, b"2")
    client.close()
    await store.close()


@pytest.mark.gen_test
async def test_the_server_removes_values_by_itself(mongo: Mongo) -> None:
    store = MongoStore.from_url(f"{mongo.url}/s{uuid4().hex}")
    await store.open()
    await store.swap("cell", None, b"1", NOW)
    cells = store.client.collection("cells")
    assert (await cells.index_information())["by_purge_at"]["expireAfterSeconds"] == 0
    found = await cells.find_one({})
    assert NOW <= found["purge_at"].timestamp() <= NOW + 7200
    await store.close()


@pytest.mark.parametrize(("query", "limit"), [("", 3750), ("&socketTimeoutMS=200", 100), ("&socketTimeoutMS=0", 30000)])
@pytest.mark.parametrize("driver", ["motor", "pymongo"])
@pytest.mark.gen_test
async def test_the_server_stops_a_list_before_the_driver_stops_waiting(
    mongo: Mongo, driver: str, query: str, limit: int
) -> None:
    sent: list[Any] = []

    class Listener(CommandListener):
        def started(self, event: CommandStartedEvent) -> None:
            sent.append(event.command)

        def succeeded(self, event: Any) -> None: ...

        def failed(self, event: Any) -> None: ...

    store = MongoStore.from_url(f"{mongo.url}/s{uuid4().hex}?driver={driver}{query}")
    store.client.listeners = [Listener()]
    await store.open()
    sent.clear()
    await store.find(Query(now=NOW))
    await store.find(Query(now=NOW, user="ada"))
    await store.count(Query(now=NOW))
    lists = [command for command in sent if "aggregate" in command or command.get("hint")]
    assert len(lists) >= 3
    assert {command.get("maxTimeMS") for command in lists} == {limit}
    await store.close()
