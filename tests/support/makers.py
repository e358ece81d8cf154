"""Makers of every kind of store, with the probes that go past it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis
from pymongo import MongoClient
from support.damages import MONGO, REDIS, SQLITE, damage_document, damage_row, damage_string
from support.mongo_servers import Mongo
from support.redis_servers import Valkey

from tornado_sessions.stores import Store, open_store
from tornado_sessions.stores.memory import MemoryData, MemoryStore
from tornado_sessions.testing import Damage, StoreMaker, UrlMaker


class MemoryMaker:
    """Stores in memory that share their data."""

    #: Objects of this process: nothing is decoded, so nothing can be damaged past the store.
    damages: Sequence[Damage] = ()

    def __init__(self, _folder: Path) -> None:
        self.data = MemoryData()
        self.stores: list[Store] = []

    async def open(self) -> Store:
        self.stores.append(MemoryStore(self.data))
        await self.stores[-1].open()
        return self.stores[-1]

    async def raw_handles(self) -> set[str]:
        return set(self.data.records)

    async def damage(self, handle: str, damage: Damage) -> None:
        raise NotImplementedError(damage)

    async def close(self) -> None:
        for store in self.stores:
            await store.close()


class SQLiteMaker(MemoryMaker):
    """Stores on one file, each with connections of its own."""

    damages: Sequence[Damage] = SQLITE

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

    async def damage(self, handle: str, damage: Damage) -> None:
        damage_row(self.path, handle, damage)


class RedisMaker(MemoryMaker):
    """Stores on one Redis server, Sentinel or cluster, with a prefix of their own."""

    damages: Sequence[Damage] = REDIS

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

    async def damage(self, handle: str, damage: Damage) -> None:
        damage_string([server.port for server in self.servers], self.prefix, handle, damage)


class MongoMaker(MemoryMaker):
    """Stores in a database of their own, by one of the two drivers."""

    damages: Sequence[Damage] = MONGO

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
            documents = client[self.database]["sessions"].find({}, {"_id": True, "ending": True})
            # A document of the store's own has a colon in its name; one with an ending is a tombstone.
            return {found["_id"] for found in documents if ":" not in found["_id"] and not found.get("ending")}
        finally:
            client.close()

    async def damage(self, handle: str, damage: Damage) -> None:
        damage_document(self.server.url, self.database, handle, damage)

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
