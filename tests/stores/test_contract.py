"""Every check of the contract on every store."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis
from pymongo import MongoClient
from stores.mongo_servers import Mongo
from stores.redis_servers import Valkey
from stores.urls import KINDS

from tornado_sessions.stores import Store, open_store
from tornado_sessions.stores.memory import MemoryData, MemoryStore
from tornado_sessions.testing import STORE_CHECKS, StoreMaker, UrlMaker


class MemoryMaker:
    """Stores in memory that share their data."""

    def __init__(self, _folder: Path) -> None:
        self.data = MemoryData()
        self.stores: list[Store] = []

    async def open(self) -> Store:
        self.stores.append(MemoryStore(self.data))
        await self.stores[-1].open()
        return self.stores[-1]

    async def raw_handles(self) -> set[str]:
        return set(self.data.records)

    async def close(self) -> None:
        for store in self.stores:
            await store.close()


class SQLiteMaker(MemoryMaker):
    """Stores on one file, each with connections of its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.path = folder / "sessions.db"

    async def open(self) -> Store:
        self.stores.append(open_store(f"sqlite:///{self.path}"))
        await self.stores[-1].open()
        return self.stores[-1]

    async def raw_handles(self) -> set[str]:
        connection = sqlite3.connect(self.path)
        try:
            return {handle for (handle,) in connection.execute("SELECT handle FROM sessions")}
        finally:
            connection.close()


class RedisMaker(MemoryMaker):
    """Stores on one Redis server, Sentinel or cluster, with a prefix of their own."""

    def __init__(self, url: str, servers: Sequence[Valkey]) -> None:
        super().__init__(Path())
        self.prefix = f"{uuid4().hex}:"
        self.url = f"{url}?prefix={self.prefix}"
        self.servers = servers

    async def open(self) -> Store:
        self.stores.append(open_store(self.url))
        await self.stores[-1].open()
        return self.stores[-1]

    async def raw_handles(self) -> set[str]:
        found = set()
        for server in self.servers:
            with redis.Redis(port=server.port, decode_responses=True) as client:
                found |= {key.rpartition(":")[2] for key in client.scan_iter(f"{self.prefix}*:s:*")}
        return found


class MongoMaker(MemoryMaker):
    """Stores in a database of their own, by one of the two drivers."""

    def __init__(self, server: Mongo, driver: str) -> None:
        super().__init__(Path())
        self.server = server
        self.database = f"t{uuid4().hex}"
        self.url = f"{server.url}/{self.database}?driver={driver}"

    async def open(self) -> Store:
        self.stores.append(open_store(self.url))
        await self.stores[-1].open()
        return self.stores[-1]

    async def raw_handles(self) -> set[str]:
        client: MongoClient[dict[str, Any]] = MongoClient(self.server.url)
        try:
            return {
                found["_id"] for found in client[self.database]["sessions"].find({"secret_hash": {"$exists": True}})
            }
        finally:
            client.close()

    async def close(self) -> None:
        await super().close()
        client: MongoClient[dict[str, Any]] = MongoClient(self.server.url)
        client.drop_database(self.database)
        client.close()


def make(name: str, request: pytest.FixtureRequest, folder: Path) -> StoreMaker:
    """The maker of this name, on a server that is started once in a run."""
    if name == "url":
        return UrlMaker(request.config.getoption("--store-url"))
    if name == "memory":
        return MemoryMaker(folder)
    if name == "sqlite":
        return SQLiteMaker(folder)
    if name.startswith("mongo_"):
        server = request.getfixturevalue("mongo_standalone" if name == "mongo_standalone" else "mongo")
        return MongoMaker(server, "pymongo" if name == "mongo_pymongo" else "motor")
    server = request.getfixturevalue(name)
    if name == "redis":
        return RedisMaker(server.url, [server])
    if name == "redis_cluster":
        return RedisMaker(server.url, server.nodes)
    return RedisMaker(server.url, [server.master])


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every store, or the one that ``--store-url`` names."""
    if "maker" in metafunc.fixturenames:
        kinds = ["url"] if metafunc.config.getoption("--store-url") else KINDS
        metafunc.parametrize("maker", kinds, indirect=True)


@pytest.fixture
def maker(request: pytest.FixtureRequest, tmp_path: Path, io_loop: Any) -> Iterator[StoreMaker]:
    made = make(request.param, request, tmp_path)
    yield made
    io_loop.run_sync(made.close)


@pytest.mark.parametrize("check", STORE_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.gen_test
async def test_store(check: Callable[[StoreMaker], Awaitable[None]], maker: StoreMaker) -> None:
    await check(maker)


def test_no_check_is_left_out() -> None:
    from tornado_sessions.testing import ending, finding, saving

    written = {name for module in (saving, ending, finding) for name in vars(module) if name.startswith("check_")}
    assert {check.__name__ for check in STORE_CHECKS} == written


@pytest.mark.parametrize("kind", ["redis", "mongo_motor"])
@pytest.mark.parametrize("check", STORE_CHECKS[:3] + STORE_CHECKS[-3:], ids=lambda check: check.__name__)
@pytest.mark.gen_test
async def test_a_url_is_all_that_the_kit_needs(
    kind: str, check: Callable[[StoreMaker], Awaitable[None]], request: pytest.FixtureRequest
) -> None:
    server = request.getfixturevalue("redis" if kind == "redis" else "mongo")
    maker = UrlMaker(server.url + ("?prefix={id}:" if kind == "redis" else "/t{id}"))
    await check(maker)
    await maker.close()
