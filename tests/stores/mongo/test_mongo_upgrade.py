"""Indexes are built apart from the start, an earlier layout is upgraded, and a newer one is refused."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from pymongo import ASCENDING, DESCENDING, MongoClient
from pymongo.errors import ExecutionTimeout
from support.amount import only_long
from support.cutter import Cutter
from support.mongo_planner import Commands, queries_of
from support.mongo_servers import Mongo
from support.waiting import until

from tornado_sessions.drivers.mongo import translated
from tornado_sessions.errors import StoreMismatch, StoreUnavailable
from tornado_sessions.query import Query, Sort
from tornado_sessions.record import Outcome
from tornado_sessions.server.documents import Document, open_documents
from tornado_sessions.stores.mongo import MongoStore, updates
from tornado_sessions.stores.mongo.schema import FORMER, INDEXES
from tornado_sessions.testing.maker import NOW, create, make_record

NAMES = {model.document["name"] for model in INDEXES}


@pytest.fixture
def database(mongo: Mongo) -> Iterator[Any]:
    """A database of its own, past the store."""
    client: MongoClient[dict[str, Any]] = MongoClient(mongo.url)
    yield client[f"u{uuid4().hex}"]
    client.close()


def make_former(database: Any) -> None:
    """Two sessions and the indexes of version 1."""
    database.sessions.insert_many([updates.to_document(make_record(handle), True) for handle in ("h1", "h2")])
    for name in FORMER:
        keys = [("live", ASCENDING), ("last_seen_at", DESCENDING), ("_id", ASCENDING), (name, ASCENDING)]
        database.sessions.create_index(keys[1:] if name == "by_end" else keys, name=name, sparse=name == "by_end")


@pytest.mark.parametrize("servers", [pytest.param(1, marks=only_long), 3])
@pytest.mark.gen_test(timeout=60)
async def test_an_earlier_layout_is_upgraded_by_any_number_of_servers(
    mongo: Mongo, database: Any, servers: int
) -> None:
    make_former(database)
    stores = [MongoStore.from_url(f"{mongo.url}/{database.name}") for _ in range(servers)]
    await asyncio.gather(*(store.open() for store in stores))
    for store in stores:
        for sort in Sort:
            assert [item.handle for item in (await store.find(Query(now=NOW, sort=sort))).items] == ["h1", "h2"]
    assert set(database.sessions.index_information()) == {*NAMES, "_id_"}
    assert database.schema.find_one({"_id": "sessions"})["version"] == 2
    for store in stores:
        await store.close()


@pytest.mark.parametrize(
    ("version", "said"), [(3, "newer version of this software"), ("x", "damaged"), (-1, "damaged")]
)
@pytest.mark.gen_test
async def test_a_newer_or_damaged_version_is_refused(mongo: Mongo, database: Any, version: Any, said: str) -> None:
    makes: dict[str, Callable[[str], Any]] = {"sessions": MongoStore.from_url, "records": open_documents}
    for name, make in makes.items():
        database.schema.insert_one({"_id": name, "version": version})
        store = make(f"{mongo.url}/{database.name}")
        with pytest.raises(StoreMismatch, match=said):
            await store.open()
        # Nothing was built or changed.
        assert database.list_collection_names() == ["schema"]
        await store.close()
        database.schema.delete_one({"_id": name})


@pytest.mark.gen_test
async def test_an_index_of_other_software_with_our_name_is_said_at_the_start(mongo: Mongo, database: Any) -> None:
    database.sessions.create_index("other", name="by_user_2")
    store = MongoStore.from_url(f"{mongo.url}/{database.name}")
    with pytest.raises(StoreMismatch, match="has the same name"):
        await store.open()
    database.sessions.drop_index("by_user_2")
    await store.open()
    await store.close()


@asynccontextmanager
async def slow_builds(server: Mongo) -> AsyncIterator[Cutter]:
    """A proxy that holds back each command to create indexes until it is released."""
    proxy = Cutter(server.port)
    proxy.holds = b"createIndexes"
    await proxy.open()
    try:
        yield proxy
    finally:
        await proxy.close()


@pytest.mark.parametrize("driver", ["motor", "pymongo"])
@pytest.mark.gen_test(timeout=60)
async def test_a_start_does_not_wait_for_a_long_build(
    mongo: Mongo, database: Any, driver: str, caplog: pytest.LogCaptureFixture
) -> None:
    commands = Commands("sessions")
    # An ordinary call may take half a second; the build outlasts it.
    options = f"driver={driver}&socketTimeoutMS=500&directConnection=true"
    async with slow_builds(mongo) as proxy:
        store = MongoStore.from_url(f"mongodb://127.0.0.1:{proxy.port}/{database.name}?{options}")
        store.client.listeners = [commands]
        started = time.monotonic()
        with caplog.at_level(logging.INFO, "tornado_sessions"):
            await store.open()
        assert time.monotonic() - started < 4
        assert proxy.held == 1
        assert "building indexes of sessions, cells" in caplog.text
        # People sign in and operators list meanwhile, without a hint that the server would refuse.
        assert await store.save([create("h1")]) == [Outcome.SAVED]
        assert [item.handle for item in (await store.find(Query(now=NOW, user="ada"))).items] == ["h1"]
        assert hints_of(commands) == {""}
        proxy.released.set()
        with caplog.at_level(logging.INFO, "tornado_sessions"):
            await until(lambda: "are ready after" in caplog.text, "the indexes")
        assert set(database.sessions.index_information()) == {*NAMES, "_id_"}
        await store.find(Query(now=NOW, user="ada"))
        assert "by_user_2" in hints_of(commands)
        await store.close()


def hints_of(commands: Commands) -> set[str]:
    return {hint for command in commands.sent for _, _, hint in queries_of(command) if "find" in command}


@pytest.mark.gen_test(timeout=60)
async def test_names_stay_unique_while_their_index_is_built(mongo: Mongo, database: Any) -> None:
    async with slow_builds(mongo) as proxy:
        store = open_documents(f"mongodb://127.0.0.1:{proxy.port}/{database.name}?directConnection=true")
        await store.open()
        with pytest.raises(StoreUnavailable, match="still being built"):
            await store.put("account", Document("ada", 1, b"{}"), names=["ada"])
        assert await store.put("job", Document("1", 1, b"{}"))
        proxy.released.set()

        async def is_stored() -> bool:
            try:
                return await store.put("account", Document("ada", 1, b"{}"), names=["ada"])
            except StoreUnavailable:
                return False

        await until(is_stored, "the index of names")
        await store.close()


@pytest.mark.gen_test(timeout=60)
async def test_a_store_can_be_closed_during_a_build(mongo: Mongo, database: Any) -> None:
    async with slow_builds(mongo) as proxy:
        store = MongoStore.from_url(f"mongodb://127.0.0.1:{proxy.port}/{database.name}?directConnection=true")
        await store.open()
        await asyncio.wait_for(store.close(), 5)


@pytest.mark.gen_test
async def test_a_list_that_the_server_stops_says_why() -> None:
    async def stopped() -> None:
        raise ExecutionTimeout("operation exceeded time limit", 50)

    with pytest.raises(StoreUnavailable, match="stopped a query at its time limit; is it overloaded, or is an index"):
        await translated(stopped)
