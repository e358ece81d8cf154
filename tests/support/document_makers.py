"""Makers of document stores on every kind of server, with probes that damage what is stored past the store."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, Protocol

import pytest
import redis
import redis.cluster
from pymongo import MongoClient
from support.urls import url_of

from tornado_sessions.server.documents import Counters, Document, DocumentStore, Log, open_documents
from tornado_sessions.server.documents.memory import MemoryData, MemoryDocuments


def time_of(entry: Document) -> float | None:
    """When an entry of a log in these checks was written: its body says so."""
    try:
        return float(entry.body.partition(b" ")[0])
    except ValueError:
        return None


class DocumentMaker(Protocol):
    """Makes the stores of one check, all with the same data, empty at first."""

    async def open(self) -> DocumentStore:
        """A store, open; at the second call another client of the same data, as in another process."""

    def damage_document(self, kind: str, key: str) -> None:
        """Damage a document past the store."""

    def stored_counts(self) -> int:
        """The number of counts past the store, ended ones included."""

    def log_of(self, store: DocumentStore) -> Log:
        """A log in a store."""

    def counters_of(self, store: DocumentStore) -> Counters:
        """Counters in a store."""

    async def close(self) -> None:
        """Close what was opened."""


class MemoryMaker:
    """Stores in memory that share their data.

    Args:
        kind, log, counters: the classes of stores, logs and counters.
    """

    def __init__(
        self,
        kind: type[MemoryDocuments] = MemoryDocuments,
        log: type[Log] = Log,
        counters: type[Counters] = Counters,
    ) -> None:
        self.kind, self.log, self.counters = kind, log, counters
        self.data = MemoryData()
        self.stores: list[DocumentStore] = []

    def make(self) -> DocumentStore:
        return self.kind(self.data)

    async def open(self) -> DocumentStore:
        self.stores.append(self.make())
        await self.stores[-1].open()
        return self.stores[-1]

    def damage_document(self, kind: str, key: str) -> None:
        self.data[kind, key] = self.data[kind, key]._replace(body="text")

    def stored_counts(self) -> int:
        return len(self.data.counts)

    def log_of(self, store: DocumentStore) -> Log:
        return self.log(store, "log", time_of)

    def counters_of(self, store: DocumentStore) -> Counters:
        return self.counters(store, "tally")

    async def close(self) -> None:
        for store in self.stores:
            await store.close()


class UrlMaker(MemoryMaker):
    """Stores that a URL names."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url

    def make(self) -> DocumentStore:
        return open_documents(self.url)


class SQLiteMaker(UrlMaker):
    """Stores on one file, each with connections of its own."""

    def _run(self, sql: str, *values: object) -> None:
        connection = sqlite3.connect(self.url.removeprefix("sqlite:///"))
        with connection:
            assert connection.execute(sql, values).rowcount == 1
        connection.close()

    def damage_document(self, kind: str, key: str) -> None:
        self._run("UPDATE stored_documents SET body = 'text', revision = 'two' WHERE kind = ? AND key = ?", kind, key)

    def stored_counts(self) -> int:
        connection = sqlite3.connect(self.url.removeprefix("sqlite:///"))
        found: int = connection.execute("SELECT count(*) FROM stored_counts").fetchone()[0]
        connection.close()
        return found


class RedisMaker(UrlMaker):
    """Stores on one Redis server, Sentinel or cluster, with a prefix of their own."""

    def __init__(self, url: str, client: Any) -> None:
        super().__init__(url)
        self.client = client
        self.base = url.rpartition("prefix=")[2] + "{documents}:"

    def damage_document(self, kind: str, key: str) -> None:
        assert self.client.hset(self.base + kind, key, b"\x00\xff random") == 0

    def stored_counts(self) -> int:
        # Redis has its own clock, so count those that it will not remove.
        found = self.client.scan_iter(match=self.base + ":count:*")
        return sum(self.client.pttl(key) < 0 for key in found)

    async def close(self) -> None:
        await super().close()
        self.client.close()


class MongoMaker(UrlMaker):
    """Stores in a database of their own, by one of the two drivers."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        server, _, rest = url.rpartition("/")
        self.client: MongoClient[dict[str, Any]] = MongoClient(server)
        self.database = rest.partition("?")[0]

    def damage_document(self, kind: str, key: str) -> None:
        sets = {"$set": {"revision": "two", "body": "text"}}
        assert self.client[self.database]["records"].update_one({"_id": f"{kind}:{key}"}, sets).matched_count == 1

    def stored_counts(self) -> int:
        counts = self.client[self.database]["counts"]
        # The server removes what this index covers, once a minute.
        assert [index["expireAfterSeconds"] for index in counts.list_indexes() if index["name"] == "by_end"] == [0]
        return counts.count_documents({"ends_at": {"$not": {"$type": "date"}}})

    async def close(self) -> None:
        await super().close()
        self.client.drop_database(self.database)
        self.client.close()


def make(kind: str, request: pytest.FixtureRequest, folder: Path) -> DocumentMaker:
    """The maker of this kind, on a server that is started once in a run."""
    if kind == "memory":
        return MemoryMaker()
    url = url_of(kind, request, folder)
    if kind == "sqlite":
        return SQLiteMaker(url)
    if kind.startswith("mongo"):
        return MongoMaker(url)
    server = request.getfixturevalue(kind)
    if kind == "redis_cluster":
        return RedisMaker(url, redis.cluster.RedisCluster(host="127.0.0.1", port=server.nodes[0].port))
    port = server.port if kind == "redis" else server.master.port
    return RedisMaker(url, redis.Redis(host="127.0.0.1", port=port))
